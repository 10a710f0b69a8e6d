/**
 * Password hashes: HMAC-SHA-256 under a pepper over context and value, then Argon2id, in a string that names the pepper.
 * FORMATS §6.
 *
 * @module
 */
import { copyOf, equal, randomBytes, u32, wipe } from "../bytes.ts"
import { type Context, encodeContext } from "../cipher/context.ts"
import { hmac, labelled } from "../cipher/derive.ts"
import type { CallOptions } from "../contracts.ts"
import { UninitializedPepper } from "../errors.ts"
import { checkGoHashable, formatGoHash, goPassword, isGoHash, parseGoHash } from "../go-encx/hash.ts"
import { type Argon2Limits, argon2id, Turnstile } from "./argon2.ts"
import { valueBytes } from "./hashable.ts"
import type { Pepper, Peppers } from "./pepper.ts"
import { type Argon2Cost, costProblem, DEFAULT_COST, floorProblem, formatPHC, parsePHC } from "./phc.ts"

const SALT = 16
const HASH = 32

/** How password hashes are made and how many at once. */
export interface Argon2Options extends Partial<Argon2Cost>, Argon2Limits {}

/** Why these options are refused, or `undefined`. */
export function argon2Problem(options: Argon2Options): string | undefined {
  const cost = costOf(options)
  const { concurrency = 1, queue = 0 } = options
  if (!Number.isInteger(concurrency) || concurrency < 1)
    return `concurrency is ${concurrency}, not a whole number from 1`
  if (!Number.isInteger(queue) || queue < 0) return `queue is ${queue}, not a whole number from 0`
  return costProblem(cost) ?? floorProblem(cost)
}

function costOf({ memoryKiB, iterations, parallelism }: Argon2Options): Argon2Cost {
  return {
    memoryKiB: memoryKiB ?? DEFAULT_COST.memoryKiB,
    iterations: iterations ?? DEFAULT_COST.iterations,
    parallelism: parallelism ?? DEFAULT_COST.parallelism,
  }
}

/** Makes and verifies the password hashes of one program. @internal */
export class PasswordHasher {
  readonly #peppers: Peppers | undefined
  readonly #cost: Argon2Cost
  readonly #turnstile: Turnstile

  /** @param options sound ones: see {@link argon2Problem} */
  constructor(peppers: Peppers | undefined, options: Argon2Options) {
    this.#peppers = peppers
    this.#cost = costOf(options)
    this.#turnstile = new Turnstile(options)
  }

  /** How many runs there may be at once. */
  get concurrency(): number {
    return this.#turnstile.concurrency
  }

  /** Hashes a text or bytes, at most 4,096 of them. The salt is new random bytes; anything else is for known-answer tests. */
  async hash(
    value: string | Uint8Array,
    context: Context,
    options: CallOptions = {},
    salt: Uint8Array = randomBytes(SALT),
  ): Promise<string> {
    const { current } = this.#initialized()
    const message = encodeMessage(value, context)
    const hash = await this.#run(current, message, this.#cost, salt, HASH, options)
    return formatPHC({ ...this.#cost, keyID: current.id, salt, hash })
  }

  /** Whether a stored hash is that of this value in this context. Its form and its pepper are checked before any work. */
  async verify(
    value: string | Uint8Array,
    stored: string,
    context: Context,
    options: CallOptions = {},
  ): Promise<boolean> {
    const { keyID, salt, hash, ...cost } = parsePHC(stored)
    const pepper = this.#initialized().find(keyID)
    const message = encodeMessage(value, context)
    return equal(hash, await this.#run(pepper, message, cost, salt, hash.length, options))
  }

  /** Whether a stored hash was made with another pepper, or at another cost, than new ones are, or by the Go library. */
  needsRehash(stored: string): boolean {
    if (isGoHash(stored)) {
      parseGoHash(stored)
      return true
    }
    const { keyID, salt, hash, memoryKiB, iterations, parallelism } = parsePHC(stored)
    const { current } = this.#initialized()
    const same =
      memoryKiB === this.#cost.memoryKiB &&
      iterations === this.#cost.iterations &&
      parallelism === this.#cost.parallelism
    return !same || salt.length !== SALT || hash.length !== HASH || !equal(keyID, current.id)
  }

  #initialized(): Peppers {
    if (this.#peppers) return this.#peppers
    throw new UninitializedPepper("Cannot hash a value: this program has no pepper", {
      hint: "give newCrypto one: withPepper(secretStore, alias)",
    })
  }

  async #run(
    pepper: Pepper,
    message: Uint8Array,
    cost: Argon2Cost,
    salt: Uint8Array,
    length: number,
    options: CallOptions,
  ): Promise<Uint8Array> {
    const password = hmac("sha256", pepper.key, message)
    wipe(message)
    try {
      return await this.#turnstile.pass(() => argon2id({ ...cost, password, salt, length }), options)
    } finally {
      wipe(password)
    }
  }

  // --- The Go library's ---

  /** Hashes a serialised value as the Go library does, at this program's cost. Another salt is for known-answer tests. */
  async hashGo(
    serialised: Uint8Array,
    options: CallOptions = {},
    salt: Uint8Array = randomBytes(SALT),
  ): Promise<string> {
    const { current } = this.#initialized()
    const hash = await this.#runGo(current, serialised, this.#cost, salt, HASH, options)
    return formatGoHash({ ...this.#cost, salt, hash })
  }

  /** Whether one of the Go library's hashes is that of this serialised value. It names no pepper, so each is tried. */
  async verifyGo(serialised: Uint8Array, stored: string, options: CallOptions = {}): Promise<boolean> {
    const { salt, hash, ...cost } = parseGoHash(stored)
    const { all } = this.#initialized()
    const own = copyOf(serialised)
    try {
      for (const pepper of all) {
        if (equal(hash, await this.#runGo(pepper, own, cost, salt, hash.length, options))) return true
      }
      return false
    } finally {
      wipe(own)
    }
  }

  async #runGo(
    pepper: Pepper,
    serialised: Uint8Array,
    cost: Argon2Cost,
    salt: Uint8Array,
    length: number,
    options: CallOptions,
  ): Promise<Uint8Array> {
    const own = copyOf(checkGoHashable(serialised))
    try {
      return await this.#turnstile.pass(async () => {
        // The pepper's bytes are out of their key object for this run alone.
        const password = goPassword(own, pepper.key)
        try {
          return await argon2id({ ...cost, password, salt, length })
        } finally {
          wipe(password)
        }
      }, options)
    } finally {
      wipe(own)
    }
  }
}

// "encx.v2.pw" ‖ 00 ‖ u32 length ‖ encoded context ‖ value
function encodeMessage(value: string | Uint8Array, context: Context): Uint8Array {
  const encoded = encodeContext(context)
  return labelled("encx.v2.pw", u32(encoded.length), encoded, valueBytes(value))
}
