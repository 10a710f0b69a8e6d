/**
 * The encoding of a context: a map of strings that must be given again to decrypt. FORMATS §2.
 *
 * @module
 */
import { compareBytes, utf8 } from "../bytes.ts"
import { InvalidInput } from "../errors.ts"

/** What was known when data was sealed and must be given again to open it: tenant, purpose, … It is bound, never stored. */
export type Context = Readonly<Record<string, string>>

const MAX_PAIRS = 64
const MAX_BYTES = 8192

/**
 * `u16 count ‖ { lp(key) ‖ lp(value) }*`, sorted by the UTF-8 bytes of the keys, which no two programs can do differently.
 *
 * @param context none and `{}` are the same
 * @throws {InvalidInput} when it is not a plain map of strings, a key is empty, text is not well-formed, or a limit is passed (64 pairs, 8 KiB)
 */
export function encodeContext(context: Context = {}): Uint8Array {
  if (typeof context !== "object" || context === null || !isPlain(context)) {
    throw new InvalidInput("Cannot use the context: it is not a map of strings")
  }
  const names = Object.keys(context)
  if (names.length > MAX_PAIRS) {
    throw new InvalidInput(`Cannot use the context: it has ${names.length} pairs, more than ${MAX_PAIRS}`)
  }
  const pairs: Pair[] = []
  let length = 2
  for (const name of names) {
    if (name === "") throw new InvalidInput("Cannot use the context: a key is empty")
    const key = utf8(name, "a key of the context")
    const value = utf8(context[name] as string, "a value of the context")
    pairs.push({ key, value })
    length += 4 + key.length + value.length
  }
  if (length > MAX_BYTES) {
    throw new InvalidInput(`Cannot use the context: it takes ${length} bytes, more than ${MAX_BYTES}`)
  }
  if (pairs.length > 1) pairs.sort((a, b) => compareBytes(a.key, b.key))
  const encoded = new Uint8Array(length)
  encoded[1] = pairs.length
  let offset = 2
  for (const { key, value } of pairs) offset = putLP(encoded, putLP(encoded, offset, key), value)
  return encoded
}

/** Whether an encoded context has a pair: what none has is its count alone. */
export function hasPairs(encoded: Uint8Array): boolean {
  return encoded.length > 2
}

interface Pair {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

function putLP(out: Uint8Array, offset: number, part: Uint8Array): number {
  out[offset] = part.length >>> 8
  out[offset + 1] = part.length
  out.set(part, offset + 2)
  return offset + 2 + part.length
}

// A Map, an array or a Date has no own string keys worth binding: taking it for an empty context would bind nothing.
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype as object) === null
}
