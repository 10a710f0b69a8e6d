/**
 * The start of a program: options in, the object out.
 *
 * @module
 */
import { askServices, createMissingKEK, loadIndexRoot, loadPeppers } from "./bootstrap.ts"
import { type ResolvedConfiguration, resolveConfiguration } from "./configuration.ts"
import { Crypto } from "./crypto.ts"
import { InvalidConfiguration } from "./errors.ts"
import { PasswordHasher } from "./hash/password.ts"
import { DataKeys } from "./keys/data-keys.ts"
import type { DataKey, SealingKey } from "./keys/dek.ts"
import { DEKCache } from "./keys/dek-cache.ts"
import { Keyring } from "./keys/keyring.ts"
import { observedServices } from "./observe/observed.ts"
import { Observer } from "./observe/observer.ts"
import type { Option } from "./options.ts"

/**
 * Checks the options, resolves the keys, reads the secrets, and gives the object that seals and opens. Nothing is created in a
 * KMS or a secret store unless `withBootstrap` says so.
 *
 * @throws {InvalidConfiguration} with every problem of the options at once
 * @throws {KeyNotFound} when the KMS says that there is no key under the alias
 * @throws {UninitializedPepper} when the secret store says that there is no pepper
 * @throws {KMSUnavailable} when the KMS, {SecretStorageUnavailable} when the secret store, and {DatabaseUnavailable} when the
 * database could not be asked
 *
 * @example Seal and open
 * ```ts
 * const crypto = await newCrypto(
 *   withKMSService("local:///home/ada/.encx/keys.json"),
 *   withKEKAlias("app"),
 *   withBootstrap({ createKEK: true }),
 * )
 * const envelope = await crypto.seal(new TextEncoder().encode("secret"), { tenant: "acme" })
 * const plaintext = await crypto.open(envelope, { tenant: "acme" })
 * assertEquals(new TextDecoder().decode(plaintext), "secret")
 * ```
 */
export async function newCrypto(...options: readonly Option[]): Promise<Crypto> {
  const configuration = await resolveConfiguration(options)
  try {
    return await startCrypto(configuration)
  } catch (error) {
    // What went wrong first is what is told.
    await closeAll(configuration).catch(() => {})
    throw error
  }
}

/** The object of a configuration that was checked. @internal */
export async function startCrypto(checked: ResolvedConfiguration): Promise<Crypto> {
  const observer = observerOf(checked)
  const configuration = observedServices(checked, observer)
  const { keks, clock, dekCache, bootstrap, database } = configuration
  const ask = () => askServices(configuration)
  if (bootstrap.createKEK) await createMissingKEK(keks[0], database, ask)
  const keyring = new Keyring(keks, clock, database)
  await keyring.resolve()
  if (keyring.problem) throw new InvalidConfiguration(`Cannot use the KEKs: ${keyring.problem}`)
  const dataKeys = new DataKeys(keyring, new DEKCache<SealingKey, DataKey>(dekCache, clock))
  const peppers =
    configuration.pepper && (await loadPeppers(configuration.pepper, bootstrap.createPepper ?? false, ask))
  const indexRoot =
    configuration.indexRoot && (await loadIndexRoot(configuration.indexRoot, dataKeys, bootstrap.createPepper ?? false))
  observer?.watchCache(dataKeys.cache.counters, () => dataKeys.cache.size)
  const tools = {
    dataKeys,
    hasher: new PasswordHasher(peppers, configuration.argon2),
    indexRoot,
    observer,
    services: configuration,
  }
  return new Crypto(tools, keks[0].alias, async () => {
    try {
      await closeAll(configuration)
    } finally {
      await observer?.close()
    }
  })
}

function observerOf({ metrics, hooks, logger, clock, keks }: ResolvedConfiguration): Observer | undefined {
  if (!metrics && hooks.length === 0 && !logger) return undefined
  return new Observer({ metrics, hooks, logger, clock, alias: keks[0].alias })
}

async function closeAll({ opened }: ResolvedConfiguration): Promise<void> {
  await Promise.all(opened.map((service) => service.close?.()))
}
