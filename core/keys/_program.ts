import type { Eviction } from "./dek-cache.ts"

/** What is told of a cache as it happens. */
export interface CacheWatch {
  /** A key seals though it is this much too old. */
  stale?(key: unknown, byMs: number): void
  /** A caller waited so long for a key. */
  waited?(milliseconds: number): void
}

/** What it counts. */
export interface CacheCounters {
  hits: number
  misses: number
  coalesced: number
  stale: number
  refreshes: number
  refreshFailures: number
  negative: number
  size: number
  readonly evictions: Record<Eviction, number>
}

/** Nothing yet. */
export const noCounters = (): CacheCounters => ({
  ...{ hits: 0, misses: 0, coalesced: 0, stale: 0, refreshes: 0, refreshFailures: 0, negative: 0, size: 0 },
  evictions: { age: 0, messages: 0, bytes: 0, capacity: 0, invalidated: 0 },
})

/** A program that uses a store. */
export interface Program {
  /** Programs that share one have the same services and keys. */
  readonly namespace: string
  /** The partition of a shared cache that it named. */
  readonly home: string
  /** Its first service. */
  readonly provider: string
  counters: CacheCounters
  readonly watch: CacheWatch
  isClosed: boolean
}
