/** `encx seal`: a file becomes an envelope. */
import type { Command } from "commander"
import type { Context } from "../mod.ts"
import { verb, withContext, withServices } from "./_command.ts"
import { usage } from "./_errors.ts"
import { checkTarget, MAX_FILE_BYTES, readInput, STDIO, writeOutput } from "./_files.ts"
import type { IO } from "./_io.ts"
import { count, type OutputOptions, printResult } from "./_output.ts"
import { type ServiceOptions, withCrypto } from "./_services.ts"

/** What a sealed file's name ends in. */
export const EXTENSION = ".encx"

interface SealOptions extends ServiceOptions, OutputOptions {
  readonly output?: string
  readonly context: Context
  readonly force?: boolean
}

/** The verb. */
export function sealVerb(io: IO): Command {
  const command = verb("seal", "Seal a file of up to 64 MiB. The file itself stays.", [
    "encx seal report.pdf",
    "encx seal report.pdf --context tenant=acme -o sealed/report.encx",
    "pg_dump app | encx seal - > app.sql.encx",
  ])
  return withContext(withServices(command))
    .argument("<FILE>", "what to seal; - is standard input")
    .option("-o, --output <FILE>", `where to write it; - is standard output (default: FILE${EXTENSION})`)
    .option("--force", "replace an existing file")
    .action((file: string, options: SealOptions) => seal(io, file, options))
}

async function seal(io: IO, file: string, options: SealOptions): Promise<void> {
  const output = options.output ?? (file === STDIO ? STDIO : `${file}${EXTENSION}`)
  if (output === STDIO && options.json)
    throw usage("Cannot print JSON and the envelope to one output", "name a file: -o FILE")
  if (output === STDIO && io.stdout.isTTY)
    throw usage("Cannot write an envelope to a terminal: it is binary", "name a file: -o FILE")
  await checkTarget(output, options.force ?? false)
  await withCrypto(io, options, "keys", async (crypto) => {
    const plaintext = await readInput(io, file, MAX_FILE_BYTES)
    const envelope = await crypto.seal(plaintext, options.context, { signal: io.signal })
    plaintext.fill(0)
    await writeOutput(io, output, envelope, options.force ?? false)
    if (output === STDIO) return
    const result = { input: file, output, bytes: envelope.length }
    await printResult(io, options, result, () => `Sealed ${file} into ${output} (${count(envelope.length, "byte")}).`)
  })
}
