/** Counts the calls that a key management service gets, by method: what a KMS would bill. */
import { setTimeout } from "node:timers/promises"
import type { KeyManagementService } from "../mod.ts"

/** How often each method was called. */
export type Calls = ReadonlyMap<string, number>

/** A service, and what was asked of it so far. */
export interface Counting<Service> {
  readonly service: Service
  readonly calls: Calls
}

/**
 * The same service, counted at its door: by who is asked, not by who asks.
 *
 * @param answerMs how long it takes to answer
 */
export function counting<Service extends KeyManagementService>(service: Service, answerMs = 0): Counting<Service> {
  const calls = new Map<string, number>()
  const counted = new Proxy(service, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== "function") return value
      return (...args: unknown[]): unknown => {
        calls.set(String(name), (calls.get(String(name)) ?? 0) + 1)
        const answer = (): unknown => Reflect.apply(value, target, args)
        return answerMs === 0 ? answer() : setTimeout(answerMs).then(answer)
      }
    },
  })
  return { service: counted, calls }
}

/** All of them. */
export function total(calls: Calls): number {
  return [...calls.values()].reduce((sum, count) => sum + count, 0)
}
