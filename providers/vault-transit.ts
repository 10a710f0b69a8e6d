/**
 * HashiCorp Vault and OpenBao, the transit engine: `encx/vault-transit`. It asks the server by `fetch`, and needs no package.
 *
 * Vault sends and receives data keys as text in JSON, which cannot be wiped from memory; what this module holds is.
 *
 * @module
 */
import { abytes, base64, copyOf, fromBase64, randomBytes, wipe } from "../core/bytes.ts"
import type { CallOptions, Context, Diagnosis, KeyManagementService, WrappedDEK } from "../core/contracts.ts"
import { DecryptionFailed, InvalidConfiguration, KeyExists, KeyNotFound, KMSUnavailable } from "../core/errors.ts"
import { type Answer, Connection, isVersion } from "./_vault.ts"
import { type BatchResult, transitBatches, type UnwrapItem, type WrapItem } from "./_vault-batch.ts"
import { badAnswer, type VaultService } from "./_vault-errors.ts"
import {
  associated,
  describe,
  isSameKey,
  type KeyPlace,
  keyIDOf,
  keyName,
  wrapBytes,
  wrapOf,
  wrapText,
} from "./_vault-keys.ts"
import { knownKeys } from "./_vault-known-keys.ts"
import {
  isPath,
  mountOf,
  type VaultAuth,
  type VaultBody,
  type VaultFetch,
  type VaultOptions,
  type VaultResponse,
  type VaultSecret,
} from "./_vault-options.ts"
import { diagnoseTransit } from "./_vault-transit-diagnosis.ts"

/** Options of {@link vaultTransit}. */
export interface VaultTransitOptions extends VaultOptions {
  /** Where the engine is mounted. @default {"transit"} */
  readonly mount?: string
  /**
   * Your name for this server and namespace: the first part of the key ids that are stored, `<cluster>/<mount>/<name>`. Two
   * servers, or two namespaces, whose keys one program uses have two. @default {"default"}
   */
  readonly cluster?: string
  /** Bind wraps to their context, as associated data; `false` for what the Go library wrote. @default {true} */
  readonly bindContext?: boolean
  /** Key ids as they are stored: whole, or the bare name, which is what the Go library reads in a database that both share. @default {"resolved"} */
  readonly keyIDs?: "resolved" | "name"
}

/** Options of `createKey`. */
export interface CreateKeyOptions extends CallOptions {
  /** Of the types that encrypt with a context. @default {"aes256-gcm96"} */
  readonly type?: "aes256-gcm96" | "chacha20-poly1305" | "xchacha20-poly1305"
  /** Rotate by itself, each so many milliseconds: whole hours, or 0 for never. @default {0} */
  readonly autoRotateMs?: number
}

/** What {@link vaultTransit} returns: the contract, and what Vault has beyond it. */
export interface VaultTransit extends KeyManagementService {
  /** `vault-transit` */
  readonly provider: "vault-transit"
  /** Makes a data key here and wraps it: the server's own `datakey` would not bind it to its context. */
  generateDEK: NonNullable<KeyManagementService["generateDEK"]>
  /**
   * Wraps anew. With `bindContext: false`, or without a context, the server does it (`rewrap`), under the same key; else the data key is
   * unwrapped and wrapped again, because `rewrap` refuses what is bound to a context.
   */
  reencryptDEK: NonNullable<KeyManagementService["reencryptDEK"]>
  /** Whether two key ids are of one key of this mount: a bare name, as the Go library records it, is that of the whole id. */
  sameKey(keyID: string, other: string): boolean
  /** Makes a key. Of many at once one succeeds, on servers that rotate keys by themselves (Vault from 1.10, OpenBao); on others, who comes later is told. */
  createKey(alias: string, options?: CreateKeyOptions): Promise<string>
  /** Adds a version. */
  rotateKey: NonNullable<KeyManagementService["rotateKey"]>

  /**
   * Wraps many data keys under one key, in few requests.
   *
   * @returns for each what `encryptDEK` would return, or the error that it would throw; in order
   */
  encryptDEKs(
    keyID: string,
    items: readonly WrapItem[],
    options?: CallOptions,
  ): Promise<readonly BatchResult<WrappedDEK>[]>

  /** Unwraps many, as `decryptDEK` does each. */
  decryptDEKs(items: readonly UnwrapItem[], options?: CallOptions): Promise<readonly BatchResult<Uint8Array>[]>

  /** Wraps many anew, each under the current version of its own key, as `reencryptDEK` does. */
  rewrapDEKs(items: readonly UnwrapItem[], options?: CallOptions): Promise<readonly BatchResult<WrappedDEK>[]>

  /** Looks whether this service can be used with the key under an alias. */
  diagnose(alias: string, options?: CallOptions): AsyncIterable<Diagnosis>
  /** Revokes the token where it was got by a login, and closes connections, for good: later calls reject with `Closed`. */
  close(): Promise<void>
}

const PROVIDER = "vault-transit"
const SERVICE: VaultService = {
  provider: PROVIDER,
  keeps: "key",
  engine: "transit",
  creation: "encx keys create",
  options: ["mount", "cluster", "bindContext", "keyIDs"],
  Unavailable: KMSUnavailable,
  NotFound: KeyNotFound,
  Exists: KeyExists,
}
const DEK_LENGTH = 32
/** 32 bytes, and nothing in the spare bits of the last letter. */
const BASE64 = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/

/**
 * A key management service over the transit engine. Keys are named by name; what is stored with the data is
 * `<cluster>/<mount>/<name>`. Wraps are bound to their context as associated data, and Vault's audit log holds no more than a hash of it.
 *
 * Vault's `encrypt` makes a key where there is none of the name. So none is called before the key was seen; against a deletion in between,
 * give the token the capability `update` alone on `transit/encrypt/NAME`, or say `vault write transit/config/keys disable_upsert=true`.
 *
 * @throws {InvalidConfiguration} when an option cannot be used
 *
 * @example Keys of a Vault
 * ```ts
 * import { vaultTransit } from "encx/vault-transit"
 * const kms = vaultTransit({ address: "https://vault.example.com:8200", auth: { method: "kubernetes", role: "app" } })
 * assertEquals(kms.provider, "vault-transit")
 * await kms.close()
 * ```
 */
export function vaultTransit(options: VaultTransitOptions = {}): VaultTransit {
  const { cluster = "default", bindContext = true, keyIDs = "resolved" } = options
  if (!isPath(cluster) || cluster.includes("/"))
    throw new InvalidConfiguration(`Cannot use ${PROVIDER}: the option "cluster" is not letters, digits, _ . and -`)
  if (keyIDs !== "resolved" && keyIDs !== "name")
    throw new InvalidConfiguration(`Cannot use ${PROVIDER}: the option "keyIDs" is neither resolved nor name`)
  const place: KeyPlace = { cluster, mount: mountOf(PROVIDER, options.mount ?? "transit"), keyIDs }
  const { mount } = place
  const connection = new Connection(SERVICE, options)
  const keys = knownKeys(connection, mount)

  const readWrap = (name: string, operation: string, { data }: Pick<Answer, "data">): WrappedDEK => {
    const wrap = wrapOf(data["ciphertext"])
    if (!wrap) throw badAnswer(SERVICE, operation, "without a ciphertext")
    const { key_version: version = wrap.version } = data
    if (version !== wrap.version)
      throw badAnswer(SERVICE, operation, `with the version ${isVersion(version) ? version : "?"}, not ${wrap.version}`)
    return { ciphertext: wrapBytes(wrap.text), keyID: keyIDOf(place, name), version: wrap.version }
  }

  const readPlaintext = (operation: string, { data }: Pick<Answer, "data">): Uint8Array => {
    const text = data["plaintext"]
    if (typeof text !== "string") throw badAnswer(SERVICE, operation, "without a data key")
    if (BASE64.test(text)) return fromBase64(text, "a data key")
    // Somebody else wrapped it, and it is none. Asked again, it is the same.
    throw new DecryptionFailed()
  }

  const wrap = async (
    name: string,
    dek: Uint8Array,
    context: Context,
    operation: string,
    options?: CallOptions,
  ): Promise<WrappedDEK> => {
    const bound = associated(bindContext, context)
    await keys.present(name, operation, options)
    const wrapped = await connection
      .send({
        operation,
        method: "POST",
        path: `${mount}/encrypt/${name}`,
        target: name,
        body: () => ({ plaintext: base64(dek), ...bound }),
        read: (answer) => readWrap(name, operation, answer),
        options,
      })
      .catch((error: unknown) => keys.denied(name, operation, error, options))
    await keys.same(name, wrapped.version, operation, options)
    return wrapped
  }

  const unwrap = async (
    wrapped: WrappedDEK,
    context: Context,
    operation: string,
    options?: CallOptions,
  ): Promise<Uint8Array> => {
    const name = keyName(place, wrapped.keyID)
    const body = { ciphertext: wrapText(wrapped), ...associated(bindContext, context) }
    return await connection.send({
      operation,
      method: "POST",
      path: `${mount}/decrypt/${name}`,
      target: name,
      body: () => body,
      read: (answer) => readPlaintext(operation, answer),
      options,
    })
  }

  const rewrap = (name: string, wrapped: WrappedDEK, operation: string, options?: CallOptions): Promise<WrappedDEK> => {
    const body = { ciphertext: wrapText(wrapped) }
    return connection.send({
      operation,
      method: "POST",
      path: `${mount}/rewrap/${name}`,
      target: name,
      body: () => body,
      read: (answer) => readWrap(name, operation, answer),
      options,
    })
  }

  const batches = transitBatches({
    connection,
    mount,
    bindContext,
    nameOf: (keyID) => keyName(place, keyID),
    keys,
    readWrap,
    readPlaintext,
  })

  const kms: VaultTransit = {
    provider: PROVIDER,
    sameKey: (keyID, other) => keyID === other || isSameKey(place, keyID, other),
    ...batches,

    async getKeyID(alias, options) {
      const { name } = await keys.look(keyName(place, alias), "getKeyID", options)
      return keyIDOf(place, name)
    },

    async describeKey(keyID, options) {
      return describe(place, await keys.look(keyName(place, keyID), "describeKey", options))
    },

    async encryptDEK(keyID, dek, context, options) {
      abytes(dek, DEK_LENGTH, "dek")
      options?.signal?.throwIfAborted()
      const own = copyOf(dek)
      try {
        return await wrap(keyName(place, keyID), own, context, "encryptDEK", options)
      } finally {
        wipe(own)
      }
    },

    async decryptDEK(wrapped, context, options) {
      options?.signal?.throwIfAborted()
      return await unwrap(wrapped, context, "decryptDEK", options)
    },

    async generateDEK(keyID, context, options) {
      options?.signal?.throwIfAborted()
      const plaintext = randomBytes(DEK_LENGTH)
      try {
        return { ...(await wrap(keyName(place, keyID), plaintext, context, "generateDEK", options)), plaintext }
      } catch (error) {
        wipe(plaintext)
        throw error
      }
    },

    async reencryptDEK(wrapped, context, toKeyID, options) {
      options?.signal?.throwIfAborted()
      const [from, to] = [keyName(place, wrapped.keyID), keyName(place, toKeyID)]
      const bound = associated(bindContext, context).associated_data !== undefined
      if (from === to && !bound) return await rewrap(from, wrapped, "reencryptDEK", options)
      const own = { ...wrapped, ciphertext: copyOf(wrapped.ciphertext) }
      await keys.present(to, "reencryptDEK", options)
      const dek = await unwrap(own, context, "reencryptDEK", options)
      try {
        return await wrap(to, dek, context, "reencryptDEK", options)
      } finally {
        wipe(dek)
      }
    },

    async createKey(alias, options) {
      options?.signal?.throwIfAborted()
      const name = keyName(place, alias)
      await keys.create(name, options)
      return keyIDOf(place, name)
    },

    async rotateKey(keyID, options) {
      return describe(place, await keys.rotate(keyName(place, keyID), options))
    },

    diagnose: (alias, options) => diagnoseTransit({ connection, kms, place, name: keyName(place, alias) }, options),

    async close() {
      keys.forget()
      await connection.close()
    },
  }
  return kms
}

export type {
  BatchResult,
  UnwrapItem,
  VaultAuth,
  VaultBody,
  VaultFetch,
  VaultOptions,
  VaultResponse,
  VaultSecret,
  WrapItem,
}
