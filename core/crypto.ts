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
import type {
  BlindIndexPlace,
  CompareHashOptions,
  CryptoStats,
  GoHashOptions,
  HashOptions,
  WrappedDEKWithID,
} from "./crypto-types.ts"
import { InvalidInput } from "./errors.ts"
import type { GoType } from "./go-encx/codec.ts"
import { DEK_LENGTH, generateDEK, generateDEKID } from "./keys/dek.ts"
import type { InvalidateOptions } from "./keys/dek-cache.ts"
import type { OpenOptions, SealOptions, Verification } from "./keys/envelopes.ts"
import { type Inspection, inspectEnvelope } from "./keys/inspect.ts"
import type { Health, HealthOptions, HealthParts } from "./observe/health.ts"
import type { Observer } from "./observe/observer.ts"
import { Operations } from "./operations.ts"
import { RecordMethods, type WorkTools } from "./record-methods.ts"
import type { BasicHash, BlindIndex, SecureHash } from "./records/types.ts"

const dekIDOf = (id: string): Uint8Array => {
  const bytes = fromHex(id, "the id of a data key")
  if (bytes.length === DEK_ID) return bytes
  throw new InvalidInput(`Cannot use the id of a data key: it has ${bytes.length} bytes, not ${DEK_ID}`)
}

// --- The object ---

/** What a program's operations need. @internal */
export interface Tools extends WorkTools {
  readonly observer: Observer | undefined
  /** What this program asks, for its health. */
  readonly services: Pick<HealthParts, "keks" | "pepper" | "indexRoot" | "database">
}

/** Seals, opens, hashes, indexes and rotates with the keys of one program. Made by `newCrypto`. */
export class Crypto extends RecordMethods implements AsyncDisposable {
  readonly #operations: Operations<Tools>
  readonly #alias: string
  readonly #release: () => Promise<void>

  /** @internal */
  constructor(tools: Omit<Tools, "alias">, alias: string, release: () => Promise<void>) {
    const operations = new Operations({ ...tools, alias }, tools.observer)
    super(operations)
    this.#operations = operations
    this.#alias = alias
    this.#release = release
  }

  get #state(): Tools {
    return this.#operations.state
  }

  get #tools(): Tools {
    return this.#operations.tools
  }

  #run<Result>(operation: string, work: (tools: Tools) => Result | Promise<Result>): Promise<Result> {
    return this.#operations.run(operation, work)
  }

  #compute<Result>(operation: string, work: () => Result): Result {
    return this.#operations.compute(operation, work)
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
   * Wraps a data key as the Go library does, with nothing bound to it: only for what the Go library reads.
   *
   * @returns the wrap; its version is the database's
   * @throws {InvalidConfiguration} when this program has no database
   */
  encryptDEK(dek: Uint8Array, options: CallOptions & { readonly format: "go-encx" }): Promise<WrappedDEK>
  /**
   * Wraps a data key under the key-encryption key. What is returned belongs together: all of it is needed to unwrap.
   *
   * @param options.dekID the id that is bound with it, 32 hex digits; new random ones without it
   */
  encryptDEK(dek: Uint8Array, options?: CallOptions & { readonly dekID?: string }): Promise<WrappedDEKWithID>
  async encryptDEK(
    dek: Uint8Array,
    { dekID, format, ...options }: CallOptions & { readonly dekID?: string; readonly format?: "go-encx" } = {},
  ): Promise<WrappedDEK | WrappedDEKWithID> {
    abytes(dek, DEK_LENGTH, "dek")
    const id = dekID === undefined ? generateDEKID() : dekIDOf(dekID)
    const own = copyOf(dek)
    return await this.#run("encryptDEK", async ({ dataKeys }) =>
      format === "go-encx"
        ? await dataKeys.wrapBare(own, options)
        : { ...(await dataKeys.keyring.wrapOne(own, id, options)), dekID: hex(id) },
    ).finally(() => wipe(own))
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

  /**
   * Unwraps a data key of which only the version of its key-encryption key was kept. With a database it is that which knows the
   * version's key.
   *
   * @param options.dekID the id that was bound with it; or `format`, for one that the Go library wrapped
   * @returns 32 bytes; the caller wipes them
   * @throws {KeyNotFound} when the database records no such version
   */
  async decryptDEKWithVersion(
    ciphertext: Uint8Array,
    version: number,
    { signal, ...form }: CallOptions & ({ readonly dekID: string } | { readonly format: "go-encx" }),
  ): Promise<Uint8Array> {
    return await this.#run("decryptDEKWithVersion", ({ dataKeys }) =>
      "dekID" in form
        ? dataKeys.unwrapVersion(ciphertext, version, dekIDOf(form.dekID), { signal })
        : dataKeys.unwrapBare(ciphertext, version, { signal }),
    )
  }

  // --- Key-encryption keys ---

  /**
   * Makes a new version of the key-encryption key and seals with it from now on. Older versions still open; re-wrap what they wrapped.
   * With a database, the new version is recorded there in one step, and no program ever sees a half of it.
   *
   * @throws {KeyNotFound} when there is no such key
   * @throws {InvalidConfiguration} when the service cannot rotate keys
   * @throws {DatabaseUnavailable} when the database could not be asked; the KMS may have rotated, and calling again is safe
   */
  async rotateKEK(options: CallOptions = {}): Promise<KeyDescription> {
    return await this.#run("rotateKEK", async ({ dataKeys, observer }) => {
      const rotated = await dataKeys.rotate(options)
      observer?.key("rotate", this.#alias, rotated.currentVersion)
      return rotated
    })
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
  seal(plaintext: Uint8Array, context?: Context, options?: SealOptions): Promise<Uint8Array> {
    return this.#run("seal", ({ work, dataKeys }) => work.sealEnvelope(dataKeys, plaintext, context, options))
  }

  /**
   * Opens an envelope. Nothing is returned unless all of it authenticates.
   *
   * @throws {InvalidFormat} when it is none, before any call
   * @throws {KeyNotAllowed} when none of its keys is this program's, before any call
   * @throws {DecryptionFailed} when the context is another, or one bit is
   */
  open(envelope: Uint8Array, context?: Context, options?: OpenOptions): Promise<Uint8Array> {
    return this.#run("open", ({ work, dataKeys }) => work.openEnvelope(dataKeys, envelope, context, options))
  }

  /** Wraps an envelope's data key anew, under the current versions; the body stays as it is, byte for byte. */
  async rewrap(envelope: Uint8Array, context?: Context, options?: CallOptions): Promise<Uint8Array> {
    return await this.#run("rewrap", ({ work, dataKeys }) => work.rewrapEnvelope(dataKeys, envelope, context, options))
  }

  /** Tries every allowed key of an envelope: one that is lost or damaged is not noticed while another opens it. */
  async verify(envelope: Uint8Array, context?: Context, options?: CallOptions): Promise<Verification[]> {
    return await this.#run("verify", ({ work, dataKeys }) => work.verifyEnvelope(dataKeys, envelope, context, options))
  }

  /** What an envelope, or a row's `dek_encrypted`, tells without a key. Nothing of it is authenticated. */
  inspect(envelope: Uint8Array): Inspection {
    return inspectEnvelope(envelope)
  }

  // --- Hashes and indexes ---

  /**
   * Hashes a password with the pepper and Argon2id. Give the account as its context, and the hash verifies nowhere else. With
   * `format: "go-encx"` it is what a Go service verifies, which ties it to no account.
   *
   * @throws {UninitializedPepper} when this program has no pepper
   * @throws {InvalidInput} when the value has more than 4,096 bytes (go-encx: 1 MiB), or is none of its type
   * @throws {Busy} when too many wait already
   */
  hashSecure(value: string | Uint8Array, options?: HashOptions): Promise<SecureHash>
  hashSecure<Value = string | Uint8Array>(value: NoInfer<Value>, options: GoHashOptions<Value>): Promise<SecureHash>
  async hashSecure(value: unknown, options: HashOptions | GoHashOptions<unknown> = {}): Promise<SecureHash> {
    return (await this.#run("hashSecure", ({ work, hasher }) => work.hashSecure(hasher, value, options))) as SecureHash
  }

  /**
   * Whether a stored hash is that of this value in this context. One of the Go library's, `$argon2id$…`, is tied to no context,
   * whichever is given, and names no pepper: every one of this program's is tried, the current one first.
   *
   * @throws {InvalidFormat} when the stored hash is malformed or costs too much, before any work
   * @throws {UnknownPepper} when its pepper is none of this program's: never `false`
   */
  async compareSecureHashAndValue<Value = string | Uint8Array>(
    value: NoInfer<Value>,
    stored: string,
    options: CompareHashOptions<Value> = {},
  ): Promise<boolean> {
    return await this.#run("compareSecureHashAndValue", ({ work, hasher }) =>
      work.compareSecure(hasher, value, stored, options),
    )
  }

  /** Whether a stored hash was made with another pepper, or at another cost, than new ones are, or by the Go library. */
  needsRehash(stored: string): boolean {
    return this.#tools.hasher.needsRehash(stored)
  }

  /**
   * The Go library's look-up hash: lower-case hex of the SHA-256 of the value as Go serialises it. It has no key, so whoever
   * reads it can guess what is guessable; new columns are better looked up by a blind index.
   *
   * @param type the value's type in Go; without it `string`, or `[]byte` for bytes
   * @throws {InvalidInput} when the value is none of its type
   */
  hashBasic(value: string | Uint8Array): BasicHash
  hashBasic<Value>(value: NoInfer<Value>, type: GoType<Value>): BasicHash
  hashBasic(value: unknown, type?: GoType<unknown>): BasicHash {
    return this.#compute("hashBasic", () => this.#state.work.hashBasicOf(value, type)) as BasicHash
  }

  /**
   * Whether a look-up hash is that of this value, in constant time; hex of either case. The empty string is the hash of no value.
   *
   * @throws {InvalidFormat} when it is neither 64 hex digits nor empty
   */
  compareBasicHashAndValue(value: string | Uint8Array, stored: string): boolean
  compareBasicHashAndValue<Value>(value: NoInfer<Value>, stored: string, type: GoType<Value>): boolean
  compareBasicHashAndValue(value: unknown, stored: string, type?: GoType<unknown>): boolean {
    return this.#compute("compareBasicHashAndValue", () => this.#state.work.isBasicHashOf(value, stored, type))
  }

  /**
   * The blind index of a value outside of a record.
   *
   * @throws {UninitializedPepper} when this program has no index root
   */
  blindIndex(value: unknown, { table, column, tenant, type = "text", ...options }: BlindIndexPlace): BlindIndex {
    const { work, indexRoot } = this.#tools
    return this.#compute(
      "blindIndex",
      () => work.blindIndexAt(indexRoot, { table, column, tenant }, type, options, value) as BlindIndex,
    )
  }

  // --- Operations ---

  /** What was counted since the start. */
  stats(): CryptoStats {
    const { keyring, cache } = this.#state.dataKeys
    return { kms: { ...keyring.calls }, cache: cache.stats() }
  }

  /**
   * Whether the services of this program can be asked, now. A service that is down is an answer and never an error; nothing waits
   * longer than `timeoutMs`, and nothing of the answer is secret. Each probe asks every service: once every few seconds is enough.
   *
   * @throws {InvalidInput} when `timeoutMs` is not a whole number from 1
   * @throws the signal's reason, when the caller aborts
   */
  async health(options: HealthOptions = {}): Promise<Health> {
    return await this.#run("health", ({ work, dataKeys, services, observer }) =>
      work.checkHealth({ ...services, dataKeys, openCircuits: () => observer?.openCircuits ?? 0 }, options),
    )
  }

  /** Forgets cached data keys, now: all of them, or those that `which` names. The next use asks the KMS. */
  invalidate(which?: InvalidateOptions): void {
    this.#tools.dataKeys.cache.invalidate(which)
  }

  /** Forgets every key and lets go of the services that were named by URI. Calling it twice is calling it once. */
  async close(): Promise<void> {
    if (!this.#operations.close()) return
    this.#state.dataKeys.cache.close()
    await this.#release()
  }

  /** `await using crypto = await newCrypto(…)` closes it at the end of the block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
