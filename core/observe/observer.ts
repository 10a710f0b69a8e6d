/**
 * What watches a program: the collector, the hooks and the logger of its options, told of every operation. A watcher is told names,
 * codes, counts and times; what it throws is dropped, and what it promises is not awaited.
 *
 * @module
 */
import type { Clock, Logger, MetricsCollector, ObservabilityHook, ServiceEvent, Tags } from "../contracts.ts"
import { isRetryableError } from "../errors.ts"
import type { DEKCacheStats, Eviction } from "../keys/dek-cache.ts"
import { guardHook, guardLogger, guardMetrics } from "./guard.ts"
import { errorCode, formatMs, isAbort, loggingHook, metricsHook } from "./hooks.ts"

/** Which kind of service a call asks: the middle of its metrics' names. @internal */
export type ServiceKind = "kms" | "secrets" | "database"

/** The counters of a cache, as they are now: all but the size only grow. @internal */
export type CacheCounters = Omit<DEKCacheStats, "flights" | "queued">

/** What an operation does, for those who add up several of them. */
const TYPES: Readonly<Record<string, string>> = Object.assign(Object.create(null) as Record<string, string>, {
  generateDEK: "data_key",
  encryptDEK: "data_key",
  decryptDEK: "data_key",
  decryptDEKWithVersion: "data_key",
  rotateKEK: "key_rotation",
  describeKEK: "key",
  getCurrentKEKVersion: "key",
  getKMSKeyIDForVersion: "key",
  encryptData: "encryption",
  seal: "encryption",
  encryptStream: "encryption",
  sealFile: "encryption",
  sealedSize: "encryption",
  sealRecord: "encryption",
  sealRecords: "encryption",
  updateRecord: "encryption",
  decryptData: "decryption",
  open: "decryption",
  decryptStream: "decryption",
  openFile: "decryption",
  openRange: "decryption",
  openRecord: "decryption",
  openMatches: "decryption",
  verify: "decryption",
  rewrap: "rewrap",
  rewrapRecord: "rewrap",
  rewrapRecords: "rewrap",
  hashBasic: "hash",
  hashSecure: "hash",
  compareBasicHashAndValue: "hash",
  compareSecureHashAndValue: "hash",
  compareRecordHash: "hash",
  blindIndex: "index",
  lookup: "index",
  health: "health",
})

/** The kind of an operation: the tag `operation_type`. @internal */
export const operationType = (operation: string): string => TYPES[operation] ?? "other"

/** More different ones than a program has; beyond them tags are made anew. */
const MAX_CACHED = 1_000
const FLUSH_MS = 5_000

/** Tells the program's watchers of every operation. @internal */
export class Observer {
  readonly #hooks: readonly Required<ObservabilityHook>[]
  readonly #metrics: Required<MetricsCollector> | undefined
  readonly #logger: Logger | undefined
  readonly #clock: Clock
  readonly #alias: string | undefined
  readonly #operations = new Map<string, Tags>()
  readonly #calls = new Map<string, CallTags>()
  /** The open circuits of each service. */
  readonly #open = new Map<string, Set<string>>()
  #reportCache: () => void = () => {}

  /** @param watchers what the program gave; none of it may make an operation fail */
  constructor(watchers: {
    readonly metrics?: MetricsCollector | undefined
    readonly hooks?: readonly ObservabilityHook[] | undefined
    readonly logger?: Logger | undefined
    readonly clock?: Clock | undefined
    /** The alias of the program's key. */
    readonly alias?: string | undefined
  }) {
    const logger = watchers.logger && guardLogger(watchers.logger)
    const dropped = (what: string, error: unknown): void =>
      logger?.warn("A watcher threw; the operation goes on, and this is said once", {
        watcher: what,
        error: errorCode(error),
      })
    const metrics = watchers.metrics && guardMetrics(watchers.metrics, dropped)
    this.#metrics = metrics
    this.#logger = logger
    this.#clock = watchers.clock ?? performance
    this.#alias = watchers.alias
    this.#hooks = [
      ...(metrics ? [metricsHook(metrics)] : []),
      ...(watchers.hooks ?? []),
      ...(logger ? [loggingHook(logger)] : []),
    ].map((hook) => guardHook(hook, dropped))
  }

  // --- Operations ---

  /** An operation of the program's `Crypto`. */
  async operation<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    const metadata = this.#metadataOf(name)
    const began = this.#begin(name, metadata)
    try {
      const result = await work()
      this.#complete(name, began, undefined, metadata)
      return result
    } catch (error) {
      this.#fail(name, began, error, metadata)
      throw error
    }
  }

  /** An operation that only computes. */
  computation<Result>(name: string, work: () => Result): Result {
    const metadata = this.#metadataOf(name)
    const began = this.#begin(name, metadata)
    try {
      const result = work()
      this.#complete(name, began, undefined, metadata)
      return result
    } catch (error) {
      this.#fail(name, began, error, metadata)
      throw error
    }
  }

  #metadataOf(name: string): Tags {
    return remembered(this.#operations, name, () =>
      Object.freeze({
        operation_type: operationType(name),
        ...(this.#alias === undefined ? {} : { key_alias: this.#alias }),
      }),
    )
  }

  #begin(name: string, metadata: Tags): number {
    for (const hook of this.#hooks) hook.onProcessStart(name, metadata)
    return this.#clock.now()
  }

  #complete(name: string, began: number, error: unknown, metadata: Tags): void {
    const milliseconds = Math.max(0, this.#clock.now() - began)
    for (const hook of this.#hooks) hook.onProcessComplete(name, milliseconds, error, metadata)
    this.#reportCache()
  }

  #fail(name: string, began: number, thrown: unknown, metadata: Tags): void {
    // Whoever throws `undefined` has failed all the same.
    const error = thrown === undefined ? new Error("undefined was thrown") : thrown
    for (const hook of this.#hooks) hook.onError(name, error, metadata)
    this.#complete(name, began, error, metadata)
  }

  // --- Services ---

  /** A call of a service. */
  async call<Result>(
    provider: string,
    operation: string,
    work: () => Promise<Result>,
    service: ServiceKind = "kms",
  ): Promise<Result> {
    const tags = remembered(this.#calls, `${service}/${provider}/${operation}`, () => callTags(provider, operation))
    const began = this.#clock.now()
    const end = (status: "success" | "error"): string => {
      const milliseconds = Math.max(0, this.#clock.now() - began)
      this.#metrics?.incrementCounter(NAMES[service].calls, tags[status])
      this.#metrics?.recordTiming(NAMES[service].duration, milliseconds, tags[status])
      return formatMs(milliseconds)
    }
    try {
      const result = await work()
      const duration = end("success")
      this.#logger?.debug("Service call completed", { service, provider, operation, duration_ms: duration })
      return result
    } catch (error) {
      const duration = end("error")
      const code = errorCode(error)
      this.#metrics?.incrementCounter(NAMES[service].errors, { provider, operation, error: code })
      const fields = { service, provider, operation, duration_ms: duration, error: code }
      // What cannot be asked is degraded; an answer that says no is told with the operation that it ends.
      if (isRetryableError(error) && !isAbort(error)) this.#logger?.warn("Service call failed", fields)
      else this.#logger?.debug("Service call failed", fields)
      throw error
    }
  }

  /** What a service tells of itself while it is asked. */
  serviceEvent(service: ServiceKind, provider: string, event: ServiceEvent): void {
    if (event.kind === "retry") {
      const { operation } = event
      const reason = event.throttled ? "throttled" : "unavailable"
      this.#metrics?.incrementCounter(NAMES[service].retries, { provider, operation, reason })
      this.#logger?.warn("Service call is repeated", { service, provider, operation, reason })
      return
    }
    const open = remembered(this.#open, `${service}/${provider}`, () => new Set())
    if (open.has(event.key) === event.open) return
    if (event.open) open.add(event.key)
    else open.delete(event.key)
    this.#metrics?.setGauge("encx.circuits.open", open.size, { service, provider })
    if (event.open) this.#logger?.warn("Circuit opened", { service, provider, open: String(open.size) })
    else this.#logger?.info("Circuit closed", { service, provider, open: String(open.size) })
  }

  /** How many circuits were open when they were used last. */
  get openCircuits(): number {
    return [...this.#open.values()].reduce((sum, keys) => sum + keys.size, 0)
  }

  /** Something was done to a key-encryption key. */
  key(operation: string, alias: string, version: number, metadata: Tags = NOTHING): void {
    for (const hook of this.#hooks) hook.onKeyOperation(operation, alias, version, metadata)
  }

  // --- The cache and the end ---

  /** A data key seals though it is too old, because the KMS cannot be asked for another. */
  staleKey(version: number, byMs: number): void {
    this.key("stale", this.#alias ?? "", version, { past_age_ms: formatMs(byMs) })
  }

  /** Somebody waited for a data key. */
  waitedForKey(milliseconds: number): void {
    this.#metrics?.recordTiming("encx.cache.wait", milliseconds, NOTHING)
  }

  /**
   * Reports what a cache counted, with every operation that ends.
   *
   * @param counters the cache's own, which it goes on counting with
   */
  watchCache(counters: CacheCounters): void {
    const metrics = this.#metrics
    if (!metrics) return
    const told = new Map<string, number>()
    let size = -1
    const evicted = new Map(
      (Object.keys(counters.evictions) as Eviction[]).map((reason) => [
        reason,
        { tags: Object.freeze({ reason }), told: 0 },
      ]),
    )
    this.#reportCache = () => {
      for (const [name, metric] of COUNTED) {
        const more = counters[name] - (told.get(name) ?? 0)
        if (more === 0) continue
        told.set(name, counters[name])
        metrics.incrementCounterBy(metric, more, NOTHING)
      }
      for (const [reason, each] of evicted) {
        const more = counters.evictions[reason] - each.told
        if (more === 0) continue
        each.told += more
        metrics.incrementCounterBy("encx.cache.evictions", more, each.tags)
      }
      if (counters.size === size) return
      size = counters.size
      metrics.setGauge("encx.cache.size", size, NOTHING)
    }
  }

  /** Lets the collector send what it keeps back, and waits for it no longer than this. */
  async close(timeoutMs: number = FLUSH_MS): Promise<void> {
    this.#reportCache()
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs)
    })
    await Promise.race([this.#metrics?.flush(), late])
    clearTimeout(timer)
  }
}

// --- Tags ---

const NOTHING: Tags = Object.freeze({})

const COUNTED = [
  ["hits", "encx.cache.hits"],
  ["misses", "encx.cache.misses"],
  ["coalesced", "encx.cache.coalesced"],
  ["stale", "encx.cache.stale"],
  ["refreshes", "encx.cache.refreshes"],
  ["refreshFailures", "encx.cache.refresh_failures"],
  ["negative", "encx.cache.negative"],
] as const

const namesOf = <Kind extends ServiceKind>(service: Kind) =>
  ({
    calls: `encx.${service}.calls`,
    duration: `encx.${service}.duration`,
    errors: `encx.${service}.errors`,
    retries: `encx.${service}.retries`,
  }) as const
const NAMES = { kms: namesOf("kms"), secrets: namesOf("secrets"), database: namesOf("database") } as const

interface CallTags {
  readonly success: Tags
  readonly error: Tags
}

const callTags = (provider: string, operation: string): CallTags => ({
  success: Object.freeze({ provider, operation, status: "success" }),
  error: Object.freeze({ provider, operation, status: "error" }),
})

/** What was made for a name before, or is made now; what is told is told with the same object each time. */
function remembered<Value>(known: Map<string, Value>, name: string, make: () => Value): Value {
  const found = known.get(name)
  if (found !== undefined) return found
  const made = make()
  if (known.size < MAX_CACHED) known.set(name, made)
  return made
}
