/**
 * Files into envelopes.
 *
 * @module
 */
import { concat } from "../bytes.ts"
import { HEADER, sealedSize } from "../cipher/chunks.ts"
import { beginMessage } from "../cipher/cobblestone.ts"
import { type Context, encodeContext } from "../cipher/context.ts"
import { bodyContext } from "../cipher/envelope.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import type { FileOptions, FileResult } from "../stream-types.ts"
import { convert } from "./convert.ts"

const NO_PAIRS = 2

/** Seals a file. @internal */
export async function sealFile(
  dataKeys: DataKeys,
  source: string | URL,
  target: string | URL,
  context: Context | undefined,
  options: FileOptions,
): Promise<FileResult> {
  const encoded = encodeContext(context)
  const hasContext = encoded.length > NO_PAIRS
  return await convert(source, target, options, async ({ size }) => {
    return await dataKeys.seal("envelope", { messages: 1, bytes: size }, options, (key) => {
      const header = key.header(hasContext)
      const { head, keys } = beginMessage(key.dek.messages, bodyContext({ dekID: key.dek.id, hasContext }, encoded))
      const sealedBytes = header.length + sealedSize(size)
      const job = { verb: "seal", plainBytes: size, sealedBytes, chunksAt: header.length + HEADER } as const
      return { job, keys, head: concat(header, head) }
    })
  })
}
