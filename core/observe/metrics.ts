/**
 * Measurements in memory: for tests, and for programs that show their own.
 *
 * @module
 */
import type { MetricsCollector, Tags } from "../contracts.ts"

/** Options of {@link inMemoryMetrics}. */
export interface InMemoryMetricsOptions {
  /** How many different names and tags are kept; those that come later are counted in `dropped`. @default {1_000} */
  readonly maxSeries?: number
  /** How many of the latest values of one series its percentiles are of. @default {1_024} */
  readonly maxSamples?: number
}

/** What a series of timings or values was. */
export interface MetricsSummary {
  /** How many there were. */
  readonly count: number
  readonly sum: number
  readonly min: number
  readonly max: number
  /** Of the latest values, by the nearest rank. */
  readonly p50: number
  readonly p90: number
  readonly p99: number
}

/** Everything that was measured, by name and tags: `encx.errors,error=BUSY,operation=seal`; a `\\`, `,` or `=` within a tag has a `\\` before it. */
export interface MetricsSnapshot {
  readonly counters: Readonly<Record<string, number>>
  readonly gauges: Readonly<Record<string, number>>
  readonly timings: Readonly<Record<string, MetricsSummary>>
  readonly values: Readonly<Record<string, MetricsSummary>>
  /** Measurements that found no room. */
  readonly dropped: number
}

/** A collector that can be asked. */
export interface InMemoryMetrics extends MetricsCollector {
  /** A counter; 0 where nothing was counted. */
  getCounter(name: string, tags?: Tags): number
  /** A gauge; `undefined` where it was never set. */
  getGauge(name: string, tags?: Tags): number | undefined
  /** Timings, in milliseconds; `undefined` where there were none. */
  getTimings(name: string, tags?: Tags): MetricsSummary | undefined
  /** Values; `undefined` where there were none. */
  getValues(name: string, tags?: Tags): MetricsSummary | undefined
  /** Everything, sorted by name. */
  snapshot(): MetricsSnapshot
  /** Forgets everything. */
  reset(): void
}

const LIMITS: Required<InMemoryMetricsOptions> = { maxSeries: 1_000, maxSamples: 1_024 }

/**
 * Keeps measurements in memory, within limits.
 *
 * @throws {RangeError} when a limit is not a whole number from 1
 *
 * @example What a program did
 * ```ts
 * const metrics = inMemoryMetrics()
 * const crypto = await newCrypto(
 *   withKMSService("memory"),
 *   withKEKAlias("app"),
 *   withBootstrap({ createKEK: true }),
 *   withMetricsCollector(metrics),
 * )
 * await crypto.seal(new Uint8Array(3))
 * const tags = { operation: "seal", operation_type: "encryption", status: "success" }
 * assertEquals(metrics.getCounter("encx.process.succeeded", tags), 1)
 * ```
 */
export function inMemoryMetrics(options: InMemoryMetricsOptions = {}): InMemoryMetrics {
  const { maxSeries, maxSamples } = { ...LIMITS, ...options }
  for (const [name, limit] of Object.entries({ maxSeries, maxSamples })) {
    if (!Number.isSafeInteger(limit) || limit < 1) throw new RangeError(`${name} must be a whole number from 1`)
  }
  const counters = new Map<string, number>()
  const gauges = new Map<string, number>()
  const timings = new Map<string, Series>()
  const values = new Map<string, Series>()
  let dropped = 0

  const mayKeep = (series: ReadonlyMap<string, unknown>, key: string): boolean => {
    if (series.has(key) || counters.size + gauges.size + timings.size + values.size < maxSeries) return true
    dropped++
    return false
  }
  const add = (name: string, value: number, tags?: Tags): void => {
    const key = seriesKey(name, tags)
    if (mayKeep(counters, key)) counters.set(key, (counters.get(key) ?? 0) + value)
  }
  const record = (series: Map<string, Series>, name: string, value: number, tags?: Tags): void => {
    const key = seriesKey(name, tags)
    if (!mayKeep(series, key)) return
    const kept = series.get(key) ?? new Series(maxSamples)
    series.set(key, kept)
    kept.add(value)
  }

  return {
    incrementCounter: (name, tags) => add(name, 1, tags),
    incrementCounterBy: (name, value, tags) => add(name, value, tags),
    setGauge(name, value, tags) {
      const key = seriesKey(name, tags)
      if (mayKeep(gauges, key)) gauges.set(key, value)
    },
    recordTiming: (name, milliseconds, tags) => record(timings, name, milliseconds, tags),
    recordValue: (name, value, tags) => record(values, name, value, tags),

    getCounter: (name, tags) => counters.get(seriesKey(name, tags)) ?? 0,
    getGauge: (name, tags) => gauges.get(seriesKey(name, tags)),
    getTimings: (name, tags) => timings.get(seriesKey(name, tags))?.summary(),
    getValues: (name, tags) => values.get(seriesKey(name, tags))?.summary(),
    snapshot: () => ({
      counters: sorted(counters, (count) => count),
      gauges: sorted(gauges, (value) => value),
      timings: sorted(timings, (series) => series.summary()),
      values: sorted(values, (series) => series.summary()),
      dropped,
    }),
    reset() {
      for (const series of [counters, gauges, timings, values]) series.clear()
      dropped = 0
    },
  }
}

// --- Series ---

/** Counts all values and keeps the latest. */
class Series {
  readonly #latest: number[] = []
  readonly #maxSamples: number
  #count = 0
  #sum = 0
  #min = Number.POSITIVE_INFINITY
  #max = Number.NEGATIVE_INFINITY

  constructor(maxSamples: number) {
    this.#maxSamples = maxSamples
  }

  add(value: number): void {
    this.#latest[this.#count % this.#maxSamples] = value
    this.#count++
    this.#sum += value
    this.#min = Math.min(this.#min, value)
    this.#max = Math.max(this.#max, value)
  }

  summary(): MetricsSummary {
    const ascending = this.#latest.toSorted((a, b) => a - b)
    const percentile = (p: number): number => ascending[Math.ceil((p / 100) * ascending.length) - 1] as number
    return {
      count: this.#count,
      sum: this.#sum,
      min: this.#min,
      max: this.#max,
      p50: percentile(50),
      p90: percentile(90),
      p99: percentile(99),
    }
  }
}

// --- Keys ---

/** The keys of frozen tags, by name: the library's own tags are the same objects each time. */
const KNOWN = new WeakMap<Tags, Map<string, string>>()

function seriesKey(name: string, tags: Tags | undefined): string {
  if (tags === undefined) return name
  const known = KNOWN.get(tags)
  const found = known?.get(name)
  if (found !== undefined) return found
  const key = `${name}${Object.keys(tags)
    .sort()
    .map((each) => `,${escaped(each)}=${escaped(String(tags[each]))}`)
    .join("")}`
  if (Object.isFrozen(tags)) KNOWN.set(tags, (known ?? new Map<string, string>()).set(name, key))
  return key
}

/** Tags that contain what stands between tags are no other tags. */
const escaped = (text: string): string => text.replace(/[\\,=]/g, "\\$&")

function sorted<Kept, Shown>(series: ReadonlyMap<string, Kept>, show: (kept: Kept) => Shown): Record<string, Shown> {
  const entries = [...series].sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, kept]) => [key, show(kept)]))
}
