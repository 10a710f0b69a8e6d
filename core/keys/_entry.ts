import type { CallOptions } from "../contracts.ts"
import type { Program } from "./_program.ts"
import type { Lease, Use } from "./dek-cache.ts"

/** What holds a key that is overwritten in the end. */
export interface Destroyable {
  destroy(): void
  /** The key-encryption keys that it is wrapped under, where it knows them. */
  readonly keyIDs?: readonly string[]
}

/** What a caller asks a side for. */
export interface Ask<Value> {
  /** All that the answer depends on. */
  readonly id: string
  readonly use: Use
  readonly fetch: (options: CallOptions) => Promise<Value>
  readonly program: Program
  readonly partition: string
  /** The key-encryption key that is asked, where it is known before. */
  readonly kek?: AskedKEK | undefined
}

/** A key-encryption key that is asked to unwrap. */
export interface AskedKEK {
  /** As this program names it, and as the data does: copies of one key in several regions have an id each. */
  readonly keyIDs: readonly string[]
  readonly provider?: string
}

/** What is asked of whom: several key-encryption keys may unwrap one data key, and the answer of each is its own. */
export function callOf({ id, kek }: Ask<unknown>): string {
  const [keyID] = kek?.keyIDs ?? []
  return keyID === undefined ? id : `${keyID.length}/${keyID}/${id}`
}

/** A key in the cache, what was taken of it, and who uses it. */
export class Entry<Value extends Destroyable> {
  readonly value: Value
  /** What was asked for. */
  readonly from: Ask<Value>
  readonly expiresAt: number
  /** From when on a use of it looks for its successor. */
  refreshAt: number
  /** When the KMS could last not be asked for its successor. */
  failedAt: number = Number.NEGATIVE_INFINITY
  messages: number
  bytes: number
  #isEvicted = false
  // The first is that of the flight, until everybody who waited took theirs.
  #leases = 1

  constructor(value: Value, from: Ask<Value>, taken: Use, expiresAt: number, refreshAt: number) {
    this.value = value
    this.from = from
    this.messages = taken.messages
    this.bytes = taken.bytes
    this.expiresAt = expiresAt
    this.refreshAt = refreshAt
  }

  /** A use that was not reserved before. */
  lend(use: Use): Lease<Value> {
    this.messages += use.messages
    this.bytes += use.bytes
    return this.lendReserved()
  }

  /** A use that was. */
  lendReserved(): Lease<Value> {
    this.#leases++
    return new HeldLease(this)
  }

  /** Ends a use. */
  giveBack(): void {
    this.#leases--
    if (this.#isEvicted && this.#leases === 0) this.value.destroy()
  }

  /** It is not handed out again, and destroyed when its last lease ends. */
  evict(): void {
    this.#isEvicted = true
    if (this.#leases === 0) this.value.destroy()
  }
}

/** A class, because a closure for each use takes longer: 30 ns and 50 ns (Node 24). */
class HeldLease<Value extends Destroyable> implements Lease<Value> {
  readonly value: Value
  #entry: { giveBack(): void } | undefined

  constructor(entry: Entry<Value>) {
    this.value = entry.value
    this.#entry = entry
  }

  release(): void {
    const entry = this.#entry
    this.#entry = undefined
    entry?.giveBack()
  }
}
