/**
 * How a service over the network is asked: a time-out for each attempt and a deadline for all of them, few retries with a budget,
 * and a circuit breaker for each key. What the caller did wrong is neither repeated nor held against the service.
 *
 * The client underneath must not retry by itself: attempts would multiply.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import type * as Cockatiel from "cockatiel"
import type * as PRetry from "p-retry"
import { randomBytes } from "./bytes.ts"
import type { CallOptions, Clock, ServiceEvent } from "./contracts.ts"
import { EncxError, InvalidConfiguration, isRetryableError } from "./errors.ts"

/** When a circuit opens and closes. */
export interface BreakerOptions {
  /** Failures of the service in a row that open the circuit. @default {5} */
  readonly failures?: number
  /** How long it stays open, give or take a fifth. @default {30_000} */
  readonly openMs?: number
  /** Probes in a row that must succeed, one at a time, before it closes. @default {2} */
  readonly successes?: number
}

/** How patient a program is with a service over the network. */
export interface ResilienceOptions {
  /** Attempts of one call, the first included. @default {3} */
  readonly attempts?: number
  /** How long one attempt may take. @default {5_000} */
  readonly requestTimeoutMs?: number
  /** How long a call may take, attempts and pauses together. @default {15_000} */
  readonly deadlineMs?: number
  /** The circuit breaker; `false` for none. @default {{ failures: 5, openMs: 30_000, successes: 2 }} */
  readonly breaker?: BreakerOptions | false
  /** The clock of deadlines and open circuits. @default {performance} */
  readonly clock?: Clock
  /** A number from 0 to less than 1, for the length of pauses. */
  readonly random?: () => number
}

/** How the failures of a service are told and told apart. @internal */
export interface Failures {
  /** The error for a service that cannot be asked. It is retryable. */
  unavailable(operation: string, state: string, cause?: unknown): EncxError
  /** Whether the service refused because it is asked too often. */
  isThrottled(error: unknown): boolean
}

/** Options of one call. @internal */
export interface ResilientCallOptions extends CallOptions {
  /** It must not happen twice: it is repeated only where the service said that it did nothing. @default {false} */
  readonly once?: boolean
  /** How long the call may take, if that is less than the deadline. @default {deadlineMs} */
  readonly withinMs?: number
}

/** Asks one service. @internal */
export interface Resilience {
  /**
   * Runs an operation, and again while it fails with a retryable error.
   *
   * @param key what has a circuit of its own
   * @param run one attempt; it rejects with an `EncxError` and heeds the signal
   * @throws what the last attempt threw, the signal's reason, or `failures.unavailable` for a time-out and an open circuit
   */
  call<Result>(
    key: string,
    operation: string,
    run: (signal: AbortSignal) => Promise<Result>,
    options?: ResilientCallOptions,
  ): Promise<Result>
}

const LIMITS = { attempts: 3, requestTimeoutMs: 5_000, deadlineMs: 15_000 } as const
const BREAKER = { failures: 5, openMs: 30_000, successes: 2 } as const
/** setTimeout() takes no more. */
const MAX_LIMIT = 2 ** 31 - 1

// Pauses and budget are those of the AWS SDKs' standard mode.
const PAUSE_MS = { normal: 100, throttled: 500, longest: 20_000 } as const
const BUDGET = { tokens: 500, retry: 5, retryOfTimeOut: 10, success: 1 } as const
const JITTER = { from: 0.8, to: 1.2 } as const

/** Keys are named by the program, not by data; beyond this many, the circuit that was not used for the longest is forgotten. */
const MAX_CIRCUITS = 1_000

/**
 * Makes what asks one service at one place: its budget of retries, and its circuits.
 *
 * @throws {InvalidConfiguration} when a limit is not a whole number from 1
 * @internal
 */
export function resilient(failures: Failures, options: ResilienceOptions = {}): Resilience {
  const limits = {
    attempts: options.attempts ?? LIMITS.attempts,
    requestTimeoutMs: options.requestTimeoutMs ?? LIMITS.requestTimeoutMs,
    deadlineMs: options.deadlineMs ?? LIMITS.deadlineMs,
  }
  const { clock = performance, random = uniform } = options
  const breaker = options.breaker === false ? undefined : breakerLimits(options.breaker)
  check(limits)
  if (breaker) check({ ...breaker })
  const budget = new Budget()
  const circuits = new Map<string, Circuit>()

  const circuitOf = (libraries: Libraries, key: string): Circuit | undefined => {
    if (!breaker) return undefined
    const circuit = circuits.get(key) ?? new Circuit(libraries, breaker, failures, clock, random)
    circuits.delete(key)
    circuits.set(key, circuit)
    for (const oldest of circuits.keys()) {
      if (circuits.size <= MAX_CIRCUITS) break
      circuits.delete(oldest)
    }
    return circuit
  }

  return {
    async call(key, operation, run, { signal, once = false, withinMs = limits.deadlineMs, watch } = {}) {
      signal?.throwIfAborted()
      const libraries = await load()
      const circuit = circuitOf(libraries, key)
      const deadlineMs = Math.min(withinMs, limits.deadlineMs)
      const tell = (event: ServiceEvent): void => {
        try {
          watch?.(event)
        } catch {
          // Who watches does not change what comes of a call.
        }
      }
      const end = clock.now() + deadlineMs
      let last: unknown
      let timedOut = false

      const attempt = async (within: AbortSignal) => {
        timedOut = false
        const timeMs = Math.max(1, Math.min(limits.requestTimeoutMs, end - clock.now()))
        const asked = () =>
          limited(libraries, timeMs, run, within, () => {
            timedOut = true
            return failures.unavailable(operation, silence(timeMs))
          })
        const result = await (circuit ? circuit.run(operation, asked) : asked())
        budget.succeeded()
        return result
      }

      const mayRetry = async (error: unknown, retries: number, within: AbortSignal): Promise<boolean> => {
        last = error
        const throttled = failures.isThrottled(error)
        if (!isRetryableError(error) || (once && !throttled)) return false
        const base = throttled ? PAUSE_MS.throttled : PAUSE_MS.normal
        const pause = random() * Math.min(PAUSE_MS.longest, base * 2 ** retries)
        // What is known now is told now, and not after a pause that leads nowhere.
        if (circuit?.isOpen || clock.now() + pause >= end || !budget.spend(timedOut)) return false
        tell({ kind: "retry", operation, throttled })
        await sleep(pause, undefined, { signal: within })
        return true
      }

      const attempts = (within: AbortSignal) =>
        libraries.pRetry(() => attempt(within), {
          retries: limits.attempts - 1,
          // Full jitter is not among its pauses.
          minTimeout: 0,
          signal: within,
          shouldRetry: ({ error, retriesConsumed }) => mayRetry(error, retriesConsumed, within),
        })
      try {
        return await limited(libraries, deadlineMs, attempts, signal, () =>
          failures.unavailable(operation, silence(deadlineMs), last),
        )
      } finally {
        if (circuit) tell({ kind: "circuit", key, open: circuit.isOpen })
      }
    },
  }
}

const silence = (timeMs: number): string => `it did not answer within ${Math.ceil(timeMs)} ms`
const uniform = (): number => new DataView(randomBytes(4).buffer).getUint32(0) / 2 ** 32

/** An option that is `undefined` is one that was not given. */
const breakerLimits = ({ failures, openMs, successes }: BreakerOptions = {}): Required<BreakerOptions> => ({
  failures: failures ?? BREAKER.failures,
  openMs: openMs ?? BREAKER.openMs,
  successes: successes ?? BREAKER.successes,
})

function check(limits: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(limits)) {
    if (Number.isSafeInteger(value) && value >= 1 && value <= MAX_LIMIT) continue
    throw new InvalidConfiguration(`Cannot use the limit "${name}": it is not a whole number from 1 to ${MAX_LIMIT}`)
  }
}

// --- Libraries ---

type Libraries = typeof Cockatiel & { readonly pRetry: typeof PRetry.default }
let loading: Promise<Libraries> | undefined

/** Loads them with the first call: a program that asks no service over the network never does. */
function load(): Promise<Libraries> {
  loading ??= Promise.all([import("cockatiel"), import("p-retry")])
    .then(([cockatiel, retry]) => ({ ...cockatiel, pRetry: retry.default }))
    .catch((error: unknown) => {
      loading = undefined
      throw error
    })
  return loading
}

// --- Time ---

async function limited<Result>(
  { timeout, TimeoutStrategy }: Libraries,
  timeMs: number,
  run: (signal: AbortSignal) => Promise<Result>,
  signal: AbortSignal | undefined,
  timeOut: () => EncxError,
): Promise<Result> {
  // It runs the function even when the signal has been aborted.
  signal?.throwIfAborted()
  // An abort after the answer could reach the connection while it is kept for the next request.
  const policy = timeout(timeMs, { strategy: TimeoutStrategy.Aggressive, abortOnReturn: false })
  let ended = false
  const listening = policy.onTimeout(() => {
    ended = true
  })
  try {
    return await policy.execute((context) => run(context.signal), signal)
  } catch (error) {
    signal?.throwIfAborted()
    throw ended ? timeOut() : error
  } finally {
    listening.dispose()
  }
}

// --- Retries ---

/** Tokens that retries cost and successes bring: when a service is down, calls end with their first attempt. */
class Budget {
  #tokens: number = BUDGET.tokens

  spend(timedOut: boolean): boolean {
    const cost = timedOut ? BUDGET.retryOfTimeOut : BUDGET.retry
    if (this.#tokens < cost) return false
    this.#tokens -= cost
    return true
  }

  succeeded(): void {
    this.#tokens = Math.min(BUDGET.tokens, this.#tokens + BUDGET.success)
  }
}

// --- Circuits ---

/** A probe that its caller gave up: it tells nothing good. */
class Abandoned {
  readonly reason: unknown

  constructor(reason: unknown) {
    this.reason = reason
  }
}

/** How an attempt ended that is nothing against the service: with a result, or an answer that is an error. */
type Answer<Result> = { readonly result: Result } | { readonly error: EncxError }

class Circuit {
  readonly #policy: Cockatiel.CircuitBreakerPolicy
  readonly #states: typeof Cockatiel.CircuitState
  readonly #failures: Failures
  readonly #clock: Clock
  #openUntil = Number.NEGATIVE_INFINITY
  #probing = false

  constructor(
    { circuitBreaker, handleWhen, ConsecutiveBreaker, CircuitState }: Libraries,
    options: Required<BreakerOptions>,
    failures: Failures,
    clock: Clock,
    random: () => number,
  ) {
    this.#states = CircuitState
    this.#failures = failures
    this.#clock = clock
    const opened = (): Cockatiel.IBackoff<unknown> => {
      this.#openUntil = clock.now() + options.openMs * (JITTER.from + random() * (JITTER.to - JITTER.from))
      // Its own clock is Date, which may be set back: it compares with this instead.
      const remaining = () => (this.#isWaiting ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY)
      return {
        get duration() {
          return remaining()
        },
        next: opened,
      }
    }
    this.#policy = circuitBreaker(
      handleWhen((error) => isRetryableError(error) || error instanceof Abandoned),
      {
        breaker: new ConsecutiveBreaker(options.failures),
        halfOpenAfter: { next: opened },
        halfOpenSampling: { calls: options.successes, threshold: 0 },
      },
    )
  }

  get #isWaiting(): boolean {
    return this.#clock.now() < this.#openUntil
  }

  /** Whether the next attempt would be refused. */
  get isOpen(): boolean {
    return this.#policy.state !== this.#states.Closed && (this.#isWaiting || this.#probing)
  }

  async run<Result>(operation: string, work: () => Promise<Result>): Promise<Result> {
    // It would keep those who come while a probe is under way waiting, deaf to their signals.
    if (this.isOpen)
      throw this.#failures.unavailable(operation, "it failed several times in a row and is not asked for a while")
    const answer = this.#policy.state === this.#states.Closed ? await this.#ask(work) : await this.#probe(work)
    if ("error" in answer) throw answer.error
    return answer.result
  }

  /** One at a time. */
  async #probe<Result>(work: () => Promise<Result>): Promise<Answer<Result>> {
    this.#probing = true
    try {
      return await this.#ask(async () => {
        try {
          return await work()
        } catch (error) {
          throw error instanceof EncxError ? error : new Abandoned(error)
        }
      })
    } catch (error) {
      throw error instanceof Abandoned ? error.reason : error
    } finally {
      this.#probing = false
    }
  }

  #ask<Result>(work: () => Promise<Result>): Promise<Answer<Result>> {
    return this.#policy.execute(async () => {
      try {
        return { result: await work() }
      } catch (error) {
        // Throttling is an answer, too: whoever gives it is alive, and the budget keeps retries few.
        const answered = error instanceof EncxError && (!error.retryable || this.#failures.isThrottled(error))
        if (answered) return { error }
        throw error
      }
    })
  }
}
