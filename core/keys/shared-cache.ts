/**
 * A data-key cache that several programs of one process share, because somebody chose so.
 *
 * @module
 */
import type { Clock } from "../contracts.ts"
import { Closed, InvalidConfiguration } from "../errors.ts"
import { type DEKCacheOptions, dekCacheLimits, dekCacheProblems } from "./cache-limits.ts"
import type { DataKey, SealingKey } from "./dek.ts"
import type { DEKCacheStats, InvalidateOptions } from "./dek-cache.ts"
import type { DEKStore } from "./dek-store.ts"

type Store = DEKStore<SealingKey, DataKey>

/** A cache for `withDEKCache(cache, { partition })`. Its limits are those of all programs together. */
export class SharedDEKCache {
  /** @internal */
  readonly limits: Required<DEKCacheOptions>
  readonly #clock: Clock
  #store: Store | undefined
  #isClosed = false

  /** @internal */
  constructor(limits: DEKCacheOptions, clock: Clock) {
    this.limits = dekCacheLimits(limits)
    this.#clock = clock
  }

  /** The store, which is made with the first program. @internal */
  store(make: (limits: Required<DEKCacheOptions>, clock: Clock) => Store): Store {
    if (this.#isClosed) throw new Closed("Cannot use a data-key cache: it was closed")
    this.#store ??= make(this.limits, this.#clock)
    return this.#store
  }

  /** What all programs have counted together; nothing before the first. */
  stats(): DEKCacheStats | undefined {
    return this.#store?.stats()
  }

  /** Forgets keys; `partition` is what programs named in `withDEKCache`. */
  invalidate({ keyID, partition }: InvalidateOptions = {}): void {
    this.#store?.invalidate(
      ({ home, keyIDs }) =>
        (partition === undefined || home === partition) &&
        (keyID === undefined || keyIDs === undefined || keyIDs.includes(keyID)),
    )
  }

  /** Forgets every key and keeps none from now on: programs that share it ask the KMS for each message. */
  close(): void {
    this.#isClosed = true
    this.#store?.close()
  }
}

/**
 * A cache that several programs of one process share. Whoever names the same partition, with the same service objects, keys and
 * KMS context, uses the same data keys; nobody else does.
 *
 * @param options.clock the clock that keys age by
 * @throws {InvalidConfiguration} with every limit that cannot be used
 *
 * @example Two programs, one data key
 * ```ts
 * const kms = memory()
 * await kms.createKey("app")
 * const cache = dekCache({ capacity: 100 })
 * const options = [withKMSService(kms), withKEKAlias("app"), withDEKCache(cache, { partition: "billing" })]
 * const [one, other] = await Promise.all([newCrypto(...options), newCrypto(...options)])
 * await other.open(await one.seal(new Uint8Array(3)))
 * await other.seal(new Uint8Array(3))
 * assertEquals(other.stats().kms.encryptDEK, 0)
 * cache.close()
 * ```
 */
export function dekCache(
  limits: DEKCacheOptions = {},
  { clock = performance }: { readonly clock?: Clock } = {},
): SharedDEKCache {
  const problems = dekCacheProblems(limits)
  if (problems.length === 0) return new SharedDEKCache(limits, clock)
  throw new InvalidConfiguration(problems.map(([name, state]) => `Cannot use the DEK cache's "${name}": ${state}`))
}
