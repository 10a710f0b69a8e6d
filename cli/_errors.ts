/** How the command fails: errors of its own, and those of the system in words. */
import { EncxError } from "../mod.ts"

export { withFile } from "../core/files/system-errors.ts"
export { didYouMean } from "../providers/_spelling.ts"

/** The exit codes. */
export const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const

/** Codes of the command, beside those of the library. */
export type CommandCode =
  | "USAGE"
  | "FILE_EXISTS"
  | "INCOMPLETE"
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

/** The code that the system, a parser or a database gave an error. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === "string" ? code : undefined
}
