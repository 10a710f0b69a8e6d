/** What people and programs read: tables, lines, JSON and errors. */
import Table from "cli-table3"
import { EncxError, InvalidConfiguration, ProviderError } from "../mod.ts"
import { codeOf, EXIT, Interrupted } from "./_errors.ts"
import { type IO, write } from "./_io.ts"

/** What every verb takes. */
export interface OutputOptions {
  readonly json?: boolean
}

/** Gives a result: `value` to programs under --json, `text` to people. */
export async function printResult(
  io: IO,
  { json = false }: OutputOptions,
  value: unknown,
  text: () => string,
): Promise<void> {
  const line = json ? JSON.stringify(value) : text()
  if (line !== "") await write(io.stdout, `${line}\n`)
}

/** A table without lines, as other commands print them. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = new Table({
    head: head.map(printable),
    style: { head: [], border: [], "padding-left": 0, "padding-right": 2 },
    chars: BLANK,
  })
  lines.push(...rows.map((row) => row.map(printable)))
  return lines
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n")
}

const EDGES = [
  "top",
  "top-mid",
  "top-left",
  "top-right",
  "bottom",
  "bottom-mid",
  "bottom-left",
  "bottom-right",
] as const
const INSIDE = ["left", "left-mid", "mid", "mid-mid", "right", "right-mid", "middle"] as const
const BLANK = Object.fromEntries([...EDGES, ...INSIDE].map((part) => [part, ""]))

/** Text of others on a terminal: control characters could move its cursor or hide what follows. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}|[\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, (sign) => {
    return SHORT[sign] ?? `\\u{${sign.codePointAt(0)?.toString(16)}}`
  })
}
const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

/** A count with its noun. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`
}

// --- Errors ---

// The library's hints are for programs; here is what to type. A service that is elsewhere knows better what it lacks.
const OURS: readonly string[] = ["local", "memory"]
const HINTS: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  KEY_NOT_FOUND: "create one: encx keys create; or name another: --kms, --alias",
  UNINITIALIZED_PEPPER: "create them: encx pepper init; or name others: --secrets, --pepper-alias",
  SECRET_NOT_FOUND: "create it: encx pepper init; or name another: --secrets, --pepper-alias",
  KEY_NOT_ALLOWED: "it was sealed with another key: name that one with --kms and --alias",
})

interface Failure {
  readonly code: string
  readonly message: string
  readonly hint: string | undefined
  readonly exit: number
}

/** Tells a failure and gives the exit code. */
export async function report(error: unknown, json: boolean, io: IO): Promise<number> {
  const { code, message, hint, exit } = explain(error, io.signal)
  const text = `encx: ${printable(message)}\n${hint === undefined ? "" : `  ${printable(hint)}\n`}`
  const debug = io.env.ENCX_DEBUG && error instanceof Error ? `${error.stack ?? error}\n` : ""
  try {
    if (json)
      await write(
        io.stdout,
        `${JSON.stringify({ error: { code, message, ...(hint === undefined ? {} : { hint }) } })}\n`,
      )
    else await write(io.stderr, text)
    if (debug) await write(io.stderr, debug)
  } catch {
    // An output that cannot be written cannot be told there; the other may do, and the exit code tells.
    await write(io.stderr, text).catch(() => undefined)
  }
  return exit
}

function explain(error: unknown, signal: AbortSignal): Failure {
  if (signal.aborted) {
    const exit = signal.reason instanceof Interrupted ? signal.reason.exitCode : EXIT.interrupted
    if (codeOf(error) === "INCOMPLETE")
      return { code: "INTERRUPTED", message: "interrupted", hint: hintOf(error), exit }
    return { code: "INTERRUPTED", message: "interrupted; what is there is whole", hint: undefined, exit }
  }
  if (error instanceof EncxError) {
    const exit = error.code === "USAGE" ? EXIT.usage : EXIT.failed
    return { code: error.code, message: messageOf(error), hint: hintOf(error), exit }
  }
  return { code: codeOf(error) ?? "UNKNOWN", message: messageOf(error), hint: hintOf(error), exit: EXIT.failed }
}

/** What an error says. */
export function messageOf(error: unknown): string {
  if (error instanceof InvalidConfiguration) return error.problems.join("; ")
  return error instanceof Error ? error.message : String(error)
}

/** What to do about it. */
export function hintOf(error: unknown): string | undefined {
  if (!(error instanceof EncxError)) return "ENCX_DEBUG=1 shows where"
  if (error instanceof ProviderError && !OURS.includes(error.provider) && error.hint !== undefined) return error.hint
  return HINTS[error.code] ?? error.hint
}
