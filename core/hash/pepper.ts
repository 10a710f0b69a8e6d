/**
 * Peppers: secrets of 32 bytes that every password hash needs and no database holds. FORMATS §6.
 *
 * @module
 */
import { createSecretKey, type KeyObject } from "node:crypto"
import { hex } from "../bytes.ts"
import { UnknownPepper } from "../errors.ts"
import { pepperID } from "./pepper-id.ts"

/** A pepper, and the id that hashes name it by. */
export interface Pepper {
  /** 4 bytes, derived from the pepper. */
  readonly id: Uint8Array
  readonly key: KeyObject
}

/** The peppers of a program: the current one hashes, all of them verify. */
export class Peppers {
  /** The one that new hashes get. */
  readonly current: Pepper
  /** All of them, the current one first: for hashes that name none. */
  readonly all: readonly Pepper[]
  readonly #byID: ReadonlyMap<string, Pepper>

  /** @param peppers sound ones, the current one first; they may be wiped afterwards */
  constructor(peppers: readonly [Uint8Array, ...Uint8Array[]]) {
    const made = peppers.map((bytes) => ({ id: pepperID(bytes), key: createSecretKey(bytes) })) as [Pepper, ...Pepper[]]
    this.current = made[0]
    this.all = made
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
