/**
 * The options of `newCrypto`. Each function gives a part of the configuration; parts and literals mix, later ones win, lists
 * grow. `resolveConfiguration` checks the whole at once.
 *
 * @module
 */
import { encodeContext } from "./cipher/context.ts"
import type { Clock, Context, KeyManagementService, SecretManagementService } from "./contracts.ts"
import { EncxError, InvalidConfiguration } from "./errors.ts"
import { type Argon2Options, argon2Problem } from "./hash/password.ts"
import { PEPPER_LENGTH, pepperProblem } from "./hash/pepper.ts"
import { DEK_CACHE_DEFAULTS, type DEKCacheOptions } from "./keys/dek-cache.ts"
import { kmsContext } from "./keys/keyring.ts"

/** A service, or the URI or the bare scheme that a registry opens: `local:///home/ada/keys.json`, `memory`. */
export type ServiceOrURI<Service> = Service | string

/** A key-encryption key beside the first. */
export interface OtherKEK {
  readonly kms: ServiceOrURI<KeyManagementService>
  readonly alias: string
}

/** A secret: its bytes, or where they are kept. */
export type SecretSource =
  | { readonly values: readonly Uint8Array[] }
  | { readonly store: ServiceOrURI<SecretManagementService>; readonly alias: string }

/** What may be created when it is not there. */
export interface Bootstrap {
  /** The key under the alias. @default {false} */
  readonly createKEK?: boolean
  /** The pepper, and the index root beside it. @default {false} */
  readonly createPepper?: boolean
}

/** Opens a service from a URI: an object of `encx/registry`. */
export interface ServiceRegistry {
  /** Opens it. */
  open(uri: string): Promise<KeyManagementService | SecretManagementService>
}

/** Everything that `newCrypto` takes; the `with…` functions make parts of it. */
export interface Configuration {
  readonly kms?: ServiceOrURI<KeyManagementService>
  readonly kekAlias?: string
  readonly additionalKEKs?: readonly OtherKEK[]
  readonly retiredKEKs?: readonly OtherKEK[]
  readonly pepper?: SecretSource
  readonly indexRoot?: SecretSource
  readonly dekCache?: DEKCacheOptions | false
  readonly argon2?: Argon2Options
  readonly kmsContext?: Context
  readonly bootstrap?: Bootstrap
  readonly registry?: ServiceRegistry
  readonly clock?: Clock
}

/** One argument of `newCrypto`. */
export type Option = Configuration

// --- The functions ---

/** The service that holds the key-encryption keys, or its URI. */
export function withKMSService(kms: ServiceOrURI<KeyManagementService>): Option {
  return { kms }
}

/** The key-encryption key: its alias, or its id. */
export function withKEKAlias(alias: string): Option {
  return { kekAlias: alias }
}

/** One more key that wraps every new data key: another region, another provider. Any one of them opens. */
export function withAdditionalKEK(kms: ServiceOrURI<KeyManagementService>, alias: string): Option {
  return { additionalKEKs: [{ kms, alias }] }
}

/** A key that opens what it once wrapped, and wraps nothing more. */
export function withRetiredKEK(kms: ServiceOrURI<KeyManagementService>, alias: string): Option {
  return { retiredKEKs: [{ kms, alias }] }
}

/**
 * The pepper of password hashes: 32 bytes from a CSPRNG, several of them (the first hashes, all verify), or the secret store
 * that keeps it under an alias. The index root is taken from the same store, unless {@link withIndexRoot} says otherwise.
 */
export function withPepper(pepper: Uint8Array | readonly Uint8Array[]): Option
export function withPepper(store: ServiceOrURI<SecretManagementService>, alias: string): Option
export function withPepper(
  source: Uint8Array | readonly Uint8Array[] | ServiceOrURI<SecretManagementService>,
  alias?: string,
): Option {
  return { pepper: secretSource(source, alias) }
}

/** The root key of blind indexes: 32 bytes from a CSPRNG, or the secret store that keeps it, sealed, under an alias. */
export function withIndexRoot(root: Uint8Array): Option
export function withIndexRoot(store: ServiceOrURI<SecretManagementService>, alias: string): Option
export function withIndexRoot(source: Uint8Array | ServiceOrURI<SecretManagementService>, alias?: string): Option {
  return { indexRoot: secretSource(source, alias) }
}

function secretSource(
  source: Uint8Array | readonly Uint8Array[] | ServiceOrURI<SecretManagementService>,
  alias = "",
): SecretSource {
  if (source instanceof Uint8Array) return { values: [source] }
  if (Array.isArray(source)) return { values: source as readonly Uint8Array[] }
  return { store: source as ServiceOrURI<SecretManagementService>, alias }
}

/** The limits of the data-key cache; `false` asks the KMS for every message. */
export function withDEKCache(limits: DEKCacheOptions | false): Option {
  return { dekCache: limits }
}

/** What password hashes cost, and how many are computed at once. */
export function withArgon2(options: Argon2Options): Option {
  return { argon2: options }
}

/** Fixed pairs that the KMS is given with every data key. Its logs show them in clear: no personal data. Changing them needs a re-wrap. */
export function withKMSContext(context: Context): Option {
  return { kmsContext: context }
}

/** What may be created when the service says that it is not there. Nothing is, without it. */
export function withBootstrap(bootstrap: Bootstrap): Option {
  return { bootstrap }
}

/** The registry that opens URIs, with schemes of your own. */
export function withRegistry(registry: ServiceRegistry): Option {
  return { registry }
}

/** The clock that cached keys age by. @default {performance} */
export function withClock(clock: Clock): Option {
  return { clock }
}

// --- Resolving ---

/** A key-encryption key whose service is open. */
export interface ResolvedKEK {
  readonly kms: KeyManagementService
  readonly alias: string
  readonly wraps: boolean
}

/** A secret whose store is open. */
export type ResolvedSecret =
  | { readonly values: readonly Uint8Array[] }
  | { readonly store: SecretManagementService; readonly alias: string }

/** A configuration that was checked. */
export interface ResolvedConfiguration {
  /** The first wraps and is asked first. */
  readonly keks: readonly [ResolvedKEK, ...ResolvedKEK[]]
  readonly pepper: ResolvedSecret | undefined
  readonly indexRoot: ResolvedSecret | undefined
  readonly dekCache: Required<DEKCacheOptions>
  readonly argon2: Argon2Options
  readonly kmsContext: Context
  readonly bootstrap: Bootstrap
  readonly clock: Clock
  /** The services that were opened from URIs: closing the program closes them. */
  readonly opened: readonly (KeyManagementService | SecretManagementService)[]
}

const LISTS: readonly string[] = ["additionalKEKs", "retiredKEKs"]
const NAMES: readonly string[] = [
  "kms",
  "kekAlias",
  ...LISTS,
  "pepper",
  "indexRoot",
  "dekCache",
  "argon2",
  "kmsContext",
  "bootstrap",
  "registry",
  "clock",
]

/**
 * Merges the options, checks the whole and opens what is named by URI.
 *
 * @throws {InvalidConfiguration} with every problem
 */
export async function resolveConfiguration(options: readonly Option[]): Promise<ResolvedConfiguration> {
  const merged = merge(options)
  const problems = findProblems(merged)
  const services = new Services(merged.registry, problems)

  const kms = await services.open(merged.kms, isKMS, "a key management service")
  const others = async (list: readonly OtherKEK[] = [], wraps: boolean): Promise<ResolvedKEK[]> => {
    const opened = await Promise.all(
      list.map(async ({ kms, alias }) => ({
        kms: await services.open(kms, isKMS, "a key management service"),
        alias,
        wraps,
      })),
    )
    return opened.filter((kek): kek is ResolvedKEK => kek.kms !== undefined)
  }
  const additional = await others(merged.additionalKEKs, true)
  const retired = await others(merged.retiredKEKs, false)
  const pepper = await services.secret(merged.pepper)
  const indexRoot = await services.secret(merged.indexRoot)

  if (problems.length > 0 || !kms) {
    await services.close()
    throw new InvalidConfiguration(problems)
  }
  return {
    keks: [{ kms, alias: merged.kekAlias as string, wraps: true }, ...additional, ...retired],
    pepper,
    // The two secrets are kept side by side, unless the program says otherwise.
    indexRoot: indexRoot ?? (pepper && "store" in pepper ? pepper : undefined),
    dekCache:
      merged.dekCache === false
        ? { ...DEK_CACHE_DEFAULTS, capacity: 0 }
        : { ...DEK_CACHE_DEFAULTS, ...merged.dekCache },
    argon2: merged.argon2 ?? {},
    kmsContext: { ...merged.kmsContext },
    bootstrap: merged.bootstrap ?? {},
    clock: merged.clock ?? performance,
    opened: services.opened,
  }
}

function merge(options: readonly Option[]): Configuration {
  const merged: Record<string, unknown> = {}
  for (const option of options) {
    for (const [name, value] of Object.entries(option ?? {})) {
      if (value === undefined) continue
      merged[name] = LISTS.includes(name)
        ? [...((merged[name] as unknown[] | undefined) ?? []), ...(value as unknown[])]
        : value
    }
  }
  return merged
}

function findProblems(merged: Configuration): string[] {
  const problems = Object.keys(merged)
    .filter((name) => !NAMES.includes(name))
    .map((name) => `Cannot use the option "${name}": there is none of this name`)
  const say = (what: string, state: string | undefined): void => {
    if (state !== undefined) problems.push(`Cannot use ${what}: ${state}`)
  }
  say("the configuration", merged.kms === undefined ? "it names no KMS: withKMSService(…)" : undefined)
  say("the configuration", merged.kekAlias === undefined ? "it names no key: withKEKAlias(…)" : undefined)
  for (const alias of [
    merged.kekAlias,
    ...[...(merged.additionalKEKs ?? []), ...(merged.retiredKEKs ?? [])].map((kek) => kek.alias),
  ]) {
    if (alias !== undefined)
      say(
        "a KEK alias",
        typeof alias !== "string" || alias === "" || !alias.isWellFormed()
          ? "it is empty, or not well-formed text"
          : undefined,
      )
  }
  for (const [what, source] of [
    ["the pepper", merged.pepper],
    ["the index root", merged.indexRoot],
  ] as const) {
    if (!source) continue
    if ("values" in source) {
      if (source.values.length === 0) say(what, "there is none in the list")
      for (const value of source.values) say(what, pepperProblem(value))
    } else if (source.alias === "") say(what, `it is neither ${PEPPER_LENGTH} bytes nor a secret store with an alias`)
  }
  for (const [name, value] of Object.entries(merged.dekCache === false ? {} : { ...merged.dekCache })) {
    const known = Object.hasOwn(DEK_CACHE_DEFAULTS, name)
    say(
      `the DEK cache's "${name}"`,
      !known
        ? "there is no limit of this name"
        : Number.isSafeInteger(value) && (value as number) >= 1
          ? undefined
          : "it is not a whole number from 1",
    )
  }
  if (merged.dekCache && (merged.dekCache.maxMessages ?? 0) > 2 ** 32)
    say(`the DEK cache's "maxMessages"`, "it is more than 2^32")
  if (merged.argon2) say("the Argon2 options", argon2Problem(merged.argon2))
  say("the KMS context", kmsContextProblem(merged.kmsContext))
  return problems
}

function kmsContextProblem(context: Context | undefined): string | undefined {
  if (context === undefined) return undefined
  if (Object.hasOwn(context, "purpose") || Object.hasOwn(context, "dek_id"))
    return `the pairs "purpose" and "dek_id" are the library's own`
  try {
    encodeContext(context)
    encodeContext(kmsContext(new Uint8Array(16), context))
    return undefined
  } catch (error) {
    if (error instanceof EncxError) return error.message.replace(/^[^:]*: /, "")
    throw error
  }
}

// --- Services ---

const isKMS = (service: object): service is KeyManagementService => "encryptDEK" in service && "decryptDEK" in service
const isSecretStore = (service: object): service is SecretManagementService => "getPepper" in service

class Services {
  readonly opened: (KeyManagementService | SecretManagementService)[] = []
  readonly #byURI = new Map<string, Promise<object>>()
  readonly #problems: string[]
  #registry: ServiceRegistry | undefined

  constructor(registry: ServiceRegistry | undefined, problems: string[]) {
    this.#registry = registry
    this.#problems = problems
  }

  /** A service, opened once for each URI, so that a KMS and a secret store of one name are one. */
  async open<Service extends object>(
    named: ServiceOrURI<Service> | undefined,
    fits: (service: object) => service is Service,
    what: string,
  ): Promise<Service | undefined> {
    if (named === undefined) return undefined
    try {
      const service = typeof named === "string" ? await this.#openURI(named) : named
      if (typeof service === "object" && service !== null && fits(service)) return service
      this.#problems.push(`Cannot use a service: it is not ${what}`)
    } catch (error) {
      if (!(error instanceof InvalidConfiguration)) throw error
      this.#problems.push(
        ...error.problems.map((problem) => (error.hint === undefined ? problem : `${problem} (${error.hint})`)),
      )
    }
    return undefined
  }

  async secret(source: SecretSource | undefined): Promise<ResolvedSecret | undefined> {
    if (!source || "values" in source) return source
    const store = await this.open(source.store, isSecretStore, "a secret store")
    return store && { store, alias: source.alias }
  }

  #openURI(uri: string): Promise<object> {
    const known = this.#byURI.get(uri)
    if (known) return known
    const opening = (async () => {
      this.#registry ??= (await import("../providers/registry.ts")).createRegistry()
      const service = await this.#registry.open(uri)
      this.opened.push(service)
      return service
    })()
    this.#byURI.set(uri, opening)
    return opening
  }

  async close(): Promise<void> {
    await Promise.all(this.opened.map((service) => service.close?.()))
  }
}
