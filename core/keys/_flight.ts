/** One call that several wait for. An abort drops the caller who asked for it; the call itself stops when nobody is left. */
export class Flight<Value> {
  readonly #controller = new AbortController()
  readonly #result: Promise<Value>
  readonly #abandon: () => void
  #waiting = 0
  #settled = false

  /**
   * @param start the call
   * @param abandon runs when nobody is left before the call ended
   * @param end takes the value back when everybody who waited had it
   */
  constructor(start: (signal: AbortSignal) => Promise<Value>, abandon: () => void, end: (value: Value) => void) {
    this.#abandon = abandon
    this.#result = start(this.#controller.signal)
    const settle = (): void => {
      this.#settled = true
    }
    // Registered before any waiter: it runs first, and what it starts runs after them all.
    this.#result.then((value) => {
      settle()
      queueMicrotask(() => end(value))
    }, settle)
  }

  join<Result>(take: (value: Value) => Result, signal: AbortSignal | undefined): Promise<Result> {
    this.#waiting++
    return new Promise((resolve, reject) => {
      let left = false
      const leave = (): void => {
        left = true
        signal?.removeEventListener("abort", abort)
        this.#waiting--
      }
      const abort = (): void => {
        leave()
        reject(signal?.reason)
        if (this.#waiting > 0 || this.#settled) return
        this.#abandon()
        this.#controller.abort(signal?.reason)
      }
      signal?.addEventListener("abort", abort, { once: true })
      this.#result.then(
        (value) => {
          if (left) return
          leave()
          resolve(take(value))
        },
        (error) => {
          if (left) return
          leave()
          reject(error)
        },
      )
    })
  }
}
