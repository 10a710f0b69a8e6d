import type { CallOptions } from "../contracts.ts"
import type { Destroyable } from "./_entry.ts"

/** How much goes on at once: whoever finds no room waits in the order in which they came. */
export class Slots {
  readonly #most: number
  readonly #queue = new Set<() => void>()
  #taken = 0

  constructor(most: number) {
    this.#most = most
  }

  /** How many are taken. */
  get taken(): number {
    return this.#taken
  }

  /** How many wait for one. */
  get queued(): number {
    return this.#queue.size
  }

  /**
   * Runs work when there is room, and waits for it no longer than a limit.
   *
   * @param work what comes of it too late is destroyed
   * @param controller ends the wait for a place; it is aborted when the time is over
   */
  async run<Value extends Destroyable>(
    work: (options: CallOptions) => Promise<Value>,
    controller: AbortController,
    limitMs: number,
    tooLate: () => Error,
  ): Promise<Value> {
    const { signal } = controller
    const turn = this.#take(signal)
    if (turn) await turn
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      const error = tooLate()
      late.reject(error)
      controller.abort(error)
    }, limitMs)
    timer.unref?.()
    // In a function of its own: what throws before it returns a promise has failed, too.
    const running = (async () => await work({ signal }))()
    try {
      return await Promise.race([running, late.promise])
    } catch (error) {
      running.then(
        (value) => value.destroy(),
        () => {},
      )
      throw error
    } finally {
      clearTimeout(timer)
      this.#give()
    }
  }

  /** Takes one: at once where there is one. An abort leaves the queue. */
  #take(signal: AbortSignal): Promise<void> | undefined {
    if (this.#taken < this.#most) {
      this.#taken++
      return undefined
    }
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#queue.delete(start)
        reject(signal.reason)
      }
      // Its slot is that of the one who leaves.
      const start = (): void => {
        signal.removeEventListener("abort", leave)
        resolve()
      }
      this.#queue.add(start)
      signal.addEventListener("abort", leave, { once: true })
    })
  }

  /** Gives one back, to the first who waits. */
  #give(): void {
    const [next] = this.#queue
    if (next === undefined) {
      this.#taken--
      return
    }
    this.#queue.delete(next)
    next()
  }
}
