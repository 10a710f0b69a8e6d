/**
 * The operations of a program: each is told to its watchers, and none runs after the end.
 *
 * @module
 */
import { Closed } from "./errors.ts"
import type { Observer } from "./observe/observer.ts"

/** Runs the operations of one program with what they need. @internal */
export class Operations<Tools> {
  /** What they need, after the end, too. */
  readonly state: Tools
  readonly #observer: Observer | undefined
  #closed = false

  constructor(state: Tools, observer: Observer | undefined) {
    this.state = state
    this.#observer = observer
  }

  /**
   * What they need.
   *
   * @throws {Closed} after {@link Operations.close}
   */
  get tools(): Tools {
    if (this.#closed) throw new Closed("Cannot use this Crypto: it was closed")
    return this.state
  }

  /** Runs one that may wait. Where it does not have to, and nobody watches, the promise of this method is the only one. */
  async run<Result>(operation: string, work: (tools: Tools) => Result | Promise<Result>): Promise<Result> {
    const observer = this.#observer
    const result = observer ? observer.operation(operation, async () => await work(this.tools)) : work(this.tools)
    return result instanceof Promise ? await result : result
  }

  /** Runs one that only computes. */
  compute<Result>(operation: string, work: () => Result): Result {
    const observer = this.#observer
    return observer ? observer.computation(operation, work) : work()
  }

  /** Ends it, and tells whether it had not ended. */
  close(): boolean {
    const isFirst = !this.#closed
    this.#closed = true
    return isFirst
  }
}
