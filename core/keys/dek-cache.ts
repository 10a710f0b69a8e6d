/**
 * Data keys that were paid for with a KMS call, kept for a while within hard limits. One side seals, one opens.
 *
 * Use is reserved before it happens; one flight serves all who wait for the same key; a failed flight is never kept; an
 * abort drops the caller who asked for it. A key that leaves the cache is destroyed when its last lease ends.
 *
 * @module
 */
import type { CallOptions, Clock } from "../contracts.ts"
import { Flight } from "./_flight.ts"

/** The limits of the cache; each is hard. */
export interface DEKCacheOptions {
  /** How long a key is used, from when it came; not from its last use. @default {300_000} */
  readonly maxAgeMs?: number
  /** How many messages a key seals; one `seal` or one record is one message, an update of a record none. @default {1_048_576} */
  readonly maxMessages?: number
  /** How many bytes a key seals; a message of more gets a key of its own. @default {68_719_476_736} */
  readonly maxBytes?: number
  /** How many keys each side holds; the one that was not used for longest leaves first. @default {1_000} */
  readonly capacity?: number
}

/** The limits where the program names none. */
export const DEK_CACHE_DEFAULTS: Required<DEKCacheOptions> = {
  maxAgeMs: 300_000,
  maxMessages: 2 ** 20,
  maxBytes: 2 ** 36,
  capacity: 1000,
}

/** Why a key left the cache. */
export type Eviction = "age" | "messages" | "bytes" | "capacity" | "invalidated"

/** What the cache counted since it was made. */
export interface DEKCacheStats {
  /** Keys that were there. */
  readonly hits: number
  /** Keys that had to be fetched. */
  readonly misses: number
  /** Callers who waited for a fetch that another had begun. */
  readonly coalesced: number
  /** Keys that left, by reason. */
  readonly evictions: Readonly<Record<Eviction, number>>
  /** Keys that are there now, on both sides. */
  readonly size: number
}

/** The use of a key that cannot be taken away before it is released. */
export interface Lease<Value> {
  readonly value: Value
  /** Ends the use. Calling it twice is calling it once. */
  release(): void
}

interface Destroyable {
  destroy(): void
}

interface Entry<Value> {
  readonly value: Value
  readonly bornAt: number
  leases: number
  evicted: boolean
  messages: number
  bytes: number
}

/** What one use takes from a key's limits. */
export interface Use {
  readonly messages: number
  readonly bytes: number
}

interface Reserved {
  messages: number
  bytes: number
}
type Pending<Value> = Flight<Entry<Value>> & { readonly reserved: Reserved }

const OPENING: Use = { messages: 0, bytes: 0 }
const ONE: Use = { messages: 1, bytes: 0 }

function add(taken: Reserved, use: Use): void {
  taken.messages += use.messages
  taken.bytes += use.bytes
}

/** The cache of one program. */
export class DEKCache<Sealing extends Destroyable, Opening extends Destroyable> {
  readonly #sealing: Side<Sealing>
  readonly #opening: Side<Opening>
  readonly #counters = {
    hits: 0,
    misses: 0,
    coalesced: 0,
    evictions: { age: 0, messages: 0, bytes: 0, capacity: 0, invalidated: 0 },
  }

  constructor(limits: Required<DEKCacheOptions>, clock: Clock) {
    this.#sealing = new Side(limits, clock, this.#counters)
    this.#opening = new Side(limits, clock, this.#counters)
  }

  /** A key to seal with, reserved for this use: at once when it is there. Keys of one partition never serve another. */
  seal(
    partition: string,
    use: Use,
    make: (options: CallOptions) => Promise<Sealing>,
    options: CallOptions = {},
  ): Lease<Sealing> | Promise<Lease<Sealing>> {
    return this.#sealing.lease(partition, use, make, options)
  }

  /** The key of stored data: at once when it is there. `id` is all that was given to the KMS. */
  open(
    id: string,
    load: (options: CallOptions) => Promise<Opening>,
    options: CallOptions = {},
  ): Lease<Opening> | Promise<Lease<Opening>> {
    return this.#opening.lease(id, OPENING, load, options)
  }

  /** Forgets every key; a fetch that is under way serves those who wait for it and is not kept. */
  invalidate(): void {
    this.#sealing.clear()
    this.#opening.clear()
  }

  /** Forgets the keys that seal, so that the next one is wrapped under the version that is current now. */
  renew(): void {
    this.#sealing.clear()
  }

  /** Forgets every key and keeps none from now on: work that had begun ends with keys of its own. */
  close(): void {
    this.#sealing.close()
    this.#opening.close()
  }

  /** What was counted so far. */
  stats(): DEKCacheStats {
    return { ...this.#counters, evictions: { ...this.#counters.evictions }, size: this.size }
  }

  /** What it counts with, for those who look often. @internal */
  get counters(): Readonly<Omit<DEKCacheStats, "size">> {
    return this.#counters
  }

  /** Keys that are there now, on both sides. */
  get size(): number {
    return this.#sealing.size + this.#opening.size
  }
}

interface Counters {
  hits: number
  misses: number
  coalesced: number
  readonly evictions: Record<Eviction, number>
}

class Side<Value extends Destroyable> {
  #limits: Required<DEKCacheOptions>
  readonly #clock: Clock
  readonly #counters: Counters
  readonly #entries = new Map<string, Entry<Value>>()
  readonly #flights = new Map<string, Pending<Value>>()
  #generation = 0

  constructor(limits: Required<DEKCacheOptions>, clock: Clock, counters: Counters) {
    this.#limits = limits
    this.#clock = clock
    this.#counters = counters
  }

  get size(): number {
    return this.#entries.size
  }

  lease(
    id: string,
    use: Use,
    fetch: (options: CallOptions) => Promise<Value>,
    options: CallOptions,
  ): Lease<Value> | Promise<Lease<Value>> {
    options.signal?.throwIfAborted()
    // Before the look-up: what fits no key would only drive out the one that serves all others.
    if (this.#limits.capacity === 0 || use.bytes > this.#limits.maxBytes || use.messages > this.#limits.maxMessages)
      return this.#unkept(use, fetch, options)
    const cached = this.#find(id, use)
    if (!cached) return this.#join(id, use, fetch, options)
    this.#counters.hits++
    return this.#lend(cached, use)
  }

  async #unkept(
    use: Use,
    fetch: (options: CallOptions) => Promise<Value>,
    options: CallOptions,
  ): Promise<Lease<Value>> {
    this.#counters.misses++
    return this.#lend(this.#entry(await fetch(options), true), use)
  }

  close(): void {
    this.#limits = { ...this.#limits, capacity: 0 }
    this.clear()
  }

  clear(): void {
    this.#generation++
    this.#flights.clear()
    for (const [id, entry] of this.#entries) this.#evict(id, entry, "invalidated")
  }

  #find(id: string, use: Use): Entry<Value> | undefined {
    const entry = this.#entries.get(id)
    if (!entry) return undefined
    const reason = this.#clock.now() - entry.bornAt >= this.#limits.maxAgeMs ? "age" : this.#exhausted(entry, use)
    if (reason) {
      this.#evict(id, entry, reason)
      return undefined
    }
    this.#entries.delete(id)
    this.#entries.set(id, entry)
    return entry
  }

  #exhausted(taken: Use, use: Use): "messages" | "bytes" | undefined {
    if (taken.messages + use.messages > this.#limits.maxMessages) return "messages"
    if (taken.bytes + use.bytes > this.#limits.maxBytes) return "bytes"
    return undefined
  }

  // Those who wait reserve their use of the key that is to come; whoever finds no room begins another fetch beside it.
  #join(
    id: string,
    use: Use,
    fetch: (options: CallOptions) => Promise<Value>,
    options: CallOptions,
  ): Promise<Lease<Value>> {
    const take = (entry: Entry<Value>): Lease<Value> => this.#lend(entry, OPENING)
    const underWay = this.#flights.get(id)
    if (underWay && !this.#exhausted(underWay.reserved, use)) {
      this.#counters.coalesced++
      add(underWay.reserved, use)
      return underWay.join(take, options.signal)
    }
    this.#counters.misses++
    const flight = this.#begin(id, { ...use }, fetch)
    this.#flights.set(id, flight)
    return flight.join(take, options.signal)
  }

  #begin(id: string, reserved: Reserved, fetch: (options: CallOptions) => Promise<Value>): Pending<Value> {
    const generation = this.#generation
    const forget = (): void => {
      if (this.#flights.get(id) === pending) this.#flights.delete(id)
    }
    const flight = new Flight(
      async (signal) => {
        try {
          // In a function of its own: what throws before it returns a promise is a flight that failed, too.
          const value = await (async () => await fetch({ signal }))()
          const keep = generation === this.#generation && !signal.aborted
          const entry = this.#entry(value, !keep)
          add(entry, reserved)
          entry.leases++ // the flight's own, until everybody who waited took theirs
          if (keep) this.#keep(id, entry)
          return entry
        } finally {
          forget()
        }
      },
      forget,
      (entry: Entry<Value>) => this.#giveBack(entry),
    )
    const pending: Pending<Value> = Object.assign(flight, { reserved })
    return pending
  }

  #entry(value: Value, evicted: boolean): Entry<Value> {
    return { value, bornAt: this.#clock.now(), leases: 0, evicted, messages: 0, bytes: 0 }
  }

  #keep(id: string, entry: Entry<Value>): void {
    const before = this.#entries.get(id)
    if (before) this.#evict(id, before, this.#exhausted(before, ONE) ?? "age")
    this.#entries.set(id, entry)
    for (const [oldest, other] of this.#entries) {
      if (this.#entries.size <= this.#limits.capacity) break
      this.#evict(oldest, other, "capacity")
    }
  }

  #evict(id: string, entry: Entry<Value>, reason: Eviction): void {
    this.#entries.delete(id)
    this.#counters.evictions[reason]++
    entry.evicted = true
    if (entry.leases === 0) entry.value.destroy()
  }

  #lend(entry: Entry<Value>, use: Use): Lease<Value> {
    add(entry, use)
    entry.leases++
    let released = false
    return {
      value: entry.value,
      release: () => {
        if (released) return
        released = true
        this.#giveBack(entry)
      },
    }
  }

  #giveBack(entry: Entry<Value>): void {
    entry.leases--
    if (entry.evicted && entry.leases === 0) entry.value.destroy()
  }
}
