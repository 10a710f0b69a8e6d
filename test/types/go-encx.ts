// Compiled, never run: what must type-check does, and what must not is marked.
import {
  type GoOpened,
  type GoSealedRow,
  type GoStoredRow,
  goByteArray,
  goBytes,
  goDate,
  goInt,
  goInt16,
  goString,
  goStrings,
  goTime,
  goUUID,
  pointer,
  serializeValue,
} from "../../core/go-encx/mod.ts"
import { type BasicHash, type Crypto, plain, record, type SealedColumn, type SecureHash, text } from "../../mod.ts"

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function assertType<_T extends true>(): void {}

declare const crypto: Crypto

const users = record(
  "users",
  { layout: "go-encx" },
  {
    ID: plain<number>(),
    FirstName: goString().encrypt().hashBasic(),
    Phone: pointer(goString()).encrypt().hashBasic(),
    Password: goString().hashSecure(),
    Recovery: goString().encrypt().hashSecure(),
    Born: goTime().encrypt(),
    SeenAt: goDate().encrypt(),
    Team: goUUID().encrypt().hashBasic(),
    Age: goInt().hashBasic(),
    Rank: goInt16().encrypt(),
    Photo: goBytes().encrypt(),
    Tags: goStrings().encrypt(),
    Digest: goByteArray(16).encrypt(),
  },
)

// --- openRecord(sealRecord(x)) has x's type, less what is only hashed ---

interface Opened {
  ID: number
  FirstName: string
  Phone: string | null
  Recovery: string
  Born: bigint | null
  SeenAt: Date | null
  Team: string | null
  Rank: number
  Photo: Uint8Array
  Tags: readonly string[]
  Digest: Uint8Array
}
assertType<
  Equal<{ [K in keyof GoOpened<typeof users>]: GoOpened<typeof users>[K] }, { [K in keyof Opened]: Opened[K] }>
>()
const user = {
  ID: 1,
  FirstName: "Ada",
  Phone: null,
  Password: "x",
  Recovery: "y",
  Born: 0n,
  SeenAt: new Date(0),
  Team: null,
  Age: 36n,
  Rank: 1,
  Photo: new Uint8Array(1),
  Tags: ["a"],
  Digest: new Uint8Array(16),
}
const row = await crypto.sealRecord(users, user)
const opened = await crypto.openRecord(users, row)
assertType<Equal<typeof opened, GoOpened<typeof users>>>()
const rows = await crypto.sealRecords(users, [user])
assertType<Equal<typeof rows, GoSealedRow<typeof users>[]>>()

// --- What a row looks like ---

assertType<
  Equal<
    { [K in keyof typeof row]: (typeof row)[K] },
    {
      id: number
      firstname_encrypted: SealedColumn<string>
      phone_encrypted: SealedColumn<string> | null
      recovery_encrypted: SealedColumn<string>
      born_encrypted: SealedColumn<bigint> | null
      seenat_encrypted: SealedColumn<Date> | null
      team_encrypted: SealedColumn<string> | null
      rank_encrypted: SealedColumn<number>
      photo_encrypted: SealedColumn<Uint8Array>
      tags_encrypted: SealedColumn<readonly string[]>
      digest_encrypted: SealedColumn<Uint8Array>
      firstname_hash: BasicHash | ""
      phone_hash: BasicHash | ""
      team_hash: BasicHash | ""
      age_hash: BasicHash | ""
      password_hash_secure: SecureHash | ""
      recovery_hash_secure: SecureHash | ""
      dek_encrypted: Uint8Array
      key_version: number
      metadata: string
    }
  >
>()

// --- What a database returns is taken ---

const small = record(
  "small",
  { layout: "go-encx" },
  { ID: plain<bigint>(), Email: goString().encrypt().hashBasic(), Phone: pointer(goString()).encrypt() },
)
const fromDatabase = {
  id: 1n,
  email_encrypted: new Uint8Array(1),
  email_hash: "",
  phone_encrypted: null as Uint8Array | null,
  dek_encrypted: new Uint8Array(1),
}
fromDatabase satisfies Partial<GoStoredRow<typeof small>>
await crypto.openRecord(small, { ...fromDatabase, key_version: 1, metadata: "{}" })
await crypto.openRecord(small, { ...fromDatabase, key_version: 1n, metadata: {} })
await crypto.openRecord(small, { ...fromDatabase, key_version: "1", metadata: new Uint8Array(1) })
// @ts-expect-error a column that is missing
await crypto.openRecord(small, { ...fromDatabase, key_version: 1 })
// @ts-expect-error NULL where the generator leaves nothing out
await crypto.openRecord(small, { ...fromDatabase, email_encrypted: null, key_version: 1, metadata: "{}" })

// --- Look-ups and hashes ---

const byName = crypto.lookup(users, "FirstName", "Ada")
assertType<Equal<typeof byName, { firstname_hash: BasicHash }>>()
byName.firstname_hash satisfies string
crypto.lookup(users, "Phone", "123")
crypto.lookup(users, "Age", 36n)
const found = await crypto.openMatches(users, [row], "FirstName", "Ada")
assertType<Equal<typeof found, GoOpened<typeof users>[]>>()
// @ts-expect-error what was skipped has no hash of its own
crypto.lookup(users, "Phone", null)
// @ts-expect-error a value of another type
crypto.lookup(users, "Age", 36)
// @ts-expect-error a field without an unkeyed hash
crypto.lookup(users, "Born", 0n)
// @ts-expect-error a password hash finds nothing
crypto.lookup(users, "Password", "x")
// @ts-expect-error the hashes of this layout have no name and no tenant
crypto.lookup(users, "FirstName", "Ada", { index: "other" })
await crypto.compareRecordHash(users, row, "Password", "x")
await crypto.compareRecordHash(users, row, "Age", 36n)
// @ts-expect-error a field without a hash
await crypto.compareRecordHash(users, row, "Photo", new Uint8Array(1))
// @ts-expect-error a value of another type
await crypto.compareRecordHash(users, row, "Password", 7)

// --- Hashes outside of a row ---

crypto.hashBasic("x")
crypto.hashBasic(5n, goInt())
crypto.hashBasic(null, pointer(goString()))
crypto.compareBasicHashAndValue(5n, "", goInt())
await crypto.hashSecure("x", { format: "go-encx" })
await crypto.hashSecure(5n, { format: "go-encx", type: goInt() })
await crypto.compareSecureHashAndValue(new Uint8Array(1), "", { context: { user: "7" } })
await crypto.compareSecureHashAndValue(5n, "", { type: goInt() })
declare const anything: unknown
// @ts-expect-error a value whose type in Go nobody said
await crypto.hashSecure(5, { format: "go-encx" })
// @ts-expect-error a value whose type in Go nobody said
await crypto.compareSecureHashAndValue(5n, "", { context: {} })
// @ts-expect-error no value
await crypto.compareSecureHashAndValue(null, "")
// @ts-expect-error a value of another type, or of none
await crypto.compareSecureHashAndValue(anything, "", { type: goInt() })
// @ts-expect-error a value of another type, or of none
crypto.hashBasic(anything, goString())
// @ts-expect-error a value of another type
crypto.compareBasicHashAndValue(5, "", goInt())
// @ts-expect-error a value of another type, or of none
serializeValue(goString(), anything)
// @ts-expect-error a type without the format that has one
await crypto.hashSecure("x", { type: goString() })
// @ts-expect-error a context, which the format does not bind
await crypto.hashSecure("x", { format: "go-encx", context: {} })

// --- Updates ---

const patch = await crypto.updateRecord(users, row, { FirstName: "Grace", Phone: null })
assertType<Equal<typeof patch, Partial<GoSealedRow<typeof users>>>>()
// @ts-expect-error a misspelt field
await crypto.updateRecord(users, row, { Firstname: "Grace" })
// @ts-expect-error a value of another type
await crypto.updateRecord(users, row, { Age: 36 })
await crypto.rewrapRecord(users, row)
await crypto.rewrapRecords(users, [row])

// --- What does not compile ---

// @ts-expect-error a misspelt field
await crypto.sealRecord(users, { ...user, Emial: "a@b.c" })
// @ts-expect-error a missing field
await crypto.sealRecord(small, { ID: 1n, Email: "a@b.c" })
// @ts-expect-error a value of another type
await crypto.sealRecord(users, { ...user, Rank: 1n })
// @ts-expect-error null where Go has no nil
await crypto.sealRecord(users, { ...user, FirstName: null })
// @ts-expect-error a sealed column where a plain value is meant
await crypto.sealRecord(users, { ...user, Photo: row.photo_encrypted })
// @ts-expect-error a hash where a plain value is meant
await crypto.sealRecord(users, { ...user, Recovery: row.recovery_hash_secure })
// @ts-expect-error both hashes
goString().hashBasic().hashSecure()
// @ts-expect-error both hashes
goString().encrypt().hashSecure().hashBasic()
// @ts-expect-error a field that nothing was said of
record("t", { layout: "go-encx" }, { Email: goString() })
// @ts-expect-error a field of the other layout
record("t", { layout: "go-encx" }, { Email: text().encrypt() })
// @ts-expect-error a field of this layout in the other
record("t", { row: "unbound" }, { Email: goString().encrypt() })
// @ts-expect-error an unknown layout
record("t", { layout: "go" }, { Email: goString().encrypt() })
// @ts-expect-error a layout that binds nothing has no row
record("t", { layout: "go-encx", row: "ID" }, { ID: plain<number>(), Email: goString().encrypt() })
