/**
 * HashiCorp Vault and OpenBao, the KV engine, version 2: `encx/vault-kv`. It asks the server by `fetch`, and needs no package.
 *
 * Secrets are text in base64 in the field `value`, as the Go library stores its peppers; the engine's own versions are used.
 *
 * @module
 */
import { abytes, base64, fromBase64 } from "../core/bytes.ts"
import type { CallOptions, Diagnosis, SecretManagementService, SecretName, SecretVersion } from "../core/contracts.ts"
import {
  AccessDenied,
  Busy,
  EncxError,
  InvalidConfiguration,
  InvalidFormat,
  InvalidInput,
  SecretDeleted,
  SecretEmpty,
  SecretExists,
  SecretNotFound,
  SecretStorageUnavailable,
} from "../core/errors.ts"
import { secretPath } from "./_secret-path.ts"
import { Connection, isVersion, recordOf } from "./_vault.ts"
import { badAnswer, secretGone, type VaultService } from "./_vault-errors.ts"
import { diagnoseKV } from "./_vault-kv-diagnosis.ts"
import {
  mountOf,
  type VaultAuth,
  type VaultBody,
  type VaultFetch,
  type VaultOptions,
  type VaultResponse,
  type VaultSecret,
} from "./_vault-options.ts"

/** Options of {@link vaultKV}. */
export interface VaultKVOptions extends VaultOptions {
  /** Where the engine is mounted. @default {"secret"} */
  readonly mount?: string
}

/** What {@link vaultKV} returns. */
export interface VaultKV extends SecretManagementService {
  /** `vault-kv` */
  readonly provider: "vault-kv"
  /** Looks whether this store can be used with the secrets under an alias. */
  diagnose(alias: string, options?: CallOptions): AsyncIterable<Diagnosis>
  /** Revokes the token where it was got by a login, and closes connections, for good: later calls reject with `Closed`. */
  close(): Promise<void>
}

const PROVIDER = "vault-kv"
const SERVICE: VaultService = {
  provider: PROVIDER,
  keeps: "secret",
  engine: "kv",
  creation: "encx pepper init, or withBootstrap({ createPepper: true })",
  options: ["mount"],
  Unavailable: SecretStorageUnavailable,
  NotFound: SecretNotFound,
  Exists: SecretExists,
}
const PEPPER_LENGTH = 32
/** The engine keeps 10 versions by default. */
const MAX_VERSIONS = 64
/** Of rotations that come between reading and writing; each goes in before ours. */
const MAX_ROUNDS = 10
/** The engine's own, where neither secret nor mount says another. */
const DEFAULT_VERSIONS = 10

const isGone = (error: unknown): boolean => error instanceof SecretDeleted || error instanceof SecretEmpty

interface Stored {
  readonly version: number
  readonly value: unknown
}

/**
 * A secret store over KV, version 2: the pepper at `secret/data/encx/{alias}/pepper`, the sealed index root beside it. Creating is
 * conditional (`cas=0`), and so is following (`cas=N`). A deleted secret is not absent, `SecretDeleted`, nor is a destroyed one,
 * `SecretEmpty`.
 *
 * The engine keeps the last 10 versions, or as many as `max_versions` says: hashes of peppers before those can be verified no more.
 *
 * @throws {InvalidConfiguration} when an option cannot be used
 *
 * @example Peppers of a Vault
 * ```ts
 * import { vaultKV } from "encx/vault-kv"
 * const secrets = vaultKV({ address: "https://vault.example.com:8200" })
 * assertEquals(secrets.getStoragePath("app"), "secret/data/encx/app/pepper")
 * await secrets.close()
 * ```
 */
export function vaultKV(options: VaultKVOptions = {}): VaultKV {
  const mount = mountOf(PROVIDER, options.mount ?? "secret")
  const connection = new Connection(SERVICE, options)
  let checked = false

  const pathOf = (alias: string, secret: SecretName): string => {
    const path = secretPath(alias, secret)
    // The server would take `a//b` for `a/b`.
    if (path.split("/").every((segment) => segment !== "" && segment !== ".")) return `${mount}/data/${path}`
    throw new InvalidInput(`Cannot use the secret alias "${alias}": a part of its path is empty, or a dot`)
  }

  /** A version, or the current one. */
  const read = async (
    path: string,
    operation: string,
    version: number | undefined,
    options?: CallOptions,
  ): Promise<Stored> => {
    try {
      return await readOnce(path, operation, version, options)
    } catch (error) {
      // Another engine than version 2 knows nothing of what a path of that means.
      if (error instanceof SecretNotFound && version === undefined) await checkEngine(operation, options)
      throw error
    }
  }

  const readOnce = async (
    path: string,
    operation: string,
    version: number | undefined,
    options?: CallOptions,
  ): Promise<Stored> => {
    options?.signal?.throwIfAborted()
    return await connection.send({
      operation,
      method: "GET",
      path,
      ...(version === undefined ? {} : { query: `?version=${version}` }),
      target: path,
      // A version that is deleted or destroyed is «not found», with its metadata.
      takes: ({ status, data }) => status === 404 && isVersion(recordOf(recordOf(data)["metadata"])["version"]),
      read: ({ status, data }) => {
        const { version: found, destroyed } = recordOf(data["metadata"])
        if (!isVersion(found) || (version !== undefined && found !== version))
          throw badAnswer(
            SERVICE,
            operation,
            `with the version ${isVersion(found) ? found : "?"}, not ${version ?? "one"}`,
          )
        if (status === 404) throw secretGone(path, operation, found, destroyed === true)
        return { version: found, value: recordOf(data["data"])["value"] }
      },
      options,
    })
  }

  const bytesOf = (path: string, { value }: Stored): Uint8Array => {
    if (typeof value === "string") return fromBase64(value.trim(), `the secret "${path}"`)
    throw new InvalidFormat(`Cannot read the secret "${path}": its field "value" is no text in base64`, {
      hint: `store it as the Go library does: vault kv put -mount=${mount} ${path.slice(mount.length + "/data/".length)} value=BASE64`,
    })
  }

  /** Version 1 of the engine knows no versions and overwrites: it is not written to. */
  const checkEngine = async (operation: string, options?: CallOptions): Promise<void> => {
    if (checked) return
    const found = await connection
      .send({
        operation,
        method: "GET",
        path: `sys/internal/ui/mounts/${mount}`,
        target: mount,
        read: ({ data }) => recordOf(data["options"])["version"],
        options,
      })
      .catch((error: unknown) => {
        // Who may not look at the mount may not write there, or a policy of exactly one path hides it.
        if (error instanceof AccessDenied || error instanceof SecretNotFound) return "2"
        throw error
      })
    if (found !== "2")
      throw new InvalidConfiguration(`Cannot use ${PROVIDER}: the engine at "${mount}/" is not KV version 2`, {
        hint: `name another: { mount }; or upgrade it: vault kv enable-versioning ${mount}/`,
      })
    checked = true
  }

  const write = async (
    path: string,
    value: string,
    cas: number,
    operation: string,
    options?: CallOptions,
  ): Promise<"stored" | "taken"> => {
    let attempts = 0
    try {
      return await connection.send({
        operation,
        method: "POST",
        path,
        target: path,
        body: () => {
          attempts++
          return { data: { value }, options: { cas } }
        },
        read: ({ data }) => {
          if (data["version"] === cas + 1) return "stored" as const
          throw badAnswer(SERVICE, operation, `with the version ${String(data["version"])}, not ${cas + 1}`)
        },
        options,
      })
    } catch (error) {
      const lost = attempts > 1 || error instanceof SecretStorageUnavailable
      if (!(error instanceof SecretExists || error instanceof SecretStorageUnavailable)) throw error
      // When its answer is lost, the value may be there all the same: as this version.
      if (lost) {
        const now = await read(path, operation, cas + 1, options).catch((found: unknown) => {
          // Whose it is cannot be asked now, and that is not to say that it is another's.
          if (!(found instanceof EncxError) || found.retryable) throw found
          return undefined
        })
        if (now?.value === value) return "stored"
      }
      if (error instanceof SecretExists) return "taken"
      throw error
    }
  }

  const store = async (path: string, bytes: Uint8Array, operation: string, options?: CallOptions): Promise<void> => {
    options?.signal?.throwIfAborted()
    const value = base64(bytes)
    await checkEngine(operation, options)
    if ((await write(path, value, 0, operation, options)) === "stored") return
    // What is deleted is in the way, too, and says so.
    await read(path, operation, undefined, options).catch((error: unknown) => {
      if (isGone(error)) throw error
      if (!(error instanceof EncxError)) throw error
    })
    throw new SecretExists(`Cannot store the secret "${path}": there is one already`, {
      provider: PROVIDER,
      operation,
    })
  }

  /** How many versions the engine keeps of a secret, where the token may look. */
  const kept = async (path: string, operation: string, options?: CallOptions): Promise<number | undefined> => {
    const places = [path.replace(`${mount}/data/`, `${mount}/metadata/`), `${mount}/config`]
    for (const place of places) {
      const found = await connection
        .send({
          operation,
          method: "GET",
          path: place,
          target: path,
          read: ({ data }) => Number(data["max_versions"] ?? 0),
          options,
        })
        .catch((error: unknown) => {
          if (error instanceof AccessDenied || error instanceof SecretNotFound) return undefined
          throw error
        })
      if (found === undefined) return undefined
      if (found > 0) return found
    }
    return DEFAULT_VERSIONS
  }

  return {
    provider: PROVIDER,

    async getPepper(alias, options) {
      const path = pathOf(alias, "pepper")
      const current = await read(path, "getPepper", undefined, options)
      const versions: SecretVersion[] = [
        { version: String(current.version), stage: "current", value: bytesOf(path, current) },
      ]
      // One after the other: when one fails, none of the others goes on behind the caller's back.
      for (let version = current.version - 1; version > 0 && versions.length < MAX_VERSIONS; version--) {
        const found = await read(path, "getPepper", version, options).catch((error: unknown) => {
          if (error instanceof SecretNotFound) return "none before" as const
          // A version that was taken away is no pepper any more.
          if (isGone(error)) return undefined
          throw error
        })
        if (found === "none before") break
        if (found) versions.push({ version: String(version), stage: "previous", value: bytesOf(path, found) })
      }
      return versions
    },

    async storePepper(alias, pepper, options) {
      abytes(pepper, PEPPER_LENGTH, "pepper")
      await store(pathOf(alias, "pepper"), pepper, "storePepper", options)
    },

    async rotatePepper(alias, pepper, options) {
      abytes(pepper, PEPPER_LENGTH, "pepper")
      const path = pathOf(alias, "pepper")
      const value = base64(pepper)
      let current = await read(path, "rotatePepper", undefined, options)
      await checkEngine("rotatePepper", options)
      if ((await kept(path, "rotatePepper", options)) === 1)
        throw new InvalidConfiguration(`Cannot rotate the secret "${path}": only one version of it is kept`, {
          hint: `keep more: vault kv metadata put -mount=${mount} -max-versions=10 ${path.slice(mount.length + "/data/".length)}`,
        })
      for (let rounds = 0; rounds < MAX_ROUNDS; rounds++) {
        if ((await write(path, value, current.version, "rotatePepper", options)) === "stored") return
        current = await read(path, "rotatePepper", undefined, options)
      }
      throw new Busy(`Cannot rotate the secret "${path}": others do so all the time`)
    },

    async pepperExists(alias, options) {
      try {
        await read(pathOf(alias, "pepper"), "pepperExists", undefined, options)
        return true
      } catch (error) {
        if (error instanceof SecretNotFound) return false
        throw error
      }
    },

    async getIndexRoot(alias, options) {
      const path = pathOf(alias, "index-root")
      return bytesOf(path, await read(path, "getIndexRoot", undefined, options))
    },

    async storeIndexRoot(alias, sealed, options) {
      await store(pathOf(alias, "index-root"), sealed, "storeIndexRoot", options)
    },

    getStoragePath: (alias: string, secret: SecretName = "pepper") => pathOf(alias, secret),

    diagnose: (alias, options) => diagnoseKV({ connection, mount, path: pathOf(alias, "pepper"), kept }, options),

    async close() {
      await connection.close()
    },
  }
}

export type { VaultAuth, VaultBody, VaultFetch, VaultOptions, VaultResponse, VaultSecret }
