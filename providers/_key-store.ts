/** Keys and secrets in this process, as the local key file holds them (FORMATS §8), and the services over them. */
import { randomUUID } from "node:crypto"
import { abytes, copyOf, randomBytes, utf8 } from "../core/bytes.ts"
import { unwrapDEK, wrapDEK } from "../core/cipher/dek-wrap.ts"
import type {
  CallOptions,
  Context,
  KeyDescription,
  KeyManagementService,
  KeyState,
  SecretManagementService,
  SecretStage,
} from "../core/contracts.ts"
import {
  DecryptionFailed,
  EncxError,
  InvalidInput,
  KeyDisabled,
  KeyExists,
  KeyNotFound,
  KMSUnavailable,
  type ProviderFailure,
  SecretExists,
  SecretNotFound,
  SecretStorageUnavailable,
} from "../core/errors.ts"
import { secretPath } from "./_secret-path.ts"

export interface StoredKeyVersion {
  readonly version: number
  readonly key: Uint8Array
  readonly state: KeyState
  readonly created_at: string
}
export interface StoredKey {
  readonly alias: string
  readonly ref: string
  readonly versions: readonly StoredKeyVersion[]
}
export interface StoredSecretVersion {
  readonly version: number
  readonly stage: SecretStage
  readonly value: Uint8Array
  readonly created_at: string
}
export interface StoredSecret {
  readonly path: string
  readonly versions: readonly StoredSecretVersion[]
}
/** Everything that is kept. */
export interface KeyStore {
  readonly keys: readonly StoredKey[]
  readonly secrets: readonly StoredSecret[]
}

/** Where a key store lives. */
export interface KeyStorage {
  /** The store as it is. */
  read(options?: CallOptions): Promise<KeyStore>
  /** Replaces the store by what `change` makes of it, whole or not at all; nobody else changes it meanwhile. What `change` throws leaves it as it was. */
  change(change: (store: KeyStore) => KeyStore, options?: CallOptions): Promise<void>
  close?(): Promise<void>
}

/** A KMS and a secret store in one. */
export type LocalServices = KeyManagementService &
  SecretManagementService &
  Required<Pick<KeyManagementService, "createKey" | "rotateKey" | "close">>

export const EMPTY_STORE: KeyStore = { keys: [], secrets: [] }
const KEK_LENGTH = 32
const PEPPER_LENGTH = 32
const ALIAS_MAX = 256

/** The services over a store. */
export function keyStoreServices(provider: string, storage: KeyStorage, absentHint: string): LocalServices {
  const keys = new Access(storage, provider, KMSUnavailable)
  const secrets = new Access(storage, provider, SecretStorageUnavailable)
  const failure = (operation: string) => ({ provider, operation, hint: absentHint })

  const findKey = (store: KeyStore, name: string, operation: string): StoredKey => {
    const found = store.keys.find(({ ref }) => ref === name) ?? store.keys.find(({ alias }) => alias === name)
    if (found) return found
    throw new KeyNotFound(
      `Cannot find the key "${name}": the provider "${provider}" has none of this alias or id`,
      failure(operation),
    )
  }
  const enabled = (key: StoredKey): StoredKeyVersion | undefined =>
    key.versions.findLast(({ state }) => state === "enabled")
  const current = (key: StoredKey, operation: string): StoredKeyVersion => {
    const version = enabled(key)
    if (version) return version
    throw new KeyDisabled(`Cannot use the key "${key.alias}": none of its versions is enabled`, { provider, operation })
  }
  const describe = (key: StoredKey): KeyDescription => ({
    keyID: key.ref,
    currentVersion: enabled(key)?.version ?? 0,
    versions: key.versions.map(({ version, state, created_at }) => ({
      version,
      state,
      createdAt: new Date(created_at),
    })),
  })
  /**
   * Unwraps what nobody wrote the version of, with the newest that fits. Versions that are not enabled are not tried, not even to tell
   * that one of them would fit: a key that was taken out of use would still tell its own wraps, in their context, from others.
   */
  const unwrapUnder = (key: StoredKey, context: Context, ciphertext: Uint8Array): Uint8Array => {
    current(key, "decryptDEK")
    for (const { version, key: kek, state } of key.versions.toReversed()) {
      if (state !== "enabled") continue
      try {
        return unwrapDEK({ kek, ref: key.ref, version }, context, ciphertext)
      } catch (error) {
        if (!(error instanceof DecryptionFailed)) throw error
      }
    }
    throw new DecryptionFailed()
  }
  const findSecret = (store: KeyStore, path: string, operation: string): StoredSecret => {
    const found = store.secrets.find((secret) => secret.path === path)
    if (found) return found
    throw new SecretNotFound(
      `Cannot find the secret "${path}": the provider "${provider}" has none of this path`,
      failure(operation),
    )
  }
  const storeSecret = (path: string, value: Uint8Array, operation: string, options?: CallOptions): Promise<void> =>
    secrets.change(operation, options, (store) => {
      if (store.secrets.some((secret) => secret.path === path)) {
        throw new SecretExists(`Cannot store the secret "${path}": there is one already`, { provider, operation })
      }
      return {
        ...store,
        secrets: [
          ...store.secrets,
          { path, versions: [{ version: 1, stage: "current", value: copyOf(value), created_at: now() }] },
        ],
      }
    })

  return {
    provider,

    // --- Keys ---

    async getKeyID(alias, options) {
      return findKey(await keys.read("getKeyID", options), alias, "getKeyID").ref
    },

    async describeKey(keyID, options) {
      return describe(findKey(await keys.read("describeKey", options), keyID, "describeKey"))
    },

    async createKey(alias, options) {
      if (alias === "" || utf8(alias, "an alias").length > ALIAS_MAX)
        throw new InvalidInput(`Cannot create a key: its alias has not 1 to ${ALIAS_MAX} bytes`)
      const ref = randomUUID()
      await keys.change("createKey", options, (store) => {
        // An alias that is another key's id would hide that key.
        if (store.keys.some((key) => key.alias === alias || key.ref === alias)) {
          throw new KeyExists(`Cannot create the key "${alias}": there is one already`, {
            provider,
            operation: "createKey",
          })
        }
        return { ...store, keys: [...store.keys, { alias, ref, versions: [newVersion(1)] }] }
      })
      return ref
    },

    async rotateKey(keyID, options) {
      // What is not there makes neither a folder nor a lock.
      findKey(await keys.read("rotateKey", options), keyID, "rotateKey")
      let rotated: StoredKey | undefined
      await keys.change("rotateKey", options, (store) => {
        const key = findKey(store, keyID, "rotateKey")
        const last = Math.max(...key.versions.map(({ version }) => version))
        rotated = { ...key, versions: [...key.versions, newVersion(last + 1)] }
        return { ...store, keys: store.keys.map((each) => (each === key ? (rotated as StoredKey) : each)) }
      })
      return describe(rotated as unknown as StoredKey)
    },

    async encryptDEK(keyID, dek, context, options) {
      const found = findKey(await keys.read("encryptDEK", options), keyID, "encryptDEK")
      const { ref } = found
      const { version, key: kek } = current(found, "encryptDEK")
      return { ciphertext: wrapDEK({ kek, ref, version }, context, dek), keyID: ref, version }
    },

    async decryptDEK({ ciphertext, keyID, version }, context, options) {
      const { ref, alias, versions } = findKey(await keys.read("decryptDEK", options), keyID, "decryptDEK")
      if (version === 0) return unwrapUnder({ ref, alias, versions }, context, ciphertext)
      const stored = versions.find((each) => each.version === version)
      if (!stored)
        throw new KeyNotFound(`Cannot use the key "${alias}": it has no version ${version}`, {
          provider,
          operation: "decryptDEK",
        })
      if (stored.state !== "enabled")
        throw new KeyDisabled(`Cannot use the key "${alias}": its version ${version} is ${stored.state}`, {
          provider,
          operation: "decryptDEK",
        })
      return unwrapDEK({ kek: stored.key, ref, version }, context, ciphertext)
    },

    // --- Secrets ---

    async getPepper(alias, options) {
      const { versions } = findSecret(
        await secrets.read("getPepper", options),
        secretPath(alias, "pepper"),
        "getPepper",
      )
      return versions
        .filter(({ stage }) => stage !== "pending")
        .toSorted((a, b) => Number(b.stage === "current") - Number(a.stage === "current") || b.version - a.version)
        .map(({ version, stage, value }) => ({ version: String(version), stage, value: copyOf(value) }))
    },

    async storePepper(alias, pepper, options) {
      abytes(pepper, PEPPER_LENGTH, "pepper")
      await storeSecret(secretPath(alias, "pepper"), pepper, "storePepper", options)
    },

    async rotatePepper(alias, pepper, options) {
      abytes(pepper, PEPPER_LENGTH, "pepper")
      const path = secretPath(alias, "pepper")
      findSecret(await secrets.read("rotatePepper", options), path, "rotatePepper")
      await secrets.change("rotatePepper", options, (store) => {
        const secret = findSecret(store, path, "rotatePepper")
        const version = Math.max(...secret.versions.map((each) => each.version)) + 1
        const before = secret.versions.map((each) =>
          each.stage === "current" ? { ...each, stage: "previous" as const } : each,
        )
        const rotated: StoredSecret = {
          path,
          versions: [...before, { version, stage: "current", value: copyOf(pepper), created_at: now() }],
        }
        return { ...store, secrets: store.secrets.map((each) => (each === secret ? rotated : each)) }
      })
    },

    async pepperExists(alias, options) {
      const path = secretPath(alias, "pepper")
      return (await secrets.read("pepperExists", options)).secrets.some((secret) => secret.path === path)
    },

    async getIndexRoot(alias, options) {
      const { versions } = findSecret(
        await secrets.read("getIndexRoot", options),
        secretPath(alias, "index-root"),
        "getIndexRoot",
      )
      const found = versions.find(({ stage }) => stage === "current")
      if (found) return copyOf(found.value)
      throw new SecretNotFound("Cannot find the index root: none of its versions is current", failure("getIndexRoot"))
    },

    async storeIndexRoot(alias, sealed, options) {
      await storeSecret(secretPath(alias, "index-root"), sealed, "storeIndexRoot", options)
    },

    getStoragePath: (alias, secret = "pepper") => secretPath(alias, secret),

    async close() {
      await storage.close?.()
    },
  }
}

/** The storage, whose failures become those of a service: what the system says (no space, no permission) is never «absent». */
class Access {
  readonly #storage: KeyStorage
  readonly #provider: string
  readonly #Failure: new (
    message: string,
    failure: ProviderFailure,
  ) => Error

  constructor(
    storage: KeyStorage,
    provider: string,
    Failure: new (message: string, failure: ProviderFailure) => Error,
  ) {
    this.#storage = storage
    this.#provider = provider
    this.#Failure = Failure
  }

  read(operation: string, options?: CallOptions): Promise<KeyStore> {
    return this.#ask(operation, () => this.#storage.read(options))
  }

  change(operation: string, options: CallOptions | undefined, change: (store: KeyStore) => KeyStore): Promise<void> {
    return this.#ask(operation, () => this.#storage.change(change, options))
  }

  async #ask<Result>(operation: string, ask: () => Promise<Result>): Promise<Result> {
    try {
      return await ask()
    } catch (error) {
      const code = (error as { code?: unknown } | null)?.code
      if (error instanceof EncxError || typeof code !== "string" || !/^(E[A-Z0-9]+|ERR_SQLITE_ERROR)$/.test(code))
        throw error
      const failure = { provider: this.#provider, operation, cause: error }
      throw new this.#Failure(`Cannot use the key file: the system says ${code}`, failure)
    }
  }
}

function newVersion(version: number): StoredKeyVersion {
  return { version, key: randomBytes(KEK_LENGTH), state: "enabled", created_at: now() }
}

// RFC 3339, whole seconds
const now = (): string => `${new Date().toISOString().slice(0, 19)}Z`
