/** How the command fails: errors of its own, and those of the system in words. */
import { EncxError } from "../mod.ts"

/** The exit codes. */
export const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const

/** Codes of the command, beside those of the library. */
export type CommandCode =
  | "USAGE"
  | "FILE_NOT_FOUND"
  | "FILE_EXISTS"
  | "FILE_ERROR"
  | "INVALID_CSV"
  | "DATABASE_ERROR"
  | "TABLE_NOT_FOUND"
  | "TABLE_EXISTS"
  | "DEFINITION_CHANGED"
  | "ROWS_DAMAGED"
  | "CHECK_FAILED"
  | "PEPPER_WOULD_BE_LOST"

/** A failure that the command itself found. */
export class CommandError extends EncxError {
  override readonly code: CommandCode

  constructor(code: CommandCode, message: string, options: { hint?: string | undefined; cause?: unknown } = {}) {
    super(message, options)
    this.code = code
  }
}

/** The user asked for something that does not fit: exit code 2. */
export function usage(message: string, hint?: string): CommandError {
  return new CommandError("USAGE", message, { hint })
}

/** Ctrl-C, or a polite kill; the shell's convention is 128 and the number of the signal. */
export class Interrupted extends Error {
  readonly exitCode: number

  constructor(exitCode: number = EXIT.interrupted) {
    super("interrupted")
    this.name = "AbortError"
    this.exitCode = exitCode
  }
}

/** What went wrong was told already, in the result itself; only the exit code is left to give. */
export class Told extends Error {
  readonly exitCode: number

  constructor(exitCode: number = EXIT.failed) {
    super("told")
    this.exitCode = exitCode
  }
}

const SYSTEM: Readonly<Record<string, readonly [CommandCode, string]>> = Object.assign(Object.create(null), {
  ENOENT: ["FILE_NOT_FOUND", "there is no such file or folder"],
  EACCES: ["FILE_ERROR", "permission denied"],
  EPERM: ["FILE_ERROR", "it is not permitted"],
  EISDIR: ["FILE_ERROR", "it is a folder"],
  ENOTDIR: ["FILE_ERROR", "a part of its path is not a folder"],
  EEXIST: ["FILE_EXISTS", "it exists already"],
  ENOSPC: ["FILE_ERROR", "the disk is full"],
  EROFS: ["FILE_ERROR", "the disk is read-only"],
})

/** The code that the system, a parser or a database gave an error. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === "string" ? code : undefined
}

/** Runs, and says what the system refused, of which file. */
export async function withFile<Result>(verb: string, path: string, run: () => Promise<Result>): Promise<Result> {
  try {
    return await run()
  } catch (error) {
    const known = error instanceof EncxError ? undefined : SYSTEM[codeOf(error) ?? ""]
    if (!known) throw error
    throw new CommandError(known[0], `Cannot ${verb} "${path}": ${known[1]}`, { cause: error })
  }
}

/** The name among `known` that a misspelt one most likely means. */
export function didYouMean(name: string, known: readonly string[]): string | undefined {
  const near = known.map((each) => ({ each, edits: distance(name.toLowerCase(), each.toLowerCase()) }))
  const best = near.sort((a, b) => a.edits - b.edits)[0]
  const allowed = name.length < 4 ? 1 : Math.max(2, Math.floor(name.length / 3))
  return best && best.edits <= allowed ? `did you mean "${best.each}"?` : undefined
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      next.push(Math.min((row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1, (row[j] ?? 0) + (b[j] === letter ? 0 : 1)))
    }
    row = next
  }
  return row[b.length] ?? 0
}
