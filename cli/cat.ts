/** `encx cat`: what is sealed, or a part of it, to standard output. */
import type { Command } from "commander"
import { type ByteRange, type Context, type Crypto, httpRange, type OnProgress } from "../mod.ts"
import { integer, natural, verb, withContext, withServices } from "./_command.ts"
import { usage } from "./_errors.ts"
import { checkOutput, isRegular, reading, STDIO, writing } from "./_files.ts"
import type { IO } from "./_io.ts"
import { count, type OutputOptions, printResult } from "./_output.ts"
import { INCOMPLETE, PIPES, pipe, putPart } from "./_pipe.ts"
import { withProgress } from "./_progress.ts"
import { type ServiceOptions, withCrypto } from "./_services.ts"

/** What the two verbs that open take. */
export interface CatOptions extends ServiceOptions, OutputOptions {
  readonly output?: string
  readonly context: Context
  readonly force?: boolean
  /** Which plain bytes. */
  readonly range?: ByteRange
}

interface PartOptions extends CatOptions {
  readonly offset?: number
  readonly length?: number
}

/** The verb. */
export function catVerb(io: IO): Command {
  const command = verb("cat", "Print what is sealed, or a part of it: no more is read than that needs.", [
    "encx cat notes.txt.encx",
    "encx cat app.log.encx --range -10000",
    "encx cat https://files.example.org/disk.img.encx --range 0-511 -o boot.img",
  ])
  return withContext(withServices(command))
    .argument("<FILE|URL>", "a sealed file, or its http(s) address; - is standard input")
    .option("--range <FROM-TO>", "which bytes, from 0, both included: 0-99; 100- is the rest, -50 the last 50", range)
    .option("--offset <N>", "the first byte, from 0; a negative one counts from the end", integer)
    .option("--length <N>", "how many bytes, if there are so many", natural)
    .option("-o, --output <FILE>", "where to write it; - is standard output", STDIO)
    .option("--force", "replace an existing file")
    .addHelpText("after", PIPES)
    .addHelpText("after", SERVERS)
    .action((file: string, options: PartOptions) => cat(io, file, options))
}

const SERVERS = `
A server must answer requests for ranges. For one that does not:
  $ curl -sS URL | encx open -`

async function cat(io: IO, file: string, options: PartOptions): Promise<void> {
  const { output = STDIO, force = false, offset, length } = options
  if (output === STDIO && options.json)
    throw usage("Cannot print JSON and the file to one output", "name a file: -o FILE")
  if (options.range && (offset !== undefined || length !== undefined))
    throw usage("Cannot use --range with --offset or --length: they say the same", "give one or the other")
  const part = offset === undefined && length === undefined ? {} : { range: byteRange(offset, length) }
  if (!URL_OF_SERVER.test(file)) await isRegular(file)
  await checkOutput(output, force)
  await withCrypto(io, options, "keys", async (crypto) => {
    const bytes = await withProgress(io, "Reading", output, (onProgress) =>
      unseal(io, crypto, file, output, { ...options, ...part }, onProgress),
    )
    if (output === STDIO) return
    const input = shown(file)
    await printResult(io, options, { input, output, bytes }, () => `Wrote ${count(bytes, "byte")} into ${output}.`)
  })
}

/** Writes what is sealed, or a part of it. */
export async function unseal(
  io: IO,
  crypto: Crypto,
  file: string,
  output: string,
  { context, force = false, range }: CatOptions,
  onProgress: OnProgress,
): Promise<number> {
  const { signal } = io
  const isURL = URL_OF_SERVER.test(file)
  const hasPlaces = isURL || (await isRegular(file))
  if (range && !hasPlaces)
    throw usage(`Cannot read a part of "${file}": it comes as a stream`, "write it to a file first, or take the whole")
  return await writing(io, output, { force, incomplete: INCOMPLETE }, (put) =>
    hasPlaces
      ? putPart(crypto, isURL ? httpRange(file) : file, range ?? {}, { context, onProgress, signal }, put)
      : pipe(reading(io, file, onProgress), crypto.decryptStream(context, { signal }), put),
  )
}

const URL_OF_SERVER = /^https?:\/\//i

// A query may hold a signature.
const shown = (file: string): string => (URL_OF_SERVER.test(file) ? file.replace(/[?#].*$/s, "") : file)

const byteRange = (offset = 0, length?: number): ByteRange => ({ offset, ...(length !== undefined && { length }) })

/** A range as HTTP writes it: RFC 9110 §14.1.2. */
function range(text: string): ByteRange {
  const [, first = "", last = ""] = /^(\d{0,15})-(\d{0,15})$/.exec(text) ?? []
  const [from, to] = [Number(first), Number(last)]
  if (first !== "" && last === "") return { offset: from }
  if (first !== "" && from <= to) return { offset: from, length: to - from + 1 }
  if (first === "" && to > 0) return { offset: -to }
  throw usage(
    `Cannot use --range "${text}": it is none`,
    "0-99 are the first 100 bytes, 100- the rest, -50 the last 50",
  )
}
