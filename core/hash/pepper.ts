/**
 * Peppers: secrets of 32 bytes that every password hash needs and no database holds. FORMATS §6.
 *
 * @module
 */
import { createSecretKey, type KeyObject } from "node:crypto"
import { ascii, hex } from "../bytes.ts"
import { hkdf } from "../cipher/derive.ts"
import { UnknownPepper } from "../errors.ts"

/** Bytes of a pepper. */
export const PEPPER_LENGTH = 32

/** A pepper, and the id that hashes name it by. */
export interface Pepper {
  /** 4 bytes, derived from the pepper. */
  readonly id: Uint8Array
  readonly key: KeyObject
}

/** The first 4 bytes of HKDF-SHA-256(pepper, no salt, "encx.v2.pepper-id"). */
export function pepperID(pepper: Uint8Array): Uint8Array {
  return hkdf("sha256", pepper, new Uint8Array(0), ascii("encx.v2.pepper-id"), 4)
}

/** Why these bytes are no pepper, or `undefined`. */
export function pepperProblem(pepper: Uint8Array): string | undefined {
  if (!(pepper instanceof Uint8Array)) return "it is not a Uint8Array"
  if (pepper.length !== PEPPER_LENGTH) return `it has ${pepper.length} bytes, not ${PEPPER_LENGTH}`
  if (pepper.every((byte) => byte === pepper[0])) return "its bytes are all the same"
  return undefined
}

/** The peppers of a program: the current one hashes, all of them verify. */
export class Peppers {
  /** The one that new hashes get. */
  readonly current: Pepper
  readonly #byID: ReadonlyMap<string, Pepper>

  /** @param peppers sound ones, the current one first; they may be wiped afterwards */
  constructor(peppers: readonly [Uint8Array, ...Uint8Array[]]) {
    const made = peppers.map((bytes) => ({ id: pepperID(bytes), key: createSecretKey(bytes) })) as [Pepper, ...Pepper[]]
    this.current = made[0]
    // Read from the last to the first, so that where two ids collide the earlier one holds.
    this.#byID = new Map(made.toReversed().map((pepper) => [hex(pepper.id), pepper]))
  }

  /**
   * The pepper that a stored hash names.
   *
   * @throws {UnknownPepper} when it is none of these: the password may be right all the same
   */
  find(id: Uint8Array): Pepper {
    const pepper = this.#byID.get(hex(id))
    if (pepper) return pepper
    throw new UnknownPepper(`Cannot verify a hash: its pepper "${hex(id)}" is not among those of this program`, {
      hint: "give newCrypto the secret store that holds it, or that pepper among the previous ones",
    })
  }
}
