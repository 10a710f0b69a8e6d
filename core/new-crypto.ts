/**
 * The start of a program: options in, the object out.
 *
 * @module
 */
import { copyOf, wipe } from "./bytes.ts"
import type { Context } from "./contracts.ts"
import type { Crypto } from "./crypto.ts"
import type { Option, SecretSource } from "./options.ts"

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
  return await owning(options, async (own) => {
    // What is loaded with "encx" is what a module needs that only names it: the rest comes with the first start.
    const { start } = await import("./start.ts")
    return await start(own)
  })
}

/**
 * Works with options of its own: the caller may wipe its secrets, and change what is bound, as soon as this was called. The secrets
 * are wiped when the work has ended, however it ends. @internal
 */
export async function owning<Result>(
  options: readonly Option[],
  work: (own: readonly Option[]) => Promise<Result>,
): Promise<Result> {
  const own = options.map(withOwnMemory)
  try {
    return await work(own)
  } finally {
    for (const { pepper, indexRoot } of own) for (const each of [pepper, indexRoot]) wipeSecret(each)
  }
}

function withOwnMemory(option: Option): Option {
  const { pepper, indexRoot, kmsContext } = option ?? {}
  return {
    ...option,
    ...(kmsContext && { kmsContext: ownContext(kmsContext) }),
    ...(pepper && { pepper: ownSecret(pepper) }),
    ...(indexRoot && { indexRoot: ownSecret(indexRoot) }),
  }
}

// What is no plain map stays one that is refused.
function ownContext(context: Context): Context {
  return typeof context === "object" ? Object.assign(Object.create(Object.getPrototypeOf(context)), context) : context
}

const isBytes = (value: unknown): value is Uint8Array => value instanceof Uint8Array

function ownSecret(source: SecretSource): SecretSource {
  return "values" in source
    ? { values: source.values.map((value) => (isBytes(value) ? copyOf(value) : value)) }
    : source
}

function wipeSecret(source: SecretSource | undefined): void {
  if (source && "values" in source) wipe(...source.values.filter(isBytes))
}
