import type { CallOptions, Clock } from "../contracts.ts"
import { isRetryableError, KMSUnavailable } from "../errors.ts"
import { type Ask, callOf, type Destroyable, Entry } from "./_entry.ts"
import { Flight } from "./_flight.ts"
import type { Program } from "./_program.ts"
import { Refusals } from "./_refusals.ts"
import { Shelf } from "./_shelf.ts"
import type { Slots } from "./_slots.ts"
import type { DEKCacheOptions } from "./cache-limits.ts"
import type { Lease, Use } from "./dek-cache.ts"

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

type Pending<Value extends Destroyable> = Flight<Entry<Value>> & {
  readonly ask: Ask<Value>
  readonly inBackground: boolean
  /** What those who wait have reserved. */
  readonly reserved: { messages: number; bytes: number }
  /** Whether what comes of it is kept. */
  isWanted: boolean
}

const ONE: Use = { messages: 1, bytes: 0 }
/** Between two tries to replace a key that is in use. */
const RETRY_MS = 1_000

/** The keys of one kind, those that seal or those that open. */
export class Side<Value extends Destroyable> {
  readonly #rules: SideRules
  readonly #clock: Clock
  readonly #slots: Slots
  readonly #shelf: Shelf<Value>
  /** Those that a caller may still join, by the call. */
  readonly #flights = new Map<string, Pending<Value>>()
  readonly #allFlights = new Set<Pending<Value>>()
  readonly #refusals: Refusals
  #isClosed = false

  constructor(rules: SideRules, clock: Clock, slots: Slots) {
    this.#rules = rules
    this.#clock = clock
    this.#slots = slots
    this.#shelf = new Shelf(rules, clock)
    this.#refusals = new Refusals(rules)
  }

  lease(ask: Ask<Value>, { signal }: CallOptions): Lease<Value> | Promise<Lease<Value>> {
    signal?.throwIfAborted()
    const now = this.#clock.now()
    // Before the look-up: what fits no key would only drive out the one that serves all others.
    if (this.#isAlone(ask)) {
      ask.program.counters.misses++
      return this.#wait(this.#begin(ask, { ...ask.use }, { isWanted: false }), ask, signal, now)
    }
    const entry = this.#shelf.get(ask.id)
    const lease = entry && this.#use(entry, ask, now)
    if (lease) return lease
    const refusal = this.#refusals.of(ask, now)
    if (refusal === undefined) return this.#join(ask, signal, now)
    ask.program.counters.negative++
    return Promise.reject(refusal)
  }

  #isAlone({ use, program }: Ask<Value>): boolean {
    const { capacity, maxBytes, maxMessages } = this.#rules
    return this.#isClosed || program.isClosed || capacity === 0 || use.bytes > maxBytes || use.messages > maxMessages
  }

  // --- Keys that are there ---

  #use(entry: Entry<Value>, ask: Ask<Value>, now: number): Lease<Value> | undefined {
    const isOld = now >= entry.expiresAt
    if (isOld && !this.#isBelievedStale(entry, now)) {
      if (now >= entry.expiresAt + this.#rules.staleIfErrorMs) this.#shelf.evict(entry, "age")
      return undefined
    }
    const exhausted = this.#exhausted(entry, ask.use)
    if (exhausted) {
      this.#shelf.evict(entry, exhausted)
      return undefined
    }
    const lease = this.#lend(entry, ask, now)
    if (now >= entry.refreshAt) this.#refresh(entry, ask, now)
    return lease
  }

  #lend(entry: Entry<Value>, { program, use }: Ask<Value>, now: number): Lease<Value> {
    this.#shelf.touch(entry)
    // It is in use before anybody is told of it, who may forget it then.
    const lease = entry.lend(use)
    if (now < entry.expiresAt) program.counters.hits++
    else {
      program.counters.stale++
      program.watch.stale?.(entry.value, now - entry.expiresAt)
    }
    return lease
  }

  /** Whether a key that is too old serves at once, because the KMS could not be asked a moment ago. */
  #isBelievedStale(entry: Entry<Value>, now: number): boolean {
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
  #refresh(entry: Entry<Value>, ask: Ask<Value>, now: number): void {
    entry.refreshAt = now + RETRY_MS
    if (this.#flights.has(callOf(ask))) return
    ask.program.counters.refreshes++
    this.#begin(ask, { messages: 0, bytes: 0 }, { inBackground: true })
  }

  // --- Keys that are to come ---

  // Those who wait reserve their use of the key that is to come; whoever finds no room begins another fetch beside it.
  #join(ask: Ask<Value>, signal: AbortSignal | undefined, now: number): Promise<Lease<Value>> {
    const { use, program } = ask
    const underWay = this.#flights.get(callOf(ask))
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
    const entry = staleIfErrorMs > 0 && isRetryableError(error) ? this.#shelf.get(ask.id) : undefined
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
      this.#unlist(pending)
    }
    const flight = new Flight<Entry<Value>>(
      async (controller) => {
        try {
          const entry = await this.#fetch(ask, controller, reserved)
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
    if (isWanted) this.#flights.set(callOf(ask), pending)
    return pending
  }

  #unlist(flight: Pending<Value>): void {
    const call = callOf(flight.ask)
    if (this.#flights.get(call) === flight) this.#flights.delete(call)
  }

  /** Asks the KMS when there is room, and waits for it no longer than the limit. */
  async #fetch(ask: Ask<Value>, controller: AbortController, reserved: Use): Promise<Entry<Value>> {
    const { fetch, program, kek } = ask
    const { flightTimeoutMs, operation, maxAgeMs, refreshAheadMs } = this.#rules
    const value = await this.#slots.run(fetch, controller, flightTimeoutMs, () => {
      const state = `the KMS did not answer within ${flightTimeoutMs} ms`
      return new KMSUnavailable(`Cannot have a data key: ${state}`, {
        provider: kek?.provider ?? program.provider,
        operation,
        hint: "look at the KMS and the way to it; the limit is flightTimeoutMs of withDEKCache",
      })
    })
    const expiresAt = this.#clock.now() + maxAgeMs
    return new Entry(value, ask, reserved, expiresAt, expiresAt - refreshAheadMs)
  }

  #failed({ ask, inBackground }: Pending<Value>, error: unknown): void {
    const now = this.#clock.now()
    const entry = this.#shelf.get(ask.id)
    if (inBackground) ask.program.counters.refreshFailures++
    if (isRetryableError(error)) {
      if (!entry) return
      entry.failedAt = now
      entry.refreshAt = now + RETRY_MS
      return
    }
    // The KMS was asked, and said no: what is too old serves nobody any more.
    if (entry && now >= entry.expiresAt) this.#shelf.evict(entry, "age")
    this.#refusals.add(ask, error, now)
  }

  // --- In and out ---

  #keep(entry: Entry<Value>): void {
    const before = this.#shelf.get(entry.from.id)
    if (before) this.#shelf.evict(before, this.#exhausted(before, ONE) ?? "age")
    this.#refusals.forget(entry.from)
    this.#shelf.put(entry)
  }

  /** Forgets keys; a fetch that is under way serves those who wait for it and is not kept. */
  invalidate(which: Which): void {
    const isMeant = ({ program: { namespace, home }, partition, kek }: Ask<unknown>, value?: Value): boolean =>
      which({ namespace, home, partition, keyIDs: kek?.keyIDs ?? value?.keyIDs })
    for (const flight of this.#allFlights) {
      if (!isMeant(flight.ask)) continue
      flight.isWanted = false
      this.#unlist(flight)
      if (flight.inBackground) flight.drop()
    }
    this.#shelf.invalidate((entry) => isMeant(entry.from, entry.value))
    this.#refusals.invalidate((ask) => isMeant(ask))
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
    const isStale = (entry: Entry<Value>): boolean => now >= entry.expiresAt && this.#isBelievedStale(entry, now)
    return this.#shelf.all.filter((entry) => entry.from.program.namespace === namespace && isStale(entry)).length
  }
}
