/**
 * The start of a program: all that is needed before the first key is asked for, and not again.
 *
 * @module
 */
import { askServices, createMissingKEK, loadIndexRoot, loadPeppers } from "./bootstrap.ts"
import { type ResolvedConfiguration, resolveConfiguration } from "./configuration.ts"
import { Crypto } from "./crypto.ts"
import { InvalidConfiguration } from "./errors.ts"
import { PasswordHasher } from "./hash/password.ts"
import { DataKeys } from "./keys/data-keys.ts"
import type { SealingKey } from "./keys/dek.ts"
import { Keyring } from "./keys/keyring.ts"
import { observedServices } from "./observe/observed.ts"
import { Observer } from "./observe/observer.ts"
import type { Option } from "./options.ts"
import * as work from "./work.ts"

/** Checks the options, resolves the keys, reads the secrets, and gives the object: see `newCrypto`. @internal */
export async function start(options: readonly Option[]): Promise<Crypto> {
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
  const { keks, clock, bootstrap, database } = configuration
  if (bootstrap.createKEK) await createMissingKEK(keks[0], database, () => askServices(configuration))
  const keyring = new Keyring(keks, clock, database)
  await keyring.resolve()
  if (keyring.problem) throw new InvalidConfiguration(`Cannot use the KEKs: ${keyring.problem}`)
  const { openDEKCache } = await import("./keys/open-cache.ts")
  const cache = openDEKCache(checked, keyring.keyIDs, {
    stale: (key, byMs) => observer?.staleKey((key as SealingKey).kekVersion, byMs),
    waited: (milliseconds) => observer?.waitedForKey(milliseconds),
  })
  const dataKeys = new DataKeys(keyring, cache)
  try {
    return await startWith(dataKeys, configuration, observer)
  } catch (error) {
    cache.close()
    throw error
  }
}

async function startWith(
  dataKeys: DataKeys,
  configuration: ResolvedConfiguration,
  observer: Observer | undefined,
): Promise<Crypto> {
  const { keks, bootstrap } = configuration
  const ask = () => askServices(configuration)
  const peppers =
    configuration.pepper && (await loadPeppers(configuration.pepper, bootstrap.createPepper ?? false, ask))
  const indexRoot =
    configuration.indexRoot && (await loadIndexRoot(configuration.indexRoot, dataKeys, bootstrap.createPepper ?? false))
  observer?.watchCache(dataKeys.cache.counters)
  const tools = {
    work,
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
