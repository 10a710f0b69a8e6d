/** The keys of one transit engine: looked at before they are used, made, and rotated. */
import { randomBytes } from "../core/bytes.ts"
import type { CallOptions } from "../core/contracts.ts"
import { AccessDenied, EncxError, InvalidConfiguration, KeyExists, KeyNotFound } from "../core/errors.ts"
import type { Answer, Connection } from "./_vault.ts"
import { badAnswer } from "./_vault-errors.ts"
import { MAX_KEY, type TransitKey, transitKey, usable } from "./_vault-keys.ts"
import type { CreateKeyOptions } from "./vault-transit.ts"

/** The keys of an engine, by name. */
export interface KnownKeys {
  /** Looks at a key. */
  look(name: string, operation: string, options?: CallOptions): Promise<TransitKey>
  /** Sees to it that a key is there. */
  present(name: string, operation: string, options?: CallOptions): Promise<void>
  /** Sees to it that a wrap is by the key that was seen, and not by one that `encrypt` has just made under the name of one that was deleted. */
  same(name: string, version: number, operation: string, options?: CallOptions): Promise<void>
  /** Throws why encrypting failed. A policy of `update` alone denies encrypting with a key that is not there any more. */
  denied(name: string, operation: string, error: unknown, options?: CallOptions): Promise<never>
  /** Makes a key. */
  create(name: string, options?: CreateKeyOptions): Promise<void>
  /** Adds a version. */
  rotate(name: string, options?: CallOptions): Promise<TransitKey>
  /** Forgets what was seen. */
  forget(): void
}

const HOUR_MS = 3_600_000
/** Seconds, a century; what tells one creation from another is added, and makes it two at most. */
const CENTURY_S = 3_000_000_000

/** The keys of the engine at a mount. */
export function knownKeys(connection: Connection, mount: string): KnownKeys {
  const { service } = connection
  /** The latest version of each key that was seen: only these are encrypted with. */
  const seen = new Map<string, number>()
  const see = (name: string, { latest }: TransitKey): void => void seen.set(name, Math.max(latest, seen.get(name) ?? 0))

  const readKey = (name: string, operation: string, { data }: Pick<Answer, "data">): TransitKey => {
    const key = transitKey(name, data)
    if (!key) throw badAnswer(service, operation, `no description of the key "${name}"`)
    return usable(key)
  }

  const look: KnownKeys["look"] = async (name, operation, options) => {
    options?.signal?.throwIfAborted()
    try {
      const key = await connection.send({
        operation,
        method: "GET",
        path: `${mount}/keys/${name}`,
        target: name,
        read: (answer) => readKey(name, operation, answer),
        maxBytes: MAX_KEY,
        options,
      })
      see(name, key)
      return key
    } catch (error) {
      if (error instanceof KeyNotFound) seen.delete(name)
      throw error
    }
  }

  /** Gives a new key the period that was asked for. Where that is none, the century that it has does no harm. */
  const settle = async (name: string, autoRotateMs: number, options?: CallOptions): Promise<void> => {
    try {
      await connection.send({
        operation: "createKey",
        method: "POST",
        path: `${mount}/keys/${name}/config`,
        target: name,
        body: () => ({ auto_rotate_period: autoRotateMs / 1_000 }),
        read: () => undefined,
        options,
      })
    } catch (error) {
      if (autoRotateMs > 0 || !(error instanceof EncxError)) throw error
    }
  }

  return {
    look,

    async present(name, operation, options) {
      if (!seen.has(name)) await look(name, operation, options)
    },

    async same(name, version, operation, options) {
      const known = seen.get(name) ?? 0
      if (version >= known) {
        seen.set(name, version)
        return
      }
      seen.delete(name)
      // A standby that is behind may still wrap with the version before.
      if ((await look(name, operation, options)).latest >= known) return
      throw new KeyNotFound(`Cannot use the key "${name}": it was deleted, and there is another of its name now`, {
        provider: service.provider,
        operation,
        hint: `restore it from a backup; and that it does not happen again: vault write ${mount}/config/keys disable_upsert=true`,
      })
    },

    async denied(name, operation, error, options) {
      if (error instanceof KeyNotFound) seen.delete(name)
      if (error instanceof AccessDenied)
        await look(name, operation, options).catch((found: unknown) => {
          if (found instanceof KeyNotFound) throw found
        })
      throw error
    },

    async create(name, { signal, type = "aes256-gcm96", autoRotateMs = 0 } = {}) {
      if (!Number.isSafeInteger(autoRotateMs / HOUR_MS) || autoRotateMs < 0)
        throw new InvalidConfiguration(`Cannot create the key "${name}": "autoRotateMs" is not of whole hours`)
      const options = { signal }
      const taken = (): KeyExists =>
        new KeyExists(`Cannot create the key "${name}": there is one already`, {
          provider: service.provider,
          operation: "createKey",
          hint: "use it, or choose another name",
        })
      const found = await look(name, "createKey", options).catch((error: unknown) => {
        if (error instanceof KeyNotFound) return undefined
        throw error
      })
      if (found) throw taken()
      // Creating a key twice is no error to Vault. Of the period after which a key rotates by itself only the first creation's counts: one
      // that nobody else has named, of a century, tells whose key it is; and again, when the answer was lost, that it is ours.
      const mark = CENTURY_S + new DataView(randomBytes(4).buffer).getUint32(0)
      const { key, existed } = await connection.send({
        operation: "createKey",
        method: "POST",
        path: `${mount}/keys/${name}`,
        target: name,
        body: () => ({ type, auto_rotate_period: mark }),
        read: ({ data, warnings }) => ({
          key: transitKey(name, data),
          existed: warnings.some((each) => /already existed/i.test(each)),
        }),
        maxBytes: MAX_KEY,
        options,
      })
      // Servers of long ago answer with nothing, or without a period.
      if (key?.rotationMs === undefined ? existed : key.rotationMs !== mark * 1_000) throw taken()
      if (key?.rotationMs !== undefined) await settle(name, autoRotateMs, options)
      if (!key) await look(name, "createKey", options)
      seen.set(name, key?.latest ?? 1)
    },

    async rotate(name, options) {
      const before = await look(name, "rotateKey", options)
      const rotated = await connection.send({
        operation: "rotateKey",
        method: "POST",
        path: `${mount}/keys/${name}/rotate`,
        target: name,
        body: () => ({}),
        // Of several at once each is told its own version; servers before Vault 1.11 tell nothing.
        read: (answer) => (answer.status === 204 ? undefined : readKey(name, "rotateKey", answer)),
        maxBytes: MAX_KEY,
        options: { ...options, once: true },
      })
      const key = rotated ?? (await look(name, "rotateKey", options))
      if (key.latest <= before.latest)
        throw badAnswer(service, "rotateKey", `that the latest version is ${key.latest}, as before`)
      see(name, key)
      return key
    },

    forget: () => seen.clear(),
  }
}
