/** What the tests of the Go library's rows share: keys from a seed, as its peer has them, versions in memory, and the golden struct. */
import { createHash, createSecretKey, type KeyObject } from "node:crypto"
import { ascii, base64, concat, fromBase64, fromHex, hex, latin1, randomBytes } from "../../core/bytes.ts"
import { NONCE, openInto, sealInto, TAG } from "../../core/cipher/aes-gcm.ts"
import { encodeContext } from "../../core/cipher/context.ts"
import type {
  Context,
  KEKVersion,
  KEKVersionStore,
  KeyDescription,
  KeyManagementService,
} from "../../core/contracts.ts"
import {
  type GoField,
  type GoSchema,
  goBool,
  goBytes,
  goFloat64,
  goInt,
  goInt16,
  goString,
  goStrings,
  goTime,
  goUint32,
  pointer,
} from "../../core/go-encx/mod.ts"
import {
  type Crypto,
  DecryptionFailed,
  newCrypto,
  type Option,
  type PlainField,
  plain,
  record,
  withArgon2,
  withDatabase,
  withKEKAlias,
  withKMSService,
  withPepper,
} from "../../mod.ts"

/** How the wrapped data keys look: bytes, the AWS provider's text, the Vault provider's. */
export type Wrap = "raw" | "base64" | "vault"

const VAULT = "vault:v1:"

/** A key management service whose key of id `key-1` is SHA-256(seed ‖ `key-1`), and so on: rotating makes the next one. */
export function seededKMS(seed: Uint8Array, wrap: Wrap = "raw"): KeyManagementService {
  const keys = new Map<string, KeyObject>()
  const keyOf = (keyID: string): KeyObject => {
    const key = keys.get(keyID) ?? createSecretKey(createHash("sha256").update(seed).update(keyID).digest())
    keys.set(keyID, key)
    return key
  }
  // The Go library's wraps have no context; this library's own are bound to theirs.
  const bound = (context: Context): Uint8Array | undefined =>
    Object.keys(context).length === 0 ? undefined : encodeContext(context)
  const describe = (keyID: string): KeyDescription => ({ keyID, currentVersion: 0, versions: [] })
  return {
    provider: "seeded",
    getKeyID: async (alias) => (/^key-[0-9]+$/.test(alias) ? alias : "key-1"),
    describeKey: async (keyID) => describe(keyID),
    encryptDEK: async (keyID, dek, context) => {
      const nonce = randomBytes(NONCE)
      const raw = concat(nonce, new Uint8Array(dek.length + TAG))
      sealInto(raw, NONCE, keyOf(keyID), nonce, dek, bound(context))
      return {
        ciphertext: wrap === "raw" ? raw : ascii(`${wrap === "vault" ? VAULT : ""}${base64(raw)}`),
        keyID,
        version: 0,
      }
    },
    decryptDEK: async ({ ciphertext, keyID }, context) => {
      const text = wrap === "raw" ? "" : latin1(ciphertext)
      if (wrap === "vault" && !text.startsWith(VAULT)) throw new DecryptionFailed()
      const raw = wrap === "raw" ? ciphertext : fromBase64(wrap === "vault" ? text.slice(VAULT.length) : text, "a wrap")
      if (raw.length < NONCE + TAG) throw new DecryptionFailed()
      const dek = new Uint8Array(raw.length - NONCE - TAG)
      openInto(dek, 0, keyOf(keyID), raw.subarray(0, NONCE), raw.subarray(NONCE), bound(context))
      return dek
    },
    rotateKey: async (keyID) => describe(`key-${Number(keyID.slice(4)) + 1}`),
  }
}

/** Versions of key-encryption keys in memory: `initial` is what they are at first. */
export function versionsInMemory(initial: readonly KEKVersion[] = []): KEKVersionStore {
  const byAlias = new Map<string, KEKVersion[]>()
  const of = (alias: string): KEKVersion[] => {
    const versions = byAlias.get(alias) ?? [...initial]
    byAlias.set(alias, versions)
    return versions
  }
  return {
    provider: "memory",
    listVersions: async (alias) => [...of(alias)],
    ensureVersion: async (alias, keyID) => {
      const versions = of(alias)
      if (versions.length === 0) versions.push({ version: 1, keyID, deprecated: false })
      return [...versions]
    },
    addVersion: async (alias, keyID) => {
      const versions = of(alias)
      const added = { version: versions.length + 1, keyID, deprecated: false }
      byAlias.set(alias, [...versions.map((each) => ({ ...each, deprecated: true })), added])
      return added
    },
  }
}

/** The cheapest password hash that is allowed. */
export const CHEAP: Option = withArgon2({ memoryKiB: 7168, iterations: 5, parallelism: 1 })
/** A pepper. */
export const PEPPER: Uint8Array = Uint8Array.from({ length: 32 }, (_, i) => i)

/** A program with keys of its own, lent for as long as it is used. */
export async function withProgram<Result>(
  use: (crypto: Crypto) => Promise<Result>,
  ...options: readonly Option[]
): Promise<Result> {
  const crypto = await newCrypto(
    withKMSService(seededKMS(Uint8Array.of(0, 0x5e, 0xed))),
    withKEKAlias("alias/interop"),
    withDatabase(versionsInMemory()),
    withPepper(PEPPER),
    CHEAP,
    ...options,
  )
  try {
    return await use(crypto)
  } finally {
    await crypto.close()
  }
}

// --- The golden struct ---

/** Its fields. */
export type PersonFields = {
  readonly ID: PlainField<number>
  readonly Note: PlainField<string>
  readonly Email: GoField<string, true, true, false>
  readonly Phone: GoField<string | null, true, true, false>
  readonly Password: GoField<string, false, false, true>
  readonly Recovery: GoField<string, true, false, true>
  readonly Born: GoField<bigint | null, true, false, false>
  readonly Age: GoField<bigint, true, true, false>
  readonly Score: GoField<number, true, false, false>
  readonly Active: GoField<boolean, true, false, false>
  readonly Photo: GoField<Uint8Array, true, false, false>
  readonly Tags: GoField<readonly string[], true, true, false>
  readonly Rank: GoField<number, true, false, false>
  readonly Visits: GoField<number, true, false, false>
}

/** The struct that the golden rows were made from. */
export const person: GoSchema<PersonFields> = record(
  "people",
  { layout: "go-encx" },
  {
    ID: plain<number>(),
    Note: plain<string>(),
    Email: goString().encrypt().hashBasic(),
    Phone: pointer(goString()).encrypt().hashBasic(),
    Password: goString().hashSecure(),
    Recovery: goString().encrypt().hashSecure(),
    Born: goTime().encrypt(),
    Age: goInt().encrypt().hashBasic(),
    Score: goFloat64().encrypt(),
    Active: goBool().encrypt(),
    Photo: goBytes().encrypt(),
    Tags: goStrings().encrypt().hashBasic(),
    Rank: goInt16().encrypt(),
    Visits: goUint32().encrypt(),
  },
)

/** What a person is. */
export interface Person {
  readonly ID: number
  readonly Note: string
  readonly Email: string
  readonly Phone: string | null
  readonly Password: string
  readonly Recovery: string
  readonly Born: bigint | null
  readonly Age: bigint
  readonly Score: number
  readonly Active: boolean
  readonly Photo: Uint8Array
  readonly Tags: readonly string[]
  readonly Rank: number
  readonly Visits: number
}
/** A person as the peer and the vectors write it. */
export type PeerPerson = Readonly<Record<keyof Person, unknown>>
/** A row as the peer and the vectors write it: bytes are hex. */
export type PeerRow = Readonly<Record<string, unknown>>

/** Reads a person. */
export function fromPeer(given: Partial<PeerPerson>): Person {
  const number = (name: keyof Person): number => Number(given[name] ?? 0)
  const text = (name: keyof Person): string => String(given[name] ?? "")
  return {
    ID: number("ID"),
    Note: text("Note"),
    Email: text("Email"),
    Phone: given.Phone === undefined || given.Phone === null ? null : text("Phone"),
    Password: text("Password"),
    Recovery: text("Recovery"),
    Born: given.Born === undefined || given.Born === null ? null : BigInt(text("Born")),
    Age: BigInt(text("Age") || 0),
    Score: floatOf(text("Score") || "0".repeat(16)),
    Active: given.Active === true,
    Photo: fromHex(text("Photo"), "a photo"),
    Tags: (given.Tags ?? []) as string[],
    Rank: number("Rank"),
    Visits: number("Visits"),
  }
}

/** Writes a person. */
export function toPeer(person: Person): PeerPerson {
  return {
    ...person,
    ID: String(person.ID),
    Born: person.Born === null ? null : String(person.Born),
    Age: String(person.Age),
    Score: hexOfFloat(person.Score),
    Photo: hex(person.Photo),
    Rank: String(person.Rank),
    Visits: String(person.Visits),
  }
}

/** A row as a database would give it: what is sealed as bytes. */
export function rowFromPeer<Row>(given: PeerRow): Row {
  const columns = Object.entries(given).map(([column, value]) => [
    column,
    column.endsWith("_encrypted") && typeof value === "string" ? fromHex(value, column) : value,
  ])
  return Object.fromEntries(columns) as Row
}

/** A row as the peer reads it: what is bytes as hex, and the metadata parsed. */
export function rowToPeer(row: Readonly<Record<string, unknown>>): PeerRow {
  const columns = Object.entries(row).map(([column, value]) => [
    column,
    value instanceof Uint8Array
      ? hex(value)
      : column === "metadata" && typeof value === "string"
        ? JSON.parse(value)
        : value,
  ])
  return Object.fromEntries(columns)
}

function floatOf(digits: string): number {
  return new DataView(fromHex(digits, "a float").buffer).getFloat64(0)
}

function hexOfFloat(value: number): string {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, value)
  return hex(bytes)
}
