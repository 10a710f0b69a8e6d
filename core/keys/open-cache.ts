/**
 * The data-key cache of a program that starts.
 *
 * @module
 */
import { latin1 } from "../bytes.ts"
import { encodeContext } from "../cipher/context.ts"
import type { ResolvedConfiguration } from "../configuration.ts"
import type { CacheWatch } from "./_program.ts"
import type { DataKey, SealingKey } from "./dek.ts"
import { DEKCache } from "./dek-cache.ts"
import { DEKStore } from "./dek-store.ts"

/** Objects by number: what is the same object has the same one. */
const NUMBERS = new WeakMap<object, number>()
let last = 0

/**
 * The cache that a configuration asks for.
 *
 * @param configuration with the services as the program gave them: two programs are told apart by these
 * @param keyIDs what the aliases resolved to: one that was moved is another key
 */
export function openDEKCache(
  { keks, database, dekCache, clock }: ResolvedConfiguration,
  keyIDs: readonly (readonly string[])[],
  watch: CacheWatch,
): DEKCache<SealingKey, DataKey> {
  const { provider } = keks[0].kms
  if (!("shared" in dekCache)) return new DEKCache(dekCache, clock, { provider, watch })
  const { shared, partition } = dekCache
  const store = shared.store((limits, ticking) => new DEKStore<SealingKey, DataKey>(limits, ticking))
  // Everything that a data key, or whether a stored one may be opened, depends on. Text as JSON, so that no name runs into the next.
  const same = [
    partition,
    database && numberOf(database),
    keks.map(({ kms, alias, wraps, kmsContext }, i) => {
      return [numberOf(kms), alias, keyIDs[i], wraps, latin1(encodeContext(kmsContext))]
    }),
  ]
  return new DEKCache(shared.limits, clock, {
    namespace: `#${JSON.stringify(same)}`,
    home: partition,
    provider,
    watch,
    store,
  })
}

function numberOf(service: object): number {
  const known = NUMBERS.get(service)
  if (known !== undefined) return known
  last++
  NUMBERS.set(service, last)
  return last
}
