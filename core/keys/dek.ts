/**
 * A data-encryption key in memory.
 *
 * @module
 */
import { createSecretKey, type KeyObject } from "node:crypto"
import { abytes, randomBytes, wipe } from "../bytes.ts"
import { DEK_ID, type KeyEntry } from "../cipher/envelope.ts"
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

/** A data key and its id. The key lies in the runtime's key object: it has no text, and inspecting it shows nothing. */
export class DataKey {
  /** 16 random bytes, made with the key. */
  readonly id: Uint8Array
  #key: KeyObject | undefined

  /** Takes the bytes over and wipes them. */
  constructor(id: Uint8Array, bytes: Uint8Array) {
    abytes(id, DEK_ID, "dek id")
    abytes(bytes, DEK_LENGTH, "dek")
    this.id = id
    this.#key = createSecretKey(bytes)
    wipe(bytes)
  }

  /**
   * The key, for a cipher.
   *
   * @throws {Closed} after {@link DataKey.destroy}
   */
  get key(): KeyObject {
    if (this.#key === undefined) throw new Closed("Cannot use a data key: it was evicted")
    return this.#key
  }

  /** Lets go of the key; the runtime frees and overwrites it when it collects the object. */
  destroy(): void {
    this.#key = undefined
  }
}

/** A data key that seals, with its wraps. */
export interface SealingKey {
  /** The key. */
  readonly dek: DataKey
  /** Its wraps, one for each key-encryption key that wraps. */
  readonly keys: readonly KeyEntry[]
  /** The version of the first key-encryption key, for queries. */
  readonly kekVersion: number
  /** Lets go of the key. */
  destroy(): void
}
