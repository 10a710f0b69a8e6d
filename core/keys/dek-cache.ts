/**
 * Data keys that were paid for with a KMS call, kept for a while within hard limits. One side seals, one opens.
 *
 * Use is reserved before it happens; one flight serves all who wait for the same key; a failed flight is never kept; an
 * abort drops the caller who asked for it. A key that leaves the cache is destroyed when its last lease ends.
 *
 * @module
 */
import type { CallOptions, Clock } from "../contracts.ts"
import { InvalidInput } from "../errors.ts"
import type { AskedKEK, Destroyable } from "./_entry.ts"
import { type CacheCounters, noCounters, type Program } from "./_program.ts"
import type { DEKCacheOptions } from "./cache-limits.ts"
import { DEKStore } from "./dek-store.ts"

export { DEK_CACHE_DEFAULTS, type DEKCacheOptions } from "./cache-limits.ts"

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
  /** Uses of a key past its age, because the KMS could not be asked for another. */
  readonly stale: number
  /** Fetches in the background, to replace a key that is in use. */
  readonly refreshes: number
  /** Those that failed. */
  readonly refreshFailures: number
  /** Callers who were given the KMS's last answer, which was no. */
  readonly negative: number
  /** Keys that left, by reason. */
  readonly evictions: Readonly<Record<Eviction, number>>
  /** Keys that are there now, on both sides. */
  readonly size: number
  /** Fetches that go on now. */
  readonly flights: number
  /** Fetches that wait for one of those to end. */
  readonly queued: number
}

/** The use of a key that cannot be taken away before it is released. */
export interface Lease<Value> {
  readonly value: Value
  /** Ends the use. Calling it twice is calling it once. */
  release(): void
}

/** What one use takes from a key's limits. */
export interface Use {
  readonly messages: number
  readonly bytes: number
}

/** Whom a key serves. */
export interface LeaseOptions extends CallOptions {
  /** Keys of one partition never serve another. @default {""} */
  readonly partition?: string | undefined
}

/** Which keys are forgotten; without either, all are. */
export interface InvalidateOptions {
  /** Those wrapped under this key-encryption key, by the id that it resolved to. */
  readonly keyID?: string
  /** Those of this partition: the tenant of a record, or what `seal` and `open` were given. */
  readonly partition?: string
}

const OPENING: Use = { messages: 0, bytes: 0 }

type ProgramOptions<Sealing extends Destroyable, Opening extends Destroyable> = Partial<
  Pick<Program, "namespace" | "home" | "provider" | "watch"> & { readonly store: DEKStore<Sealing, Opening> }
>

/** The cache of one program: a store of its own, or its part of one that several share. */
export class DEKCache<Sealing extends Destroyable, Opening extends Destroyable> {
  readonly #store: DEKStore<Sealing, Opening>
  readonly #program: Program
  /** What it counts with, for those who look often. @internal */
  readonly counters: CacheCounters = noCounters()

  /** @param program what tells it from others, where the store is shared */
  constructor(
    limits: Required<DEKCacheOptions>,
    clock: Clock,
    { store = new DEKStore(limits, clock), ...program }: ProgramOptions<Sealing, Opening> = {},
  ) {
    this.#store = store
    this.#program = {
      namespace: "",
      home: "",
      provider: "",
      watch: {},
      ...program,
      counters: this.counters,
      isClosed: false,
    }
    store.programs.add(this.#program)
  }

  /**
   * A key to seal with, reserved for this use: at once when it is there.
   *
   * @param id what the keys of one partition are for
   * @throws {KMSUnavailable} when the KMS does not answer in time
   */
  seal(
    id: string,
    use: Use,
    make: (options: CallOptions) => Promise<Sealing>,
    options: LeaseOptions = {},
  ): Lease<Sealing> | Promise<Lease<Sealing>> {
    const { partition = "" } = options
    return this.#store.sealing.lease(
      { id: this.#id(partition, id), use, fetch: make, program: this.#program, partition },
      options,
    )
  }

  /**
   * The key of stored data: at once when it is there.
   *
   * @param id all that was given to the KMS
   * @param kek the key-encryption key that is asked
   * @throws {KMSUnavailable} when the KMS does not answer in time
   */
  open(
    id: string,
    load: (options: CallOptions) => Promise<Opening>,
    options: LeaseOptions = {},
    kek?: AskedKEK,
  ): Lease<Opening> | Promise<Lease<Opening>> {
    const { partition = "" } = options
    return this.#store.opening.lease(
      { id: this.#id(partition, id), use: OPENING, fetch: load, program: this.#program, partition, kek },
      options,
    )
  }

  // No id begins with a letter that stands for a namespace or a partition, and lengths keep the parts apart.
  #id(partition: string, id: string): string {
    if (partition === "") return this.#program.namespace + id
    if (typeof partition !== "string") throw new InvalidInput("Cannot use a partition: it is not text")
    return `${this.#program.namespace}@${partition.length}/${partition}/${id}`
  }

  /** Forgets keys; a fetch that is under way serves those who wait for it and is not kept. */
  invalidate({ keyID, partition }: InvalidateOptions = {}): void {
    const { namespace } = this.#program
    this.#store.invalidate(
      (place) =>
        place.namespace === namespace &&
        (partition === undefined || place.partition === partition) &&
        (keyID === undefined || place.keyIDs === undefined || place.keyIDs.includes(keyID)),
    )
  }

  /** Forgets the keys that seal, so that the next one is wrapped under the version that is current now. */
  renew(): void {
    const { namespace } = this.#program
    this.#store.sealing.invalidate((place) => place.namespace === namespace)
  }

  /**
   * Forgets every key and keeps none from now on: work that had begun ends with keys of its own. What others share stays, where they
   * have the same services and keys.
   */
  close(): void {
    this.#store.leave(this.#program)
    this.counters.size = 0
  }

  /** What was counted so far. */
  stats(): DEKCacheStats {
    const { taken, queued } = this.#store.slots
    return { ...this.counters, evictions: { ...this.counters.evictions }, flights: taken, queued }
  }

  /** How many keys serve now though they are too old. */
  get stale(): number {
    return this.#store.sealing.staleIn(this.#program.namespace)
  }
}
