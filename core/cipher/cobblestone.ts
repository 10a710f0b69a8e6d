/**
 * Cobblestone-256 of C2SP chunked-encryption (https://c2sp.org/chunked-encryption), one-shot. FORMATS §1.
 *
 * It commits to its key, binds a context in the derivation of a key that is new for every message, and shows truncation,
 * because the last chunk is always shorter than the others.
 *
 * @module
 */
import { createSecretKey, type KeyObject } from "node:crypto"
import { equal, randomNonce, wipe } from "../bytes.ts"
import { DecryptionFailed, LimitExceeded } from "../errors.ts"
import { openInto, sealInto, TAG } from "./aes-gcm.ts"
import { ExpandKey, type Key, labelled } from "./derive.ts"

const LABEL = labelled("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM")
/** Bytes of a salt. */
export const SALT = 24
const KEY = 32
const NONCE = 12
const COMMITMENT = 32
const DERIVED = KEY + NONCE + COMMITMENT
const HEADER = SALT + COMMITMENT
const CHUNK = 16_384
const SEALED_CHUNK = CHUNK + TAG
const MAX_CHUNKS = 2 ** 38

/** Bytes of the shortest message: that of an empty plaintext. */
export const MIN_MESSAGE: number = HEADER + TAG

/** How many bytes a message has whose plaintext has `length` bytes. */
export function sealedSize(length: number): number {
  return HEADER + length + TAG * (Math.floor(length / CHUNK) + 1)
}

/** How many bytes the plaintext of a message of `length` bytes has, or `undefined` where no message has that length. */
export function openedSize(length: number): number | undefined {
  const body = length - HEADER
  const last = body % SEALED_CHUNK
  if (body < TAG || last < TAG) return undefined
  return Math.floor(body / SEALED_CHUNK) * CHUNK + last - TAG
}

/** 32 uniform bytes: a key that is used once, or one that is kept for many messages. */
export type MessageKey = Key | ExpandKey

interface MessageKeys {
  readonly key: KeyObject
  readonly baseNonce: Uint8Array
  readonly commitment: Uint8Array
}

// "key[32] ‖ base_nonce[12] ‖ commitment[32]" from the DEK, the salt and the context
function derive(dek: MessageKey, salt: Uint8Array, context: Uint8Array): MessageKeys {
  const okm = expanded(dek, salt, context)
  // On Node 24 a cipher made from raw bytes costs 15 µs more than one made from a KeyObject.
  const key = createSecretKey(okm.subarray(0, KEY))
  wipe(okm.subarray(0, KEY))
  return { key, baseNonce: okm.subarray(KEY, KEY + NONCE), commitment: okm.subarray(KEY + NONCE, DERIVED) }
}

function expanded(dek: MessageKey, salt: Uint8Array, context: Uint8Array): Uint8Array {
  if (dek instanceof ExpandKey) return dek.expand(LABEL, salt, context)
  const bytes = dek instanceof Uint8Array ? dek : dek.export()
  const once = new ExpandKey(bytes)
  try {
    return once.expand(LABEL, salt, context)
  } finally {
    once.destroy()
    if (bytes !== dek) wipe(bytes)
  }
}

/**
 * base_nonce XOR be96(index).
 *
 * @throws {LimitExceeded} when there is no such chunk: a message has at most 2³⁸
 * @internal
 */
export function chunkNonce(baseNonce: Uint8Array, index: number): Uint8Array {
  if (index >= MAX_CHUNKS) throw new LimitExceeded("Cannot process a message: it has more than 2^38 chunks")
  if (index === 0) return baseNonce
  const nonce = Uint8Array.from(baseNonce)
  for (let i = NONCE - 1, rest = index; rest > 0; i--, rest = Math.floor(rest / 256))
    nonce[i] = (nonce[i] as number) ^ (rest % 256)
  return nonce
}

/**
 * Seals a message: salt ‖ commitment ‖ chunks.
 *
 * @param dek 32 uniform bytes
 * @param context any bytes; they are bound and not stored
 * @param prefix bytes to put in front, as they are
 * @param salt new random bytes; anything else is for known-answer tests
 */
export function sealMessage(
  dek: MessageKey,
  context: Uint8Array,
  plaintext: Uint8Array,
  prefix: Uint8Array = new Uint8Array(0),
  salt: Uint8Array = randomNonce(SALT),
): Uint8Array {
  const { key, baseNonce, commitment } = derive(dek, salt, context)
  const sealed = new Uint8Array(prefix.length + sealedSize(plaintext.length))
  sealed.set(prefix)
  sealed.set(salt, prefix.length)
  sealed.set(commitment, prefix.length + SALT)
  let offset = prefix.length + HEADER
  for (let i = 0; i * CHUNK <= plaintext.length; i++) {
    const chunk = plaintext.subarray(i * CHUNK, (i + 1) * CHUNK)
    sealInto(sealed, offset, key, chunkNonce(baseNonce, i), chunk)
    offset += chunk.length + TAG
  }
  return sealed
}

/**
 * Opens a message whole: nothing is released before every tag was checked.
 *
 * @returns the plaintext, or `undefined` when the message is not committed to this key and context: another key may be tried
 * @throws {DecryptionFailed} when it is committed to them and was changed, or has a length that no message has
 */
export function openMessage(dek: MessageKey, context: Uint8Array, message: Uint8Array): Uint8Array | undefined {
  const size = openedSize(message.length)
  if (size === undefined) throw new DecryptionFailed()
  const { key, baseNonce, commitment } = derive(dek, message.subarray(0, SALT), context)
  if (!equal(commitment, message.subarray(SALT, HEADER))) return undefined
  const plaintext = new Uint8Array(size)
  try {
    for (let i = 0; i * CHUNK <= size; i++) {
      const start = HEADER + i * SEALED_CHUNK
      openInto(plaintext, i * CHUNK, key, chunkNonce(baseNonce, i), message.subarray(start, start + SEALED_CHUNK))
    }
  } catch (error) {
    wipe(plaintext)
    throw error
  }
  return plaintext
}

/** Whether a message is committed to this key and context; its chunks are not looked at. */
export function isCommittedTo(dek: MessageKey, context: Uint8Array, message: Uint8Array): boolean {
  if (message.length < MIN_MESSAGE) return false
  return equal(derive(dek, message.subarray(0, SALT), context).commitment, message.subarray(SALT, HEADER))
}
