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

  /** Takes one: at once where there is one. An abort leaves the queue. */
  take(signal: AbortSignal): Promise<void> | undefined {
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
  give(): void {
    const [next] = this.#queue
    if (next === undefined) {
      this.#taken--
      return
    }
    this.#queue.delete(next)
    next()
  }
}
