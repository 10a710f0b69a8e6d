/** What becomes of a flight. */
interface Ends<Value> {
  /** Runs when nobody is left before the call ended. */
  readonly abandon: () => void
  /** Takes the value back when everybody who waited had it. */
  readonly end: (value: Value) => void
  /** Whether it goes on when nobody waits, until it is dropped. */
  readonly inBackground: boolean
}

/** One call that several wait for. An abort drops the caller who asked for it; the call itself stops when nobody is left. */
export class Flight<Value> {
  readonly #controller = new AbortController()
  readonly #result: Promise<Value>
  readonly #abandon: () => void
  #waiting = 0
  #settled = false
  #isHeld: boolean

  /** @param start the call; it may abort itself */
  constructor(start: (controller: AbortController) => Promise<Value>, { abandon, end, inBackground }: Ends<Value>) {
    this.#abandon = abandon
    this.#isHeld = inBackground
    this.#result = start(this.#controller)
    const settle = (): void => {
      this.#settled = true
    }
    // Registered before any waiter: it runs first, and what it starts runs after them all.
    this.#result.then((value) => {
      settle()
      queueMicrotask(() => end(value))
    }, settle)
  }

  /** @param recover what a caller gets in place of the error, or it throws */
  join<Result>(
    take: (value: Value) => Result,
    recover: (error: unknown) => Result,
    signal: AbortSignal | undefined,
  ): Promise<Result> {
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
        this.#stop(signal?.reason)
      }
      signal?.addEventListener("abort", abort, { once: true })
      const settle = (give: () => Result): void => {
        if (left) return
        leave()
        try {
          resolve(give())
        } catch (error) {
          reject(error)
        }
      }
      this.#result.then(
        (value) => settle(() => take(value)),
        (error) => settle(() => recover(error)),
      )
    })
  }

  /** Nothing in the background wants it any more: it stops, unless somebody waits for it. */
  drop(): void {
    this.#isHeld = false
    this.#stop(new DOMException("Nobody waits for it any more", "AbortError"))
  }

  #stop(reason: unknown): void {
    if (this.#waiting > 0 || this.#isHeld || this.#settled) return
    this.#abandon()
    this.#controller.abort(reason)
  }
}
