/** Keys of the transit engine: their names, what the server says of them, and the text of their wraps. */
import { ascii, base64, fromBase64, latin1 } from "../core/bytes.ts"
import { encodeContext } from "../core/cipher/context.ts"
import type { Context, KeyDescription, KeyVersion, WrappedDEK } from "../core/contracts.ts"
import { DecryptionFailed, InvalidConfiguration, InvalidFormat, InvalidInput } from "../core/errors.ts"
import { isVersion } from "./_vault.ts"
import { isPath } from "./_vault-options.ts"

/** Where keys are, and how they are named in what is stored. */
export interface KeyPlace {
  readonly cluster: string
  readonly mount: string
  /** `name`: as the Go library names them. */
  readonly keyIDs: "resolved" | "name"
}

/** What the server says of a key, as far as it is used. */
export interface TransitKey {
  readonly name: string
  readonly type: string
  readonly latest: number
  readonly minDecryption: number
  readonly minAvailable: number
  readonly created: ReadonlyMap<number, Date>
  readonly derived: boolean
  readonly exportable: boolean
  readonly deletable: boolean
  /** After how long it rotates by itself, 0 for never; nothing from servers that do not do so. */
  readonly rotationMs: number | undefined
}

/** Types that encrypt, and authenticate what they decrypt together with its context. */
const TYPES: readonly string[] = ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"]
const MAX_KEY_ID = 512
/** Each version is one of the description: more than this many is no answer that makes sense. */
const MAX_VERSIONS = 100_000
/** The longest description of a key that makes sense, in bytes: the server tells of every version. */
export const MAX_KEY: number = 1024 * 1024
const MAX_CIPHERTEXT = 6_144
const WRAP = /^vault:v([1-9][0-9]{0,9}):([A-Za-z0-9+/]+={0,2})$/

/** The name of a key, of itself or of a resolved key id. */
export function keyName({ cluster, mount }: KeyPlace, given: string): string {
  const prefix = `${cluster}/${mount}/`
  const name = given.startsWith(prefix) ? given.slice(prefix.length) : given
  if (!name.includes("/") && isPath(name)) return name
  if (name.includes("/") && isPath(name))
    throw new InvalidConfiguration(`Cannot use the key "${given}": it is not in "${prefix}"`, {
      hint: "name its mount and its cluster: { mount, cluster }",
    })
  throw new InvalidInput(`Cannot use the key "${given}": its name is not letters, digits, _ . and -`)
}

/** Whether two ids name one key here: by its name, or whole. */
export function isSameKey({ cluster, mount }: KeyPlace, ...keyIDs: readonly string[]): boolean {
  const prefix = `${cluster}/${mount}/`
  const [one, other] = keyIDs.map((each) => (each.startsWith(prefix) ? each.slice(prefix.length) : each))
  return one === other
}

/** What is stored with the data. */
export function keyIDOf({ cluster, mount, keyIDs }: KeyPlace, name: string): string {
  const keyID = keyIDs === "name" ? name : `${cluster}/${mount}/${name}`
  if (keyID.length <= MAX_KEY_ID) return keyID
  throw new InvalidInput(`Cannot use the key "${name}": cluster, mount and name have more than ${MAX_KEY_ID} letters`)
}

/** The answer for a key; `undefined` when it makes no sense. */
export function transitKey(name: string, data: Record<string, unknown>): TransitKey | undefined {
  const { latest_version: latest, min_decryption_version: decryption, min_available_version: available, type } = data
  if (data["name"] !== name || !isVersion(latest) || latest > MAX_VERSIONS || typeof type !== "string") return undefined
  const keys = typeof data["keys"] === "object" && data["keys"] !== null ? data["keys"] : {}
  return {
    name,
    type,
    latest,
    minDecryption: isVersion(decryption) ? decryption : 1,
    minAvailable: isVersion(available) ? available : 1,
    created: new Map(
      Object.entries(keys).flatMap(([version, at]) => [createdAt(version, at)].filter((each) => !!each)),
    ),
    derived: data["derived"] === true,
    exportable: data["exportable"] === true || data["allow_plaintext_backup"] === true,
    deletable: data["deletion_allowed"] === true,
    rotationMs: typeof data["auto_rotate_period"] === "number" ? data["auto_rotate_period"] * 1_000 : undefined,
  }
}

// Whole seconds, as a number; for key pairs, an object.
function createdAt(version: string, at: unknown): [number, Date] | undefined {
  return typeof at === "number" ? [Number(version), new Date(at * 1_000)] : undefined
}

/** @throws {InvalidConfiguration} when it is not one that wraps data keys with their context */
export function usable(key: TransitKey): TransitKey {
  const state = TYPES.includes(key.type)
    ? key.derived
      ? "it derives keys from a context of its own"
      : undefined
    : /^rsa-|^hybrid/.test(key.type)
      ? "it is a key pair: whoever has its public key can wrap, so a wrap would prove nothing"
      : `it is of the type "${key.type}", which does not encrypt with a context`
  if (state === undefined) return key
  throw new InvalidConfiguration(`Cannot use the key "${key.name}": ${state}`, {
    hint: "create one of the type aes256-gcm96 that is not derived: encx keys create",
  })
}

/** The key's versions. */
export function describe(place: KeyPlace, key: TransitKey): KeyDescription {
  const versions = Array.from({ length: key.latest }, (_, i): KeyVersion => {
    const version = i + 1
    const at = key.created.get(version)
    const state = version < key.minAvailable ? "destroyed" : version < key.minDecryption ? "disabled" : "enabled"
    return { version, state, ...(at === undefined ? {} : { createdAt: at }) }
  })
  return { keyID: keyIDOf(place, key.name), currentVersion: key.latest, versions }
}

/** A wrap as Vault writes it; `undefined` when it is none. */
export function wrapOf(text: unknown): { readonly text: string; readonly version: number } | undefined {
  if (typeof text !== "string" || text.length > MAX_CIPHERTEXT) return undefined
  const [, digits, body = ""] = WRAP.exec(text) ?? []
  const version = Number(digits)
  if (!isVersion(version)) return undefined
  try {
    // Vault ignores the bits behind the last byte: a changed wrap must not open.
    fromBase64(body, "a wrapped data key")
  } catch (error) {
    if (error instanceof InvalidFormat) return undefined
    throw error
  }
  return { text, version }
}

/**
 * The text of a wrapped data key.
 *
 * @throws {DecryptionFailed} when Vault cannot have made it, or its version is another
 */
export function wrapText({ ciphertext, version }: WrappedDEK): string {
  const wrap = ciphertext.length > MAX_CIPHERTEXT ? undefined : wrapOf(latin1(ciphertext))
  if (!wrap || (version !== 0 && version !== wrap.version)) throw new DecryptionFailed()
  return wrap.text
}

/** The bytes that are stored. */
export const wrapBytes = (text: string): Uint8Array => ascii(text)

/** What binds a wrap to its context; nothing where that is empty. */
export function associated(bindContext: boolean, context: Context): { readonly associated_data?: string } {
  const encoded = encodeContext(context)
  return bindContext && Object.keys(context).length > 0 ? { associated_data: base64(encoded) } : {}
}
