/**
 * Cobblestone-256 of C2SP chunked-encryption (https://c2sp.org/chunked-encryption): the keys of a message, and messages in one
 * piece. FORMATS §1.
 *
 * It commits to its key, binds a context in the derivation of a key that is new for every message, and shows truncation,
 * because the last chunk is always shorter than the others.
 *
 * @module
 */
import { createSecretKey } from "node:crypto"
import { equal, randomNonce, wipe } from "../bytes.ts"
import { DecryptionFailed } from "../errors.ts"
import { NONCE } from "./aes-gcm.ts"
import {
  COMMITMENT,
  HEADER,
  type MessageKeys,
  MIN_MESSAGE,
  openChunks,
  openedSize,
  SALT,
  sealChunks,
  sealedSize,
} from "./chunks.ts"
import { ExpandKey, type Key, labelled } from "./derive.ts"

const LABEL = labelled("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM")
const KEY = 32
const DERIVED = KEY + NONCE + COMMITMENT

/** 32 uniform bytes: a key that is used once, or one that is kept for many messages. */
export type MessageKey = Key | ExpandKey

interface Derived extends MessageKeys {
  readonly commitment: Uint8Array
}

// "key[32] ‖ base_nonce[12] ‖ commitment[32]" from the DEK, the salt and the context
function derive(dek: MessageKey, salt: Uint8Array, context: Uint8Array): Derived {
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

// --- The beginning of a message ---

/** A message that is begun. */
export interface Begun {
  /** salt ‖ commitment: what stands before the first chunk. */
  readonly head: Uint8Array
  readonly keys: MessageKeys
}

/**
 * Begins a message.
 *
 * @param context any bytes; they are bound and not stored
 * @param salt new random bytes; anything else is for known-answer tests
 */
export function beginMessage(dek: MessageKey, context: Uint8Array, salt: Uint8Array = randomNonce(SALT)): Begun {
  const { commitment, ...keys } = derive(dek, salt, context)
  const head = new Uint8Array(HEADER)
  head.set(salt)
  head.set(commitment, SALT)
  return { head, keys }
}

/** The keys of a message that begins with `head`, or `undefined` when it is not committed to this key and context: another key may be tried. */
export function keysOfMessage(dek: MessageKey, context: Uint8Array, head: Uint8Array): MessageKeys | undefined {
  const { commitment, ...keys } = derive(dek, head.subarray(0, SALT), context)
  return equal(commitment, head.subarray(SALT, HEADER)) ? keys : undefined
}

// --- Messages in one piece ---

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
  const { commitment, ...keys } = derive(dek, salt, context)
  const sealed = new Uint8Array(prefix.length + sealedSize(plaintext.length))
  sealed.set(prefix)
  sealed.set(salt, prefix.length)
  sealed.set(commitment, prefix.length + SALT)
  sealChunks(keys, 0, plaintext, true, sealed, prefix.length + HEADER)
  return sealed
}

/**
 * Opens a message whole: nothing is released before every tag was checked.
 *
 * @returns the plaintext, or `undefined` when the message is not committed to this key and context: another key may be tried
 * @throws {DecryptionFailed} when it is committed to them and was changed, or has a length that no message has
 */
export function openMessage(dek: MessageKey, context: Uint8Array, message: Uint8Array): Uint8Array | undefined {
  if (openedSize(message.length) === undefined) throw new DecryptionFailed()
  const keys = keysOfMessage(dek, context, message.subarray(0, HEADER))
  if (!keys) return undefined
  const { plaintext, isWhole } = openChunks(keys, 0, message.subarray(HEADER), true)
  if (isWhole) return plaintext
  wipe(plaintext)
  throw new DecryptionFailed()
}

/** Whether a message is committed to this key and context; its chunks are not looked at. */
export function isCommittedTo(dek: MessageKey, context: Uint8Array, message: Uint8Array): boolean {
  return message.length >= MIN_MESSAGE && keysOfMessage(dek, context, message.subarray(0, HEADER)) !== undefined
}
