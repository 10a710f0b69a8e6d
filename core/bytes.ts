/**
 * Bytes in and out: text, base64, hex, integers, comparison, wiping, and the checks at the door.
 *
 * @module
 */
import { Buffer } from "node:buffer"
import { randomFillSync, timingSafeEqual } from "node:crypto"
import { InvalidFormat, InvalidInput } from "./errors.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

// --- Checks ---

/**
 * Refuses what is not a `Uint8Array`, or not of the length asked for.
 *
 * @throws {TypeError} when it is not a `Uint8Array`
 * @throws {RangeError} when it has another length
 */
export function abytes(value: unknown, length: number | undefined, name: string): asserts value is Uint8Array {
  if (!(value instanceof Uint8Array)) throw new TypeError(`Cannot use "${name}": it is not a Uint8Array`)
  if (length !== undefined && value.length !== length) {
    throw new RangeError(`Cannot use "${name}": it has ${value.length} bytes, not ${length}`)
  }
}

// --- Text ---

/**
 * The UTF-8 of well-formed text.
 *
 * @throws {InvalidInput} when it is not text or holds a lone surrogate, which UTF-8 cannot carry and an encoder would replace
 */
export function utf8(text: string, name: string): Uint8Array {
  if (typeof text !== "string") throw new InvalidInput(`Cannot use ${name}: it is not text`)
  const ascii = shortASCII(text)
  if (ascii) return ascii
  if (!text.isWellFormed()) throw new InvalidInput(`Cannot use ${name}: it holds a lone surrogate`)
  return encoder.encode(text)
}

const SHORT = 64

/** Short ASCII text is copied by hand: 0.1 µs for 8 characters, where the encoder of Node 24 takes 1.4 (Bun 0.04 and 0.07, Deno 1.1 both). */
function shortASCII(text: string): Uint8Array | undefined {
  if (text.length > SHORT) return undefined
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code > 0x7f) return undefined
    bytes[i] = code
  }
  return bytes
}

/**
 * The text of strict UTF-8; a byte order mark is a character like any other.
 *
 * @throws {InvalidFormat} when the bytes are not UTF-8
 */
export function text(bytes: Uint8Array, name: string): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new InvalidFormat(`Cannot read ${name}: it is not UTF-8`)
  }
}

/** The bytes of one of this library's own labels, which are ASCII. */
export function ascii(label: string): Uint8Array {
  return encoder.encode(label)
}

/** One character a byte: a string that two equal byte strings share, to be the key of a `Map`. Not for secrets. */
export function latin1(bytes: Uint8Array): string {
  return view(bytes).toString("latin1")
}

const view = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Base64 of RFC 4648 §4, padded. */
export function base64(bytes: Uint8Array): string {
  return view(bytes).toString("base64")
}

/**
 * Reads strict, canonical, padded base64 (RFC 4648 §4). The bytes lie in a buffer of their own, so that they can be wiped.
 *
 * @throws {InvalidFormat} when it has another alphabet, padding, white space or spare bits
 */
export function fromBase64(encoded: string, name: string): Uint8Array {
  const padding = encoded.endsWith("==") ? 2 : encoded.endsWith("=") ? 1 : 0
  const bytes = new Uint8Array(Math.max(0, (encoded.length / 4) * 3 - padding) | 0)
  view(bytes).write(encoded, "base64")
  if (base64(bytes) === encoded) return bytes
  wipe(bytes)
  throw new InvalidFormat(`Cannot read ${name}: it is not canonical base64`)
}

/** Lower-case hex. */
export function hex(bytes: Uint8Array): string {
  return view(bytes).toString("hex")
}

/**
 * Reads lower-case hex.
 *
 * @throws {InvalidFormat} when it is anything else
 */
export function fromHex(encoded: string, name: string): Uint8Array {
  const bytes = new Uint8Array(encoded.length >>> 1)
  view(bytes).write(encoded, "hex")
  if (hex(bytes) !== encoded) throw new InvalidFormat(`Cannot read ${name}: it is not lower-case hex`)
  return bytes
}

// --- Integers and joining ---

/** Two bytes, big-endian. */
export function u16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value)
}

/** Four bytes, big-endian. */
export function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
}

/**
 * A u16 length and then the bytes.
 *
 * @throws {InvalidInput} when there are more than 65,535
 */
export function lp(bytes: Uint8Array, name: string): Uint8Array {
  if (bytes.length > 0xffff) throw new InvalidInput(`Cannot use ${name}: it has ${bytes.length} bytes, more than 65535`)
  return concat(u16(bytes.length), bytes)
}

/** The parts, one after the other, in new memory. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const joined = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

// --- Comparison, randomness, wiping ---

/** Whether both hold the same bytes, in a time that does not tell where they differ. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

/** Byte order, as a sort wants it. Not for secrets: it stops at the first difference. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** Bytes from the platform's CSPRNG, in memory of their own. */
export function randomBytes(length: number): Uint8Array {
  return randomFillSync(new Uint8Array(length))
}

const BLOCK = 12_288
const block = new Uint8Array(BLOCK)
let taken = BLOCK

/**
 * Random bytes for nonces and salts, which are public in the end. They are cut from a block that the CSPRNG fills at once, and what
 * was cut is overwritten: 12 bytes take 0.06 µs so, and 1.8 to 3 µs where each asks by itself (Node 22 to 26).
 */
export function randomNonce(length: number): Uint8Array {
  if (taken + length > BLOCK) {
    randomFillSync(block)
    taken = 0
  }
  const nonce = new Uint8Array(length)
  for (let i = 0; i < length; i++) {
    nonce[i] = block[taken] as number
    block[taken++] = 0
  }
  return nonce
}

const UNZEROED = 16_384

/**
 * Memory of which the caller writes every byte. Where it is large it is not zeroed before: 64 KiB take 14 to 23 µs with zeros and
 * 4 to 7 without, when 64 KiB are sealed in 100 (Node 22 to 26; Bun 7 and 3, Deno 12 and 15).
 */
export function memory(length: number): Uint8Array {
  if (length < UNZEROED) return new Uint8Array(length)
  const { buffer, byteOffset } = Buffer.allocUnsafeSlow(length)
  return new Uint8Array(buffer, byteOffset, length)
}

/** The same bytes in memory of their own. `slice` would not do: that of a `Buffer`, which is a `Uint8Array`, is a view. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes)
}

/** Overwrites with zeros. It reaches this buffer alone: JavaScript gives no promise about copies. */
export function wipe(...buffers: readonly Uint8Array[]): void {
  for (const buffer of buffers) fill.call(buffer, 0)
}

// A `Buffer` has one of its own, which first looks at what it is to be filled with.
const { fill } = Uint8Array.prototype

const LARGE = 4096

/**
 * Frees memory that nothing else uses, where there is enough of it to be worth that: what a cipher returns before it is copied to its
 * place. What is used next lies in the same memory, and so in the processor's cache: 16 KiB are sealed in 12 µs so, and in 15 µs where
 * the memory waits for the garbage collector (Node 22 to 26; no difference on Deno and Bun). It also bounds memory: to seal a
 * file of 512 MiB takes 36 MiB over an empty program so on Deno, and 65 otherwise.
 */
export function giveBack(bytes: Uint8Array): void {
  const { buffer, length } = bytes
  // Not where it is a part of something larger, as of a pool.
  if (length >= LARGE && buffer instanceof ArrayBuffer && buffer.byteLength - length <= 16) buffer.transfer(0)
}
