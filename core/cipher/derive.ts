/**
 * Every HMAC and every HKDF of the library (RFC 2104, RFC 5869). Callers bring a label that is theirs alone, so that no two
 * purposes ever derive the same key.
 *
 * @module
 */
import { createHmac, type KeyObject } from "node:crypto"
import { ascii, concat, wipe } from "../bytes.ts"

/** The hash functions in use, and their output length in bytes. */
const HASHES = { sha256: 32, sha512: 64 } as const

/** A hash function of {@link hmac} and {@link hkdf}. */
export type Hash = keyof typeof HASHES

/** A symmetric key: raw bytes, or the runtime's own object that keeps them. */
export type Key = Uint8Array | KeyObject

/** HMAC over the parts, joined. */
export function hmac(hash: Hash, key: Key, ...parts: readonly Uint8Array[]): Uint8Array {
  const mac = createHmac(hash, key)
  for (const part of parts) mac.update(part)
  return mac.digest()
}

/** The extract step (RFC 5869 §2.2). */
export function hkdfExtract(hash: Hash, salt: Uint8Array, ikm: Uint8Array): Uint8Array {
  // HMAC pads its key with zeros, so an empty salt and the string of zeros that §2.2 asks for are the same key.
  return hmac(hash, salt, ikm)
}

/** HKDF of RFC 5869 §2: extract, then expand. */
export function hkdf(hash: Hash, ikm: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  const prk = hkdfExtract(hash, salt, ikm)
  const okm = hkdfExpand(hash, prk, info, length)
  wipe(prk)
  return okm
}

/**
 * The expand step alone (RFC 5869 §2.3), for keys that are uniform already. The runtimes' HKDF always extracts.
 *
 * @throws {RangeError} when more than 255 blocks are asked for
 */
export function hkdfExpand(hash: Hash, prk: Key, info: Uint8Array, length: number): Uint8Array {
  const size = HASHES[hash]
  if (!Number.isInteger(length) || length < 0 || length > 255 * size) {
    throw new RangeError(`Cannot derive a key: ${length} bytes are asked for, at most ${255 * size} are possible`)
  }
  const okm = new Uint8Array(length)
  let block: Uint8Array = new Uint8Array(0)
  for (let i = 1, offset = 0; offset < length; i++, offset += size) {
    const next = hmac(hash, prk, block, info, Uint8Array.of(i))
    wipe(block)
    block = next
    okm.set(block.subarray(0, length - offset), offset)
  }
  wipe(block)
  return okm
}

/** `label ‖ 00 ‖ parts`: the zero byte ends the label, so that no label is the beginning of another's input. */
export function labelled(label: string, ...parts: readonly Uint8Array[]): Uint8Array {
  return concat(ascii(label), Uint8Array.of(0), ...parts)
}
