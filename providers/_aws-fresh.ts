/** What was made a moment ago. AWS agrees on it a little later: until then, some of its machines say that there is no such thing. */
import { setTimeout as sleep } from "node:timers/promises"
import type { Clock } from "../core/contracts.ts"

/** «Usually less than a few seconds», says the developer guide of KMS under «eventual consistency», and in rare cases minutes. */
const FRESH_MS = 60_000
/** Before each question after the first: 6.3 seconds in all. */
const PAUSES_MS: readonly number[] = [100, 200, 400, 800, 1_600, 3_200]

/** What a question takes. */
interface Question<Result> {
  /** What is asked for, as it is named. */
  readonly target: string
  /** How long it may take, pauses included. */
  readonly deadlineMs: number
  readonly signal?: AbortSignal | undefined
  /** Asks; the service may take so long. */
  run(withinMs: number): Promise<Result>
  /** Whether the service says that there is no such thing. */
  isAbsent(error: unknown): boolean
}

/** The names of what was made here a moment ago. */
export class Fresh {
  readonly #clock: Clock
  readonly #until = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(...names: readonly string[]): void {
    for (const name of names) this.#until.set(name, this.#clock.now() + FRESH_MS)
  }

  delete(name: string): void {
    this.#until.delete(name)
  }

  /** Asks, and again for some seconds while the service does not know what was just made. */
  async ask<Result>({ target, deadlineMs, signal, run, isAbsent }: Question<Result>): Promise<Result> {
    const end = this.#clock.now() + deadlineMs
    for (let asked = 0; ; asked++) {
      try {
        return await run(Math.max(1, end - this.#clock.now()))
      } catch (error) {
        const pause = PAUSES_MS[asked]
        if (pause === undefined || !isAbsent(error) || !this.#has(target)) throw error
        if (this.#clock.now() + pause >= end) throw error
        await sleep(pause, undefined, { signal }).catch((reason: unknown) => {
          signal?.throwIfAborted()
          throw reason
        })
      }
    }
  }

  #has(name: string): boolean {
    const until = this.#until.get(name)
    if (until !== undefined && until <= this.#clock.now()) this.#until.delete(name)
    return this.#until.has(name)
  }
}
