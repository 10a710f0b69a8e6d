/**
 * The chunks of a Cobblestone-256 message: where they stand, and runs of them sealed and opened. FORMATS §1.
 *
 * @module
 */
import type { KeyObject } from "node:crypto"
import { memory, wipe } from "../bytes.ts"
import { DecryptionFailed, LimitExceeded } from "../errors.ts"
import { NONCE, openInto, sealInto, TAG } from "./aes-gcm.ts"

/** Bytes of a salt. */
export const SALT = 24
/** Bytes of a commitment. */
export const COMMITMENT = 32
/** Bytes before the first chunk: salt and commitment. */
export const HEADER: number = SALT + COMMITMENT
/** Plain bytes of every chunk but the last, which has fewer. */
export const CHUNK = 16_384
/** Bytes of a whole chunk and its tag. */
export const SEALED_CHUNK: number = CHUNK + TAG
/** How many chunks a message can have. */
export const MAX_CHUNKS: number = 2 ** 38

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

/** How many chunks a run has whose whole ones take `size` bytes each; the last of a message is shorter, and may be empty. */
export function chunksIn(length: number, size: number, isLast: boolean): number {
  return Math.floor(length / size) + (isLast ? 1 : 0)
}

/** What the chunks of one message are sealed with: derived for it alone. */
export interface MessageKeys {
  readonly key: KeyObject
  readonly baseNonce: Uint8Array
}

/**
 * base_nonce XOR be96(index).
 *
 * @param out where it is written
 * @throws {LimitExceeded} when there is no such chunk: a message has at most 2³⁸
 * @internal
 */
export function chunkNonce(baseNonce: Uint8Array, index: number, out: Uint8Array = new Uint8Array(NONCE)): Uint8Array {
  if (index >= MAX_CHUNKS) throw new LimitExceeded("Cannot process a message: it has more than 2^38 chunks")
  out.set(baseNonce)
  for (let i = NONCE - 1, rest = index; rest > 0; i--, rest = Math.floor(rest / 256))
    out[i] = (out[i] as number) ^ (rest % 256)
  return out
}

// A cipher copies its nonce when it is made, so one place is enough for all of them; nonces are no secret.
const nonce = new Uint8Array(NONCE)

/**
 * Seals a run of chunks into `out` at `offset`: whole ones, and with `isLast` the short one that ends a message, which may be empty.
 *
 * @param first the index of the first
 * @returns where the next one goes
 */
export function sealChunks(
  keys: MessageKeys,
  first: number,
  plaintext: Uint8Array,
  isLast: boolean,
  out: Uint8Array,
  offset: number,
): number {
  const end = isLast ? plaintext.length : plaintext.length - 1
  let next = offset
  for (let start = 0, index = first; start <= end; start += CHUNK, index++) {
    const chunk = plaintext.subarray(start, start + CHUNK)
    sealInto(out, next, keys.key, chunkNonce(keys.baseNonce, index, nonce), chunk)
    next += chunk.length + TAG
  }
  return next
}

/** How a run of chunks opened. */
export interface Opened {
  /** The plaintext up to the first chunk that does not authenticate: all of it where there is none. */
  readonly plaintext: Uint8Array
  /** Whether every chunk authenticated. */
  readonly isWhole: boolean
}

/**
 * Opens a run of sealed chunks: whole ones, and with `isLast` the short one that ends a message. What follows the first chunk that
 * does not authenticate is not opened.
 *
 * @param first the index of the first
 * @param out where the plaintext goes, from its beginning on; new memory where it is not given
 */
export function openChunks(
  keys: MessageKeys,
  first: number,
  sealed: Uint8Array,
  isLast: boolean,
  out?: Uint8Array,
): Opened {
  const chunks = chunksIn(sealed.length, SEALED_CHUNK, isLast)
  const length = sealed.length - chunks * TAG
  const plaintext = out ? out.subarray(0, length) : memory(length)
  for (let i = 0; i < chunks; i++) {
    const chunk = sealed.subarray(i * SEALED_CHUNK, (i + 1) * SEALED_CHUNK)
    try {
      openInto(plaintext, i * CHUNK, keys.key, chunkNonce(keys.baseNonce, first + i, nonce), chunk)
    } catch (error) {
      if (!(error instanceof DecryptionFailed)) {
        wipe(plaintext)
        throw error
      }
      // The memory after it may be what somebody else left there.
      wipe(plaintext.subarray(i * CHUNK))
      return { plaintext: plaintext.subarray(0, i * CHUNK), isWhole: false }
    }
  }
  return { plaintext, isWhole: true }
}
