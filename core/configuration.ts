/**
 * The options of a program as one whole: merged, checked, and with its services open. Every problem is reported together.
 *
 * @module
 */
import { encodeContext } from "./cipher/context.ts"
import { MAX_KEYS } from "./cipher/envelope.ts"
import type {
  Clock,
  Context,
  KEKVersionStore,
  KeyManagementService,
  Logger,
  MetricsCollector,
  ObservabilityHook,
  SecretManagementService,
} from "./contracts.ts"
import { EncxError, InvalidConfiguration } from "./errors.ts"
import { type Argon2Options, argon2Problem } from "./hash/password.ts"
import { PEPPER_LENGTH, pepperProblem } from "./hash/pepper-id.ts"
import { type DEKCacheOptions, dekCacheLimits, dekCacheProblems } from "./keys/cache-limits.ts"
import { kmsContext } from "./keys/keyring.ts"
import { SharedDEKCache } from "./keys/shared-cache.ts"
import { watcherProblems } from "./observe/watchers.ts"
import type {
  Bootstrap,
  Configuration,
  DatabaseSource,
  Option,
  OtherKEK,
  SecretSource,
  ServiceOrURI,
  ServiceRegistry,
  SharedDEKCacheUse,
} from "./options.ts"
import { keyOf } from "./uri.ts"

/** A key-encryption key whose service is open. */
export interface ResolvedKEK {
  readonly kms: KeyManagementService
  readonly alias: string
  readonly wraps: boolean
  readonly kmsContext: Context
}

/** A secret whose store is open. */
export type ResolvedSecret =
  | { readonly values: readonly Uint8Array[] }
  | { readonly store: SecretManagementService; readonly alias: string }

/** What may have to be closed. */
interface Closable {
  close?(): Promise<void>
}

/** A configuration that was checked. */
export interface ResolvedConfiguration {
  /** The first wraps and is asked first. */
  readonly keks: readonly [ResolvedKEK, ...ResolvedKEK[]]
  readonly pepper: ResolvedSecret | undefined
  readonly indexRoot: ResolvedSecret | undefined
  /** Its limits, a capacity of 0 for none; or the one that is shared. */
  readonly dekCache: Required<DEKCacheOptions> | SharedDEKCacheUse
  readonly argon2: Argon2Options
  readonly bootstrap: Bootstrap
  readonly database: KEKVersionStore | undefined
  readonly metrics: MetricsCollector | undefined
  readonly hooks: readonly ObservabilityHook[]
  readonly logger: Logger | undefined
  readonly clock: Clock
  /** The services that were opened from URIs: closing the program closes them. */
  readonly opened: readonly Closable[]
}

const LISTS: readonly string[] = ["additionalKEKs", "retiredKEKs", "hooks"]
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
  "database",
  "metrics",
  "logger",
  "registry",
  "clock",
]

/** The parts of options that have parts; the limits of the cache are checked with their values. */
const PARTS: Readonly<Record<"argon2" | "bootstrap", readonly string[]>> = {
  argon2: ["memoryKiB", "iterations", "parallelism", "concurrency", "queue"],
  bootstrap: ["createKEK", "createPepper"],
}

/**
 * Merges the options, checks the whole and opens what is named by URI.
 *
 * @throws {InvalidConfiguration} with every problem
 */
export async function resolveConfiguration(options: readonly Option[]): Promise<ResolvedConfiguration> {
  const merged = withNamedKey(merge(options))
  const problems = findProblems(merged)
  const services = new Services(merged.registry, problems)
  try {
    return await openServices(merged, services, problems)
  } catch (error) {
    await services.close()
    throw error
  }
}

async function openServices(
  merged: Configuration,
  services: Services,
  problems: readonly string[],
): Promise<ResolvedConfiguration> {
  const kmsContext = { ...merged.kmsContext }
  const openKEK = async (kek: OtherKEK, wraps: boolean): Promise<ResolvedKEK[]> => {
    const kms = await services.open(kek.kms, isKMS, "a key management service")
    return kms ? [{ kms, alias: kek.alias, wraps, kmsContext: { ...(kek.kmsContext ?? kmsContext) } }] : []
  }
  const first = merged.kms === undefined ? [] : await openKEK({ kms: merged.kms, alias: merged.kekAlias ?? "" }, true)
  const additional = await Promise.all((merged.additionalKEKs ?? []).map((kek) => openKEK(kek, true)))
  const retired = await Promise.all((merged.retiredKEKs ?? []).map((kek) => openKEK(kek, false)))
  const pepper = await services.secret(merged.pepper)
  const indexRoot = await services.secret(merged.indexRoot)
  const database = await services.database(merged.database)
  if (problems.length > 0) throw new InvalidConfiguration(problems)
  return {
    keks: [...first, ...additional.flat(), ...retired.flat()] as [ResolvedKEK, ...ResolvedKEK[]],
    pepper,
    // The two secrets are kept side by side, unless the program says otherwise.
    indexRoot: indexRoot ?? (pepper && "store" in pepper ? pepper : undefined),
    dekCache: cacheOf(merged.dekCache),
    argon2: merged.argon2 ?? {},
    bootstrap: merged.bootstrap ?? {},
    database,
    metrics: merged.metrics,
    hooks: merged.hooks ?? [],
    logger: merged.logger,
    clock: merged.clock ?? performance,
    opened: services.opened,
  }
}

function cacheOf(given: Configuration["dekCache"] = {}): ResolvedConfiguration["dekCache"] {
  if (given === false) return { ...dekCacheLimits({}), capacity: 0 }
  return isShared(given) ? given : dekCacheLimits(given)
}

const isShared = (given: object): given is SharedDEKCacheUse => "shared" in given
const isObject = (given: unknown): given is object => typeof given === "object" && given !== null

function merge(options: readonly Option[]): Configuration {
  const merged: Record<string, unknown> = {}
  for (const option of options) {
    for (const [name, value] of Object.entries(option ?? {})) {
      if (value === undefined) continue
      const before = (merged[name] as unknown[] | undefined) ?? []
      merged[name] = LISTS.includes(name) ? [...before, ...(Array.isArray(value) ? value : [value])] : value
    }
  }
  return merged
}

/** A URI that names a key names the program's, unless an alias is given. */
function withNamedKey(merged: Configuration): Configuration {
  const named = merged.kekAlias === undefined ? keyOf(merged.kms) : undefined
  return named === undefined ? merged : { ...merged, kekAlias: named }
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
  say("the DEK cache", sharingProblem(merged.dekCache))
  if (isObject(merged.dekCache) && !isShared(merged.dekCache)) {
    for (const [name, state] of dekCacheProblems(merged.dekCache)) say(`the DEK cache's "${name}"`, state)
  }
  if (merged.argon2) say("the Argon2 options", argon2Problem(merged.argon2))
  for (const [option, names] of Object.entries(PARTS)) {
    const unknown = Object.keys(merged[option as keyof typeof PARTS] ?? {}).filter((name) => !names.includes(name))
    for (const name of unknown) say(`"${name}" of the option "${option}"`, "there is none of this name")
  }
  if (merged.clock && !Number.isFinite(merged.clock.now?.())) say("the clock", "it does not tell a finite time")
  problems.push(...watcherProblems(merged))
  if (merged.registry && typeof merged.registry.open !== "function") say("the registry", "it does not open URIs")
  for (const context of [
    merged.kmsContext,
    ...[...(merged.additionalKEKs ?? []), ...(merged.retiredKEKs ?? [])].map((kek) => kek.kmsContext),
  ]) {
    say("the KMS context", kmsContextProblem(context))
  }
  const wrapping = 1 + (merged.additionalKEKs ?? []).length
  if (wrapping > MAX_KEYS) say("the additional KEKs", `${wrapping} keys would wrap, and an envelope holds ${MAX_KEYS}`)
  return problems
}

function sharingProblem(given: Configuration["dekCache"]): string | undefined {
  if (given === undefined || given === false) return undefined
  if (!isObject(given)) return "it is neither limits nor false"
  if (!isShared(given)) return undefined
  const { shared, partition } = given
  if (!(shared instanceof SharedDEKCache)) return "it was not made by dekCache(…)"
  return typeof partition === "string" && partition !== "" && partition.isWellFormed()
    ? undefined
    : "it is shared, and names no partition: withDEKCache(cache, { partition })"
}

function kmsContextProblem(context: Context | undefined): string | undefined {
  if (context === undefined) return undefined
  if (context === null) return "it is not a map of strings"
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

const KMS_METHODS = ["getKeyID", "describeKey", "encryptDEK", "decryptDEK"]
const isKMS = (service: object): service is KeyManagementService => KMS_METHODS.every((method) => method in service)
const VERSION_METHODS = ["listVersions", "ensureVersion", "addVersion"]
const isVersionStore = (service: object): service is KEKVersionStore =>
  VERSION_METHODS.every((method) => method in service)
const isSecretStore = (service: object): service is SecretManagementService => "getPepper" in service

class Services {
  readonly opened: Closable[] = []
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
    return await this.#collecting(async () => {
      const service = typeof named === "string" ? await this.#openURI(named) : named
      if (typeof service === "object" && service !== null && fits(service)) return service
      this.#problems.push(`Cannot use a service: it is not ${what}`)
      return undefined
    })
  }

  // What cannot be used is one problem among the others; what cannot be asked ends the start.
  async #collecting<Result>(work: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof InvalidConfiguration)) throw error
      this.#problems.push(
        ...error.problems.map((problem) => (error.hint === undefined ? problem : `${problem} (${error.hint})`)),
      )
      return undefined
    }
  }

  async secret(source: SecretSource | undefined): Promise<ResolvedSecret | undefined> {
    if (!source || "values" in source) return source
    // It has been refused already; what was given for a store may be the secret itself, and is not looked at.
    if (source.alias === "") return undefined
    const store = await this.open(source.store, isSecretStore, "a secret store")
    return store && { store, alias: source.alias }
  }

  /** The database. What the program opened is its own to close; what was made over it has nothing to let go of. */
  async database(source: DatabaseSource | undefined): Promise<KEKVersionStore | undefined> {
    if (source === undefined) return undefined
    if (typeof source === "object" && source !== null && isVersionStore(source)) return source
    const store = await this.#collecting(async () => (await import("../providers/sql.ts")).sql(source))
    if (store && typeof source === "string") this.opened.push(store)
    return store
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
    // One that is still opening is closed, too.
    await Promise.allSettled(this.#byURI.values())
    await Promise.allSettled(this.opened.map((service) => service.close?.()))
  }
}
