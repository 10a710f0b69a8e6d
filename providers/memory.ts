/**
 * Keys and secrets that end with the process: for tests.
 *
 * @module
 */
import { EMPTY_STORE, type KeyStore, keyStoreServices, type LocalServices } from "./_key-store.ts"
import { checkNames, type ProductionOptions, refuseInProduction } from "./_production.ts"

/** Options of {@link memory}. */
export interface MemoryOptions extends ProductionOptions {}

/**
 * A key management service and a secret store in memory. It starts empty.
 *
 * @throws {InvalidConfiguration} when an option has another name, or under `NODE_ENV=production`, unless `allowInProduction` says so
 *
 * @example A program for a test
 * ```ts
 * const services = memory()
 * await services.createKey("app")
 * const crypto = await newCrypto(withKMSService(services), withKEKAlias("app"))
 * assertEquals(await crypto.open(await crypto.seal(new Uint8Array(3))), new Uint8Array(3))
 * ```
 */
export function memory(options: MemoryOptions = {}): LocalServices {
  checkNames("memory", options, ["allowInProduction"])
  refuseInProduction("memory", options, "use a KMS")
  let store: KeyStore = EMPTY_STORE
  return keyStoreServices(
    "memory",
    {
      read: async ({ signal } = {}) => {
        signal?.throwIfAborted()
        return store
      },
      change: async (change, { signal } = {}) => {
        signal?.throwIfAborted()
        store = change(store)
      },
    },
    "check the alias, or create it first: createKey(alias), storePepper(alias, pepper), or withBootstrap",
  )
}

export type { LocalServices }
