/**
 * The rules of docs/dek-cache.md once more, as simply as they can be written: lists that are searched, and no speed. The cache is
 * compared with this after each command.
 */
import type { DEKCacheOptions, Eviction, Use } from "../../core/keys/dek-cache.ts"

export type SideName = "sealing" | "opening"

/** What a caller asks for. */
export interface Question {
  readonly program: number
  readonly side: SideName
  readonly partition: string
  readonly name: string
  readonly use: Use
}

/** How a caller's question ended: a key by the number of the call that fetched it, or an error by its code. */
export type Outcome = "waits" | "aborted" | { readonly key: number } | { readonly code: string; readonly call: number }

/** What a call of the KMS may answer. */
export type Answer = "key" | "KMS_UNAVAILABLE" | "ACCESS_DENIED" | "UNKNOWN"

interface Key {
  readonly call: number
  readonly question: Question
  readonly side: SideName
  readonly id: string
  readonly bornAt: number
  usedAt: number
  refreshAt: number
  failedAt: number
  messages: number
  bytes: number
  leases: number
}

interface Fetch {
  readonly question: Question
  readonly id: string
  readonly inBackground: boolean
  call: number
  messages: number
  bytes: number
  /** What comes of it is kept. */
  wanted: boolean
  /** It goes on when nobody waits. */
  held: boolean
  waiting: { readonly caller: number; readonly question: Question }[]
}

const RETRY_MS = 1_000

/** What one program counts. */
export class Counts {
  hits = 0
  misses = 0
  coalesced = 0
  stale = 0
  refreshes = 0
  refreshFailures = 0
  negative = 0
  size = 0
  readonly evictions: Record<Eviction, number> = { age: 0, messages: 0, bytes: 0, capacity: 0, invalidated: 0 }
}

export class ModelCache {
  now = 0
  readonly outcomes: Map<number, Outcome> = new Map()
  readonly counts: readonly Counts[]
  readonly closed: Set<number> = new Set()
  /** The keys that were fetched and not yet destroyed, by call. */
  readonly alive: Map<number, Key> = new Map()
  readonly flying: Fetch[] = []
  readonly queue: Fetch[] = []
  readonly #limits: Required<DEKCacheOptions>
  readonly #namespaces: readonly string[]
  #cached: Key[] = []
  #joinable: Fetch[] = []
  #refusals: { readonly id: string; readonly question: Question; readonly call: number; readonly until: number }[] = []
  #calls = 0
  #uses = 0

  /** @param namespaces of each program: those that share one have the same services and keys */
  constructor(limits: Required<DEKCacheOptions>, namespaces: readonly string[]) {
    this.#limits = limits
    this.#namespaces = namespaces
    this.counts = namespaces.map(() => new Counts())
  }

  // --- What callers do ---

  ask(caller: number, question: Question): void {
    const id = JSON.stringify([this.#namespaces[question.program], question.side, question.partition, question.name])
    this.outcomes.set(caller, this.#answer(caller, question, id))
  }

  #answer(caller: number, question: Question, id: string): Outcome {
    const counts = this.#countsOf(question)
    if (this.#mustBeAlone(question)) {
      counts.misses++
      return this.#fetch(question, id, caller, false)
    }
    const key = this.#cached.find((each) => each.id === id)
    if (key && this.#serves(key)) {
      const limit = this.#limitReached(key, question.use)
      if (limit === undefined) {
        // Its successor is looked for once a second, by one use.
        if (this.now >= key.refreshAt) {
          key.refreshAt = this.now + RETRY_MS
          if (!this.#joinable.some((each) => each.id === id)) {
            counts.refreshes++
            this.#fetch(question, id, undefined, true)
          }
        }
        return this.#use(key, question)
      }
      this.#leave(key, limit)
    } else if (key && this.now >= this.#lastUseOf(key)) this.#leave(key, "age")
    const refusal = this.#refusals.find((each) => each.id === id && this.now < each.until)
    if (refusal) {
      counts.negative++
      return { code: "ACCESS_DENIED", call: refusal.call }
    }
    const fetch = this.#joinable.find((each) => each.id === id)
    if (fetch && this.#limitReached(fetch, question.use) === undefined) {
      counts.coalesced++
      fetch.messages += question.use.messages
      fetch.bytes += question.use.bytes
      fetch.waiting.push({ caller, question })
      return "waits"
    }
    counts.misses++
    return this.#fetch(question, id, caller, true)
  }

  abort(caller: number): void {
    if (this.outcomes.get(caller) !== "waits") return
    this.outcomes.set(caller, "aborted")
    for (const fetch of [...this.flying, ...this.queue]) {
      const before = fetch.waiting.length
      fetch.waiting = fetch.waiting.filter((each) => each.caller !== caller)
      if (fetch.waiting.length < before && fetch.waiting.length === 0 && !fetch.held) this.#abandon(fetch)
    }
  }

  release(call: number): void {
    const key = this.alive.get(call) as Key
    key.leases--
    this.#destroyIfUnused(key)
  }

  // --- What the KMS does ---

  answer(call: number, answer: Answer): void {
    const fetch = this.flying.find((each) => each.call === call) as Fetch
    this.flying.splice(this.flying.indexOf(fetch), 1)
    this.#joinable = this.#joinable.filter((each) => each !== fetch)
    const next = this.queue.shift()
    if (next) this.#takeOff(next)
    if (answer === "key") this.#land(fetch)
    else this.#fail(fetch, answer)
  }

  #land(fetch: Fetch): void {
    const { question, id, call, messages, bytes, waiting } = fetch
    const { maxAgeMs, refreshAheadMs, capacity } = this.#limits
    const key: Key = {
      ...{ call, question, id, messages, bytes, side: question.side, bornAt: this.now, usedAt: this.#uses++ },
      ...{
        refreshAt: this.now + maxAgeMs - refreshAheadMs,
        failedAt: Number.NEGATIVE_INFINITY,
        leases: waiting.length,
      },
    }
    this.alive.set(call, key)
    for (const { caller } of waiting) this.outcomes.set(caller, { key: call })
    if (fetch.wanted) {
      const before = this.#cached.find((each) => each.id === id)
      if (before) this.#leave(before, this.#limitReached(before, { messages: 1, bytes: 0 }) ?? "age")
      this.#refusals = this.#refusals.filter((each) => each.id !== id)
      this.#cached.push(key)
      this.#countsOf(question).size++
      const side = this.#cached.filter((each) => each.side === question.side)
      const [oldest] = side.sort((a, b) => a.usedAt - b.usedAt)
      if (side.length > capacity) this.#leave(oldest as Key, "capacity")
    }
    this.#destroyIfUnused(key)
  }

  #fail({ question, id, call, wanted, inBackground, waiting }: Fetch, code: Answer): void {
    const { negativeMs, capacity } = this.#limits
    const key = this.#cached.find((each) => each.id === id)
    const isRetryable = code === "KMS_UNAVAILABLE"
    if (wanted) {
      if (inBackground) this.#countsOf(question).refreshFailures++
      if (isRetryable && key) {
        key.failedAt = this.now
        key.refreshAt = this.now + RETRY_MS
      }
      if (!isRetryable && key && this.now >= key.bornAt + this.#limits.maxAgeMs) this.#leave(key, "age")
      if (code === "ACCESS_DENIED") {
        this.#refusals = this.#refusals.filter((each) => each.id !== id)
        this.#refusals.push({ id, question, call, until: this.now + negativeMs })
        const side = this.#refusals.filter((each) => each.question.side === question.side)
        if (side.length > capacity) this.#refusals = this.#refusals.filter((each) => each !== side[0])
      }
    }
    for (const each of waiting) {
      const old = isRetryable ? this.#cached.find((one) => one.id === id && one.side === "sealing") : undefined
      const mayServe =
        old &&
        !this.#mustBeAlone(each.question) &&
        this.now < this.#lastUseOf(old) &&
        this.#limitReached(old, each.question.use) === undefined
      this.outcomes.set(each.caller, mayServe ? this.#use(old, each.question) : { code, call })
    }
  }

  // --- What programs do ---

  invalidate(program: number, which: { readonly keyID?: string; readonly partition?: string } = {}): void {
    const { keyID, partition } = which
    this.#forget(
      (question, wraps) =>
        this.#namespaces[question.program] === this.#namespaces[program] &&
        (partition === undefined || question.partition === partition) &&
        (keyID === undefined || wraps === undefined || wraps === keyID),
    )
  }

  close(program: number): void {
    if (this.closed.has(program)) return
    this.closed.add(program)
    const sharesWithNobody = this.#namespaces.every(
      (name, i) => this.closed.has(i) || name !== this.#namespaces[program],
    )
    if (sharesWithNobody) this.invalidate(program)
    for (const fetch of [...this.flying, ...this.queue]) if (fetch.question.program === program) this.#drop(fetch)
  }

  #forget(isMeant: (question: Question, wraps: string | undefined) => boolean): void {
    for (const fetch of [...this.flying, ...this.queue]) {
      if (!isMeant(fetch.question, keyIDBefore(fetch.question))) continue
      fetch.wanted = false
      this.#joinable = this.#joinable.filter((each) => each !== fetch)
      this.#drop(fetch)
    }
    for (const key of [...this.#cached])
      if (isMeant(key.question, keyIDOf(key.question.name))) this.#leave(key, "invalidated")
    this.#refusals = this.#refusals.filter((each) => !isMeant(each.question, keyIDBefore(each.question)))
  }

  // --- Rules ---

  #mustBeAlone({ program, use }: Question): boolean {
    const { maxBytes, maxMessages } = this.#limits
    return this.closed.has(program) || use.bytes > maxBytes || use.messages > maxMessages
  }

  #lastUseOf({ bornAt, side }: Key): number {
    return bornAt + this.#limits.maxAgeMs + (side === "sealing" ? this.#limits.staleIfErrorMs : 0)
  }

  #serves(key: Key): boolean {
    if (this.now < key.bornAt + this.#limits.maxAgeMs) return true
    return this.now < this.#lastUseOf(key) && this.now - key.failedAt < RETRY_MS + this.#limits.flightTimeoutMs
  }

  #limitReached(taken: Use, use: Use): "messages" | "bytes" | undefined {
    if (taken.messages + use.messages > this.#limits.maxMessages) return "messages"
    return taken.bytes + use.bytes > this.#limits.maxBytes ? "bytes" : undefined
  }

  #use(key: Key, question: Question): Outcome {
    const counts = this.#countsOf(question)
    if (this.now < key.bornAt + this.#limits.maxAgeMs) counts.hits++
    else counts.stale++
    key.messages += question.use.messages
    key.bytes += question.use.bytes
    key.usedAt = this.#uses++
    key.leases++
    return { key: key.call }
  }

  #fetch(question: Question, id: string, caller: number | undefined, wanted: boolean): Outcome {
    const inBackground = caller === undefined
    const fetch: Fetch = {
      ...{ question, id, inBackground, wanted, call: -1, held: inBackground },
      ...(inBackground ? { messages: 0, bytes: 0, waiting: [] } : { ...question.use, waiting: [{ caller, question }] }),
    }
    if (wanted) this.#joinable = [...this.#joinable.filter((each) => each.id !== id), fetch]
    if (this.flying.length < this.#limits.maxFlights) this.#takeOff(fetch)
    else this.queue.push(fetch)
    return "waits"
  }

  #takeOff(fetch: Fetch): void {
    fetch.call = this.#calls++
    this.flying.push(fetch)
  }

  #drop(fetch: Fetch): void {
    if (fetch.held && fetch.waiting.length === 0) this.#abandon(fetch)
    fetch.held = false
  }

  #abandon(fetch: Fetch): void {
    fetch.wanted = false
    this.#joinable = this.#joinable.filter((each) => each !== fetch)
    if (this.queue.includes(fetch)) this.queue.splice(this.queue.indexOf(fetch), 1)
  }

  #leave(key: Key, reason: Eviction): void {
    this.#cached = this.#cached.filter((each) => each !== key)
    const counts = this.#countsOf(key.question)
    counts.evictions[reason]++
    counts.size--
    this.#destroyIfUnused(key)
  }

  #destroyIfUnused(key: Key): void {
    if (key.leases === 0 && !this.#cached.includes(key)) this.alive.delete(key.call)
  }

  #countsOf({ program }: Question): Counts {
    return this.counts[program] as Counts
  }
}

/** The key-encryption key of a question in these tests. */
export const keyIDOf = (name: string): string => `kek-of-${name}`

/** What wraps a key that seals is known when it is there. */
const keyIDBefore = ({ side, name }: Question): string | undefined => (side === "sealing" ? undefined : keyIDOf(name))
