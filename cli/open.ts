/** `encx open`: an envelope becomes a file again. */
import type { Command } from "commander"
import { natural, verb, withContext, withServices } from "./_command.ts"
import { usage } from "./_errors.ts"
import { checkOutput, isRegular, STDIO } from "./_files.ts"
import type { IO } from "./_io.ts"
import { count, printResult } from "./_output.ts"
import { PIPES } from "./_pipe.ts"
import { withProgress } from "./_progress.ts"
import { withCrypto } from "./_services.ts"
import { type CatOptions, unseal } from "./cat.ts"
import { EXTENSION } from "./seal.ts"

interface OpenOptions extends CatOptions {
  readonly workers?: number
}

/** The verb. */
export function openVerb(io: IO): Command {
  const command = verb(
    "open",
    "Open a sealed file of any size. The file that is written appears when all of it is authentic; only you may read it.",
    [`encx open report.pdf${EXTENSION}`, `encx open photos.tar${EXTENSION} -o - | tar -x`],
  )
  return withContext(withServices(command))
    .argument("<FILE>", "what to open; - is standard input")
    .option("-o, --output <FILE>", `where to write it; - is standard output (default: FILE without ${EXTENSION})`)
    .option("--force", "replace an existing file")
    .option(
      "--workers <N>",
      "threads beside the first, for a file into a file (default: what its size is worth)",
      natural,
    )
    .addHelpText("after", PIPES)
    .action((file: string, options: OpenOptions) => open(io, file, options))
}

async function open(io: IO, file: string, options: OpenOptions): Promise<void> {
  const { context, force = false, workers } = options
  const { signal } = io
  const output = options.output ?? defaultOutput(file)
  if (output === STDIO && options.json)
    throw usage("Cannot print JSON and the file to one output", "name a file: -o FILE")
  const byPlace = (await isRegular(file)) && output !== STDIO
  await checkOutput(output, force)
  await withCrypto(io, options, "keys", async (crypto) => {
    const bytes = await withProgress(io, "Opening", output, async (onProgress) => {
      if (!byPlace) return await unseal(io, crypto, file, output, options, onProgress)
      const how = { overwrite: force, onProgress, signal, ...(workers !== undefined && { workers }) }
      return (await crypto.openFile(file, output, context, how)).bytesWritten
    })
    if (output === STDIO) return
    const result = { input: file, output, bytes }
    await printResult(io, options, result, () => `Opened ${file} into ${output} (${count(bytes, "byte")}).`)
  })
}

function defaultOutput(file: string): string {
  if (file === STDIO) return STDIO
  if (file.endsWith(EXTENSION) && file.length > EXTENSION.length) return file.slice(0, -EXTENSION.length)
  throw usage(`Cannot tell where to write: "${file}" does not end in ${EXTENSION}`, "say it: -o FILE")
}
