/**
 * The key-encryption keys of a program, in its order: what wraps new data keys, and what may be asked to unwrap stored ones.
 * Data never says which key to call: an entry whose key is not in the ring is skipped without a call.
 *
 * @module
 */
import { copyOf, hex, latin1, wipe } from "../bytes.ts"
import { type Context, encodeContext } from "../cipher/context.ts"
import { entryProblem, isProviderName, type KeyEntry, keyName, PROVIDERS, providerOf } from "../cipher/envelope.ts"
import type { CallOptions, Clock, KEKVersionStore, KeyManagementService, WrappedDEK } from "../contracts.ts"
import { DecryptionFailed, EncxError, InvalidFormat, KMSUnavailable, type Try } from "../errors.ts"
import { DataKey, DEK_LENGTH, generateDEK, generateDEKID, NO_DEK_ID, SealingKey } from "./dek.ts"
import { KEKVersions } from "./kek-versions.ts"

/** A key-encryption key as the program names it. @internal */
export interface KEK {
  /** The service that holds it. */
  readonly kms: KeyManagementService
  /** Its alias, or its id. */
  readonly alias: string
  /** Whether new data keys are wrapped under it, too. */
  readonly wraps: boolean
  /** The program's own pairs of the KMS context. */
  readonly kmsContext: Context
}

/** How often each method of a KMS was called. */
export type KMSCalls = Record<"getKeyID" | "generateDEK" | "encryptDEK" | "decryptDEK" | "rotateKey", number>

/** An alias resolves anew after this time, so that one that was moved takes effect in a running program. */
const ALIAS_MAX_AGE_MS = 600_000

/** Bytes of a wrapped data key; see WrappedDEK. */
const MAX_WRAPPED = 6144

/** What the KMS is given beside a data key: our two pairs and the program's own. FORMATS §2. @internal */
export function kmsContext(dekID: Uint8Array, fixed: Context): Context {
  return { ...fixed, purpose: "encx.v2.dek", dek_id: hex(dekID) }
}

const keyIDsOf = ({ versions, keyIDs }: Ring): readonly string[] => versions?.keyIDs ?? keyIDs

interface Ring extends KEK {
  /** The KMS context's own pairs as a string that equal ones share. */
  readonly contextID: string
  /** What a database records of it. */
  readonly versions: KEKVersions | undefined
  /** Every id that the alias resolved to while this program ran, the latest first. */
  keyIDs: readonly string[]
  resolvedAt: number
}

/** The key to wrap under, and the number that a database records it by. */
interface Target {
  readonly keyID: string
  readonly version?: number
}

/** A wrapped data key, and the version to write beside it. */
interface Wrap {
  readonly wrapped: WrappedDEK
  readonly kekVersion: number
}

/** The key-encryption keys of one program. @internal */
export class Keyring {
  readonly #keks: readonly Ring[]
  readonly #clock: Clock
  /** How often each method was called. */
  readonly calls: KMSCalls = { getKeyID: 0, generateDEK: 0, encryptDEK: 0, decryptDEK: 0, rotateKey: 0 }

  /** @param database where the versions of the first key are recorded, if anywhere */
  constructor(keks: readonly KEK[], clock: Clock, database?: KEKVersionStore) {
    this.#keks = keks.map((kek, i) => ({
      ...kek,
      contextID: latin1(encodeContext(kek.kmsContext)),
      versions: database && i === 0 ? this.#versionsOf(kek, database, clock) : undefined,
      keyIDs: [],
      resolvedAt: Number.NEGATIVE_INFINITY,
    }))
    this.#clock = clock
  }

  #versionsOf({ kms, alias }: KEK, store: KEKVersionStore, clock: Clock): KEKVersions {
    const resolve = (name: string, options: CallOptions): Promise<string> => {
      this.calls.getKeyID++
      return kms.getKeyID(name, options)
    }
    return new KEKVersions({ store, alias, provider: kms.provider, resolve, maxAgeMs: ALIAS_MAX_AGE_MS, clock })
  }

  /** The versions of the first key, where a database records them. */
  get versions(): KEKVersions | undefined {
    return this.#keks[0]?.versions
  }

  /** The key that is asked first: its service and its resolved id. */
  async primary(options: CallOptions = {}): Promise<{ kms: KeyManagementService; keyID: string }> {
    const [first] = this.#keks as [Ring]
    return { kms: first.kms, keyID: await this.#resolve(first, options) }
  }

  /** Resolves every alias. */
  async resolve(options: CallOptions = {}): Promise<void> {
    await Promise.all(this.#keks.map((kek) => this.#resolve(kek, options)))
  }

  /** Resolves every alias whose age is past, and reads what a database records, now. */
  async refresh(options: CallOptions = {}): Promise<void> {
    await Promise.all(this.#keks.map((kek) => kek.versions?.reload(options) ?? this.#resolve(kek, options)))
  }

  /** What each alias resolved to so far, the latest first. */
  get keyIDs(): readonly (readonly string[])[] {
    return this.#keks.map(keyIDsOf)
  }

  /** What keeps the keys, as they resolved, from standing in one envelope, or `undefined`. */
  get problem(): string | undefined {
    const unnamed = this.#keks.find(({ kms }) => !isProviderName(kms.provider))
    if (unnamed) return `the provider's name "${unnamed.kms.provider}" is not a URI scheme`
    const names = this.#keks
      .filter(({ wraps }) => wraps)
      .map(({ kms, versions, keyIDs }) => `${kms.provider} "${(versions?.keyIDs ?? keyIDs)[0]}"`)
    const twice = names.find((name, i) => names.indexOf(name) !== i)
    return twice && `two of the keys that wrap are one: ${twice}`
  }

  async #resolve(kek: Ring, options: CallOptions): Promise<string> {
    if (kek.versions) {
      await kek.versions.read(options)
      return kek.versions.keyIDs[0] as string
    }
    const age = this.#clock.now() - kek.resolvedAt
    if (age >= ALIAS_MAX_AGE_MS) {
      this.calls.getKeyID++
      const keyID = await kek.kms.getKeyID(kek.alias, options)
      kek.keyIDs = [keyID, ...kek.keyIDs.filter((known) => known !== keyID)]
      kek.resolvedAt = this.#clock.now()
    }
    return kek.keyIDs[0] as string
  }

  // --- Wrapping ---

  async #target(kek: Ring, options: CallOptions): Promise<Target> {
    return (await kek.versions?.current(options)) ?? { keyID: await this.#resolve(kek, options) }
  }

  /** Makes a data key and wraps it under every key that wraps. */
  async generate(options: CallOptions = {}): Promise<SealingKey> {
    const id = generateDEKID()
    const [first, ...others] = this.#keks.filter((kek) => kek.wraps) as [Ring, ...Ring[]]
    const { plaintext, wrapped, kekVersion } = await this.#generate(first, kmsContext(id, first.kmsContext), options)
    try {
      const rest = await Promise.all(
        others.map((kek) => this.#encrypt(kek, plaintext, kmsContext(id, kek.kmsContext), options)),
      )
      const keys = [entryOf(first, wrapped), ...rest.map((each, i) => entryOf(others[i] as Ring, each.wrapped))]
      return new SealingKey(new DataKey(id, plaintext), keys, kekVersion)
    } finally {
      wipe(plaintext)
    }
  }

  /** Makes a data key and wraps it under the first key alone, with nothing bound to it. */
  async generateBare(options: CallOptions): Promise<SealingKey> {
    const [first] = this.#keks as [Ring]
    const { plaintext, wrapped, kekVersion } = await this.#generate(first, {}, options)
    return new SealingKey(new DataKey(NO_DEK_ID, plaintext), [entryOf(first, wrapped)], kekVersion)
  }

  async #generate(
    kek: Ring,
    context: Context,
    options: CallOptions,
  ): Promise<Wrap & { readonly plaintext: Uint8Array }> {
    const target = await this.#target(kek, options)
    const { keyID } = target
    if (!kek.kms.generateDEK) {
      const plaintext = generateDEK()
      const wrap = this.#encryptUnder(target, kek, plaintext, context, options)
      return { plaintext, ...(await wipedOnFailure(plaintext, wrap)) }
    }
    this.calls.generateDEK++
    const { plaintext, ...answer } = await kek.kms.generateDEK(keyID, context, options)
    const check = async (): Promise<Wrap> => {
      if (plaintext.length === DEK_LENGTH) return wrapOf(checked(kek, "generateDEK", keyID, answer), target)
      throw refusedAnswer(kek, "generateDEK", `it made ${plaintext.length} bytes, not ${DEK_LENGTH}`)
    }
    return { plaintext, ...(await wipedOnFailure(plaintext, check())) }
  }

  async #encrypt(kek: Ring, dek: Uint8Array, context: Context, options: CallOptions): Promise<Wrap> {
    return await this.#encryptUnder(await this.#target(kek, options), kek, dek, context, options)
  }

  async #encryptUnder(
    target: Target,
    kek: Ring,
    dek: Uint8Array,
    context: Context,
    options: CallOptions,
  ): Promise<Wrap> {
    this.calls.encryptDEK++
    const answer = await kek.kms.encryptDEK(target.keyID, dek, context, options)
    return wrapOf(checked(kek, "encryptDEK", target.keyID, answer), target)
  }

  /** Wraps a data key that exists already under every key that wraps. */
  async wrap(
    dek: Uint8Array,
    dekID: Uint8Array,
    options: CallOptions = {},
  ): Promise<{ keys: KeyEntry[]; kekVersion: number }> {
    const wrapping = this.#keks.filter((kek) => kek.wraps)
    const wraps = await Promise.all(
      wrapping.map((kek) => this.#encrypt(kek, dek, kmsContext(dekID, kek.kmsContext), options)),
    )
    return {
      keys: wraps.map(({ wrapped }, i) => entryOf(wrapping[i] as Ring, wrapped)),
      kekVersion: (wraps[0] as Wrap).kekVersion,
    }
  }

  /** Wraps a data key under the first key alone. Its version is the one that a database records, where there is one. */
  async wrapOne(dek: Uint8Array, dekID: Uint8Array, options: CallOptions = {}): Promise<WrappedDEK> {
    const [first] = this.#keks as [Ring]
    const { wrapped, kekVersion } = await this.#encrypt(first, dek, kmsContext(dekID, first.kmsContext), options)
    return { ...wrapped, version: kekVersion }
  }

  /** Wraps a data key under the first key alone, with nothing bound to it. */
  async wrapBare(dek: Uint8Array, options: CallOptions): Promise<Wrap> {
    return await this.#encrypt(this.#keks[0] as Ring, dek, {}, options)
  }

  // --- Unwrapping ---

  /** How entries of a key id are written, for every service of the ring. */
  named(keyID: string): Pick<KeyEntry, "provider" | "ref">[] {
    return [...new Set(this.#keks.map(({ kms }) => kms.provider))].map((provider) => keyName(provider, keyID))
  }

  /** The entries that this program may open, in the order in which it configured their keys. */
  allowed(keys: readonly KeyEntry[]): readonly AllowedEntry[] {
    const known = this.#allowed.get(keys)
    if (known && this.#keks.every((kek, i) => known.keyIDs[i] === keyIDsOf(kek))) return known.entries
    const entries = this.#findAllowed(keys)
    this.#allowed.set(keys, { keyIDs: this.keyIDs, entries })
    return entries
  }

  // Of keys that are asked about again: whenever an alias resolves or a database is read, the list of its ids is another.
  readonly #allowed = new WeakMap<
    readonly KeyEntry[],
    { readonly keyIDs: readonly (readonly string[])[]; readonly entries: readonly AllowedEntry[] }
  >()

  #findAllowed(keys: readonly KeyEntry[]): AllowedEntry[] {
    const found = this.#keks.flatMap((kek) => {
      const { kms, kmsContext, contextID } = kek
      return keyIDsOf(kek).flatMap((keyID) => {
        const name = keyName(kms.provider, keyID)
        return keys
          .filter((entry) => entry.provider === name.provider && isSameKey(kms, providerOf(entry).keyID, keyID))
          .map((entry) => ({ entry, kms, keyID, kmsContext, contextID }))
      })
    })
    // A key may be named twice, as the present one and as retired; it is asked once for each context. Copies of a key in several
    // regions are all asked: any of them may be out of reach.
    const same = (a: AllowedEntry, b: AllowedEntry): boolean =>
      a.entry === b.entry && a.keyID === b.keyID && a.contextID === b.contextID
    return found.filter((each, i) => found.findIndex((other) => same(each, other)) === i)
  }

  /**
   * Unwraps an entry.
   *
   * @returns 32 bytes; the caller wipes them
   */
  async unwrap(allowed: AllowedEntry, dekID: Uint8Array, options: CallOptions = {}): Promise<Uint8Array> {
    const { entry, kms, keyID } = allowed
    if (contradictsItself(entry)) throw new DecryptionFailed()
    // A header that was read is kept: what a service does to the bytes it is given, it does to its own.
    const wrapped = { ciphertext: copyOf(entry.wrapped), keyID, version: entry.version }
    return await this.#decrypt(kms, wrapped, kmsContext(dekID, allowed.kmsContext), options)
  }

  /**
   * Unwraps what the first key wrapped under a version that a database records: the KMS finds out which of its own that was.
   *
   * @param dekID the id that is bound with it; nothing is bound without one
   * @returns 32 bytes; the caller wipes them
   */
  async unwrapRecorded(
    ciphertext: Uint8Array,
    keyID: string,
    dekID: Uint8Array | undefined,
    options: CallOptions,
  ): Promise<Uint8Array> {
    if (ciphertext.length < 1 || ciphertext.length > MAX_WRAPPED)
      throw new InvalidFormat(
        `Cannot unwrap a data key: its wrap has ${ciphertext.length} bytes, not 1 to ${MAX_WRAPPED}`,
      )
    const [{ kms, kmsContext: fixed }] = this.#keks as [Ring]
    const context = dekID === undefined ? {} : kmsContext(dekID, fixed)
    return await this.#decrypt(kms, { ciphertext, keyID, version: 0 }, context, options)
  }

  async #decrypt(
    kms: KeyManagementService,
    wrapped: WrappedDEK,
    context: Context,
    options: CallOptions,
  ): Promise<Uint8Array> {
    this.calls.decryptDEK++
    const dek = await kms.decryptDEK(wrapped, context, options)
    if (dek.length === DEK_LENGTH) return dek
    wipe(dek)
    throw new KMSUnavailable(`Cannot unwrap a data key: it has ${dek.length} bytes, not ${DEK_LENGTH}`, {
      provider: kms.provider,
      operation: "decryptDEK",
    })
  }
}

/** An entry whose key the program allows, and the service to ask. @internal */
export interface AllowedEntry {
  readonly entry: KeyEntry
  readonly kms: KeyManagementService
  readonly keyID: string
  readonly kmsContext: Context
  readonly contextID: string
}

/** How trying an entry ended, for the error that lists the tries. @internal */
export function tryOf(entry: KeyEntry, error: unknown): Try {
  const code = error === undefined ? "COMMITMENT" : error instanceof EncxError ? error.code : "UNKNOWN"
  return { provider: providerOf(entry).name, ref: entry.ref, version: entry.version, code }
}

/** Services that bind the version to the wrap, and write it down. */
const COUNTING: readonly (number | undefined)[] = [PROVIDERS.local, PROVIDERS.memory, PROVIDERS.env]

/** Whether an entry contradicts itself: a Vault ciphertext names the version that wrapped it. FORMATS §3. */
function contradictsItself({ provider, version, wrapped }: KeyEntry): boolean {
  // They try each of theirs for a wrap without one; an entry that has lost its own was changed.
  if (version === 0 && COUNTING.includes(provider)) return true
  if (provider !== PROVIDERS["vault-transit"]) return false
  const prefix = `vault:v${version}:`
  return latin1(wrapped.subarray(0, prefix.length)) !== prefix
}

function entryOf(kek: KEK, { ciphertext, keyID, version }: WrappedDEK): KeyEntry {
  return { ...keyName(kek.kms.provider, keyID), version, wrapped: ciphertext }
}

function wrapOf(wrapped: WrappedDEK, { version }: Target): Wrap {
  return { wrapped, kekVersion: version ?? wrapped.version }
}

// What a KMS answers is checked before it is kept: a wrap that names another key, or does not fit an envelope, would be of no use.
function checked(kek: Ring, operation: string, keyID: string, answer: WrappedDEK): WrappedDEK {
  const { ciphertext, keyID: answered, version } = answer
  if (!isSameKey(kek.kms, answered, keyID))
    throw refusedAnswer(kek, operation, `it answered for the key "${answered}", not "${keyID}"`)
  if (!(ciphertext instanceof Uint8Array)) throw refusedAnswer(kek, operation, "it answered with no bytes")
  const problem = entryProblem(entryOf(kek, answer))
  if (problem) throw refusedAnswer(kek, operation, problem)
  // The key seals for a while, and the service may use its memory again.
  return { ciphertext: copyOf(ciphertext), keyID, version }
}

/** Whether two ids of a service's keys are of one key. */
function isSameKey(kms: KeyManagementService, a: string, b: string): boolean {
  return a === b || (kms.sameKey?.(a, b) ?? false)
}

async function wipedOnFailure<Result>(secret: Uint8Array, work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    wipe(secret)
    throw error
  }
}

function refusedAnswer(kek: Ring, operation: string, state: string): KMSUnavailable {
  return new KMSUnavailable(`Cannot wrap a data key: ${state}`, { provider: kek.kms.provider, operation })
}
