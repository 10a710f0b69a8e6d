/** A server of Python as a process of ours: on a port that it chose itself, and gone when we are. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { get, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { installation, isInstalled, python, type ServerName } from "./_installation.ts"

/** A server on the loopback interface. */
export interface Server {
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Empties it: what a server that has just started holds. */
  reset(): Promise<void>
  /** Ends the process; calling it twice is calling it once. */
  close(): Promise<void>
}

export interface ServerOrder {
  readonly name: ServerName
  readonly module: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Answers 200 when the server is ready. */
  readonly ready: string
  /** A POST to it empties the server. */
  readonly reset: string
}

const START_LIMIT_MS = 30_000
const POLL_MS = 20
const LOG_LENGTH = 4_000
const LISTENS = /Running on http:\/\/127\.0\.0\.1:(\d+)/
const RUN = fileURLToPath(new URL("_run.py", import.meta.url))

/** @throws {Error} when it is not installed, ends at once, or is not ready in time */
export async function startServer({ name, module, args = [], env = {}, ready, reset }: ServerOrder): Promise<Server> {
  if (!isInstalled([name])) throw new Error(`Cannot start ${name}: ${installation()} is absent (npm run servers)`)
  const tmp = mkdtempSync(join(tmpdir(), `encx-${name}-`))
  // Isolated from the machine's Python settings, unbuffered because its port is read from its log.
  const child = spawn(python(name), ["-I", "-u", RUN, module, ...args], {
    cwd: tmp,
    env: { ...cleanEnvironment(tmp), ...env },
    stdio: ["pipe", "pipe", "pipe"],
    windowsHide: true,
  })
  const log = logOf(child)
  const close = closer(child, tmp)
  try {
    const port = await until(() => LISTENS.exec(log())?.[1], child, name, log)
    const url = `http://127.0.0.1:${port}`
    await until(async () => (await status(`${url}${ready}`)) === 200 || undefined, child, name, log)
    letGo(child)
    const empty = async (): Promise<void> => {
      const answer = await status(`${url}${reset}`, "POST")
      if (answer !== 200) throw new Error(`Cannot empty ${name}: it answered ${answer}`)
    }
    return { url, port: Number(port), pid: child.pid as number, reset: empty, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Nothing of the caller's: no credentials that could reach an emulator, no settings that could change one. */
function cleanEnvironment(tmp: string): Record<string, string> {
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

async function until<Result>(
  look: () => Result | undefined | Promise<Result | undefined>,
  child: ChildProcess,
  name: string,
  log: () => string,
): Promise<Result> {
  for (const start = performance.now(); performance.now() - start < START_LIMIT_MS; await sleep(POLL_MS)) {
    const ended = child.pid === undefined || child.exitCode !== null || child.signalCode !== null
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

function closer(child: ChildProcess, tmp: string): () => Promise<void> {
  // Nothing that they hold outlives them, so there is nothing to end in order.
  const kill = (): void => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL")
  }
  const clean = (): void => rmSync(tmp, { recursive: true, force: true, maxRetries: 5 })
  const atExit = (): void => {
    kill()
    clean()
  }
  process.on("exit", atExit)
  let closing: Promise<void> | undefined
  return () => {
    closing ??= (async () => {
      process.off("exit", atExit)
      const gone = child.pid === undefined || child.exitCode !== null || child.signalCode !== null
      // Else the wait for its end would not keep us alive.
      child.ref()
      const exit = gone ? undefined : once(child, "exit")
      kill()
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
