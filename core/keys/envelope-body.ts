/**
 * Where the body of an envelope begins, for those who take its chunks one by one: a new one under a data key, and the keys of one that is
 * there. FORMATS §1, §3.
 *
 * @module
 */
import { concat } from "../bytes.ts"
import { HEADER, type MessageKeys } from "../cipher/chunks.ts"
import { type Begun, beginMessage, keysOfMessage } from "../cipher/cobblestone.ts"
import { hasPairs } from "../cipher/context.ts"
import { bodyContext, headerLength, parseHeader } from "../cipher/envelope.ts"
import { DecryptionFailed, InvalidFormat } from "../errors.ts"
import type { DataKeys } from "./data-keys.ts"
import type { SealingKey } from "./dek.ts"
import type { SealOptions } from "./envelopes.ts"

/** Begins an envelope: all that stands before its first chunk, and the keys of its chunks. */
export function beginEnvelope(key: SealingKey, encodedContext: Uint8Array): Begun {
  const hasContext = hasPairs(encodedContext)
  const { head, keys } = beginMessage(key.dek.messages, bodyContext({ dekID: key.dek.id, hasContext }, encodedContext))
  return { head: concat(key.header(hasContext), head), keys }
}

/**
 * How many bytes stand before the first chunk, as far as the beginning tells: never too many, and all of them when it is no shorter
 * than that.
 *
 * @throws {InvalidFormat} when no envelope begins so
 */
export function lengthBeforeChunks(beginning: Uint8Array): number {
  return headerLength(beginning) + HEADER
}

/**
 * The keys of an envelope's chunks, from all that stands before them.
 *
 * @throws {InvalidFormat} when it is no envelope
 * @throws {DecryptionFailed} when the context is another
 */
export async function keysOfEnvelope(
  dataKeys: DataKeys,
  head: Uint8Array,
  encodedContext: Uint8Array,
  options: SealOptions,
): Promise<MessageKeys> {
  const { body, ...header } = parseHeader(head)
  if (body.length < HEADER) throw new InvalidFormat("Cannot read an envelope: its body is cut short")
  if (header.hasContext !== hasPairs(encodedContext)) throw new DecryptionFailed()
  const binding = bodyContext(header, encodedContext)
  return await dataKeys.open(header, options, (dek) => keysOfMessage(dek.messages, binding, body))
}
