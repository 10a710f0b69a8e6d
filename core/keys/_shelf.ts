import type { Clock } from "../contracts.ts"
import type { Destroyable, Entry } from "./_entry.ts"
import type { DEKCacheOptions } from "./cache-limits.ts"
import type { Eviction } from "./dek-cache.ts"

/** setTimeout() takes no more. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** The keys that are there: so many, and none for longer than its time. */
export class Shelf<Value extends Destroyable> {
  readonly #capacity: number
  readonly #lifeMs: number
  readonly #staleMs: number
  readonly #clock: Clock
  /** By their last use, the latest at the end. */
  readonly #entries = new Map<string, Entry<Value>>()
  #newest: Entry<Value> | undefined
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor({ capacity, maxAgeMs, staleIfErrorMs }: Required<DEKCacheOptions>, clock: Clock) {
    this.#capacity = capacity
    this.#lifeMs = maxAgeMs + staleIfErrorMs
    this.#staleMs = staleIfErrorMs
    this.#clock = clock
  }

  get all(): Entry<Value>[] {
    return [...this.#entries.values()]
  }

  get(id: string): Entry<Value> | undefined {
    return this.#entries.get(id)
  }

  /** It is the one that was used last. */
  touch(entry: Entry<Value>): void {
    if (entry === this.#newest) return
    this.#entries.delete(entry.from.id)
    this.#entries.set(entry.from.id, entry)
    this.#newest = entry
  }

  put(entry: Entry<Value>): void {
    this.touch(entry)
    entry.from.program.counters.size++
    for (const oldest of this.#entries.values()) {
      if (this.#entries.size <= this.#capacity) break
      this.evict(oldest, "capacity")
    }
    this.#timer ??= this.#sweepIn(this.#lifeMs)
  }

  evict(entry: Entry<Value>, reason: Eviction): void {
    const { id, program } = entry.from
    this.#entries.delete(id)
    if (this.#newest === entry) this.#newest = undefined
    program.counters.evictions[reason]++
    program.counters.size--
    entry.evict()
  }

  invalidate(isMeant: (entry: Entry<Value>) => boolean): void {
    for (const entry of this.all) if (isMeant(entry)) this.evict(entry, "invalidated")
    if (this.#entries.size > 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  // What is too old is never handed out; this is for what is not asked for again.
  #sweepIn(delayMs: number): ReturnType<typeof setTimeout> {
    const timer = setTimeout(() => this.#sweep(), Math.min(Math.ceil(delayMs), MAX_TIMER_MS))
    timer.unref?.()
    return timer
  }

  #sweep(): void {
    this.#timer = undefined
    const now = this.#clock.now()
    let next = Number.POSITIVE_INFINITY
    for (const entry of this.all) {
      const endsAt = entry.expiresAt + this.#staleMs
      if (now >= endsAt) this.evict(entry, "age")
      else next = Math.min(next, endsAt)
    }
    if (next < Number.POSITIVE_INFINITY) this.#timer = this.#sweepIn(next - now)
  }
}
