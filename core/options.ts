/**
 * The options of `newCrypto`. Each function gives a part of the configuration; parts and literals mix, later ones win, lists
 * grow.
 *
 * @module
 */
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
import type { Argon2Options } from "./hash/password.ts"
import type { DEKCacheOptions } from "./keys/cache-limits.ts"
import { SharedDEKCache } from "./keys/shared-cache.ts"

/** A service, or the URI or the bare scheme that a registry opens: `local:///home/ada/keys.json`, `memory`. */
export type ServiceOrURI<Service> = Service | string

/** A key-encryption key beside the first. */
export interface OtherKEK {
  readonly kms: ServiceOrURI<KeyManagementService>
  readonly alias: string
  /** The fixed pairs that it was given, where they are others than the program's. */
  readonly kmsContext?: Context
}

/** A secret: its bytes, or where they are kept. */
export type SecretSource =
  | { readonly values: readonly Uint8Array[] }
  | { readonly store: ServiceOrURI<SecretManagementService>; readonly alias: string }

/** A cache that is shared, and whose keys of it these are. */
export interface SharedDEKCacheUse {
  /** What `dekCache` made. */
  readonly shared: SharedDEKCache
  /** Programs of another one never get this one's keys. */
  readonly partition: string
}

/** What may be created when it is not there. */
export interface Bootstrap {
  /** The key under the alias. @default {false} */
  readonly createKEK?: boolean
  /** The pepper, and the index root beside it. @default {false} */
  readonly createPepper?: boolean
}

/** A `Kysely` of the program's own. */
export interface KyselyDatabase {
  selectFrom: unknown
  transaction(): unknown
  getExecutor(): unknown
}

/** A `pg.Pool` of the program's own. */
export interface PostgresPool {
  connect(): Promise<unknown>
  query: unknown
  readonly totalCount: number
}

/**
 * Where the versions of key-encryption keys are recorded: `postgres://…`, `mysql://…`, `sqlite:.encx/keys.db`, a `Kysely`, a
 * `pg.Pool`, or a store of your own.
 */
export type DatabaseSource = string | KyselyDatabase | PostgresPool | KEKVersionStore

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
  readonly dekCache?: DEKCacheOptions | SharedDEKCacheUse | false
  readonly argon2?: Argon2Options
  readonly kmsContext?: Context
  readonly bootstrap?: Bootstrap
  readonly database?: DatabaseSource
  readonly metrics?: MetricsCollector
  readonly hooks?: readonly ObservabilityHook[]
  readonly logger?: Logger
  readonly registry?: ServiceRegistry
  readonly clock?: Clock
}

/** One argument of `newCrypto`. */
export type Option = Configuration

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

/**
 * A key that opens what it once wrapped, and wraps nothing more. With `kmsContext` it opens what was wrapped under other fixed
 * pairs than the present ones; that may be the present key itself.
 */
export function withRetiredKEK(
  kms: ServiceOrURI<KeyManagementService>,
  alias: string,
  { kmsContext }: { readonly kmsContext?: Context } = {},
): Option {
  return { retiredKEKs: [{ kms, alias, ...(kmsContext === undefined ? {} : { kmsContext }) }] }
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

/** No data-key cache: the KMS is asked for every message. */
export const nullDEKCache: false = false

/** The limits of the data-key cache; `false` asks the KMS for every message. */
export function withDEKCache(limits: DEKCacheOptions | false): Option
/** A data-key cache that several programs share, and the partition of it that is this one's. */
export function withDEKCache(cache: SharedDEKCache, place: { readonly partition: string }): Option
export function withDEKCache(
  cache: DEKCacheOptions | SharedDEKCache | false,
  place?: { readonly partition: string },
): Option {
  if (!(cache instanceof SharedDEKCache) && place === undefined) return { dekCache: cache }
  // A partition of what is not shared is refused with what else does not fit.
  return { dekCache: { shared: cache as SharedDEKCache, partition: place?.partition ?? "" } }
}

/** What password hashes cost, and how many are computed at once. */
export function withArgon2(options: Argon2Options): Option {
  return { argon2: options }
}

/**
 * Fixed pairs that the KMS is given with every data key. Its logs show them in clear: no personal data. To change them, name the
 * key once more with its old pairs, `withRetiredKEK(kms, alias, { kmsContext })`, and re-wrap what is stored.
 */
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

/**
 * The database that records which key of the KMS each version is, in the Go library's table `kek_versions`: programs that share it
 * agree on the versions, and `rotateKEK` changes them in one transaction. The table is made where it is missing.
 */
export function withDatabase(database: DatabaseSource): Option {
  // A variable that is not set is refused with what else is no database: without one, versions would be numbered otherwise.
  return { database: database ?? (null as never) }
}

/** What counts and times every operation: `inMemoryMetrics()`, or the adapter of `encx/opentelemetry`. */
export function withMetricsCollector(metrics: MetricsCollector): Option {
  return { metrics }
}

/** What is told of every operation as it begins and ends. Given several times, all are told. */
export function withObservabilityHook(hook: ObservabilityHook): Option {
  return { hooks: [hook] }
}

/** What gets the log lines; without it there are none. */
export function withLogger(logger: Logger): Option {
  return { logger }
}
