/** What the verbs have in common: how they are declared and how their options are read. */
import { Command } from "commander"
import { CsvError, parse } from "csv-parse/sync"
import type { Context } from "../mod.ts"
import { usage } from "./_errors.ts"

/** A verb, with the option that all have. */
export function verb(name: string, summary: string, examples: readonly string[]): Command {
  // What begins with a blank goes on from the line before.
  const shown = examples.map((each) => (each.startsWith(" ") ? `    ${each}` : `  $ ${each}`)).join("\n")
  return new Command(name)
    .summary(summary.split(".")[0] as string)
    .description(summary)
    .option("--json", "print JSON for programs")
    .addHelpText("after", `\nExample:\n${shown}`)
}

/** The options that say which keys: see `openServices`. */
export function withServices(command: Command): Command {
  return command
    .option("--kms <uri>", "the KMS [ENCX_KMS] (default: local:// with ~/.encx/keys.json)")
    .option("--alias <name>", "the key in it [ENCX_KEK_ALIAS] (default: what the URI names, or default)")
}

/** The options that say which pepper and index root. */
export function withSecrets(command: Command): Command {
  return withServices(command)
    .option("--secrets <uri>", "the secret store [ENCX_SECRETS] (default: the KMS, where it keeps secrets)")
    .option("--pepper-alias <name>", "the pepper in it [ENCX_PEPPER_ALIAS] (default: the key's alias)")
}

/** The context of an envelope. */
export function withContext(command: Command): Command {
  return command.option(
    "--context <key=value>",
    "bound to the data, and needed again to open it (repeatable)",
    pair,
    {},
  )
}

function pair(text: string, before: Context): Context {
  const at = text.indexOf("=")
  if (at < 1) throw usage(`Cannot read --context "${text}": it is not key=value`)
  const key = text.slice(0, at)
  if (Object.hasOwn(before, key)) throw usage(`Cannot read --context: "${key}" stands there twice`)
  return Object.fromEntries([...Object.entries(before), [key, text.slice(at + 1)]])
}

/** Names with commas between them, quoted as in a CSV file where a name holds a comma; a repeated option adds. */
export function names(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...rowOf(text).filter((name) => name !== "")]
}

function rowOf(text: string): readonly string[] {
  try {
    const [row = [], ...others] = parse(text, { trim: true, relax_quotes: true }) as string[][]
    if (others.length === 0) return row
  } catch (error) {
    if (!(error instanceof CsvError)) throw error
  }
  throw usage(`Cannot read "${text}": it is not names with commas between them`, "quote a name as in a CSV file")
}

/** What stands between cells; a tab may be written `\t`. */
export function delimiter(text: string): string {
  const sign = text === "\\t" ? "\t" : text
  if (/^[^"\r\n]+$/.test(sign)) return sign
  throw usage(`Cannot use the delimiter "${text}": it is empty, or a quote or a line break`)
}

/** A whole number from 1. */
export const positive = (text: string): number => whole(text, 1, "a whole number from 1")

/** A whole number from 0. */
export const natural = (text: string): number => whole(text, 0, "a whole number from 0")

/** A whole number. */
export const integer = (text: string): number => whole(text, Number.MIN_SAFE_INTEGER, "a whole number")

function whole(text: string, least: number, name: string): number {
  const number = text.trim() === "" ? Number.NaN : Number(text)
  if (!Number.isSafeInteger(number) || number < least) throw usage(`Cannot use "${text}": it is not ${name}`)
  return number
}
