/**
 * A data key under a key-encryption key that this process holds: the providers `local`, `memory` and `env`. FORMATS §3.
 *
 * @module
 */
import { abytes, lp, u32, utf8 } from "../bytes.ts"
import { DecryptionFailed } from "../errors.ts"
import { sealedSize } from "./chunks.ts"
import { openMessage, sealMessage } from "./cobblestone.ts"
import { type Context, encodeContext } from "./context.ts"
import { type Key, labelled } from "./derive.ts"

/** The key-encryption key, and what is bound with it. */
export interface WrappingKey {
  /** 32 bytes. */
  readonly kek: Key
  /** The key's id, as it is stored with the data. */
  readonly ref: string
  /** Its version. */
  readonly version: number
}

/** Bytes of a wrapped data key. */
export const WRAPPED_DEK: number = sealedSize(32)

/**
 * Wraps 32 bytes: Cobblestone-256 under the KEK.
 *
 * @param salt new random bytes; anything else is for known-answer tests
 * @throws {RangeError} when the DEK has not 32 bytes
 */
export function wrapDEK(key: WrappingKey, kmsContext: Context, dek: Uint8Array, salt?: Uint8Array): Uint8Array {
  abytes(dek, 32, "dek")
  return sealMessage(key.kek, wrapContext(key, kmsContext), dek, undefined, salt)
}

/**
 * Unwraps what {@link wrapDEK} made.
 *
 * @throws {DecryptionFailed} when the key, its version, the context or one bit is another
 */
export function unwrapDEK(key: WrappingKey, kmsContext: Context, wrapped: Uint8Array): Uint8Array {
  const dek = wrapped.length === WRAPPED_DEK ? openMessage(key.kek, wrapContext(key, kmsContext), wrapped) : undefined
  if (dek === undefined) throw new DecryptionFailed()
  return dek
}

function wrapContext({ ref, version }: WrappingKey, kmsContext: Context): Uint8Array {
  return labelled("encx.v2.kek", lp(utf8(ref, "the key's id"), "the key's id"), u32(version), encodeContext(kmsContext))
}
