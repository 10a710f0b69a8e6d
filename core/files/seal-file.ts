/**
 * Files into envelopes.
 *
 * @module
 */
import { HEADER, sealedSize } from "../cipher/chunks.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import { beginEnvelope } from "../keys/envelope-body.ts"
import type { FileResult } from "../stream-types.ts"
import { convert } from "./convert.ts"
import type { Files } from "./given.ts"

/** Seals a file. @internal */
export async function sealFile(dataKeys: DataKeys, files: Files): Promise<FileResult> {
  return await convert(files, async ({ size }) => {
    return await dataKeys.seal("envelope", { messages: 1, bytes: size }, files, (key) => {
      const { head, keys } = beginEnvelope(key, files.context)
      const sealedBytes = head.length - HEADER + sealedSize(size)
      const job = { verb: "seal", plainBytes: size, sealedBytes, chunksAt: head.length } as const
      return { job, keys, head }
    })
  })
}
