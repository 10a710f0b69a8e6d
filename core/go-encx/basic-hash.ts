/**
 * The Go library's hash of a serialised value to look it up by, which has no key. FORMATS §9.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { equal, fromHex } from "../bytes.ts"
import { InvalidFormat } from "../errors.ts"

/** Lower-case hex of the SHA-256 of a serialised value. It has no key: what is guessable is guessed. */
export function hashBasic(serialised: Uint8Array): string {
  return createHash("sha256").update(serialised).digest("hex")
}

/**
 * Whether a stored hash is that of a serialised value, in constant time; its letters may be of either case. The empty string,
 * which rows have where there is no value, is the hash of none.
 *
 * @throws {InvalidFormat} when it is no hash: 64 hex digits, or nothing
 */
export function compareBasic(serialised: Uint8Array, stored: string): boolean {
  if (stored === "") return false
  if (typeof stored !== "string" || !/^[0-9A-Fa-f]{64}$/.test(stored))
    throw new InvalidFormat("Cannot read a basic hash: it is not 64 hex digits")
  return equal(fromHex(stored.toLowerCase(), "a basic hash"), fromHex(hashBasic(serialised), "a basic hash"))
}
