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
  const entries = Object.entries(context)
  if (entries.length > MAX_PAIRS) {
    throw new InvalidInput(`Cannot use the context: it has ${entries.length} pairs, more than ${MAX_PAIRS}`)
  }
  const pairs = entries.map(([key, value]) => {
    if (key === "") throw new InvalidInput("Cannot use the context: a key is empty")
    return { key: utf8(key, "a key of the context"), value: utf8(value, "a value of the context") }
  })
  pairs.sort((a, b) => compareBytes(a.key, b.key))
  const length = pairs.reduce((sum, { key, value }) => sum + 4 + key.length + value.length, 2)
  if (length > MAX_BYTES) {
    throw new InvalidInput(`Cannot use the context: it takes ${length} bytes, more than ${MAX_BYTES}`)
  }
  const encoded = new Uint8Array(length)
  let offset = 0
  const u16 = (value: number): void => {
    encoded[offset++] = value >>> 8
    encoded[offset++] = value
  }
  u16(pairs.length)
  for (const part of pairs.flatMap(({ key, value }) => [key, value])) {
    u16(part.length)
    encoded.set(part, offset)
    offset += part.length
  }
  return encoded
}

// A Map, an array or a Date has no own string keys worth binding: taking it for an empty context would bind nothing.
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype as object) === null
}
