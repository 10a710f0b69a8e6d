/** `encx seal`: a file becomes an envelope. */
import type { Command } from "commander"
import type { Context } from "../mod.ts"
import { natural, verb, withContext, withServices } from "./_command.ts"
import { usage } from "./_errors.ts"
import { checkOutput, isRegular, reading, STDIO, writing } from "./_files.ts"
import type { IO } from "./_io.ts"
import { count, type OutputOptions, printResult } from "./_output.ts"
import { pipe } from "./_pipe.ts"
import { withProgress } from "./_progress.ts"
import { type ServiceOptions, withCrypto } from "./_services.ts"

/** What a sealed file's name ends in. */
export const EXTENSION = ".encx"

interface SealOptions extends ServiceOptions, OutputOptions {
  readonly output?: string
  readonly context: Context
  readonly force?: boolean
  readonly workers?: number
}

/** The verb. */
export function sealVerb(io: IO): Command {
  const command = verb("seal", "Seal a file of any size. The file itself stays.", [
    "encx seal report.pdf",
    "encx seal report.pdf --context tenant=acme -o sealed/report.encx",
    "pg_dump app | encx seal - > app.sql.encx",
  ])
  return withContext(withServices(command))
    .argument("<FILE>", "what to seal; - is standard input")
    .option("-o, --output <FILE>", `where to write it; - is standard output (default: FILE${EXTENSION})`)
    .option("--force", "replace an existing file")
    .option(
      "--workers <N>",
      "threads beside the first, for a file into a file (default: what its size is worth)",
      natural,
    )
    .addHelpText("after", KILLED)
    .action((file: string, options: SealOptions) => seal(io, file, options))
}

const KILLED = `
The output gets its name when all of it is on the disk. A run that is killed
leaves a part beside it, OUTPUT.<16 hex digits>.tmp, which can be removed.`

async function seal(io: IO, file: string, options: SealOptions): Promise<void> {
  const { context, force = false, workers } = options
  const { signal } = io
  const output = options.output ?? (file === STDIO ? STDIO : `${file}${EXTENSION}`)
  if (output === STDIO && options.json)
    throw usage("Cannot print JSON and the envelope to one output", "name a file: -o FILE")
  if (output === STDIO && io.stdout.isTTY)
    throw usage("Cannot write an envelope to a terminal: it is binary", "name a file: -o FILE")
  const byPlace = (await isRegular(file)) && output !== STDIO
  await checkOutput(output, force)
  const incomplete = "what was written before is a part of an envelope, and does not open: remove it"
  await withCrypto(io, options, "keys", async (crypto) => {
    const bytes = await withProgress(io, "Sealing", output, async (onProgress) => {
      if (!byPlace)
        return await writing(io, output, { force, incomplete }, (put) =>
          pipe(reading(io, file, onProgress), crypto.encryptStream(context, { signal }), put),
        )
      const how = { overwrite: force, onProgress, signal, ...(workers !== undefined && { workers }) }
      return (await crypto.sealFile(file, output, context, how)).bytesWritten
    })
    if (output === STDIO) return
    const result = { input: file, output, bytes }
    await printResult(io, options, result, () => `Sealed ${file} into ${output} (${count(bytes, "byte")}).`)
  })
}
