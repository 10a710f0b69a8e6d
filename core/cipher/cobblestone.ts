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
import { copyOf, equal, memory, randomNonce, wipe } from "../bytes.ts"
import { DecryptionFailed } from "../errors.ts"
import { NONCE, openInto, sealInto, TAG } from "./aes-gcm.ts"
import {
  CHUNK,
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
const NOTHING = new Uint8Array(0)
const KEY = 32
const DERIVED = KEY + NONCE + COMMITMENT

/** 32 uniform bytes: a key that is used once, or one that is kept for many messages. */
export type MessageKey = Key | ExpandKey

/** Any bytes, whole or in parts that are joined. */
export type Bound = Uint8Array | readonly Uint8Array[]

// "key[32] ‖ base_nonce[12] ‖ commitment[32]" from the DEK, the salt and the context, until it is overwritten: nothing waits in between.
const okm = new Uint8Array(128)
const derived = {
  key: okm.subarray(0, KEY),
  baseNonce: okm.subarray(KEY, KEY + NONCE),
  commitment: okm.subarray(KEY + NONCE, DERIVED),
} as const

/** Derives the keys of a message, and has its commitment looked at or copied meanwhile. */
function derive(
  dek: MessageKey,
  salt: Uint8Array,
  context: Bound,
  look: (commitment: Uint8Array) => boolean,
): MessageKeys | undefined {
  const once = dek instanceof ExpandKey ? undefined : expandKeyOf(dek)
  const key = once ?? (dek as ExpandKey)
  try {
    if (context instanceof Uint8Array) key.expand(okm, LABEL, salt, context)
    else key.expand(okm, LABEL, salt, ...context)
    if (!look(derived.commitment)) return undefined
    // On Node 24 a cipher made from raw bytes costs 15 µs more than one made from a KeyObject.
    return { key: createSecretKey(derived.key), baseNonce: copyOf(derived.baseNonce) }
  } finally {
    okm.fill(0)
    once?.destroy()
  }
}

function expandKeyOf(dek: Key): ExpandKey {
  if (dek instanceof Uint8Array) return new ExpandKey(dek)
  const bytes = dek.export()
  const key = new ExpandKey(bytes)
  wipe(bytes)
  return key
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
export function beginMessage(dek: MessageKey, context: Bound, salt: Uint8Array = randomNonce(SALT)): Begun {
  const head = new Uint8Array(HEADER)
  return { head, keys: begin(dek, context, salt, head, 0) }
}

// Writes salt ‖ commitment into `out` at `offset`.
function begin(dek: MessageKey, context: Bound, salt: Uint8Array, out: Uint8Array, offset: number): MessageKeys {
  out.set(salt, offset)
  return derive(dek, salt, context, (commitment) => {
    out.set(commitment, offset + SALT)
    return true
  }) as MessageKeys
}

/** The keys of a message that begins as `head` does, or `undefined` when it is not committed to this key and context: another key may be tried. */
export function keysOfMessage(dek: MessageKey, context: Bound, head: Uint8Array): MessageKeys | undefined {
  const stored = head.subarray(SALT, HEADER)
  return derive(dek, head.subarray(0, SALT), context, (commitment) => equal(commitment, stored))
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
  context: Bound,
  plaintext: Uint8Array,
  prefix: Uint8Array = NOTHING,
  salt: Uint8Array = randomNonce(SALT),
): Uint8Array {
  const sealed = memory(prefix.length + sealedSize(plaintext.length))
  sealed.set(prefix)
  const keys = begin(dek, context, salt, sealed, prefix.length)
  const offset = prefix.length + HEADER
  if (plaintext.length < CHUNK) sealInto(sealed, offset, keys.key, keys.baseNonce, plaintext)
  else sealChunks(keys, 0, plaintext, true, sealed, offset)
  return sealed
}

/**
 * Opens a message whole: nothing is released before every tag was checked.
 *
 * @returns the plaintext, or `undefined` when the message is not committed to this key and context: another key may be tried
 * @throws {DecryptionFailed} when it is committed to them and was changed, or has a length that no message has
 */
export function openMessage(dek: MessageKey, context: Bound, message: Uint8Array): Uint8Array | undefined {
  const length = openedSize(message.length)
  if (length === undefined) throw new DecryptionFailed()
  const keys = keysOfMessage(dek, context, message)
  if (!keys) return undefined
  const sealed = message.subarray(HEADER)
  if (length < CHUNK) return openChunk(keys, sealed)
  const { plaintext, isWhole } = openChunks(keys, 0, sealed, true)
  if (isWhole) return plaintext
  wipe(plaintext)
  throw new DecryptionFailed()
}

// A message of one chunk.
function openChunk({ key, baseNonce }: MessageKeys, sealed: Uint8Array): Uint8Array {
  const plaintext = new Uint8Array(sealed.length - TAG)
  openInto(plaintext, 0, key, baseNonce, sealed)
  return plaintext
}

/** Whether a message is committed to this key and context; its chunks are not looked at. */
export function isCommittedTo(dek: MessageKey, context: Bound, message: Uint8Array): boolean {
  return message.length >= MIN_MESSAGE && keysOfMessage(dek, context, message) !== undefined
}
