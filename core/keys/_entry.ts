import type { Lease, Use } from "./dek-cache.ts"

/** What holds a key that is overwritten in the end. */
export interface Destroyable {
  destroy(): void
  /** The key-encryption keys that it is wrapped under, where it knows them. */
  readonly keyIDs?: readonly string[]
}

/** A key in the cache, what was taken of it, and who uses it. */
export class Entry<Value extends Destroyable, From> {
  readonly value: Value
  /** What was asked for. */
  readonly from: From
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

  constructor(value: Value, from: From, taken: Use, expiresAt: number, refreshAt: number) {
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

  constructor(entry: Entry<Value, unknown>) {
    this.value = entry.value
    this.#entry = entry
  }

  release(): void {
    const entry = this.#entry
    this.#entry = undefined
    entry?.giveBack()
  }
}
