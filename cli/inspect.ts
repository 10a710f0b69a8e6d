/** `encx inspect`: what an envelope tells without a key. */
import type { Command } from "commander"
import { openSource, rangeOf } from "../core/files/source.ts"
import { type Inspection, inspectEnvelope } from "../mod.ts"
import { verb } from "./_command.ts"
import { isRegular, reading, untilAborted } from "./_files.ts"
import type { IO } from "./_io.ts"
import { count, type OutputOptions, printResult, table } from "./_output.ts"

/** The verb. */
export function inspectVerb(io: IO): Command {
  return verb("inspect", "Show which keys open a sealed file. No key is needed, and nothing of it is proven.", [
    "encx inspect report.pdf.encx",
  ])
    .argument("<FILE>", "a sealed file; - is standard input")
    .action(async (file: string, options: OutputOptions) => {
      const { head, size } = (await isRegular(file))
        ? await headOfFile(file)
        : await untilAborted(headOf(reading(io, file, () => undefined)), io.signal)
      const inspection = inspectEnvelope(head, size)
      await printResult(io, options, inspection, () => describe(inspection))
    })
}

/** The longest header, and more. */
const HEAD_BYTES = 33 * 1024

interface Head {
  readonly head: Uint8Array
  /** Bytes of the whole. */
  readonly size: number
}

async function headOfFile(path: string): Promise<Head> {
  const file = await openSource(path)
  try {
    return { head: await rangeOf(file).read(0, Math.min(file.size, HEAD_BYTES)), size: file.size }
  } finally {
    await file.handle.close()
  }
}

async function headOf(pieces: AsyncIterable<Uint8Array>): Promise<Head> {
  const head = new Uint8Array(HEAD_BYTES)
  let size = 0
  for await (const piece of pieces) {
    if (size < HEAD_BYTES) head.set(piece.subarray(0, HEAD_BYTES - size), size)
    size += piece.length
  }
  return { head: head.subarray(0, size), size }
}

function describe({ version, suite, dekID, hasContext, keys, bodyBytes, plainBytes }: Inspection): string {
  const facts = [
    ["format", `envelope, version ${version}`],
    ["suite", suite],
    ["data key", dekID],
    ["context", hasContext ? "needed to open it" : "none"],
    ["body", count(bodyBytes, "byte")],
    ["plaintext", plainBytes === undefined ? "none: the body is cut short" : count(plainBytes, "byte")],
  ]
  const rows = keys.map((key) => [key.provider, key.keyID, String(key.version), String(key.wrappedBytes)])
  const opened =
    rows.length === 0
      ? "It holds no key: its data key is kept elsewhere."
      : table(["provider", "key", "version", "wrapped bytes"], rows)
  return `${table([], facts)}\n\n${opened}`
}
