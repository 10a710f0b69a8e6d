/** `encx open`: an envelope becomes a file again. */
import type { Command } from "commander"
import type { Context } from "../mod.ts"
import { verb, withContext, withServices } from "./_command.ts"
import { usage } from "./_errors.ts"
import { checkTarget, MAX_SEALED_BYTES, readInput, STDIO, writeOutput } from "./_files.ts"
import type { IO } from "./_io.ts"
import { count, type OutputOptions, printResult } from "./_output.ts"
import { type ServiceOptions, withCrypto } from "./_services.ts"
import { EXTENSION } from "./seal.ts"

interface OpenOptions extends ServiceOptions, OutputOptions {
  readonly output?: string
  readonly context: Context
  readonly force?: boolean
}

/** The verb. */
export function openVerb(io: IO): Command {
  const command = verb(
    "open",
    "Open a sealed file. Nothing is written unless all of it is genuine; only you may read what is.",
    [`encx open report.pdf${EXTENSION}`, `encx open app.sql${EXTENSION} -o - | psql app`],
  )
  return withContext(withServices(command))
    .argument("<FILE>", "what to open; - is standard input")
    .option("-o, --output <FILE>", `where to write it; - is standard output (default: FILE without ${EXTENSION})`)
    .option("--force", "replace an existing file")
    .action((file: string, options: OpenOptions) => open(io, file, options))
}

async function open(io: IO, file: string, options: OpenOptions): Promise<void> {
  const output = options.output ?? defaultOutput(file)
  if (output === STDIO && options.json)
    throw usage("Cannot print JSON and the file to one output", "name a file: -o FILE")
  await checkTarget(output, options.force ?? false)
  await withCrypto(io, options, "keys", async (crypto) => {
    const envelope = await readInput(io, file, MAX_SEALED_BYTES)
    const plaintext = await crypto.open(envelope, options.context, { signal: io.signal })
    const bytes = plaintext.length
    try {
      await writeOutput(io, output, plaintext, options.force ?? false)
    } finally {
      plaintext.fill(0)
    }
    if (output === STDIO) return
    await printResult(
      io,
      options,
      { input: file, output, bytes },
      () => `Opened ${file} into ${output} (${count(bytes, "byte")}).`,
    )
  })
}

function defaultOutput(file: string): string {
  if (file === STDIO) return STDIO
  if (file.endsWith(EXTENSION) && file.length > EXTENSION.length) return file.slice(0, -EXTENSION.length)
  throw usage(`Cannot tell where to write: "${file}" does not end in ${EXTENSION}`, "say it: -o FILE")
}
