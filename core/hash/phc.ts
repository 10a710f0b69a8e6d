/**
 * The stored form of a password hash. FORMATS §6.
 * `$encx2-argon2id$v=19$m=65536,t=3,p=4,keyid=<b64 pepper id>$<b64 salt>$<b64 hash>`
 *
 * @module
 */
import { base64, fromBase64 } from "../bytes.ts"
import { InvalidFormat } from "../errors.ts"

const NAME = "encx2-argon2id"
const ARGON2_VERSION = 19
const MAX_LENGTH = 512
const KEY_ID = 4
const SALT = { min: 8, max: 48 } as const
const HASH = { min: 16, max: 64 } as const
const MAX_MEMORY_PASSES = 2 ** 20

/** What one Argon2id run costs (RFC 9106 §3.1). */
export interface Argon2Cost {
  /** Memory in KiB. */
  readonly memoryKiB: number
  /** Passes over the memory. */
  readonly iterations: number
  /** Lanes. */
  readonly parallelism: number
}

/** The parts of a stored hash. */
export interface StoredHash extends Argon2Cost {
  /** The id of the pepper. */
  readonly keyID: Uint8Array
  readonly salt: Uint8Array
  readonly hash: Uint8Array
}

/** The parameters of RFC 9106's second recommendation, and what the caps refuse. */
export const DEFAULT_COST: Argon2Cost = { memoryKiB: 65_536, iterations: 3, parallelism: 4 }

/** New hashes cost at least one of these (m, t), OWASP's equivalents of each other. */
const FLOOR: readonly (readonly [number, number])[] = [
  [47_104, 1],
  [19_456, 2],
  [12_288, 3],
  [9216, 4],
  [7168, 5],
]

/** How many passes and lanes a stored hash may ask for. */
export type CostLimits = Pick<Argon2Cost, "iterations" | "parallelism">
const LIMITS: CostLimits = { iterations: 16, parallelism: 16 }

/** Why a cost is refused whoever wrote it, or `undefined`. */
export function costProblem(
  { memoryKiB: m, iterations: t, parallelism: p }: Argon2Cost,
  { iterations, parallelism }: CostLimits = LIMITS,
): string | undefined {
  if (![m, t, p].every(Number.isInteger)) return "its parameters are not whole numbers"
  if (t < 1 || t > iterations) return `t is ${t}, not 1 to ${iterations}`
  if (p < 1 || p > parallelism) return `p is ${p}, not 1 to ${parallelism}`
  if (m < 8 * p || m > 262_144) return `m is ${m} KiB, not ${8 * p} to 262144`
  if (m * t > MAX_MEMORY_PASSES) return `m times t is ${m * t}, more than ${MAX_MEMORY_PASSES}`
  return undefined
}

/** Why new hashes must not cost so little, or `undefined`. */
export function floorProblem(cost: Argon2Cost): string | undefined {
  if (FLOOR.some(([m, t]) => cost.memoryKiB >= m && cost.iterations >= t)) return undefined
  return `m=${cost.memoryKiB}, t=${cost.iterations} is below the floor: ${FLOOR.map(([m, t]) => `m=${m}, t=${t}`).join(" or ")}`
}

/** Writes a stored hash. */
export function formatPHC({ memoryKiB, iterations, parallelism, keyID, salt, hash }: StoredHash): string {
  const parameters = `m=${memoryKiB},t=${iterations},p=${parallelism},keyid=${unpadded(keyID)}`
  return `$${NAME}$v=${ARGON2_VERSION}$${parameters}$${unpadded(salt)}$${unpadded(hash)}`
}

/**
 * Reads a stored hash: order, spelling and numbers exactly as {@link formatPHC} writes them, within the caps. It costs no Argon2.
 *
 * @throws {InvalidFormat} when it is anything else
 */
export function parsePHC(stored: string): StoredHash {
  if (typeof stored !== "string") throw malformed("it is not text")
  if (stored.length > MAX_LENGTH) throw malformed(`it has more than ${MAX_LENGTH} characters`)
  const [empty, name, version, parameters = "", salt = "", hash = "", ...rest] = stored.split("$")
  if (empty !== "" || name !== NAME) throw malformed(`it does not begin with $${NAME}$`)
  if (version !== `v=${ARGON2_VERSION}`) throw malformed("its Argon2 version is not 19")
  if (rest.length > 0) throw malformed("it has too many parts")
  const [m, t, p, keyid, ...more] = parameters.split(",")
  if (more.length > 0) throw malformed("it has too many parameters")
  const cost = { memoryKiB: decimal(m, "m="), iterations: decimal(t, "t="), parallelism: decimal(p, "p=") }
  const problem = costProblem(cost)
  if (problem) throw malformed(problem)
  return {
    ...cost,
    keyID: bytes(after(keyid, "keyid="), "pepper id", { min: KEY_ID, max: KEY_ID }),
    salt: bytes(salt, "salt", SALT),
    hash: bytes(hash, "hash", HASH),
  }
}

// --- Parts, of this form and of the Go library's ---

/** Base64 without its padding. */
export const unpadded = (value: Uint8Array): string => base64(value).replace(/=+$/, "")

function after(part: string | undefined, prefix: string): string {
  if (!part?.startsWith(prefix)) throw malformed(`${prefix.slice(0, -1)} is missing, or not in its place`)
  return part.slice(prefix.length)
}

/** A number as a stored hash writes it: `m=65536`. */
export function decimal(part: string | undefined, prefix: string): number {
  const digits = after(part, prefix)
  if (!/^(0|[1-9][0-9]{0,9})$/.test(digits)) throw malformed(`${prefix.slice(0, -1)} is not a decimal`)
  return Number(digits)
}

/** Bytes as a stored hash writes them: canonical base64 without padding. */
export function bytes(encoded: string, name: string, { min, max }: { min: number; max: number }): Uint8Array {
  // Four characters carry three bytes, so a length that is too long shows before it is decoded.
  if (encoded.length > Math.ceil((max * 4) / 3)) throw malformed(`its ${name} is longer than ${max} bytes`)
  if (encoded.endsWith("=")) throw malformed(`its ${name} is padded`)
  const value = fromBase64(encoded.padEnd(Math.ceil(encoded.length / 4) * 4, "="), `the ${name} of a stored hash`)
  if (value.length < min || value.length > max)
    throw malformed(`its ${name} has ${value.length} bytes, not ${min} to ${max}`)
  return value
}

/** The error of a stored hash that is refused. */
export function malformed(state: string): InvalidFormat {
  return new InvalidFormat(`Cannot read a stored hash: ${state}`)
}
