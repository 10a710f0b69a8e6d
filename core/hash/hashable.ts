/**
 * What a password hash is made of: a text or bytes.
 *
 * @module
 */
import { copyOf, utf8, wipe } from "../bytes.ts"
import { InvalidInput } from "../errors.ts"

const MAX_VALUE = 4096

/**
 * What will be hashed, or `null`: bytes in memory of their own, which the caller wipes.
 *
 * @throws {InvalidInput} when it cannot be
 * @internal
 */
export function hashable(value: unknown): string | Uint8Array | null {
  if (value === null) return null
  const bytes = valueBytes(value)
  if (typeof value !== "string") return copyOf(bytes)
  wipe(bytes)
  return value
}

/** The bytes of a value. @throws {InvalidInput} when it cannot be hashed @internal */
export function valueBytes(value: unknown): Uint8Array {
  if (typeof value !== "string" && !(value instanceof Uint8Array))
    throw new InvalidInput("Cannot hash a value: it is neither text nor bytes")
  const bytes = typeof value === "string" ? utf8(value, "a value to hash") : value
  if (bytes.length <= MAX_VALUE) return bytes
  throw new InvalidInput(`Cannot hash a value: it has ${bytes.length} bytes, more than ${MAX_VALUE}`)
}
