import { AccessDenied, KeyDisabled, KeyNotFound, type KMSError } from "../errors.ts"
import { type Ask, callOf } from "./_entry.ts"
import type { DEKCacheOptions } from "./cache-limits.ts"

interface Refusal {
  readonly ask: Ask<unknown>
  readonly error: KMSError
  readonly until: number
}

/** Answers that said no: each is believed for a while, and no more of them are kept than keys. */
export class Refusals {
  readonly #limits: Required<DEKCacheOptions>
  /** The oldest first. */
  readonly #refusals = new Map<string, Refusal>()

  constructor(limits: Required<DEKCacheOptions>) {
    this.#limits = limits
  }

  /** An error of the caller's own, which says where it asked; its cause is the KMS's answer. */
  of(ask: Ask<unknown>, now: number): KMSError | undefined {
    const refusal = this.#refusals.get(callOf(ask))
    return refusal && now < refusal.until ? refusal.error.among(refusal.error.tries) : undefined
  }

  /** Keeps an answer, where it is one. */
  add(ask: Ask<unknown>, error: unknown, now: number): void {
    const { negativeMs, capacity } = this.#limits
    if (negativeMs === 0 || !isRefusal(error)) return
    this.forget(ask)
    this.#refusals.set(callOf(ask), { ask, error, until: now + negativeMs })
    for (const oldest of this.#refusals.keys()) {
      if (this.#refusals.size <= capacity) break
      this.#refusals.delete(oldest)
    }
  }

  forget(ask: Ask<unknown>): void {
    this.#refusals.delete(callOf(ask))
  }

  invalidate(isMeant: (ask: Ask<unknown>) => boolean): void {
    for (const { ask } of this.#refusals.values()) if (isMeant(ask)) this.forget(ask)
  }
}

/** An answer that is the same for a while: who may use which key. Never one of being asked too often. */
function isRefusal(error: unknown): error is KMSError {
  return error instanceof AccessDenied || error instanceof KeyNotFound || error instanceof KeyDisabled
}
