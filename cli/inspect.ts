/** `encx inspect`: what an envelope tells without a key. */
import type { Command } from "commander"
import { type Inspection, inspectEnvelope } from "../mod.ts"
import { verb } from "./_command.ts"
import { MAX_SEALED_BYTES, readInput } from "./_files.ts"
import type { IO } from "./_io.ts"
import { count, type OutputOptions, printResult, table } from "./_output.ts"

/** The verb. */
export function inspectVerb(io: IO): Command {
  return verb("inspect", "Show which keys open a sealed file. No key is needed, and nothing of it is proven.", [
    "encx inspect report.pdf.encx",
  ])
    .argument("<FILE>", "a sealed file; - is standard input")
    .action(async (file: string, options: OutputOptions) => {
      const inspection = inspectEnvelope(await readInput(io, file, MAX_SEALED_BYTES))
      await printResult(io, options, inspection, () => describe(inspection))
    })
}

function describe({ version, suite, dekID, hasContext, keys, bodyBytes }: Inspection): string {
  const facts = [
    ["format", `envelope, version ${version}`],
    ["suite", suite],
    ["data key", dekID],
    ["context", hasContext ? "needed to open it" : "none"],
    ["body", count(bodyBytes, "byte")],
  ]
  const rows = keys.map((key) => [key.provider, key.keyID, String(key.version), String(key.wrappedBytes)])
  const opened =
    rows.length === 0
      ? "It holds no key: its data key is kept elsewhere."
      : table(["provider", "key", "version", "wrapped bytes"], rows)
  return `${table([], facts)}\n\n${opened}`
}
