/**
 * Data keys for those who seal and open: from the cache, else from the key-encryption keys.
 *
 * @module
 */
import { copyOf, hex, latin1, wipe } from "../bytes.ts"
import { type Header, type KeyEntry, providerOf } from "../cipher/envelope.ts"
import type { CallOptions, KeyDescription, WrappedDEK } from "../contracts.ts"
import {
  DecryptionFailed,
  InvalidConfiguration,
  isRetryableError,
  KeyNotAllowed,
  KeyNotFound,
  KMSError,
  type Try,
} from "../errors.ts"
import { DataKey, NO_DEK_ID, type SealingKey, withDataKey } from "./dek.ts"
import type { DEKCache, Lease, LeaseOptions, Use } from "./dek-cache.ts"
import type { KEKVersions } from "./kek-versions.ts"
import { type AllowedEntry, type Keyring, tryOf } from "./keyring.ts"

/** The data keys of one program. */
export class DataKeys {
  /** The key-encryption keys. */
  readonly keyring: Keyring
  /** The data keys that are kept. */
  readonly cache: DEKCache<SealingKey, DataKey>

  constructor(keyring: Keyring, cache: DEKCache<SealingKey, DataKey>) {
    this.keyring = keyring
    this.cache = cache
    // What other programs rotated holds for this one's next data key.
    if (keyring.versions) keyring.versions.onRotation = () => cache.renew()
  }

  /**
   * Seals with a data key, at once when it is there.
   *
   * @param kind what the key is for: keys of envelopes and of rows are never the same
   */
  seal<Result>(
    kind: string,
    use: Use,
    options: LeaseOptions,
    seal: (key: SealingKey) => Result,
  ): Result | Promise<Result> {
    const lease = this.cache.seal(kind, use, this.#generate, options)
    return lease instanceof Promise ? lease.then((each) => using(each, seal)) : using(lease, seal)
  }

  readonly #generate = (call: CallOptions): Promise<SealingKey> => this.keyring.generate(call)

  /**
   * Opens with the first allowed key that fits, at once when it is there.
   *
   * @param attempt opens with a key, or says `undefined` when the data is not committed to it; what it throws is final
   * @throws {KeyNotAllowed} when no entry names a key of this program
   * @throws {DecryptionFailed} when no key fits; it lists the tries
   * @throws {KMSError} when a key could not be asked and no other fitted
   */
  open<Result>(
    header: Header,
    options: LeaseOptions,
    attempt: (dek: DataKey) => Result | undefined,
  ): Result | Promise<Result> {
    const known = this.keyring.allowed(header.keys)
    const [first] = known
    if (!first) return this.#openAny(header, options, attempt)
    const lease = this.#lease(first, header.dekID, options)
    if (lease instanceof Promise) return this.#openAny(header, options, attempt, known, lease)
    const result = using(lease, attempt)
    if (result !== undefined) return result
    return this.#openAny(header, options, attempt, known.slice(1), undefined, [tryOf(first.entry, undefined)])
  }

  /**
   * @param known the keys to try, where that is known
   * @param begun the lease of the first, where it was asked for already
   * @param tries those that did not fit
   */
  async #openAny<Result>(
    header: Header,
    options: LeaseOptions,
    attempt: (dek: DataKey) => Result | undefined,
    known?: readonly AllowedEntry[],
    begun?: Promise<Lease<DataKey>>,
    tries: Try[] = [],
  ): Promise<Result> {
    const unasked: unknown[] = []
    let asked = begun
    for (const allowed of known ?? (await this.#allowed(header, options))) {
      let lease: Lease<DataKey>
      try {
        lease = await (asked ?? this.#lease(allowed, header.dekID, options))
      } catch (error) {
        // The caller's own abort ends it all; a key that fails gives way to the next.
        options.signal?.throwIfAborted()
        tries.push(tryOf(allowed.entry, error))
        if (!(error instanceof DecryptionFailed)) unasked.push(error)
        continue
      } finally {
        asked = undefined
      }
      const result = using(lease, attempt)
      if (result !== undefined) return result
      tries.push(tryOf(allowed.entry, undefined))
    }
    throw lastError(unasked, tries)
  }

  /** Tries every allowed key, one by one and not from the cache. */
  async tryEach(
    header: Header,
    options: CallOptions,
    attempt: (dek: DataKey) => boolean,
  ): Promise<(Try & { readonly ok: boolean })[]> {
    const results: (Try & { readonly ok: boolean })[] = []
    for (const allowed of await this.#allowed(header, options)) {
      let ok = false
      let failure: unknown
      try {
        ok = withDataKey(header.dekID, await this.keyring.unwrap(allowed, header.dekID, options), attempt)
      } catch (error) {
        options.signal?.throwIfAborted()
        failure = error
      }
      results.push({ ...tryOf(allowed.entry, failure), ...(ok ? { code: "OK" } : {}), ok })
    }
    return results
  }

  /**
   * Wraps the data key of a header anew, under the current version of every key that wraps. Entries of keys that are not
   * this program's stay as they are.
   *
   * @param fits whether the unwrapped key is the right one
   */
  async rewrap(
    header: Header,
    options: CallOptions,
    fits: (dek: DataKey) => boolean,
  ): Promise<{ keys: KeyEntry[]; kekVersion: number }> {
    const mine = await this.#allowed(header, options)
    const tries: Try[] = []
    const unasked: unknown[] = []
    for (const allowed of mine) {
      let bytes: Uint8Array | undefined
      try {
        bytes = await this.keyring.unwrap(allowed, header.dekID, options)
        if (withDataKey(header.dekID, copyOf(bytes), fits)) {
          const { keys, kekVersion } = await this.keyring.wrap(bytes, header.dekID, options)
          const kept = header.keys.filter((entry) => !mine.some((each) => each.entry === entry))
          return { keys: [...keys, ...kept], kekVersion }
        }
        tries.push(tryOf(allowed.entry, undefined))
      } catch (error) {
        options.signal?.throwIfAborted()
        if (bytes !== undefined) throw error
        tries.push(tryOf(allowed.entry, error))
        if (!(error instanceof DecryptionFailed)) unasked.push(error)
      } finally {
        if (bytes) wipe(bytes)
      }
    }
    throw lastError(unasked, tries)
  }

  // --- Data keys whose wrap stands alone, without id or context: the Go library's ---

  /**
   * Seals with a data key of its own, which is not kept.
   *
   * @param seal gets the key, its wrap, and the version that the database records
   * @throws {InvalidConfiguration} when this program has no database
   */
  async sealBare<Result>(
    options: CallOptions,
    seal: (dek: DataKey, wrapped: Uint8Array, version: number) => Result,
  ): Promise<Result> {
    this.#recorded()
    const lease = await this.cache.seal("bare", ALL, (call) => this.keyring.generateBare(call), options)
    return using(lease, ({ dek, keys: [entry], kekVersion }) => seal(dek, (entry as KeyEntry).wrapped, kekVersion))
  }

  /**
   * Uses a data key, from the cache or unwrapped.
   *
   * @throws {InvalidConfiguration} when this program has no database
   * @throws {KeyNotFound} when the database records no such version
   */
  async openBare<Result>(
    wrapped: Uint8Array,
    version: number,
    options: CallOptions,
    use: (dek: DataKey) => Result,
  ): Promise<Awaited<Result>> {
    const own = copyOf(wrapped)
    const { keyID } = await this.#recorded().keyOf(version, options)
    const id = `bare/${keyID.length}/${keyID}/${latin1(own)}`
    const load = async (call: CallOptions): Promise<DataKey> =>
      new DataKey(NO_DEK_ID, await this.keyring.unwrapRecorded(own, keyID, undefined, call))
    const lease = await this.cache.open(id, load, options, { keyIDs: [keyID] })
    try {
      return await use(lease.value)
    } finally {
      lease.release()
    }
  }

  /**
   * Wraps a data key anew, under the current version.
   *
   * @param fits whether the unwrapped key is the right one
   * @throws {InvalidConfiguration} when this program has no database
   * @throws {KeyNotFound} when the database records no such version
   * @throws {DecryptionFailed} when it is not the right one
   */
  async rewrapBare(
    wrapped: Uint8Array,
    version: number,
    options: CallOptions,
    fits: (dek: DataKey) => boolean,
  ): Promise<{ readonly wrapped: Uint8Array; readonly version: number }> {
    const bytes = await this.unwrapBare(wrapped, version, options)
    try {
      if (!withDataKey(NO_DEK_ID, copyOf(bytes), fits)) throw new DecryptionFailed()
      const fresh = await this.keyring.wrapBare(bytes, options)
      return { wrapped: fresh.wrapped.ciphertext, version: fresh.kekVersion }
    } finally {
      wipe(bytes)
    }
  }

  /** Wraps a data key; its version is the database's. */
  async wrapBare(dek: Uint8Array, options: CallOptions): Promise<WrappedDEK> {
    this.#recorded()
    const { wrapped, kekVersion } = await this.keyring.wrapBare(dek, options)
    return { ...wrapped, version: kekVersion }
  }

  /** Unwraps a data key, not from the cache; the caller wipes it. */
  async unwrapBare(wrapped: Uint8Array, version: number, options: CallOptions): Promise<Uint8Array> {
    const own = copyOf(wrapped)
    const { keyID } = await this.#recorded().keyOf(version, options)
    return await this.keyring.unwrapRecorded(own, keyID, undefined, options)
  }

  #recorded(): KEKVersions {
    const { versions } = this.keyring
    if (versions) return versions
    throw new InvalidConfiguration("Cannot use a data key of the Go library's: this program has no database", {
      hint: "name the one that records the versions of its key: withDatabase(…)",
    })
  }

  // --- The key-encryption key ---

  /** Makes a new version of the first key and seals with it from now on. */
  async rotate(options: CallOptions): Promise<KeyDescription> {
    const { versions } = this.keyring
    // When the database cannot be asked, the KMS is not told to rotate.
    await versions?.reload(options)
    const { kms, keyID } = await this.keyring.primary(options)
    if (!kms.rotateKey) {
      throw new InvalidConfiguration(`Cannot rotate the key "${keyID}": the provider "${kms.provider}" does not`, {
        hint: "name a new key with withKEKAlias and this one with withRetiredKEK",
      })
    }
    this.keyring.calls.rotateKey++
    try {
      const rotated = await kms.rotateKey(keyID, options)
      return (await versions?.add(rotated.keyID, options)) ?? rotated
    } finally {
      // Whatever failed, there may be a new version already.
      this.cache.renew()
    }
  }

  /** The first key and its versions: the database's, where there is one. */
  async describe(options: CallOptions): Promise<KeyDescription> {
    const { versions } = this.keyring
    if (versions) return await versions.describe(options)
    const { kms, keyID } = await this.keyring.primary(options)
    return await kms.describeKey(keyID, options)
  }

  /** The id of the key that a version belongs to. */
  async keyIDForVersion(version: number, options: CallOptions): Promise<string> {
    const recorded = await this.keyring.versions?.keyOf(version, options)
    if (recorded) return recorded.keyID
    const { kms } = await this.keyring.primary(options)
    const { keyID, versions } = await this.describe(options)
    if (versions.some((each) => each.version === version)) return keyID
    throw new KeyNotFound(`Cannot find the key "${keyID}": it has no version ${version}`, {
      provider: kms.provider,
      operation: "describeKey",
    })
  }

  /** Unwraps a data key that was kept apart from data. */
  async unwrap(
    { ciphertext, keyID, version }: WrappedDEK,
    dekID: Uint8Array,
    options: CallOptions,
  ): Promise<Uint8Array> {
    const own = copyOf(ciphertext)
    const entries = this.keyring.named(keyID).map((name) => ({ ...name, version, wrapped: own }))
    const { versions } = this.keyring
    // What another key of this program's wrapped needs no database.
    const isKnown = this.keyring.allowed(entries).length > 0
    if (versions && (isKnown ? versions.keyIDs.includes(keyID) : await versions.has(keyID, options)))
      return await this.keyring.unwrapRecorded(own, keyID, dekID, options)
    const [allowed] = await this.#allowed({ dekID, hasContext: false, keys: entries }, options)
    return await this.keyring.unwrap(allowed as AllowedEntry, dekID, options)
  }

  /** Unwraps a data key of which only the version was kept. */
  async unwrapVersion(
    ciphertext: Uint8Array,
    version: number,
    dekID: Uint8Array,
    options: CallOptions,
  ): Promise<Uint8Array> {
    const own = copyOf(ciphertext)
    const recorded = await this.keyring.versions?.keyOf(version, options)
    const { keyID } = recorded ?? (await this.keyring.primary(options))
    return await this.unwrap({ ciphertext: own, keyID, version }, dekID, options)
  }

  async #allowed({ keys }: Header, options: CallOptions): Promise<readonly AllowedEntry[]> {
    const known = this.keyring.allowed(keys)
    if (known.length > 0) return known
    // An alias may have moved since it was resolved, and is asked at most once in its age; another program may have rotated.
    await this.keyring.refresh(options)
    const allowed = this.keyring.allowed(keys)
    if (allowed.length > 0) return allowed
    // Quoted as JSON: whoever wrote the data chose these names, and they may go to a log.
    const names = keys.map((entry) => `${providerOf(entry).name} ${JSON.stringify(providerOf(entry).keyID)}`)
    throw new KeyNotAllowed(
      keys.length === 0
        ? "Cannot open an envelope: it holds no key"
        : `Cannot open an envelope: this program allows none of its keys: ${names.join(", ")}`,
      {
        hint:
          keys.length === 0
            ? "give its data key: open(envelope, context, { dek, dekID })"
            : "if it may be opened here, name the key with withRetiredKEK",
      },
    )
  }

  #lease(allowed: AllowedEntry, dekID: Uint8Array, options: LeaseOptions): Lease<DataKey> | Promise<Lease<DataKey>> {
    const load = async (call: CallOptions): Promise<DataKey> =>
      new DataKey(dekID, await this.keyring.unwrap(allowed, dekID, call))
    const { id, kek } = this.#placeOf(allowed, dekID)
    try {
      return this.cache.open(id, load, options, kek)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  // A header that is read again is the same object, and so are the entries that are allowed of it: their place is made up once.
  readonly #places = new WeakMap<AllowedEntry, Place>()

  #placeOf(allowed: AllowedEntry, dekID: Uint8Array): Place {
    const known = this.#places.get(allowed)
    if (known?.dekID === dekID) return known
    const { provider, ref, version, wrapped } = allowed.entry
    // Everything that the answer depends on; lengths keep the parts apart.
    const id = `${provider}/${version}/${hex(dekID)}/${ref.length}/${ref}/${allowed.contextID.length}/${allowed.contextID}/${latin1(wrapped)}`
    const keyIDs = [allowed.keyID, providerOf(allowed.entry).keyID]
    const place = { dekID, id, kek: { keyIDs, provider: allowed.kms.provider } }
    this.#places.set(allowed, place)
    return place
  }
}

/** What takes more than any key may seal: it has one of its own, which is not kept. */
export const ALL: Use = { messages: 1, bytes: Number.POSITIVE_INFINITY }

/** Where a stored data key is kept. */
interface Place {
  readonly dekID: Uint8Array
  readonly id: string
  readonly kek: { readonly keyIDs: readonly string[]; readonly provider: string }
}

function using<Value, Result>(lease: Lease<Value>, use: (value: Value) => Result): Result {
  try {
    return use(lease.value)
  } finally {
    lease.release()
  }
}

// A key that could not be asked may still be the right one: that is said, of the one that may answer later before the others.
function lastError(unasked: readonly unknown[], tries: readonly Try[]): unknown {
  const worst = unasked.find(isRetryableError) ?? unasked.at(-1)
  if (worst === undefined) return new DecryptionFailed(tries)
  return worst instanceof KMSError && tries.length > 1 ? worst.among(tries) : worst
}
