/**
 * What watches a program: the collector, the hooks and the logger of its options, told of every operation.
 *
 * @module
 */
import type { Logger, MetricsCollector, ObservabilityHook, Tags } from "./contracts.ts"

/** Tells the program's watchers of every operation. @internal */
export class Observer {
  /** @param watchers what the program gave; none of it may make an operation fail */
  constructor(_watchers: {
    readonly metrics?: MetricsCollector | undefined
    readonly hooks?: readonly ObservabilityHook[] | undefined
    readonly logger?: Logger | undefined
  }) {}

  /** An operation of the program's `Crypto`. */
  async operation<Result>(_name: string, work: () => Promise<Result>): Promise<Result> {
    return await work()
  }

  /** An operation that only computes. */
  computation<Result>(_name: string, work: () => Result): Result {
    return work()
  }

  /** A call of a provider. */
  async call<Result>(_provider: string, _operation: string, work: () => Promise<Result>): Promise<Result> {
    return await work()
  }

  /** Something was done to a key-encryption key. */
  key(_operation: string, _alias: string, _version: number, _metadata: Tags = {}): void {}
}
