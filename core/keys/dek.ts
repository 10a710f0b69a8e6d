/**
 * A data-encryption key in memory.
 *
 * @module
 */
import { createSecretKey, type KeyObject } from "node:crypto"
import { abytes, randomBytes, wipe } from "../bytes.ts"
import { ExpandKey } from "../cipher/derive.ts"
import { DEK_ID, encodeHeader, type KeyEntry, providerOf } from "../cipher/envelope.ts"
import { Closed } from "../errors.ts"

/** Bytes of a data key. */
export const DEK_LENGTH = 32

/** 32 new random bytes. */
export function generateDEK(): Uint8Array {
  return randomBytes(DEK_LENGTH)
}

/** A new random id for a data key, 16 bytes. */
export function generateDEKID(): Uint8Array {
  return randomBytes(DEK_ID)
}

/** The id of a data key whose wrap stands alone: it has none, and nothing is bound to it. */
export const NO_DEK_ID: Uint8Array = new Uint8Array(DEK_ID)

/** A data key and its id. It has no text, and inspecting it shows nothing. */
export class DataKey {
  /** 16 random bytes, made with the key. */
  readonly id: Uint8Array
  #key: KeyObject | undefined
  #messages: ExpandKey | undefined

  /** Takes the bytes over and wipes them. */
  constructor(id: Uint8Array, bytes: Uint8Array) {
    abytes(id, DEK_ID, "dek id")
    abytes(bytes, DEK_LENGTH, "dek")
    this.id = id
    this.#messages = new ExpandKey(bytes)
    wipe(bytes)
  }

  /**
   * The key, for messages.
   *
   * @throws {Closed} after {@link DataKey.destroy}
   */
  get messages(): ExpandKey {
    return this.#messages ?? gone()
  }

  /**
   * The key, for a cipher.
   *
   * @throws {Closed} after {@link DataKey.destroy}
   */
  get key(): KeyObject {
    this.#key ??= keyObjectOf(this.messages)
    return this.#key
  }

  /** Overwrites the key that is here, and lets go of the runtime's, which frees and overwrites it when it collects the object. */
  destroy(): void {
    this.#messages?.destroy()
    this.#messages = undefined
    this.#key = undefined
  }
}

/** Uses a data key that is not from the cache, and takes its bytes over. */
export function withDataKey<Result>(id: Uint8Array, bytes: Uint8Array, use: (dek: DataKey) => Result): Result {
  const dek = new DataKey(id, bytes)
  try {
    return use(dek)
  } finally {
    dek.destroy()
  }
}

// Only the Go library's rows need it: 2 to 3 µs, and an object that the runtime collects.
function keyObjectOf(messages: ExpandKey): KeyObject {
  const bytes = messages.export()
  const key = createSecretKey(bytes)
  wipe(bytes)
  return key
}

function gone(): never {
  throw new Closed("Cannot use a data key: it was evicted")
}

/** A data key that seals, with its wraps. */
export class SealingKey {
  /** The key. */
  readonly dek: DataKey
  /** Its wraps, one for each key-encryption key that wraps. */
  readonly keys: readonly KeyEntry[]
  /** The version of the first key-encryption key, for queries. */
  readonly kekVersion: number
  readonly #headers: { withContext?: Uint8Array; without?: Uint8Array } = {}

  constructor(dek: DataKey, keys: readonly KeyEntry[], kekVersion: number) {
    this.dek = dek
    this.keys = keys
    this.kekVersion = kekVersion
  }

  /** The header of what it seals, which is the same for every message: not to be changed. */
  header(hasContext: boolean): Uint8Array {
    const name = hasContext ? "withContext" : "without"
    this.#headers[name] ??= encodeHeader({ dekID: this.dek.id, hasContext, keys: this.keys })
    return this.#headers[name]
  }

  /** The key-encryption keys that it is wrapped under. */
  get keyIDs(): readonly string[] {
    return this.keys.map((entry) => providerOf(entry).keyID)
  }

  /** Lets go of the key. */
  destroy(): void {
    this.dek.destroy()
  }
}
