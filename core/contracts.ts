/**
 * What a program or the author of a provider implements. Each method says how it fails; the conformance suites of
 * `encx/testing` check it.
 *
 * Two rules hold everywhere. «Absent» and «could not ask» are different errors: only an answer that says so counts as
 * absent. And nothing is created but by the method that is named for it.
 *
 * @module
 */
import type { Context } from "./cipher/context.ts"

export type { Context }

/** The last argument of whatever may wait. */
export interface CallOptions {
  /** Aborts this call; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Told what the service's resilience does for this call: pass the options on, and it is. @internal */
  readonly watch?: ((event: ServiceEvent) => void) | undefined
}

/** A service is asked again, or whether one of its circuits is open after a call. @internal */
export type ServiceEvent =
  | { readonly kind: "retry"; readonly operation: string; readonly throttled: boolean }
  | { readonly kind: "circuit"; readonly key: string; readonly open: boolean }

// --- Keys ---

/** A wrapped data key, and what must be known to unwrap it. */
export interface WrappedDEK {
  /** What the KMS returned, 16 to 6,144 bytes. */
  readonly ciphertext: Uint8Array
  /** The key, resolved: an ARN, a resource name, a UUID; never an alias, which may move. */
  readonly keyID: string
  /**
   * The version of the key that wrapped it, from 1; 0 where the KMS keeps that to itself, and where nobody wrote it down: a service
   * that counts versions then finds out which.
   */
  readonly version: number
}

/** Whether a version wraps and unwraps, does neither for now, or never again. */
export type KeyState = "enabled" | "disabled" | "destroyed"

/** One version of a key-encryption key. */
export interface KeyVersion {
  /** 1, 2, 3 …, without gaps. */
  readonly version: number
  /** What may be done with it. */
  readonly state: KeyState
  /** When it was made, where that is known. */
  readonly createdAt?: Date
}

/** A key-encryption key. */
export interface KeyDescription {
  /** The key, resolved. */
  readonly keyID: string
  /** The version that wraps now; 0 where none may, or the KMS keeps that to itself. */
  readonly currentVersion: number
  /** Every version, oldest first; empty where the KMS keeps that to itself. */
  readonly versions: readonly KeyVersion[]
}

/**
 * A key management service: it wraps and unwraps data keys under keys that do not leave it.
 *
 * All methods may reject with `KMSUnavailable` (could not ask), `AccessDenied` and `AuthenticationFailed`.
 */
export interface KeyManagementService {
  /**
   * The name that is stored with the data: one of `aws-kms`, `vault-transit`, `gcp-kms`, `azure-key-vault`, `local`, `pkcs11`,
   * `memory`, `env`, or a name of your own (lower-case letters, digits, `+`, `-`, `.`).
   */
  readonly provider: string

  /**
   * Resolves an alias, or a key id, to the key id that will be stored.
   *
   * @throws {KeyNotFound} when the KMS says that there is none; nothing is created
   */
  getKeyID(alias: string, options?: CallOptions): Promise<string>

  /**
   * The key's versions and which of them wraps.
   *
   * @throws {KeyNotFound} when there is no such key
   */
  describeKey(keyID: string, options?: CallOptions): Promise<KeyDescription>

  /**
   * Wraps 32 bytes under the current version, and says which that was.
   *
   * @param context authenticated with the key and not stored: unwrapping needs the same pairs
   * @throws {KeyNotFound} when there is no such key
   * @throws {KeyDisabled} when it has no version that may wrap
   */
  encryptDEK(keyID: string, dek: Uint8Array, context: Context, options?: CallOptions): Promise<WrappedDEK>

  /**
   * Unwraps.
   *
   * @returns the data key, in memory of its own: the caller wipes it
   * @throws {DecryptionFailed} when the ciphertext, the key, the version or the context is another
   * @throws {KeyNotFound} when there is no such key or version
   * @throws {KeyDisabled} when it may not unwrap
   */
  decryptDEK(wrapped: WrappedDEK, context: Context, options?: CallOptions): Promise<Uint8Array>

  /**
   * Makes a data key and wraps it in one call, where the KMS can. Without it, the library makes the key and calls `encryptDEK`.
   *
   * @throws as {@link encryptDEK}
   */
  generateDEK?(
    keyID: string,
    context: Context,
    options?: CallOptions,
  ): Promise<WrappedDEK & { readonly plaintext: Uint8Array }>

  /**
   * Wraps under another key what was wrapped, without letting the data key out of the KMS.
   *
   * @param toKeyID the key to wrap under, resolved
   * @returns the new wrap, which names that key; it needs the same context
   * @throws as {@link decryptDEK} for the old key, as {@link encryptDEK} for the new one
   */
  reencryptDEK?(wrapped: WrappedDEK, context: Context, toKeyID: string, options?: CallOptions): Promise<WrappedDEK>

  /**
   * Whether two resolved key ids are of one key, whose wraps open with either: the copies of a multi-region key. Without it, two
   * keys are one when their ids are equal.
   */
  sameKey?(keyID: string, other: string): boolean

  /**
   * Makes a key under an alias, where the service can; its id is returned.
   *
   * @throws {KeyExists} when the alias is taken: of many at once, one succeeds
   */
  createKey?(alias: string, options?: CallOptions): Promise<string>

  /**
   * Adds a version and makes it the current one, in one step that happens whole or not at all. Older versions still unwrap.
   *
   * @returns the key as it is now
   * @throws {KeyNotFound} when there is no such key
   * @throws {Busy} when others held its lock for too long
   */
  rotateKey?(keyID: string, options?: CallOptions): Promise<KeyDescription>

  /**
   * Looks whether this service can be used with the key under an alias: credentials, region, key, permissions, clock. Nothing is
   * created or changed, and a check that fails is a diagnosis, never a rejection.
   */
  diagnose?(alias: string, options?: CallOptions): AsyncIterable<Diagnosis>

  /** Lets go of connections and keys. Calling it twice is calling it once. */
  close?(): Promise<void>
}

/** What one check of a service found. */
export interface Diagnosis {
  /** What was checked: `credentials`, `kms:Decrypt`. */
  readonly check: string
  /** Whether it is as it must be. */
  readonly ok: boolean
  /** What was found, for people; no secret. */
  readonly detail: string
  /** What to do, where it is not as it must be. */
  readonly hint?: string
}

// --- Secrets ---

/** Which secret: both are kept under one alias. */
export type SecretName = "pepper" | "index-root"

/** Where a version stands; the names are those of Secrets Manager's stages. */
export type SecretStage = "current" | "previous" | "pending"

/** One version of a secret. */
export interface SecretVersion {
  /** The store's own number or name for it. */
  readonly version: string
  /** Where it stands. */
  readonly stage: SecretStage
  /** The secret, in memory of its own: the caller wipes it. */
  readonly value: Uint8Array
}

/**
 * A secret store: it keeps the pepper of password hashes and the root key of blind indexes, under an alias.
 *
 * All methods may reject with `SecretStorageUnavailable` (could not ask), `AccessDenied` and `AuthenticationFailed`; where the
 * store keeps a deleted secret for a while, with `SecretDeleted`, and where a secret may be without a current version, with
 * `SecretEmpty`: neither is absent.
 */
export interface SecretManagementService {
  /** The store's name, for errors. */
  readonly provider: string

  /**
   * The versions of the pepper that may still verify a hash, the current one first.
   *
   * @throws {SecretNotFound} when the store says that there is none
   */
  getPepper(alias: string, options?: CallOptions): Promise<readonly SecretVersion[]>

  /**
   * Stores the first pepper. It never overwrites: of many at once, one succeeds.
   *
   * @throws {RangeError} when it has not 32 bytes
   * @throws {SecretExists} when there is one
   */
  storePepper(alias: string, pepper: Uint8Array, options?: CallOptions): Promise<void>

  /**
   * Makes another pepper the current one, and the current one the previous. What was previous is kept as long as the store keeps it.
   *
   * @throws {RangeError} when it has not 32 bytes
   * @throws {SecretNotFound} when there is no pepper to follow
   */
  rotatePepper(alias: string, pepper: Uint8Array, options?: CallOptions): Promise<void>

  /** Whether there is a pepper: `false` is an answer of the store, never a failure to ask. */
  pepperExists(alias: string, options?: CallOptions): Promise<boolean>

  /**
   * The sealed root key of blind indexes.
   *
   * @throws {SecretNotFound} when the store says that there is none
   */
  getIndexRoot(alias: string, options?: CallOptions): Promise<Uint8Array>

  /**
   * Stores the sealed root key of blind indexes. It never overwrites.
   *
   * @throws {SecretExists} when there is one
   */
  storeIndexRoot(alias: string, sealed: Uint8Array, options?: CallOptions): Promise<void>

  /** Where the store keeps it, for people: `encx/{alias}/pepper`. */
  getStoragePath(alias: string, secret?: SecretName): string

  /**
   * Looks whether this store can be used with the secrets under an alias. Nothing is created or changed, and a check that fails
   * is a diagnosis, never a rejection.
   */
  diagnose?(alias: string, options?: CallOptions): AsyncIterable<Diagnosis>

  /** Lets go of connections and secrets. Calling it twice is calling it once. */
  close?(): Promise<void>
}

// --- Versions of a key-encryption key ---

/** Which key of the KMS a version of a key-encryption key is. */
export interface KEKVersion {
  /** 1, 2, 3 …, without gaps. */
  readonly version: number
  /** The key, as the KMS resolved it. */
  readonly keyID: string
  /** Whether it unwraps and wraps nothing more. */
  readonly deprecated: boolean
  /** When it was recorded, where that is known. */
  readonly createdAt?: Date
}

/**
 * Keeps which key of the KMS each version of an alias is, for every program that uses it: the Go library's table `kek_versions`.
 *
 * All methods may reject with `DatabaseUnavailable`.
 */
export interface KEKVersionStore {
  /** The store's name, for errors. */
  readonly provider: string

  /** The versions of an alias, oldest first; none where nothing was recorded. */
  listVersions(alias: string, options?: CallOptions): Promise<readonly KEKVersion[]>

  /**
   * Records a key as version 1, where there is no version yet: of many at once, one does.
   *
   * @returns the versions as they are now
   */
  ensureVersion(alias: string, keyID: string, options?: CallOptions): Promise<readonly KEKVersion[]>

  /**
   * Records a key as the next version and deprecates those before, in one step that happens whole or not at all: of many at once,
   * each gets a number of its own, and none is left out.
   */
  addVersion(alias: string, keyID: string, options?: CallOptions): Promise<KEKVersion>

  /** Lets go of connections. Calling it twice is calling it once. */
  close?(): Promise<void>
}

// --- Observation ---

/** What tells measurements of one name apart; never a secret, a context or a value. */
export type Tags = Readonly<Record<string, string>>

/** Takes measurements: what it throws is dropped. */
export interface MetricsCollector {
  /** Adds one. */
  incrementCounter(name: string, tags?: Tags): void
  /** Adds a number, from 0. */
  incrementCounterBy(name: string, value: number, tags?: Tags): void
  /** What is so now. */
  setGauge(name: string, value: number, tags?: Tags): void
  /** How long something took, in milliseconds. */
  recordTiming(name: string, milliseconds: number, tags?: Tags): void
  /** One value of a distribution, such as a size in bytes. */
  recordValue(name: string, value: number, tags?: Tags): void
  /** Sends what is kept back. */
  flush?(): Promise<void>
}

/** Told of what a program does: what a method throws is dropped. */
export interface ObservabilityHook {
  /** An operation begins. */
  onProcessStart?(operation: string, metadata: Tags): void
  /** It ended; `error` is what it threw. */
  onProcessComplete?(operation: string, milliseconds: number, error: unknown, metadata: Tags): void
  /** It failed. */
  onError?(operation: string, error: unknown, metadata: Tags): void
  /** Something was done to a key-encryption key: `resolve` (then the version is 0), `create`, `rotate`. */
  onKeyOperation?(operation: string, alias: string, version: number, metadata: Tags): void
}

/** Takes log lines: a message for people, and fields for machines; no secret in either. `console` is one. */
export interface Logger {
  debug(message: string, fields?: Tags): void
  info(message: string, fields?: Tags): void
  warn(message: string, fields?: Tags): void
  error(message: string, fields?: Tags): void
}

// --- Time ---

/** A clock that never goes back, in milliseconds from any point: `performance`. */
export interface Clock {
  /** Milliseconds. */
  now(): number
}
