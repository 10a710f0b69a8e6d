/** A server that is told its port, and that a small supervisor ends with whoever started it. */
import { type ChildProcess, spawn } from "node:child_process"
import { randomInt } from "node:crypto"
import { chmodSync, chownSync } from "node:fs"
import { createServer } from "node:net"
import process from "node:process"
import { fileURLToPath } from "node:url"
import type { ServerName } from "./_installation.ts"
import { cleanEnvironment, makeFolder, type Running, removeFolder, requireInstalled, startProcess } from "./_process.ts"

/** What a server is started in. */
export interface Place {
  /** A folder of its own. */
  readonly tmp: string
  /** The first of as many ports as were asked for, one after the other. */
  readonly port: number
}

/** What is started there. */
export interface NativeOrder<Result> {
  readonly command: string
  readonly args: readonly string[]
  /** The signal that ends it and all that it has started. */
  readonly signal: "INT" | "KILL" | "QUIT" | "TERM"
  /** What is known of it once it is ready; it must be sure that nobody else answers at its port. */
  ready(running: Running): Promise<Result>
}

/** A server that runs. */
export interface Native<Result> {
  readonly port: number
  readonly pid: number
  readonly ready: Result
  close(): Promise<void>
}

const RUN = fileURLToPath(new URL("_run.sh", import.meta.url))
const PROCESS = /^process (\d+)$/m
const PORT_TAKEN = /address already in use|could not bind|bind on TCP\/IP port/i
const TRIES = 5
// Below the ports that systems give to outgoing connections, which may come between our look at it and the server's.
const PORTS = [10_000, 32_000] as const
// «nobody», which every system has.
const UNPRIVILEGED = 65_534

/**
 * Starts a server on free ports; where another program takes one of them first, on others.
 *
 * @throws {Error} when it is not installed, ends at once, or is not ready in time
 */
export async function startNative<Result>(
  name: ServerName,
  prepare: (place: Place) => Promise<NativeOrder<Result>>,
  { ports = 1 }: { readonly ports?: number } = {},
): Promise<Native<Result>> {
  requireInstalled(name)
  for (let left = TRIES; ; left--) {
    try {
      return await startOnce(name, prepare, await freePorts(ports))
    } catch (error) {
      if (left === 1 || !PORT_TAKEN.test((error as Error).message)) throw error
    }
  }
}

async function startOnce<Result>(
  name: ServerName,
  prepare: (place: Place) => Promise<NativeOrder<Result>>,
  port: number,
): Promise<Native<Result>> {
  const tmp = makeFolder(name)
  let running: Running | undefined
  try {
    const { command, args, signal, ready } = await prepare({ tmp, port })
    running = startProcess({ name, command: "/bin/sh", args: [RUN, signal, command, ...args], tmp, ends: "end" })
    const { log, close } = running
    const pid = await running.until(() => PROCESS.exec(log())?.[1])
    const result = await ready(running)
    running.letGo()
    return { port, pid: Number(pid), ready: result, close }
  } catch (error) {
    await running?.close()
    removeFolder(tmp)
    throw error
  }
}

/** The first of some ports in a row that are free. */
async function freePorts(count: number): Promise<number> {
  for (;;) {
    const first = randomInt(PORTS[0], PORTS[1])
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(first + i)))
    if (free.every(Boolean)) return first
  }
}

function isFree(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const server = createServer()
  server.on("error", () => resolve(false))
  server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  return promise
}

// --- Without root ---

/** A command of a program that refuses to be root's: as nobody, where we are root. */
export function unprivileged(command: string, args: readonly string[]): [command: string, args: readonly string[]] {
  if (process.getuid?.() !== 0) return [command, args]
  const as = [`--reuid=${UNPRIVILEGED}`, `--regid=${UNPRIVILEGED}`, "--clear-groups"]
  return ["setpriv", [...as, command, ...args]]
}

/** Gives a folder to whom `unprivileged()` runs as. */
export function giveAway(folder: string): void {
  if (process.getuid?.() !== 0) return
  chownSync(folder, UNPRIVILEGED, UNPRIVILEGED)
  chmodSync(folder, 0o711)
}

/** Runs a program to its end, without root. @throws {Error} when it fails */
export function runUnprivileged(program: string, args: readonly string[], tmp: string, input = ""): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const child: ChildProcess = spawn(...unprivileged(program, args), {
    cwd: tmp,
    env: cleanEnvironment(tmp),
    stdio: ["pipe", "pipe", "pipe"],
  })
  let output = ""
  const add = (chunk: Uint8Array): void => {
    output = (output + new TextDecoder().decode(chunk)).slice(-4_000)
  }
  child.stdout?.on("data", add)
  child.stderr?.on("data", add)
  child.on("error", reject)
  child.on("close", (code) => (code === 0 ? resolve() : reject(new Error(`${program}: exit ${code}\n${output}`))))
  // Where it ends before it has read all, its exit code says why.
  child.stdin?.on("error", () => undefined)
  child.stdin?.end(input)
  return promise
}
