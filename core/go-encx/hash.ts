/**
 * The Go library's hash of a serialised value for passwords. FORMATS §9.
 *
 * @module
 */
import type { KeyObject } from "node:crypto"
import { concat, wipe } from "../bytes.ts"
import { InvalidInput } from "../errors.ts"
import { type Argon2Cost, bytes, costProblem, decimal, malformed, unpadded } from "../hash/phc.ts"

// $argon2id$v=19$m=65536,t=3,p=4$<b64 salt>$<b64 hash>, over the value and then the pepper

const PREFIX = "$argon2id$"
const VERSION = "v=19"
const MAX_LENGTH = 512
// The Go library hashes whatever a field holds.
const MAX_VALUE = 2 ** 20
/** What the Go library's options allow, within the bounds of memory and work that every hash has. */
const LIMITS = { iterations: 100, parallelism: 255 } as const
const SALT = { min: 8, max: 64 } as const
const HASH = { min: 16, max: 128 } as const

/** The parts of a password hash of the Go library's; it does not say which pepper. */
export interface GoHash extends Argon2Cost {
  readonly salt: Uint8Array
  readonly hash: Uint8Array
}

/** Whether a stored hash is one of the Go library's, by what it begins with. */
export function isGoHash(stored: unknown): boolean {
  return typeof stored === "string" && stored.startsWith(PREFIX)
}

/** Writes a password hash as the Go library does. */
export function formatGoHash({ memoryKiB, iterations, parallelism, salt, hash }: GoHash): string {
  return `${PREFIX}${VERSION}$m=${memoryKiB},t=${iterations},p=${parallelism}$${unpadded(salt)}$${unpadded(hash)}`
}

/**
 * Reads a password hash of the Go library's: order, spelling and numbers exactly as it writes them, within the caps. It costs
 * no Argon2.
 *
 * @throws {InvalidFormat} when it is anything else
 */
export function parseGoHash(stored: string): GoHash {
  if (!isGoHash(stored)) throw malformed(`it does not begin with ${PREFIX}`)
  if (stored.length > MAX_LENGTH) throw malformed(`it has more than ${MAX_LENGTH} characters`)
  const [version, parameters = "", salt = "", hash = "", ...rest] = stored.slice(PREFIX.length).split("$")
  if (version !== VERSION) throw malformed("its Argon2 version is not 19")
  if (rest.length > 0) throw malformed("it has too many parts")
  const [m, t, p, ...more] = parameters.split(",")
  if (more.length > 0) throw malformed("it has too many parameters")
  const cost = { memoryKiB: decimal(m, "m="), iterations: decimal(t, "t="), parallelism: decimal(p, "p=") }
  const problem = costProblem(cost, LIMITS)
  if (problem) throw malformed(problem)
  return { ...cost, salt: bytes(salt, "salt", SALT), hash: bytes(hash, "hash", HASH) }
}

/** A serialised value that is not too long to be hashed. */
export function checkGoHashable(serialised: Uint8Array): Uint8Array {
  if (serialised.length <= MAX_VALUE) return serialised
  throw new InvalidInput(`Cannot hash a value: it has ${serialised.length} bytes, more than ${MAX_VALUE}`)
}

/** What Argon2id gets: the serialised value and then the pepper. The caller wipes it. */
export function goPassword(serialised: Uint8Array, pepper: KeyObject): Uint8Array {
  const exported = pepper.export()
  const password = concat(serialised, exported)
  wipe(exported)
  return password
}
