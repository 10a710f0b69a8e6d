/**
 * The versions of the first key-encryption key, where a database records them: which is current, and which key of the KMS each is.
 *
 * @module
 */
import type { CallOptions, Clock, KEKVersion, KEKVersionStore, KeyDescription } from "../contracts.ts"
import { DatabaseUnavailable, EncxError, isRetryableError, KeyNotFound, KeyRotationRequired } from "../errors.ts"
import { Flight } from "./_flight.ts"

/** A version whose key the KMS has resolved. @internal */
export interface RecordedKey {
  readonly keyID: string
  readonly version: number
}

/** What the versions are of. @internal */
export interface RecordedKEK {
  readonly store: KEKVersionStore
  readonly alias: string
  /** The KMS's name, for errors and for how a key is recorded. */
  readonly provider: string
  /** Asks the KMS for the resolved id of an alias or an id. */
  readonly resolve: (name: string, options: CallOptions) => Promise<string>
  readonly maxAgeMs: number
  readonly clock: Clock
}

const isDeprecated = (each: KEKVersion): boolean => each.deprecated

/** The recorded versions of one alias, as they were read last. @internal */
export class KEKVersions {
  readonly #kek: RecordedKEK
  readonly #resolved = new Map<string, string>()
  /** When the KMS refused an old key: whoever makes this program read often does not make it ask often. */
  readonly #refusedAt = new Map<string, number>()
  #known: readonly KEKVersion[] = []
  #keyIDs: { readonly of: readonly KEKVersion[]; readonly are: readonly string[] } = { of: this.#known, are: [] }
  #readAt = Number.NEGATIVE_INFINITY
  #reading: Flight<void> | undefined
  /** Told when another version is current than before. */
  onRotation: () => void = () => {}

  constructor(kek: RecordedKEK) {
    this.#kek = kek
  }

  /** Every key, resolved: the current one first, then the newest. */
  get keyIDs(): readonly string[] {
    if (this.#keyIDs.of !== this.#known) {
      const newestFirst = this.#known.toReversed().toSorted((a, b) => Number(a.deprecated) - Number(b.deprecated))
      this.#keyIDs = { of: this.#known, are: [...new Set(newestFirst.map(({ keyID }) => keyID))] }
    }
    return this.#keyIDs.are
  }

  /** The version that wraps now. @throws {KeyRotationRequired} when every version is deprecated */
  async current(options: CallOptions): Promise<RecordedKey> {
    await this.read(options)
    const current = this.#current()
    if (current) return current
    throw new KeyRotationRequired(`Cannot wrap a data key: every version of "${this.#kek.alias}" is deprecated`, {
      provider: this.#kek.store.provider,
      operation: "listVersions",
      hint: "a rotation was not finished: rotateKEK() records the next version",
    })
  }

  /**
   * The key of a version. A version is never given to another key, so one that is known is not asked for again.
   *
   * @throws {KeyNotFound} when none of this number is recorded
   */
  async keyOf(version: number, options: CallOptions): Promise<RecordedKey> {
    const find = (): KEKVersion | undefined => this.#known.find((each) => each.version === version)
    const known = find()
    if (known) return known
    await this.reload(options)
    const found = find()
    if (found) return found
    const { alias, store } = this.#kek
    throw new KeyNotFound(`Cannot find the key "${alias}": no version ${version} of it is recorded`, {
      provider: store.provider,
      operation: "listVersions",
      hint: "check that this program's alias and database are those of the program that sealed the data",
    })
  }

  /** Whether a version is of this key. */
  async has(keyID: string, options: CallOptions): Promise<boolean> {
    const find = (): boolean => this.#known.some((each) => each.keyID === keyID)
    if (find()) return true
    await this.reload(options)
    return find()
  }

  /** Reads what is recorded, unless that was done a short while ago. */
  async read(options: CallOptions): Promise<void> {
    if (this.#kek.clock.now() - this.#readAt >= this.#kek.maxAgeMs) await this.#join(options)
  }

  /** Reads what is recorded, now; many who ask at once cause one read. */
  async reload(options: CallOptions): Promise<void> {
    // A read that has begun may have missed what the caller knows of.
    const begun = this.#reading
    if (begun) await this.#join(options).catch(() => options.signal?.throwIfAborted())
    await this.#join(options)
  }

  async #join({ signal }: CallOptions): Promise<void> {
    signal?.throwIfAborted()
    const forget = (): void => {
      if (this.#reading === flight) this.#reading = undefined
    }
    const start = (call: AbortController): Promise<void> => this.#load({ signal: call.signal }).finally(forget)
    const flight: Flight<void> =
      this.#reading ?? new Flight(start, { abandon: forget, end: () => {}, inBackground: false })
    this.#reading = flight
    const fail = (error: unknown): never => {
      throw error
    }
    await flight.join(() => undefined, fail, signal)
  }

  /** Records a key as the next version. */
  async add(keyID: string, options: CallOptions): Promise<KeyDescription> {
    const { store, alias, provider } = this.#kek
    await store.addVersion(alias, recordedName(provider, keyID), options)
    return await this.describe(options)
  }

  /** The versions as a description of the key. */
  async describe(options: CallOptions): Promise<KeyDescription> {
    await this.reload(options)
    const newest = this.#known.at(-1) as KEKVersion
    const current = this.#current()
    return {
      keyID: (current ?? newest).keyID,
      currentVersion: current?.version ?? 0,
      versions: this.#known.map(({ version, createdAt }) => ({
        version,
        state: "enabled",
        ...(createdAt && { createdAt }),
      })),
    }
  }

  #current(): KEKVersion | undefined {
    return this.#known.findLast((each) => !isDeprecated(each))
  }

  async #load(options: CallOptions): Promise<void> {
    const { store, alias, provider, resolve, clock } = this.#kek
    let recorded = this.#checked(await store.listVersions(alias, options))
    if (recorded.length === 0) {
      const keyID = await resolve(alias, options)
      recorded = this.#checked(await store.ensureVersion(alias, recordedName(provider, keyID), options))
    }
    if (recorded.length === 0) throw this.#senseless("it has no version of the key, and was told one")
    const wraps = recorded.findLast((each) => !isDeprecated(each))
    // Without it nothing is sealed: its failure is not told after those of old keys.
    if (wraps) await this.#resolve(wraps, true, options)
    const known: KEKVersion[] = []
    for (const each of recorded) known.push({ ...each, keyID: await this.#resolve(each, each === wraps, options) })
    const before = this.#current()?.version
    this.#known = known
    this.#readAt = clock.now()
    if (before !== undefined && this.#current()?.version !== before) this.onRotation()
  }

  /** The Go library records a key by its bare id; a program that shares its table seals under the resolved one. */
  async #resolve({ keyID }: KEKVersion, wraps: boolean, options: CallOptions): Promise<string> {
    const resolved = this.#resolved.get(keyID)
    if (resolved !== undefined) return resolved
    const { resolve, clock, maxAgeMs } = this.#kek
    if (!wraps && clock.now() - (this.#refusedAt.get(keyID) ?? Number.NEGATIVE_INFINITY) < maxAgeMs) return keyID
    try {
      const answer = await resolve(keyID, options)
      this.#resolved.set(keyID, answer)
      return answer
    } catch (error) {
      options.signal?.throwIfAborted()
      // An old key that cannot be described may still unwrap; and whether or not, the others do.
      if (wraps || !(error instanceof EncxError)) throw error
      if (!isRetryableError(error)) this.#refusedAt.set(keyID, clock.now())
      return keyID
    }
  }

  // A store may be the program's own.
  #checked(versions: readonly KEKVersion[]): KEKVersion[] {
    const sorted = [...versions].sort((a, b) => a.version - b.version)
    for (const [i, { version, keyID }] of sorted.entries()) {
      if (!Number.isSafeInteger(version) || version < 1 || version > MAX_VERSION)
        throw this.#senseless("it has a version that is no whole number from 1")
      if (version === sorted[i - 1]?.version) throw this.#senseless(`it has the version ${version} twice`)
      if (typeof keyID !== "string" || keyID === "") throw this.#senseless(`its version ${version} names no key`)
    }
    return sorted
  }

  #senseless(state: string): DatabaseUnavailable {
    const { alias, store } = this.#kek
    return new DatabaseUnavailable(`Cannot use the versions of "${alias}": ${state}`, {
      provider: store.provider,
      operation: "listVersions",
    })
  }
}

/** What an INTEGER of every database holds. */
const MAX_VERSION = 2 ** 31 - 1

const GO_TRANSIT_KEY = "default/transit/"

/** How a key is recorded: as it resolved; a transit key at the place where the Go library looks for it, as that names it. */
function recordedName(provider: string, keyID: string): string {
  const name = keyID.slice(GO_TRANSIT_KEY.length)
  const isGoKey = provider === "vault-transit" && keyID.startsWith(GO_TRANSIT_KEY) && !name.includes("/")
  return isGoKey ? name : keyID
}
