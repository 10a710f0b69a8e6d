/** The text of a local key file. FORMATS §8. */
import { randomUUID } from "node:crypto"
import { ascii, base64, fromBase64, fromHex, text as fromUTF8, randomBytes, utf8, wipe } from "../core/bytes.ts"
import { openMessage, sealMessage } from "../core/cipher/cobblestone.ts"
import { type Key, labelled } from "../core/cipher/derive.ts"
import { DecryptionFailed, InvalidFormat, InvalidInput } from "../core/errors.ts"
import { argon2id } from "../core/hash/argon2.ts"
import { type Argon2Cost, costProblem, DEFAULT_COST } from "../core/hash/phc.ts"
import type { KeyStore, StoredKey, StoredSecret } from "./_key-store.ts"

const FORMAT = "encx-local-1"
const PASSPHRASE_MAX = 4096
const SALT = { new: 16, min: 8, max: 48 } as const
const KEY_LENGTH = 32
const MAX_DEPTH = 8
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/

/** How the passphrase becomes a key. */
export interface PassphraseProtection extends Argon2Cost {
  readonly salt: Uint8Array
}

/** What stands around the store. */
export interface KeyFileHead {
  /** A UUID. */
  readonly id: string
  readonly protection: "none" | PassphraseProtection
}

/** A file that was read, whose store is still under its passphrase. */
export interface SealedKeyFile {
  readonly id: string
  readonly protection: PassphraseProtection
  readonly sealed: Uint8Array
}

/** A file that was read. */
export type KeyFile = SealedKeyFile | { readonly id: string; readonly protection: "none"; readonly store: KeyStore }

/** A new head, at the default cost of a password hash. */
export function newHead(protectedByPassphrase: boolean): KeyFileHead {
  return {
    id: randomUUID(),
    protection: protectedByPassphrase ? { ...DEFAULT_COST, salt: randomBytes(SALT.new) } : "none",
  }
}

/**
 * The key that a passphrase gives: Argon2id of its UTF-8.
 *
 * @throws {InvalidInput} when it is empty or longer than 4,096 bytes
 */
export async function passphraseKey(passphrase: string, { salt, ...cost }: PassphraseProtection): Promise<Uint8Array> {
  const password = utf8(passphrase, "a passphrase")
  try {
    if (password.length < 1 || password.length > PASSPHRASE_MAX)
      throw new InvalidInput(`Cannot use a passphrase: it has ${password.length} bytes, not 1 to ${PASSPHRASE_MAX}`)
    return await argon2id({ ...cost, password, salt, length: KEY_LENGTH })
  } finally {
    wipe(password)
  }
}

// --- Writing ---

/** Writes a key file; `key` is that of the passphrase. The salt is new random bytes; anything else is for known-answer tests. */
export function formatKeyFile({ id, protection }: KeyFileHead, store: KeyStore, key?: Key, salt?: Uint8Array): string {
  if (protection === "none") return JSON.stringify({ format: FORMAT, id, protection, data: toJSON(store) })
  const plaintext = utf8(JSON.stringify(toJSON(store)), "the store")
  const sealed = sealMessage(key as Key, binding(id, protection), plaintext, undefined, salt)
  wipe(plaintext)
  return JSON.stringify({ format: FORMAT, id, protection: protectionJSON(protection), data: base64(sealed) })
}

function toJSON({ keys, secrets }: KeyStore): unknown {
  return {
    keys: keys.map(({ alias, ref, versions }) => ({
      alias,
      ref,
      versions: versions.map(({ version, key, state, created_at }) => ({
        version,
        key: base64(key),
        state,
        created_at,
      })),
    })),
    secrets: secrets.map(({ path, versions }) => ({
      path,
      versions: versions.map(({ version, stage, value, created_at }) => ({
        version,
        stage,
        value: base64(value),
        created_at,
      })),
    })),
  }
}

function protectionJSON({ memoryKiB, iterations, parallelism, salt }: PassphraseProtection): unknown {
  return { argon2id: { m: memoryKiB, t: iterations, p: parallelism, salt: base64(salt) } }
}

// "encx.v2.local" ‖ 00 ‖ id[16] ‖ the protection's JSON in one spelling, so that a file may be laid out anyhow
function binding(id: string, protection: PassphraseProtection): Uint8Array {
  return labelled(
    "encx.v2.local",
    fromHex(id.replaceAll("-", ""), "the file's id"),
    ascii(JSON.stringify(protectionJSON(protection))),
  )
}

// --- Reading ---

/**
 * Reads a key file; one under a passphrase is still sealed.
 *
 * @throws {InvalidFormat} when it is half written, or anything but what {@link formatKeyFile} writes
 */
export function parseKeyFile(content: string): KeyFile {
  const file = object(parse(content), ["format", "id", "protection", "data"], "the file")
  if (file.format !== FORMAT) throw malformed("its format is unknown")
  const id = string(file.id, "the id")
  if (!UUID.test(id)) throw malformed("its id is not a UUID")
  if (file.protection === "none") return { id, protection: "none", store: parseStore(file.data) }
  const protection = parseProtection(file.protection)
  return { id, protection, sealed: fromBase64(string(file.data, "the data"), "the data of a key file") }
}

/**
 * Opens a sealed store with the passphrase's key.
 *
 * @throws {DecryptionFailed} when the passphrase is another, or the file was changed
 */
export function openKeyFile(id: string, protection: PassphraseProtection, sealed: Uint8Array, key: Key): KeyStore {
  const plaintext = openMessage(key, binding(id, protection), sealed)
  if (plaintext === undefined) throw new DecryptionFailed()
  try {
    return parseStore(parse(fromUTF8(plaintext, "a key file")))
  } finally {
    wipe(plaintext)
  }
}

function parseProtection(value: unknown): PassphraseProtection {
  if (typeof value !== "object" || value === null) throw malformed("its protection is unknown")
  const { argon2id } = object(value, ["argon2id"], "the protection")
  const { m, t, p, salt } = object(argon2id, ["m", "t", "p", "salt"], "the protection")
  const cost = { memoryKiB: m as number, iterations: t as number, parallelism: p as number }
  const problem = costProblem(cost)
  if (problem) throw malformed(problem)
  const saltBytes = fromBase64(string(salt, "the salt"), "the salt of a key file")
  if (saltBytes.length < SALT.min || saltBytes.length > SALT.max)
    throw malformed(`its salt has ${saltBytes.length} bytes`)
  return { ...cost, salt: saltBytes }
}

function parseStore(value: unknown): KeyStore {
  const { keys, secrets } = object(value, ["keys", "secrets"], "the data")
  const store = { keys: list(keys, "keys").map(parseKey), secrets: list(secrets, "secrets").map(parseSecret) }
  unique(
    store.keys.map(({ alias }) => alias),
    "alias",
  )
  unique(
    store.keys.map(({ ref }) => ref),
    "ref",
  )
  unique(
    store.secrets.map(({ path }) => path),
    "path",
  )
  return store
}

function parseKey(value: unknown): StoredKey {
  const { alias, ref, versions } = object(value, ["alias", "ref", "versions"], "a key")
  const parsed = list(versions, "versions").map((each) => {
    const { version, key, state, created_at } = object(
      each,
      ["version", "key", "state", "created_at"],
      "a key's version",
    )
    const bytes = fromBase64(string(key, "a key"), "a key of a key file")
    const gone = state === "destroyed" && bytes.length === 0
    if (bytes.length !== KEY_LENGTH && !gone) throw malformed(`a key has ${bytes.length} bytes, not ${KEY_LENGTH}`)
    return {
      version: versionNumber(version),
      key: bytes,
      state: oneOf(state, ["enabled", "disabled", "destroyed"], "state"),
      created_at: timestamp(created_at),
    }
  })
  return { alias: nonEmpty(alias, "an alias"), ref: nonEmpty(ref, "a ref"), versions: ascending(parsed) }
}

function parseSecret(value: unknown): StoredSecret {
  const { path, versions } = object(value, ["path", "versions"], "a secret")
  const parsed = list(versions, "versions").map((each) => {
    const { version, stage, value, created_at } = object(
      each,
      ["version", "stage", "value", "created_at"],
      "a secret's version",
    )
    const bytes = fromBase64(string(value, "a secret"), "a secret of a key file")
    return {
      version: versionNumber(version),
      stage: oneOf(stage, ["current", "previous", "pending"], "stage"),
      value: bytes,
      created_at: timestamp(created_at),
    }
  })
  if (parsed.filter(({ stage }) => stage === "current").length > 1) throw malformed("a secret has two current versions")
  return { path: nonEmpty(path, "a path"), versions: ascending(parsed) }
}

// --- Strict JSON ---

function parse(content: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(content)
  } catch {
    // The parser's message quotes the text, which holds keys.
    throw malformed("it is not whole JSON")
  }
  // JSON.parse keeps the last of two properties of one name; each property has one colon outside of strings.
  const colons = content.replace(/"(?:[^"\\]|\\.)*"/g, "").split(":").length - 1
  if (colons !== countProperties(value)) throw malformed("a property stands there twice")
  return value
}

function countProperties(value: unknown, depth = 0): number {
  if (typeof value !== "object" || value === null) return 0
  if (depth > MAX_DEPTH) throw malformed("it is nested too deeply")
  const values = Object.values(value)
  const own = Array.isArray(value) ? 0 : values.length
  return values.reduce((count: number, each) => count + countProperties(each, depth + 1), own)
}

function object(value: unknown, names: readonly string[], what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed(`${what} is not an object`)
  const unknown = Object.keys(value).find((name) => !names.includes(name))
  if (unknown !== undefined) throw malformed(`${what} has an unknown property`)
  const missing = names.find((name) => !Object.hasOwn(value, name))
  if (missing !== undefined) throw malformed(`${what} has no "${missing}"`)
  return value as Record<string, unknown>
}

function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) throw malformed(`"${what}" is not a list`)
  return value
}

function string(value: unknown, what: string): string {
  if (typeof value !== "string") throw malformed(`${what} is not text`)
  return value
}

function nonEmpty(value: unknown, what: string): string {
  const text = string(value, what)
  if (text === "" || !text.isWellFormed()) throw malformed(`${what} is empty or not well-formed`)
  return text
}

function versionNumber(value: unknown): number {
  if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > 2 ** 31 - 1)
    throw malformed("a version is not a whole number from 1")
  return value as number
}

function timestamp(value: unknown): string {
  const text = string(value, "a time")
  if (!RFC3339.test(text) || Number.isNaN(Date.parse(text))) throw malformed("a time is not RFC 3339 in UTC")
  return text
}

function oneOf<const Choice extends string>(value: unknown, choices: readonly Choice[], what: string): Choice {
  const found = choices.find((choice) => choice === value)
  if (found === undefined) throw malformed(`a ${what} is unknown`)
  return found
}

function ascending<Version extends { readonly version: number }>(versions: readonly Version[]): readonly Version[] {
  if (versions.length === 0) throw malformed("there are no versions")
  if (versions.some(({ version }, i) => i > 0 && version <= (versions[i - 1] as Version).version))
    throw malformed("versions are out of order")
  return versions
}

function unique(names: readonly string[], what: string): void {
  if (new Set(names).size !== names.length) throw malformed(`two entries have the same ${what}`)
}

function malformed(state: string): InvalidFormat {
  return new InvalidFormat(`Cannot read a key file: ${state}`)
}
