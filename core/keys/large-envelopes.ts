/**
 * Envelopes of large values, where chunks are better left to calls in flight: on Deno. The bytes are those of `envelopes.ts`.
 *
 * @module
 */
import { copyOf, memory, wipe } from "../bytes.ts"
import { openChunksLater, sealChunksLater } from "../cipher/bulk.ts"
import { HEADER, sealedSize } from "../cipher/chunks.ts"
import { keysOfMessage } from "../cipher/cobblestone.ts"
import type { ParsedEnvelope } from "../cipher/envelope.ts"
import { DecryptionFailed } from "../errors.ts"
import type { DataKeys } from "./data-keys.ts"
import { beginEnvelope } from "./envelope-body.ts"
import type { SealOptions } from "./envelopes.ts"

/** Seals a large value into an envelope. @internal */
export async function sealLarge(
  dataKeys: DataKeys,
  plaintext: Uint8Array,
  encodedContext: Uint8Array,
  options: SealOptions,
): Promise<Uint8Array> {
  // The caller may change its bytes while chunks wait for their turn.
  const own = copyOf(plaintext)
  try {
    const use = { messages: 1, bytes: own.length }
    const { head, keys } = await dataKeys.seal("envelope", use, options, (key) => beginEnvelope(key, encodedContext))
    const sealed = memory(head.length - HEADER + sealedSize(own.length))
    sealed.set(head)
    await sealChunksLater(keys, 0, own, true, sealed, head.length)
    return sealed
  } finally {
    wipe(own)
  }
}

/** Opens the envelope of a large value. Nothing is returned unless all of it authenticates. @internal */
export async function openLarge(
  dataKeys: DataKeys,
  parsed: ParsedEnvelope,
  binding: readonly Uint8Array[],
  options: SealOptions,
): Promise<Uint8Array> {
  const body = copyOf(parsed.body)
  const keys = await dataKeys.open(parsed, options, (dek) => keysOfMessage(dek.messages, binding, body))
  const { plaintext, isWhole } = await openChunksLater(keys, 0, body.subarray(HEADER), true)
  if (isWhole) return plaintext
  wipe(plaintext)
  throw new DecryptionFailed()
}
