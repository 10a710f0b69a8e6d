/** A server as a process of ours: on a port of its own, and gone when we are. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { get, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { setTimeout as sleep } from "node:timers/promises"
import { absentServer, missing, type ServerName } from "./_installation.ts"

/** A server on the loopback interface. */
export interface RunningServer {
  /** Where it listens, as its clients want it: `http://127.0.0.1:PORT` */
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Ends the process; calling it twice is calling it once. */
  close(): Promise<void>
}

/** A server that can be emptied. */
export interface Server extends RunningServer {
  /** Empties it: what a server that has just started holds. */
  reset(): Promise<void>
}

export interface ProcessOrder {
  readonly name: ServerName
  readonly command: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Its folder: it goes when the process does. */
  readonly tmp: string
  /** `kill`: by force; `end`: it ends when its standard input does. */
  readonly ends: "kill" | "end"
}

/** A process that runs, and keeps nobody alive. */
export interface Running {
  readonly pid: number
  /** The last that it said. */
  log(): string
  /** Looks until there is something to be seen. @throws {Error} when the process ends, or it takes too long */
  until<Result>(look: () => Result | undefined | Promise<Result | undefined>): Promise<Result>
  /** Lets the caller end although it runs; for when it is ready. */
  letGo(): void
  close(): Promise<void>
}

const START_LIMIT_MS = 30_000
const POLL_MS = 20
const LOG_LENGTH = 8_000

/** @throws {Error} when it is not installed */
export function requireInstalled(name: ServerName): void {
  const absent = missing(name)
  if (absent !== undefined) throw new Error(`Cannot start ${name}: ${absentServer(absent)}`)
}

/** A folder for a server. */
export function makeFolder(name: ServerName): string {
  return mkdtempSync(join(tmpdir(), `encx-${name}-`))
}

export function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 5 })
}

/** Starts a process in a folder that is then its own. */
export function startProcess({ name, command, args, env = {}, tmp, ends }: ProcessOrder): Running {
  const child = spawn(command, args, {
    cwd: tmp,
    env: { ...cleanEnvironment(tmp), ...env },
    stdio: ["pipe", "pipe", "pipe"],
    windowsHide: true,
  })
  const log = logOf(child)
  return {
    pid: child.pid as number,
    log,
    until: (look) => until(look, child, name, log),
    letGo: () => letGo(child),
    close: closer(child, tmp, ends),
  }
}

/** Nothing of the caller's: no credentials that could reach a server, no settings that could change one. */
export function cleanEnvironment(tmp: string): Record<string, string> {
  const kept = ["PATH", "LANG", "SystemRoot"].map((key) => [key, process.env[key]])
  const folders = { HOME: tmp, USERPROFILE: tmp, TMPDIR: tmp, TEMP: tmp, TMP: tmp }
  return { ...Object.fromEntries(kept.filter(([, value]) => value !== undefined)), ...folders }
}

function logOf(child: ChildProcess): () => string {
  let log = ""
  const add = (chunk: Uint8Array): void => {
    log = (log + new TextDecoder().decode(chunk)).slice(-LOG_LENGTH)
  }
  child.stdout?.on("data", add)
  child.stderr?.on("data", add)
  child.on("error", (error) => add(new TextEncoder().encode(`${error.message}\n`)))
  // A write to a process that has ended; there is none, but its pipe may say so.
  child.stdin?.on("error", () => undefined)
  return () => log
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null
}

async function until<Result>(
  look: () => Result | undefined | Promise<Result | undefined>,
  child: ChildProcess,
  name: string,
  log: () => string,
): Promise<Result> {
  for (const start = performance.now(); performance.now() - start < START_LIMIT_MS; await sleep(POLL_MS)) {
    const ended = hasEnded(child)
    const found = await look()
    if (found !== undefined && !ended) return found
    if (ended) throw new Error(`Cannot start ${name}: it has ended\n${log()}`)
  }
  throw new Error(`Cannot start ${name}: it is not ready after ${START_LIMIT_MS / 1000} s\n${log()}`)
}

/** The status of an answer, or undefined where nothing answers. A connection of its own, which nobody keeps. */
export function status(url: string, method: "GET" | "POST" = "GET"): Promise<number | undefined> {
  const { promise, resolve } = Promise.withResolvers<number | undefined>()
  const call = (method === "GET" ? get : request)(url, { method, agent: false, timeout: 5_000 }, (answer) => {
    answer.resume().on("close", () => resolve(answer.statusCode))
  })
  call.on("error", () => resolve(undefined))
  call.on("timeout", () => call.destroy())
  call.end()
  return promise
}

function closer(child: ChildProcess, tmp: string, ends: "kill" | "end"): () => Promise<void> {
  // Nothing that they hold outlives them, so there is nothing to end in order.
  const kill = (): void => {
    if (!hasEnded(child)) child.kill("SIGKILL")
  }
  const clean = (): void => removeFolder(tmp)
  const atExit = (): void => {
    // The end of our pipe, which comes with ours, is what the others wait for.
    if (ends === "end") return
    kill()
    clean()
  }
  process.on("exit", atExit)
  let closing: Promise<void> | undefined
  return () => {
    closing ??= (async () => {
      process.off("exit", atExit)
      // Else the wait for its end would not keep us alive.
      child.ref()
      const exit = hasEnded(child) ? undefined : once(child, "exit")
      if (ends === "end") child.stdin?.end()
      else kill()
      await exit
      clean()
    })()
    return closing
  }
}

/** A test that forgets to close a server is not kept alive by it; the end of our pipe then ends the server. */
function letGo(child: ChildProcess): void {
  child.unref()
  for (const pipe of [child.stdin, child.stdout, child.stderr]) {
    if (pipe && "unref" in pipe && typeof pipe.unref === "function") pipe.unref()
  }
}
