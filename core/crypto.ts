/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The object that a program holds.
 *
 * @module
 */

import { abytes, copyOf, fromHex, hex, wipe } from "./bytes.ts"
import { type AESGCMOptions, decryptData, encryptData } from "./cipher/aes-gcm.ts"
import { DEK_ID } from "./cipher/envelope.ts"
import type { CallOptions, Context, KeyDescription, WrappedDEK } from "./contracts.ts"
import { Closed, InvalidInput } from "./errors.ts"
import { DEK_LENGTH, generateDEK, generateDEKID } from "./keys/dek.ts"
import type { DEKCacheStats } from "./keys/dek-cache.ts"
import {
  type Inspection,
  inspectEnvelope,
  type OpenOptions,
  openEnvelope,
  rewrapEnvelope,
  sealEnvelope,
  type Verification,
  verifyEnvelope,
} from "./keys/envelopes.ts"
import type { KMSCalls } from "./keys/keyring.ts"
import type { Observer } from "./observe.ts"
import type { IndexOptions } from "./records/field.ts"
import * as find from "./records/find.ts"
import * as open from "./records/open.ts"
import type { RecordTools } from "./records/row.ts"
import * as seal from "./records/seal.ts"
import type {
  AnySchema,
  BlindIndex,
  Exact,
  FieldValue,
  HashedKeys,
  IndexColumn,
  IndexedKeys,
  IndexNames,
  Input,
  NoStoredValues,
  Opened,
  Patch,
  SealedRow,
  SecureHash,
  StoredRow,
} from "./records/types.ts"
import type { ValueType } from "./records/value.ts"

/** What `stats()` tells. */
export interface CryptoStats {
  /** Calls of the KMS, by method. */
  readonly kms: Readonly<KMSCalls>
  /** The data-key cache. */
  readonly cache: DEKCacheStats
}

/** A wrapped data key, with the id that unwrapping needs. */
export interface WrappedDEKWithID extends WrappedDEK {
  /** 32 hex digits. */
  readonly dekID: string
}

/** What a row keeps its data key in: the columns that a re-wrap changes. */
export interface RowKey {
  readonly dek_encrypted: Uint8Array
  readonly key_version: number
}

/** Where a blind index outside of a record belongs. */
export interface BlindIndexPlace extends IndexOptions {
  readonly table: string
  readonly column: string
  readonly tenant?: string
  /** The value's type. @default {"text"} */
  readonly type?: ValueType
}

/** Which context ties a hash to its account. */
export interface HashOptions extends CallOptions {
  /** Pairs that must be given again to verify; none is allowed and ties the hash to nothing. @default {{}} */
  readonly context?: Context
}

/** Which index a look-up uses, and for which tenant. */
export interface LookupOptions<Name extends string> {
  /** The index's name. @default {"index"} */
  readonly index?: Name
  /** The tenant, where the schema has one. */
  readonly tenant?: string
}

const dekIDOf = (id: string): Uint8Array => {
  const bytes = fromHex(id, "the id of a data key")
  if (bytes.length === DEK_ID) return bytes
  throw new InvalidInput(`Cannot use the id of a data key: it has ${bytes.length} bytes, not ${DEK_ID}`)
}

// --- The object ---

/** What a program's operations need. @internal */
export interface Tools extends RecordTools {
  readonly observer: Observer | undefined
}

/** Seals, opens, hashes, indexes and rotates with the keys of one program. Made by `newCrypto`. */
export class Crypto implements AsyncDisposable {
  readonly #state: Tools
  readonly #alias: string
  readonly #release: () => Promise<void>
  #closed = false

  /** @internal */
  constructor(tools: Tools, alias: string, release: () => Promise<void>) {
    this.#state = tools
    this.#alias = alias
    this.#release = release
  }

  get #tools(): Tools {
    if (this.#closed) throw new Closed("Cannot use this Crypto: it was closed")
    return this.#state
  }

  async #run<Result>(operation: string, work: (tools: Tools) => Promise<Result>): Promise<Result> {
    const { observer } = this.#state
    return await (observer ? observer.operation(operation, async () => await work(this.#tools)) : work(this.#tools))
  }

  #compute<Result>(operation: string, work: () => Result): Result {
    const { observer } = this.#state
    return observer ? observer.computation(operation, work) : work()
  }

  /** The alias of the key-encryption key, as the program named it. */
  get alias(): string {
    return this.#alias
  }

  // --- Data keys ---

  /** 32 random bytes, for {@link Crypto.encryptData} and {@link Crypto.encryptDEK}. */
  generateDEK(): Uint8Array {
    return this.#compute("generateDEK", generateDEK)
  }

  /**
   * AES-256-GCM under a random nonce: nonce ‖ ciphertext ‖ tag, as the Go library writes it. One key may do this 2³² times; it is
   * not committed to its key. New data is better sealed with {@link Crypto.seal}.
   *
   * @throws {RangeError} when the key has not 32 bytes
   */
  encryptData(plaintext: Uint8Array, dek: Uint8Array, options?: AESGCMOptions): Uint8Array {
    return this.#compute("encryptData", () => encryptData(plaintext, dek, options))
  }

  /**
   * Decrypts what {@link Crypto.encryptData} wrote.
   *
   * @throws {DecryptionFailed} when it does not authenticate
   */
  decryptData(ciphertext: Uint8Array, dek: Uint8Array, options?: AESGCMOptions): Uint8Array {
    return this.#compute("decryptData", () => decryptData(ciphertext, dek, options))
  }

  /**
   * Wraps a data key under the key-encryption key. What is returned belongs together: all of it is needed to unwrap.
   *
   * @param options.dekID the id that is bound with it, 32 hex digits; new random ones without it
   */
  async encryptDEK(
    dek: Uint8Array,
    { dekID, ...options }: CallOptions & { readonly dekID?: string } = {},
  ): Promise<WrappedDEKWithID> {
    abytes(dek, DEK_LENGTH, "dek")
    const id = dekID === undefined ? generateDEKID() : dekIDOf(dekID)
    const own = copyOf(dek)
    return await this.#run("encryptDEK", async ({ dataKeys }) => ({
      ...(await dataKeys.keyring.wrapOne(own, id, options)),
      dekID: hex(id),
    })).finally(() => wipe(own))
  }

  /**
   * Unwraps what {@link Crypto.encryptDEK} returned.
   *
   * @returns 32 bytes; the caller wipes them
   * @throws {KeyNotAllowed} when its key is none of this program's
   * @throws {DecryptionFailed} when it was changed, or its id is another
   */
  async decryptDEK(wrapped: WrappedDEKWithID, options: CallOptions = {}): Promise<Uint8Array> {
    return await this.#run("decryptDEK", ({ dataKeys }) => dataKeys.unwrap(wrapped, dekIDOf(wrapped.dekID), options))
  }

  /** Unwraps a data key of which only the version of its key-encryption key was kept. */
  async decryptDEKWithVersion(
    ciphertext: Uint8Array,
    version: number,
    { dekID, ...options }: CallOptions & { readonly dekID: string },
  ): Promise<Uint8Array> {
    const { keyID } = await this.#tools.dataKeys.keyring.primary(options)
    return await this.decryptDEK({ ciphertext, version, keyID, dekID }, options)
  }

  // --- Key-encryption keys ---

  /**
   * Makes a new version of the key-encryption key and seals with it from now on. Older versions still open; re-wrap what they wrapped.
   *
   * @throws {KeyNotFound} when the service cannot rotate keys
   */
  async rotateKEK(options: CallOptions = {}): Promise<KeyDescription> {
    return await this.#run("rotateKEK", ({ dataKeys }) => dataKeys.rotate(options))
  }

  /** The version that wraps now; 0 where the KMS keeps that to itself. */
  async getCurrentKEKVersion(options: CallOptions = {}): Promise<number> {
    return (await this.describeKEK(options)).currentVersion
  }

  /** The id of the key that a version belongs to. */
  async getKMSKeyIDForVersion(version: number, options: CallOptions = {}): Promise<string> {
    return await this.#run("getKMSKeyIDForVersion", ({ dataKeys }) => dataKeys.keyIDForVersion(version, options))
  }

  /** The key-encryption key and its versions. */
  async describeKEK(options: CallOptions = {}): Promise<KeyDescription> {
    return await this.#run("describeKEK", ({ dataKeys }) => dataKeys.describe(options))
  }

  // --- Envelopes ---

  /**
   * Seals a value into one self-contained envelope: wrapped key and data together.
   *
   * @param context pairs that must be given again to open; bound, not stored
   * @throws {InvalidInput} when the context does not fit (64 pairs, 8 KiB, well-formed text)
   */
  async seal(plaintext: Uint8Array, context?: Context, options?: CallOptions): Promise<Uint8Array> {
    return await this.#run("seal", ({ dataKeys }) => sealEnvelope(dataKeys, plaintext, context, options))
  }

  /**
   * Opens an envelope. Nothing is returned unless all of it authenticates.
   *
   * @throws {InvalidFormat} when it is none, before any call
   * @throws {KeyNotAllowed} when none of its keys is this program's, before any call
   * @throws {DecryptionFailed} when the context is another, or one bit is
   */
  async open(envelope: Uint8Array, context?: Context, options?: OpenOptions): Promise<Uint8Array> {
    return await this.#run("open", ({ dataKeys }) => openEnvelope(dataKeys, envelope, context, options))
  }

  /** Wraps an envelope's data key anew, under the current versions; the body stays as it is, byte for byte. */
  async rewrap(envelope: Uint8Array, context?: Context, options?: CallOptions): Promise<Uint8Array> {
    return await this.#run("rewrap", ({ dataKeys }) => rewrapEnvelope(dataKeys, envelope, context, options))
  }

  /** Tries every allowed key of an envelope: one that is lost or damaged is not noticed while another opens it. */
  async verify(envelope: Uint8Array, context?: Context, options?: CallOptions): Promise<Verification[]> {
    return await this.#run("verify", ({ dataKeys }) => verifyEnvelope(dataKeys, envelope, context, options))
  }

  /** What an envelope, or a row's `dek_encrypted`, tells without a key. Nothing of it is authenticated. */
  inspect(envelope: Uint8Array): Inspection {
    return inspectEnvelope(envelope)
  }

  // --- Hashes and indexes ---

  /**
   * Hashes a password with the pepper and Argon2id. Give the account as its context, and the hash verifies nowhere else.
   *
   * @throws {UninitializedPepper} when this program has no pepper
   * @throws {InvalidInput} when the value has more than 4,096 bytes
   * @throws {Busy} when too many wait already
   */
  async hashSecure(value: string | Uint8Array, { context = {}, ...options }: HashOptions = {}): Promise<SecureHash> {
    return await this.#run(
      "hashSecure",
      async ({ hasher }) => (await hasher.hash(value, context, options)) as SecureHash,
    )
  }

  /**
   * Whether a stored hash is that of this value in this context.
   *
   * @throws {InvalidFormat} when the stored hash is malformed or costs too much, before any work
   * @throws {UnknownPepper} when its pepper is none of this program's: never `false`
   */
  async compareSecureHashAndValue(
    value: string | Uint8Array,
    stored: string,
    { context = {}, ...options }: HashOptions = {},
  ): Promise<boolean> {
    return await this.#run("compareSecureHashAndValue", ({ hasher }) => hasher.verify(value, stored, context, options))
  }

  /** Whether a stored hash was made with another pepper, or at another cost, than new ones are. */
  needsRehash(stored: string): boolean {
    return this.#tools.hasher.needsRehash(stored)
  }

  /**
   * The blind index of a value outside of a record.
   *
   * @throws {UninitializedPepper} when this program has no index root
   */
  blindIndex(value: unknown, { table, column, tenant, type = "text", ...options }: BlindIndexPlace): BlindIndex {
    const { indexRoot } = this.#tools
    return this.#compute(
      "blindIndex",
      () => find.blindIndexAt(indexRoot, { table, column, tenant }, type, options, value) as BlindIndex,
    )
  }

  // --- Records ---

  /**
   * Seals an object into the columns of a row.
   *
   * @throws {EncryptionFailed} when a field cannot be sealed; it names it
   */
  async sealRecord<S extends AnySchema, O extends Input<S>>(
    schema: S,
    object: O & NoStoredValues<O> & Exact<O, Input<S>>,
    options?: CallOptions,
  ): Promise<SealedRow<S>> {
    return (await this.#run("sealRecord", (tools) => seal.sealRecord(tools, schema, object, options))) as SealedRow<S>
  }

  /** Seals objects into rows, in their order, with one data key for many rows within the limits of the cache. The first failure ends it. */
  async sealRecords<S extends AnySchema, O extends Input<S>>(
    schema: S,
    objects: readonly (O & NoStoredValues<O> & Exact<O, Input<S>>)[],
    options?: CallOptions,
  ): Promise<SealedRow<S>[]> {
    return (await this.#run("sealRecords", (tools) =>
      seal.sealRecords(tools, schema, objects, options),
    )) as SealedRow<S>[]
  }

  /**
   * Opens a row into an object. Nothing is returned unless every field opens.
   *
   * @throws {InvalidFormat} when a column is missing, or is not sealed
   * @throws {DecryptionFailed} when a column belongs elsewhere, or was changed
   */
  async openRecord<S extends AnySchema>(schema: S, row: StoredRow<S>, options?: CallOptions): Promise<Opened<S>> {
    return (await this.#run("openRecord", (tools) => open.openRecord(tools, schema, row, options))) as Opened<S>
  }

  /** Seals the fields that changed, with the row's own data key; only their columns are returned. */
  async updateRecord<S extends AnySchema, P extends Patch<S>>(
    schema: S,
    row: StoredRow<S>,
    patch: P & NoStoredValues<P> & Exact<P, Patch<S>>,
    options?: CallOptions,
  ): Promise<Partial<SealedRow<S>>> {
    return (await this.#run("updateRecord", (tools) =>
      seal.updateRecord(tools, schema, row, patch, options),
    )) as Partial<SealedRow<S>>
  }

  /** Wraps a row's data key anew, under the current versions; the columns stay as they are, byte for byte. */
  async rewrapRecord<S extends AnySchema>(schema: S, row: StoredRow<S>, options?: CallOptions): Promise<RowKey> {
    return (await this.rewrapRecords(schema, [row], options))[0] as RowKey
  }

  /**
   * Wraps the data keys of rows anew, in their order. Rows that share one go on sharing it, at the price of one unwrap and one wrap.
   *
   * @throws {DecryptionFailed} when a row's key is not the one that sealed its columns
   */
  async rewrapRecords<S extends AnySchema>(
    schema: S,
    rows: readonly StoredRow<S>[],
    options?: CallOptions,
  ): Promise<RowKey[]> {
    return (await this.#run("rewrapRecords", (tools) =>
      open.rewrapRecords(tools, schema, rows, options),
    )) as unknown as RowKey[]
  }

  /** Whether a value is the one that a row's field is the hash of. */
  async compareRecordHash<S extends AnySchema>(
    schema: S,
    row: StoredRow<S>,
    field: HashedKeys<S>,
    value: string | Uint8Array,
    options?: CallOptions,
  ): Promise<boolean> {
    return await this.#run("compareRecordHash", (tools) =>
      open.compareRecordHash(tools, schema, row, field, value, options),
    )
  }

  /** The column and the index to look a value up by. */
  lookup<S extends AnySchema, const K extends IndexedKeys<S>, const Name extends string = "index">(
    schema: S,
    field: K,
    value: FieldValue<S, K>,
    options?: LookupOptions<Name & IndexNames<S, K>>,
  ): { [Column in IndexColumn<K, Name>]: BlindIndex } {
    const tools = this.#tools
    return this.#compute("lookup", () => find.lookup(tools, schema, field, value, options)) as {
      [Column in IndexColumn<K, Name>]: BlindIndex
    }
  }

  /** Opens the rows that a look-up found, and keeps those whose value is the one looked for: an index may be shared by chance. */
  async openMatches<S extends AnySchema, const K extends IndexedKeys<S>>(
    schema: S,
    rows: readonly StoredRow<S>[],
    field: K,
    value: FieldValue<S, K>,
    options?: CallOptions & LookupOptions<IndexNames<S, K>>,
  ): Promise<Opened<S>[]> {
    return (await this.#run("openMatches", (tools) =>
      find.openMatches(tools, schema, rows, field, value, options),
    )) as Opened<S>[]
  }

  // --- Operations ---

  /** What was counted since the start. */
  stats(): CryptoStats {
    const { keyring, cache } = this.#state.dataKeys
    return { kms: { ...keyring.calls }, cache: cache.stats() }
  }

  /** Forgets every cached data key, now; the next use asks the KMS. */
  invalidate(): void {
    this.#tools.dataKeys.cache.invalidate()
  }

  /** Forgets every key and lets go of the services that were named by URI. Calling it twice is calling it once. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#state.dataKeys.cache.close()
    await this.#release()
  }

  /** `await using crypto = await newCrypto(…)` closes it at the end of the block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
