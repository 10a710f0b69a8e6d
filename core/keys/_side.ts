import type { CallOptions, Clock } from "../contracts.ts"
import { AccessDenied, isRetryableError, KeyDisabled, KeyNotFound, type KMSError, KMSUnavailable } from "../errors.ts"
import { type Destroyable, Entry } from "./_entry.ts"
import { Flight } from "./_flight.ts"
import type { Program } from "./_program.ts"
import type { Slots } from "./_slots.ts"
import type { DEKCacheOptions } from "./cache-limits.ts"
import type { Eviction, Lease, Use } from "./dek-cache.ts"

/** What a caller asks a side for. */
export interface Ask<Value> {
  /** All that the answer depends on. */
  readonly id: string
  readonly use: Use
  readonly fetch: (options: CallOptions) => Promise<Value>
  readonly program: Program
  readonly partition: string
  /** The key-encryption key that is asked, and its service, where they are known before. */
  readonly kek?: { readonly keyID: string; readonly provider?: string } | undefined
}

/** Which keys, by where they belong and what wraps them; what is not known yet may be any. */
export type Which = (place: {
  readonly namespace: string
  readonly home: string
  readonly partition: string
  readonly keyIDs: readonly string[] | undefined
}) => boolean

/** How a side is. */
export interface SideRules extends Required<DEKCacheOptions> {
  readonly operation: string
}

type Pending<Value extends Destroyable> = Flight<Entry<Value, Ask<Value>>> & {
  readonly ask: Ask<Value>
  readonly inBackground: boolean
  /** What those who wait have reserved. */
  readonly reserved: { messages: number; bytes: number }
  /** Whether what comes of it is kept. */
  isWanted: boolean
}

interface Refusal<Value> {
  readonly ask: Ask<Value>
  readonly error: KMSError
  readonly until: number
}

const NOTHING: Use = { messages: 0, bytes: 0 }
const ONE: Use = { messages: 1, bytes: 0 }
/** Between two tries to replace a key that is in use. */
const RETRY_MS = 1_000
/** setTimeout() takes no more. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** The keys of one kind, those that seal or those that open. */
export class Side<Value extends Destroyable> {
  readonly #rules: SideRules
  readonly #clock: Clock
  readonly #slots: Slots
  /** By their last use, the latest at the end. */
  readonly #entries = new Map<string, Entry<Value, Ask<Value>>>()
  /** Those that a caller may still join. */
  readonly #flights = new Map<string, Pending<Value>>()
  readonly #allFlights = new Set<Pending<Value>>()
  readonly #refusals = new Map<string, Refusal<Value>>()
  #newest: Entry<Value, Ask<Value>> | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #isClosed = false

  constructor(rules: SideRules, clock: Clock, slots: Slots) {
    this.#rules = rules
    this.#clock = clock
    this.#slots = slots
  }

  lease(ask: Ask<Value>, { signal }: CallOptions): Lease<Value> | Promise<Lease<Value>> {
    signal?.throwIfAborted()
    const now = this.#clock.now()
    // Before the look-up: what fits no key would only drive out the one that serves all others.
    if (this.#isAlone(ask)) {
      ask.program.counters.misses++
      return this.#wait(this.#begin(ask, { ...ask.use }, { isWanted: false }), ask, signal, now)
    }
    const entry = this.#entries.get(ask.id)
    const lease = entry && this.#use(entry, ask, now)
    if (lease) return lease
    const refusal = this.#refusals.get(ask.id)
    if (refusal && now < refusal.until) {
      ask.program.counters.negative++
      // An error of its own, which says where this caller asked; its cause is the KMS's answer.
      return Promise.reject(refusal.error.among(refusal.error.tries))
    }
    return this.#join(ask, signal, now)
  }

  #isAlone({ use, program }: Ask<Value>): boolean {
    const { capacity, maxBytes, maxMessages } = this.#rules
    return this.#isClosed || program.isClosed || capacity === 0 || use.bytes > maxBytes || use.messages > maxMessages
  }

  // --- Keys that are there ---

  #use(entry: Entry<Value, Ask<Value>>, ask: Ask<Value>, now: number): Lease<Value> | undefined {
    const isOld = now >= entry.expiresAt
    if (isOld && !this.#isBelievedStale(entry, now)) {
      if (now >= entry.expiresAt + this.#rules.staleIfErrorMs) this.#evict(entry, "age")
      return undefined
    }
    const exhausted = this.#exhausted(entry, ask.use)
    if (exhausted) {
      this.#evict(entry, exhausted)
      return undefined
    }
    if (now >= entry.refreshAt) this.#refresh(entry, ask, now)
    return this.#lend(entry, ask, now)
  }

  #lend(entry: Entry<Value, Ask<Value>>, { program, use }: Ask<Value>, now: number): Lease<Value> {
    if (entry !== this.#newest) {
      this.#entries.delete(entry.from.id)
      this.#entries.set(entry.from.id, entry)
      this.#newest = entry
    }
    if (now < entry.expiresAt) program.counters.hits++
    else {
      program.counters.stale++
      program.watch.stale?.(entry.value, now - entry.expiresAt)
    }
    return entry.lend(use)
  }

  /** Whether a key that is too old serves at once, because the KMS could not be asked a moment ago. */
  #isBelievedStale(entry: Entry<Value, Ask<Value>>, now: number): boolean {
    const { staleIfErrorMs, flightTimeoutMs } = this.#rules
    // A try begins a second after the last one failed, and ends within its limit: until then that failure is the latest news.
    return now < entry.expiresAt + staleIfErrorMs && now - entry.failedAt < RETRY_MS + flightTimeoutMs
  }

  #exhausted(taken: Use, use: Use): "messages" | "bytes" | undefined {
    if (taken.messages + use.messages > this.#rules.maxMessages) return "messages"
    if (taken.bytes + use.bytes > this.#rules.maxBytes) return "bytes"
    return undefined
  }

  /** One caller's use of an old key asks for its successor; nobody waits for that. */
  #refresh(entry: Entry<Value, Ask<Value>>, ask: Ask<Value>, now: number): void {
    entry.refreshAt = now + RETRY_MS
    if (this.#flights.has(ask.id)) return
    ask.program.counters.refreshes++
    this.#begin(ask, { ...NOTHING }, { inBackground: true })
  }

  // --- Keys that are to come ---

  // Those who wait reserve their use of the key that is to come; whoever finds no room begins another fetch beside it.
  #join(ask: Ask<Value>, signal: AbortSignal | undefined, now: number): Promise<Lease<Value>> {
    const { use, program } = ask
    const underWay = this.#flights.get(ask.id)
    if (underWay && !this.#exhausted(underWay.reserved, use)) {
      program.counters.coalesced++
      underWay.reserved.messages += use.messages
      underWay.reserved.bytes += use.bytes
      return this.#wait(underWay, ask, signal, now)
    }
    program.counters.misses++
    return this.#wait(this.#begin(ask, { ...use }, {}), ask, signal, now)
  }

  #wait(
    flight: Pending<Value>,
    ask: Ask<Value>,
    signal: AbortSignal | undefined,
    since: number,
  ): Promise<Lease<Value>> {
    const { watch } = ask.program
    return flight.join(
      (entry) => {
        watch.waited?.(this.#clock.now() - since)
        return entry.lendReserved()
      },
      (error) => this.#instead(ask, error),
      signal,
    )
  }

  /** The old key, when the KMS cannot be asked for its successor. */
  #instead(ask: Ask<Value>, error: unknown): Lease<Value> {
    const { staleIfErrorMs } = this.#rules
    const entry = staleIfErrorMs > 0 && isRetryableError(error) ? this.#entries.get(ask.id) : undefined
    const now = this.#clock.now()
    if (!entry || this.#isAlone(ask) || now >= entry.expiresAt + staleIfErrorMs) throw error
    if (this.#exhausted(entry, ask.use)) throw error
    return this.#lend(entry, ask, now)
  }

  #begin(
    ask: Ask<Value>,
    reserved: Pending<Value>["reserved"],
    { inBackground = false, isWanted = true }: { readonly inBackground?: boolean; readonly isWanted?: boolean },
  ): Pending<Value> {
    const forget = (): void => {
      this.#allFlights.delete(pending)
      if (this.#flights.get(ask.id) === pending) this.#flights.delete(ask.id)
    }
    const flight = new Flight<Entry<Value, Ask<Value>>>(
      async (controller) => {
        try {
          const entry = this.#entry(await this.#fetch(ask, controller), ask, reserved)
          if (pending.isWanted) this.#keep(entry)
          else entry.evict()
          return entry
        } catch (error) {
          if (pending.isWanted) this.#failed(pending, error)
          throw error
        } finally {
          forget()
        }
      },
      {
        abandon: () => {
          pending.isWanted = false
          forget()
        },
        end: (entry) => entry.giveBack(),
        inBackground,
      },
    )
    const pending: Pending<Value> = Object.assign(flight, { ask, inBackground, reserved, isWanted })
    this.#allFlights.add(pending)
    if (isWanted) this.#flights.set(ask.id, pending)
    return pending
  }

  /** Asks the KMS when there is room, and waits for it no longer than the limit. What comes too late is destroyed. */
  async #fetch({ fetch, program, kek }: Ask<Value>, controller: AbortController): Promise<Value> {
    const { signal } = controller
    const { flightTimeoutMs, operation } = this.#rules
    const turn = this.#slots.take(signal)
    if (turn) await turn
    try {
      return await new Promise<Value>((resolve, reject) => {
        let isLate = false
        const timer = setTimeout(() => {
          isLate = true
          const error = new KMSUnavailable(
            `Cannot have a data key: the KMS did not answer within ${flightTimeoutMs} ms`,
            {
              provider: kek?.provider ?? program.provider,
              operation,
              hint: "look at the KMS and the way to it; the limit is flightTimeoutMs of withDEKCache",
            },
          )
          reject(error)
          controller.abort(error)
        }, flightTimeoutMs)
        timer.unref?.()
        // In a function of its own: what throws before it returns a promise is a flight that failed, too.
        const ask = async (): Promise<Value> => await fetch({ signal })
        ask().then(
          (value) => {
            clearTimeout(timer)
            if (isLate) value.destroy()
            else resolve(value)
          },
          (error) => {
            clearTimeout(timer)
            reject(error)
          },
        )
      })
    } finally {
      this.#slots.give()
    }
  }

  #entry(value: Value, ask: Ask<Value>, reserved: Use): Entry<Value, Ask<Value>> {
    const { maxAgeMs, refreshAheadMs } = this.#rules
    const expiresAt = this.#clock.now() + maxAgeMs
    return new Entry(value, ask, reserved, expiresAt, expiresAt - refreshAheadMs)
  }

  #failed({ ask, inBackground }: Pending<Value>, error: unknown): void {
    const now = this.#clock.now()
    const entry = this.#entries.get(ask.id)
    if (inBackground) ask.program.counters.refreshFailures++
    if (isRetryableError(error)) {
      if (!entry) return
      entry.failedAt = now
      entry.refreshAt = now + RETRY_MS
      return
    }
    // The KMS was asked, and said no: what is too old serves nobody any more.
    if (entry && now >= entry.expiresAt) this.#evict(entry, "age")
    const { negativeMs, capacity } = this.#rules
    if (negativeMs === 0 || !isRefusal(error)) return
    this.#refusals.delete(ask.id)
    this.#refusals.set(ask.id, { ask, error, until: now + negativeMs })
    for (const oldest of this.#refusals.keys()) {
      if (this.#refusals.size <= capacity) break
      this.#refusals.delete(oldest)
    }
  }

  // --- In and out ---

  #keep(entry: Entry<Value, Ask<Value>>): void {
    const { id, program } = entry.from
    const before = this.#entries.get(id)
    if (before) this.#evict(before, this.#exhausted(before, ONE) ?? "age")
    this.#refusals.delete(id)
    this.#entries.set(id, entry)
    this.#newest = entry
    program.counters.size++
    for (const oldest of this.#entries.values()) {
      if (this.#entries.size <= this.#rules.capacity) break
      this.#evict(oldest, "capacity")
    }
    this.#timer ??= this.#sweepIn(this.#rules.maxAgeMs + this.#rules.staleIfErrorMs)
  }

  #evict(entry: Entry<Value, Ask<Value>>, reason: Eviction): void {
    const { id, program } = entry.from
    this.#entries.delete(id)
    if (this.#newest === entry) this.#newest = undefined
    program.counters.evictions[reason]++
    program.counters.size--
    entry.evict()
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
    for (const entry of [...this.#entries.values()]) {
      const endsAt = entry.expiresAt + this.#rules.staleIfErrorMs
      if (now >= endsAt) this.#evict(entry, "age")
      else next = Math.min(next, endsAt)
    }
    if (next < Number.POSITIVE_INFINITY) this.#timer = this.#sweepIn(next - now)
  }

  /** Forgets keys; a fetch that is under way serves those who wait for it and is not kept. */
  invalidate(which: Which): void {
    const isMeant = ({ program: { namespace, home }, partition, kek }: Ask<Value>, value?: Value): boolean =>
      which({ namespace, home, partition, keyIDs: kek ? [kek.keyID] : value?.keyIDs })
    for (const flight of this.#allFlights) {
      if (!isMeant(flight.ask)) continue
      flight.isWanted = false
      if (this.#flights.get(flight.ask.id) === flight) this.#flights.delete(flight.ask.id)
      if (flight.inBackground) flight.drop()
    }
    for (const entry of [...this.#entries.values()]) {
      if (isMeant(entry.from, entry.value)) this.#evict(entry, "invalidated")
    }
    for (const [id, { ask }] of this.#refusals) if (isMeant(ask)) this.#refusals.delete(id)
    if (this.#entries.size > 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Stops what a program does in the background. */
  leave(program: Program): void {
    for (const flight of this.#allFlights) if (flight.inBackground && flight.ask.program === program) flight.drop()
  }

  /** Forgets everything and keeps nothing from now on. */
  close(): void {
    this.#isClosed = true
    this.invalidate(() => true)
  }

  /** How many keys of a namespace serve now though they are too old. */
  staleIn(namespace: string): number {
    const now = this.#clock.now()
    const isStale = (entry: Entry<Value, Ask<Value>>): boolean =>
      now >= entry.expiresAt && this.#isBelievedStale(entry, now)
    return [...this.#entries.values()].filter((entry) => entry.from.program.namespace === namespace && isStale(entry))
      .length
  }
}

/** An answer that is the same for a while: who may use which key. Never one of being asked too often. */
function isRefusal(error: unknown): error is KMSError {
  return error instanceof AccessDenied || error instanceof KeyNotFound || error instanceof KeyDisabled
}
