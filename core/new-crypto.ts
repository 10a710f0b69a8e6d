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
import { Observer } from "./observe.ts"
import type { Option } from "./options.ts"

/**
 * Checks the options, resolves the keys, reads the secrets, and gives the object that seals and opens. Nothing is created in a
 * KMS or a secret store unless `withBootstrap` says so.
 *
 * @throws {InvalidConfiguration} with every problem of the options at once
 * @throws {KeyNotFound} when the KMS says that there is no key under the alias
 * @throws {UninitializedPepper} when the secret store says that there is no pepper
 * @throws {KMSUnavailable} when the KMS, and {SecretStorageUnavailable} when the secret store, could not be asked
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
    return await start(configuration)
  } catch (error) {
    // What went wrong first is what is told.
    await closeAll(configuration).catch(() => {})
    throw error
  }
}

async function start(configuration: ResolvedConfiguration): Promise<Crypto> {
  const { keks, clock, dekCache, bootstrap } = configuration
  const ask = () => askServices(configuration)
  if (bootstrap.createKEK) await createMissingKEK(keks[0], ask)
  const keyring = new Keyring(keks, clock)
  await keyring.resolve()
  if (keyring.problem) throw new InvalidConfiguration(`Cannot use the KEKs: ${keyring.problem}`)
  const dataKeys = new DataKeys(keyring, new DEKCache<SealingKey, DataKey>(dekCache, clock))
  const peppers =
    configuration.pepper && (await loadPeppers(configuration.pepper, bootstrap.createPepper ?? false, ask))
  const indexRoot =
    configuration.indexRoot && (await loadIndexRoot(configuration.indexRoot, dataKeys, bootstrap.createPepper ?? false))
  const { metrics, hooks, logger } = configuration
  const observer = metrics || hooks.length > 0 || logger ? new Observer({ metrics, hooks, logger }) : undefined
  const tools = { dataKeys, hasher: new PasswordHasher(peppers, configuration.argon2), indexRoot, observer }
  return new Crypto(tools, keks[0].alias, () => closeAll(configuration))
}

async function closeAll({ opened }: ResolvedConfiguration): Promise<void> {
  await Promise.all(opened.map((service) => service.close?.()))
}
