// Compiled, never run: what must type-check does, and what must not is marked.
import {
  type AnySchema,
  type BlindIndex,
  bigint,
  bytes,
  type Crypto,
  date,
  integer,
  json,
  lowercase,
  type Opened,
  paddedText,
  plain,
  record,
  type SealedColumn,
  type SealedRow,
  type SecureHash,
  type StoredRow,
  text,
} from "../../mod.ts"

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function assertType<_T extends true>(): void {}

declare const crypto: Crypto

// --- openRecord(sealRecord(x)) has x's type ---

const notes = record(
  "notes",
  { row: "id", tenant: "org" },
  {
    id: plain<number>(),
    org: plain<string>(),
    title: text().encrypt(),
    body: paddedText().encrypt().nullable(),
    tags: json<string[]>().encrypt(),
    at: date().encrypt().sealNull(),
    size: bigint().encrypt(),
  },
)
const note = {
  id: 1,
  org: "acme",
  title: "t",
  body: null as string | null,
  tags: ["a"],
  at: new Date(0) as Date | null,
  size: 3n,
}
const sealedNote = await crypto.sealRecord(notes, note)
const openedNote = await crypto.openRecord(notes, sealedNote)
assertType<Equal<typeof openedNote, typeof note>>()

// --- What a row looks like ---

const people = record(
  "people",
  { row: "id" },
  {
    id: plain<number>(),
    email: text()
      .encrypt()
      .index({ normalize: [lowercase] })
      .index({ name: "beacon", bits: 12, distinct: 100_000 }),
    birthDate: date().encrypt(),
    userID: integer().encrypt().nullable().index(),
    password: text().hashSecure(),
    photo: bytes().encrypt(),
  },
)
type People = SealedRow<typeof people>
assertType<
  Equal<
    { [K in keyof People]: People[K] },
    {
      id: number
      email_encrypted: SealedColumn<string>
      birth_date_encrypted: SealedColumn<Date>
      user_id_encrypted: SealedColumn<number> | null
      photo_encrypted: SealedColumn<Uint8Array>
      email_index: BlindIndex
      email_beacon_index: BlindIndex
      user_id_index: BlindIndex | null
      password_hash_secure: SecureHash
      dek_encrypted: Uint8Array
      key_version: number
    }
  >
>()
assertType<
  Equal<Opened<typeof people>, { id: number; email: string; birthDate: Date; userID: number | null; photo: Uint8Array }>
>()

const generated = record("events", { row: "generated" }, { what: text().encrypt() })
assertType<Equal<SealedRow<typeof generated>["record_id"], string>>()
const hashed = record("logins", { row: "id" }, { id: plain<bigint>(), password: text().hashSecure() })
assertType<Equal<keyof SealedRow<typeof hashed>, "id" | "password_hash_secure">>()

const person = { id: 7, email: "a@b.c", birthDate: new Date(0), userID: null, password: "x", photo: new Uint8Array(1) }
const row = await crypto.sealRecord(people, person)
assertType<Equal<typeof row, People>>()

// --- What a database returns is taken ---

await crypto.openRecord(notes, {
  id: 1,
  org: "acme",
  title_encrypted: new Uint8Array(1),
  body_encrypted: null,
  tags_encrypted: new Uint8Array(1),
  at_encrypted: new Uint8Array(1),
  size_encrypted: new Uint8Array(1),
  dek_encrypted: new Uint8Array(1),
  key_version: 1,
})

// --- Look-ups ---

const byEmail = crypto.lookup(people, "email", "a@b.c")
assertType<Equal<typeof byEmail, { email_index: BlindIndex }>>()
const byBeacon = crypto.lookup(people, "email", "a@b.c", { index: "beacon" })
assertType<Equal<typeof byBeacon, { email_beacon_index: BlindIndex }>>()
// @ts-expect-error a field without an index
crypto.lookup(people, "birthDate", new Date(0))
// @ts-expect-error a plain field
crypto.lookup(people, "id", 7)
// @ts-expect-error a hashed field
crypto.lookup(people, "password", "x")
// @ts-expect-error a value of another type
crypto.lookup(people, "email", 7)
// @ts-expect-error an index that is not there
crypto.lookup(people, "email", "a@b.c", { index: "other" })

// --- What does not compile ---

// @ts-expect-error a misspelt field
await crypto.sealRecord(people, { ...person, emial: "a@b.c" })
// @ts-expect-error a missing field
await crypto.sealRecord(notes, { id: 1, org: "acme", title: "t" })
// A program's own function for any table.
export const openAny = <S extends AnySchema>(schema: S, row: StoredRow<S>): Promise<Opened<S>> =>
  crypto.openRecord(schema, row)
// @ts-expect-error a value of another type
await crypto.sealRecord(people, { ...person, email: 7 })
// @ts-expect-error null in a field that is not nullable
await crypto.sealRecord(people, { ...person, email: null })
// @ts-expect-error a sealed column where a plain value is meant
await crypto.sealRecord(people, { ...person, photo: row.photo_encrypted })
// @ts-expect-error a hash where a plain value is meant
await crypto.sealRecord(people, { ...person, email: row.password_hash_secure })
// @ts-expect-error a sealed column of another type
row.birth_date_encrypted satisfies SealedColumn<string>
// @ts-expect-error the row's identity cannot be changed
await crypto.updateRecord(people, row, { id: 8 })
// @ts-expect-error the tenant cannot be changed
await crypto.updateRecord(notes, sealedNote, { org: "other" })
// @ts-expect-error a misspelt field
await crypto.updateRecord(people, row, { emial: "a@b.c" })
await crypto.updateRecord(people, row, { email: "b@c.d" })
// @ts-expect-error a row is bound to a plain field
record("t", { row: "email" }, { email: text().encrypt() })
// @ts-expect-error a field that nothing was said of
record("t", { row: "id" }, { id: plain<number>(), email: text() })
// @ts-expect-error only an encrypted field has an index
record("t", { row: "id" }, { id: plain<number>(), email: text().hashSecure().index() })
// @ts-expect-error a field with an index has no sealed NULL
text().encrypt().index().sealNull()
// @ts-expect-error only a hash is compared
await crypto.compareRecordHash(people, row, "email", "x")
// @ts-expect-error tenants are text
record("t", { row: "id", tenant: "id" }, { id: plain<number>(), email: text().encrypt() })
