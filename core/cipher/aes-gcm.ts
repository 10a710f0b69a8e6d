/**
 * AES-256-GCM over one value (SP 800-38D): 32-byte keys, 12-byte random nonces, 16-byte tags, nothing else.
 * `nonce ‖ ciphertext ‖ tag` is what the Go library encx writes. It does not commit to its key and binds no context of its
 * own: for new data, `seal` is the better choice.
 *
 * @module
 */
import { createCipheriv, createDecipheriv, createSecretKey } from "node:crypto"
import { abytes, giveBack, randomNonce, wipe } from "../bytes.ts"
import { DecryptionFailed } from "../errors.ts"
import type { Key } from "./derive.ts"

const ALGORITHM = "aes-256-gcm"
/** Bytes of a nonce. */
export const NONCE = 12
/** Bytes of a tag. */
export const TAG = 16
// Without it Node 20 takes tags of 4 bytes (DEP0182).
const OPTIONS = { authTagLength: TAG } as const

const NO_DATA = new Uint8Array(0)

/** What {@link encryptData} and {@link decryptData} take beside the bytes and the key. */
export interface AESGCMOptions {
  /** Bytes that are authenticated and not stored; they must be given again to decrypt. @default {none} */
  readonly additionalData?: Uint8Array
}

/**
 * Encrypts under a random nonce. One key may do this 2³² times (SP 800-38D §8.3).
 *
 * @param dek 32 bytes
 * @returns nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)
 * @throws {TypeError} when an argument is not a `Uint8Array`
 * @throws {RangeError} when the key has not 32 bytes: 16 and 24, which the Go library takes for AES-128 and AES-192, are refused
 */
export function encryptData(plaintext: Uint8Array, dek: Uint8Array, options: AESGCMOptions = {}): Uint8Array {
  check(plaintext, "plaintext", dek, options)
  return encryptWithNonce(plaintext, dek, randomNonce(NONCE), options)
}

/** {@link encryptData} under a nonce that the caller answers for: known-answer tests, and nothing public. @internal */
export function encryptWithNonce(
  plaintext: Uint8Array,
  dek: Uint8Array,
  nonce: Uint8Array,
  options: AESGCMOptions = {},
): Uint8Array {
  abytes(nonce, NONCE, "nonce")
  const sealed = new Uint8Array(NONCE + plaintext.length + TAG)
  sealed.set(nonce)
  // On Node 24 a cipher made from raw bytes costs 15 µs more than one made from a KeyObject.
  sealInto(sealed, NONCE, createSecretKey(dek), nonce, plaintext, options.additionalData)
  return sealed
}

/**
 * Decrypts what {@link encryptData} wrote.
 *
 * @param dek 32 bytes
 * @throws {DecryptionFailed} when it does not authenticate, or is too short to
 * @throws {RangeError} when the key has not 32 bytes
 */
export function decryptData(ciphertext: Uint8Array, dek: Uint8Array, options: AESGCMOptions = {}): Uint8Array {
  check(ciphertext, "ciphertext", dek, options)
  if (ciphertext.length < NONCE + TAG) throw new DecryptionFailed()
  const plaintext = new Uint8Array(ciphertext.length - NONCE - TAG)
  const key = createSecretKey(dek)
  openInto(plaintext, 0, key, ciphertext.subarray(0, NONCE), ciphertext.subarray(NONCE), options.additionalData)
  return plaintext
}

function check(bytes: Uint8Array, name: string, dek: Uint8Array, { additionalData }: AESGCMOptions): void {
  abytes(bytes, undefined, name)
  abytes(dek, 32, "dek")
  if (additionalData !== undefined) abytes(additionalData, undefined, "additionalData")
}

// --- One message, in place ---

/** Writes `ciphertext ‖ tag` of `plaintext` into `out` at `offset`. @internal */
export function sealInto(
  out: Uint8Array,
  offset: number,
  key: Key,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  additionalData: Uint8Array = NO_DATA,
): void {
  const cipher = createCipheriv(ALGORITHM, key, nonce, OPTIONS)
  if (additionalData.length > 0) cipher.setAAD(additionalData)
  const ciphertext = cipher.update(plaintext)
  out.set(ciphertext, offset)
  giveBack(ciphertext)
  cipher.final()
  out.set(cipher.getAuthTag(), offset + plaintext.length)
}

/**
 * Writes the plaintext of `ciphertext ‖ tag` into `out` at `offset`, and nothing when the tag is wrong.
 *
 * @throws {DecryptionFailed} when the tag is wrong
 * @internal
 */
export function openInto(
  out: Uint8Array,
  offset: number,
  key: Key,
  nonce: Uint8Array,
  sealed: Uint8Array,
  additionalData: Uint8Array = NO_DATA,
): void {
  const length = sealed.length - TAG
  const decipher = createDecipheriv(ALGORITHM, key, nonce, OPTIONS)
  if (additionalData.length > 0) decipher.setAAD(additionalData)
  decipher.setAuthTag(sealed.subarray(length))
  const unverified = decipher.update(sealed.subarray(0, length))
  try {
    decipher.final()
    out.set(unverified, offset)
  } catch {
    // The reason is always the tag, and says nothing that a caller may know.
    throw new DecryptionFailed()
  } finally {
    wipe(unverified)
    giveBack(unverified)
  }
}
