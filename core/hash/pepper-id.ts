/**
 * What a pepper is and how it is named. FORMATS §6.
 *
 * @module
 */
import { ascii } from "../bytes.ts"
import { hkdf } from "../cipher/derive.ts"

/** Bytes of a pepper. */
export const PEPPER_LENGTH = 32

/** The id that hashes name a pepper by, no secret: the first 4 bytes of HKDF-SHA-256(pepper, no salt, "encx.v2.pepper-id"). */
export function pepperID(pepper: Uint8Array): Uint8Array {
  return hkdf("sha256", pepper, new Uint8Array(0), ascii("encx.v2.pepper-id"), 4)
}

/** Why these bytes cannot be a pepper, or `undefined`: it has 32 bytes, which are not all zero. */
export function pepperProblem(pepper: Uint8Array): string | undefined {
  if (!(pepper instanceof Uint8Array)) return "it is not a Uint8Array"
  if (pepper.length !== PEPPER_LENGTH) return `it has ${pepper.length} bytes, not ${PEPPER_LENGTH}`
  if (pepper.every((byte) => byte === 0)) return "its bytes are all zero"
  return undefined
}
