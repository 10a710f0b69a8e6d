/** What every installer needs: a command run to its end, and a folder that is whole or absent. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import process from "node:process"

/** Says how far an installer is. */
export type Say = (progress: string) => void

export interface RunOptions {
  readonly cwd?: string
  /** Instead of ours. */
  readonly env?: NodeJS.ProcessEnv
  /** What a failure may come of. */
  readonly hint?: string
  /** Told each line that it says. */
  line?(line: string): void
}

const TIME_LIMIT_MS = 20 * 60_000
const PARTIAL = ".partial-"
const STALE_MS = 60 * 60_000

const running = new Set<ChildProcess>()
const partials = new Set<string>()

/** Runs a command to its end. @throws {Error} when it fails, with the last that it said */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<void> {
  const { cwd, env = process.env, hint, line } = options
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const child = spawn(command, args, {
    env,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: TIME_LIMIT_MS,
    ...(cwd === undefined ? {} : { cwd }),
  })
  running.add(child)
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    let rest = ""
    stream.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-4_000)
      const lines = (rest + text).split("\n")
      rest = lines.pop() ?? ""
      for (const each of lines) line?.(each)
    })
  }
  child.on("error", (error) => {
    running.delete(child)
    reject(error)
  })
  child.on("close", (code, signal) => {
    running.delete(child)
    if (code === 0) return resolve()
    const end = signal === null ? `exit ${code}` : signal
    reject(new Error(`${command} ${args.join(" ")}: ${end}${hint ? `; ${hint}` : ""}\n${output.trim()}`))
  })
  return promise
}

/** Ends what runs, and takes away what is not whole; for when we are ended ourselves. */
export function discard(): void {
  for (const child of running) child.kill("SIGKILL")
  for (const partial of partials) remove(partial)
}

/**
 * Lends a folder beside the one to be, on the same file system, and then puts it in its place.
 *
 * @param isWhole whether what is to be in the folder is there
 */
export async function makeWhole(
  folder: string,
  isWhole: () => boolean,
  fill: (into: string) => Promise<void>,
): Promise<void> {
  await withPartial(folder, async (into) => {
    await fill(into)
    // Of two installs at once one is first, and the other finds its work done.
    if (isWhole()) return
    // Whole when it was put there, so something that it pointed to has gone since.
    remove(folder)
    try {
      renameSync(into, folder)
    } catch (error) {
      if (!isWhole()) throw error
    }
  })
}

/** Lends a folder beside a path, and takes it away. */
export async function withPartial(path: string, use: (partial: string) => Promise<void>): Promise<void> {
  const partial = prepare(path)
  partials.add(partial)
  try {
    await use(partial)
  } finally {
    remove(partial)
    partials.delete(partial)
  }
}

/** Those that an end by force left behind go. */
function prepare(path: string): string {
  const parent = dirname(path)
  try {
    mkdirSync(parent, { recursive: true })
    for (const name of readdirSync(parent).filter((each) => each.includes(PARTIAL))) {
      const left = join(parent, name)
      // Another's may go between the two.
      const { mtimeMs = Number.POSITIVE_INFINITY } = statSync(left, { throwIfNoEntry: false }) ?? {}
      if (Date.now() - mtimeMs > STALE_MS) remove(left)
    }
    return mkdtempSync(join(parent, `${basename(path)}${PARTIAL}`))
  } catch (error) {
    throw new Error(`${parent} cannot be written (XDG_CACHE_HOME names another folder): ${(error as Error).message}`)
  }
}

function remove(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 5 })
}
