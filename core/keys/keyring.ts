/**
 * The key-encryption keys of a program, in its order: what wraps new data keys, and what may be asked to unwrap stored ones.
 * Data never says which key to call: an entry whose key is not in the ring is skipped without a call.
 *
 * @module
 */
import { hex, latin1, wipe } from "../bytes.ts"
import { type Context, encodeContext } from "../cipher/context.ts"
import { entryProblem, isProviderName, type KeyEntry, keyName, PROVIDERS, providerOf } from "../cipher/envelope.ts"
import type { CallOptions, Clock, KeyManagementService, WrappedDEK } from "../contracts.ts"
import { DecryptionFailed, EncxError, KMSUnavailable, type Try } from "../errors.ts"
import { DataKey, DEK_LENGTH, generateDEK, generateDEKID, type SealingKey } from "./dek.ts"

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

/** What the KMS is given beside a data key: our two pairs and the program's own. FORMATS §2. @internal */
export function kmsContext(dekID: Uint8Array, fixed: Context): Context {
  return { ...fixed, purpose: "encx.v2.dek", dek_id: hex(dekID) }
}

interface Ring extends KEK {
  /** The KMS context's own pairs as a string that equal ones share. */
  readonly contextID: string
  /** Every id that the alias resolved to while this program ran, the latest first. */
  keyIDs: string[]
  resolvedAt: number
}

/** The key-encryption keys of one program. @internal */
export class Keyring {
  readonly #keks: readonly Ring[]
  readonly #clock: Clock
  /** How often each method was called. */
  readonly calls: KMSCalls = { getKeyID: 0, generateDEK: 0, encryptDEK: 0, decryptDEK: 0, rotateKey: 0 }

  constructor(keks: readonly KEK[], clock: Clock) {
    this.#keks = keks.map((kek) => ({
      ...kek,
      contextID: latin1(encodeContext(kek.kmsContext)),
      keyIDs: [],
      resolvedAt: Number.NEGATIVE_INFINITY,
    }))
    this.#clock = clock
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

  /** What keeps the keys, as they resolved, from standing in one envelope, or `undefined`. */
  get problem(): string | undefined {
    const unnamed = this.#keks.find(({ kms }) => !isProviderName(kms.provider))
    if (unnamed) return `the provider's name "${unnamed.kms.provider}" is not a URI scheme`
    const names = this.#keks.filter(({ wraps }) => wraps).map(({ kms, keyIDs }) => `${kms.provider} "${keyIDs[0]}"`)
    const twice = names.find((name, i) => names.indexOf(name) !== i)
    return twice && `two of the keys that wrap are one: ${twice}`
  }

  async #resolve(kek: Ring, options: CallOptions): Promise<string> {
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

  /** Makes a data key and wraps it under every key that wraps. */
  async generate(options: CallOptions = {}): Promise<SealingKey> {
    const id = generateDEKID()
    const [first, ...others] = this.#keks.filter((kek) => kek.wraps) as [Ring, ...Ring[]]
    const { plaintext, wrapped } = await this.#generate(first, kmsContext(id, first.kmsContext), options)
    try {
      const rest = await Promise.all(
        others.map((kek) => this.#encrypt(kek, plaintext, kmsContext(id, kek.kmsContext), options)),
      )
      const keys = [entryOf(first, wrapped), ...rest.map((each, i) => entryOf(others[i] as Ring, each))]
      const dek = new DataKey(id, plaintext)
      return { dek, keys, kekVersion: wrapped.version, destroy: () => dek.destroy() }
    } finally {
      wipe(plaintext)
    }
  }

  async #generate(
    kek: Ring,
    context: Context,
    options: CallOptions,
  ): Promise<{ plaintext: Uint8Array; wrapped: WrappedDEK }> {
    if (!kek.kms.generateDEK) {
      const plaintext = generateDEK()
      return { plaintext, wrapped: await wipedOnFailure(plaintext, this.#encrypt(kek, plaintext, context, options)) }
    }
    const keyID = await this.#resolve(kek, options)
    this.calls.generateDEK++
    const { plaintext, ...answer } = await kek.kms.generateDEK(keyID, context, options)
    const check = async (): Promise<WrappedDEK> => {
      if (plaintext.length === DEK_LENGTH) return checked(kek, "generateDEK", keyID, answer)
      throw refusedAnswer(kek, "generateDEK", `it made a data key of ${plaintext.length} bytes, not ${DEK_LENGTH}`)
    }
    return { plaintext, wrapped: await wipedOnFailure(plaintext, check()) }
  }

  async #encrypt(kek: Ring, dek: Uint8Array, context: Context, options: CallOptions): Promise<WrappedDEK> {
    const keyID = await this.#resolve(kek, options)
    this.calls.encryptDEK++
    return checked(kek, "encryptDEK", keyID, await kek.kms.encryptDEK(keyID, dek, context, options))
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
      keys: wraps.map((each, i) => entryOf(wrapping[i] as Ring, each)),
      kekVersion: (wraps[0] as WrappedDEK).version,
    }
  }

  /** Wraps a data key under the first key alone. */
  async wrapOne(dek: Uint8Array, dekID: Uint8Array, options: CallOptions = {}): Promise<WrappedDEK> {
    const [first] = this.#keks as [Ring]
    return await this.#encrypt(first, dek, kmsContext(dekID, first.kmsContext), options)
  }

  // --- Unwrapping ---

  /** How entries of a key id are written, for every service of the ring. */
  named(keyID: string): Pick<KeyEntry, "provider" | "ref">[] {
    return [...new Set(this.#keks.map(({ kms }) => kms.provider))].map((provider) => keyName(provider, keyID))
  }

  /** The entries that this program may open, in the order in which it configured their keys. */
  allowed(keys: readonly KeyEntry[]): AllowedEntry[] {
    const found = this.#keks.flatMap(({ kms, keyIDs, kmsContext, contextID }) =>
      keyIDs.flatMap((keyID) => {
        const name = keyName(kms.provider, keyID)
        return keys
          .filter((entry) => entry.provider === name.provider && isSameKey(kms, providerOf(entry).keyID, keyID))
          .map((entry) => ({ entry, kms, keyID, kmsContext, contextID }))
      }),
    )
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
    this.calls.decryptDEK++
    const wrapped = { ciphertext: entry.wrapped, keyID, version: entry.version }
    const dek = await kms.decryptDEK(wrapped, kmsContext(dekID, allowed.kmsContext), options)
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

/** Whether an entry contradicts itself: a Vault ciphertext names the version that wrapped it. FORMATS §3. */
function contradictsItself({ provider, version, wrapped }: KeyEntry): boolean {
  if (provider !== PROVIDERS["vault-transit"]) return false
  const prefix = `vault:v${version}:`
  return latin1(wrapped.subarray(0, prefix.length)) !== prefix
}

function entryOf(kek: KEK, { ciphertext, keyID, version }: WrappedDEK): KeyEntry {
  return { ...keyName(kek.kms.provider, keyID), version, wrapped: ciphertext }
}

// What a KMS answers is checked before it is kept: a wrap that names another key, or does not fit an envelope, would be of no use.
function checked(kek: Ring, operation: string, keyID: string, answer: WrappedDEK): WrappedDEK {
  const { ciphertext, keyID: answered, version } = answer
  if (!isSameKey(kek.kms, answered, keyID))
    throw refusedAnswer(kek, operation, `it answered for the key "${answered}", not "${keyID}"`)
  if (!(ciphertext instanceof Uint8Array)) throw refusedAnswer(kek, operation, "it answered with no bytes")
  const problem = entryProblem(entryOf(kek, answer))
  if (problem) throw refusedAnswer(kek, operation, problem)
  return { ciphertext, keyID, version }
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
