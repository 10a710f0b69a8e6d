import assert from "node:assert/strict"
import { randomInt } from "node:crypto"
import { rmSync } from "node:fs"
import { mkdtemp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { fromHex, hex, randomBytes } from "../../core/bytes.ts"
import type { GoStoredRow } from "../../core/go-encx/mod.ts"
import {
  type Crypto,
  DecryptionFailed,
  newCrypto,
  record,
  withDatabase,
  withKEKAlias,
  withKMSService,
  withPepper,
} from "../../mod.ts"
import {
  CHEAP,
  fromPeer,
  PEPPER,
  type PeerPerson,
  type PeerRow,
  type Person,
  person,
  rowFromPeer,
  rowToPeer,
  seededKMS,
  toPeer,
  type Wrap,
} from "../go-encx/_program.ts"
import { needsPeer, type Peer, startPeer } from "./_peer.ts"

// Rows both ways, and one keys.db that both sides rotate.

const ROWS = 200
const HASHED = 8
// The peer's password hashes are as cheap as can be; ours are of the lowest cost that is allowed.
const COST = { m: 64, t: 1, p: 1 }
const SEED = Uint8Array.of(0, 0x5e, 0xed)
const WRAPS: readonly Wrap[] = ["raw", "base64", "vault"]

/** What both sides write alike. */
const BOTH = ["email_hash", "phone_hash", "age_hash", "tags_hash", "id", "note", "key_version"] as const
const { Password: _password, Recovery: _recovery, ...lightFields } = person.fields
const light = record("people", { layout: "go-encx" }, lightFields)

type PersonRow = GoStoredRow<typeof person>

let peer: Peer
let folder: string

const ALPHABET = [...'abcXYZ 019\u0000\n"\\<>&é日😀\ufeff\u2028']
const text = (max: number): string =>
  Array.from({ length: randomInt(max) }, () => ALPHABET[randomInt(ALPHABET.length)]).join("")
const int64 = (): bigint => BigInt.asIntN(64, BigInt(`0x${hex(randomBytes(8))}`))
const maybe = <Value>(make: () => Value): Value | null => (randomInt(4) === 0 ? null : make())

function float(): number {
  const value = new DataView(randomBytes(8).buffer).getFloat64(0)
  return Number.isNaN(value) ? -0 : value
}

function randomPerson(): Person {
  return {
    ID: randomInt(2 ** 47),
    Note: text(8),
    Email: text(40),
    Phone: maybe(() => text(12)),
    Password: text(12),
    Recovery: text(12),
    Born: maybe(int64),
    Age: int64(),
    Score: float(),
    Active: randomInt(2) === 1,
    Photo: randomBytes(randomInt(300)),
    Tags: Array.from({ length: randomInt(4) }, () => text(9)),
    Rank: randomInt(-(2 ** 15), 2 ** 15),
    Visits: randomInt(2 ** 32),
  }
}

// What is only hashed does not come back: the peer gives its zero value.
const withoutPassword = ({ Password: _, ...rest }: Person): Omit<Person, "Password"> => rest

async function shared<Result>(wrap: Wrap, use: (crypto: Crypto, name: string) => Promise<Result>): Promise<Result> {
  const dir = await mkdtemp(join(folder, "keys-"))
  const open = { name: dir, dir, seed: hex(SEED), pepper: hex(PEPPER), alias: "alias/interop", wrap, ...COST }
  await peer.ask("open", open)
  const crypto = await newCrypto(
    withKMSService(seededKMS(SEED, wrap)),
    withKEKAlias("alias/interop"),
    withDatabase(`sqlite:${join(dir, "keys.db")}`),
    withPepper(PEPPER),
    CHEAP,
  )
  try {
    return await use(crypto, dir)
  } finally {
    await crypto.close()
    await peer.ask("close", { crypto: dir })
  }
}

async function theirRow(name: string, given: Person): Promise<PersonRow> {
  const { row } = await peer.ask<{ row: PeerRow }>("processRow", { crypto: name, row: toPeer(given) })
  return rowFromPeer<PersonRow>(row)
}

async function openedByPeer(name: string, row: object): Promise<Omit<Person, "Password">> {
  const asked = { crypto: name, row: rowToPeer(row as Readonly<Record<string, unknown>>) }
  const answer = await peer.ask<{ row: PeerPerson }>("decryptRow", asked)
  return withoutPassword(fromPeer(answer.row))
}

describe("rows with the Go peer", needsPeer("go-encx"), () => {
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "encx-rows-"))
    peer = startPeer("go-encx")
  })

  after(async () => {
    await peer?.close()
    if (folder) rmSync(folder, { recursive: true, force: true })
  })

  it(`openRecord() opens ${ROWS} rows of the peer's, whose hashes are those that are looked up and compared`, async () => {
    let opened = 0
    for (const wrap of WRAPS) {
      await shared(wrap, async (crypto, name) => {
        for (let i = 0; i < Math.ceil(ROWS / WRAPS.length); i++) {
          const given = randomPerson()
          const row = await theirRow(name, given)
          assert.deepEqual(await crypto.openRecord(person, row), withoutPassword(given))
          assert.deepEqual(crypto.lookup(person, "Email", given.Email), { email_hash: row.email_hash })
          assert.deepEqual(crypto.lookup(person, "Age", given.Age), { age_hash: row.age_hash })
          assert.deepEqual(crypto.lookup(person, "Tags", given.Tags), { tags_hash: row.tags_hash })
          if (given.Phone === null) assert.equal(row.phone_hash, "")
          else assert.deepEqual(crypto.lookup(person, "Phone", given.Phone), { phone_hash: row.phone_hash })
          if (i % 10 === 0) {
            assert.ok(await crypto.compareRecordHash(person, row, "Password", given.Password))
            assert.ok(!(await crypto.compareRecordHash(person, row, "Password", `${given.Password}x`)))
          }
          opened++
        }
      })
    }
    assert.ok(opened >= ROWS)
  })

  it(`sealRecord() writes ${ROWS} rows that the peer opens, with hashes that it makes and accepts`, async () => {
    let opened = 0
    for (const wrap of WRAPS) {
      await shared(wrap, async (crypto, name) => {
        const people = Array.from({ length: Math.ceil(ROWS / WRAPS.length) }, randomPerson)
        const hashed = people.slice(0, HASHED)
        for (const [i, row] of (await crypto.sealRecords(person, hashed)).entries()) {
          const given = hashed[i] as Person
          assert.deepEqual(await openedByPeer(name, row), withoutPassword(given))
          const theirs = await theirRow(name, given)
          assert.deepEqual(Object.keys(row).sort(), Object.keys(theirs).sort())
          for (const column of BOTH) assert.equal(row[column], theirs[column], column)
          const question = { crypto: name, type: "string", hash: row.password_hash_secure }
          const compare = (value: string): Promise<{ match: boolean }> =>
            peer.ask("compareSecure", { ...question, value })
          assert.equal((await compare(given.Password)).match, true)
          assert.equal((await compare(`${given.Password}x`)).match, false)
          opened++
        }
        // The others without password hashes, which would take most of the time.
        const lighter = people.slice(HASHED).map(({ Password: _, Recovery: _recovery, ...rest }) => rest)
        for (const [i, row] of (await crypto.sealRecords(light, lighter)).entries()) {
          const given = lighter[i] as (typeof lighter)[number]
          assert.deepEqual(await openedByPeer(name, row), { ...given, Recovery: "" })
          const theirs = await theirRow(name, { ...given, Password: "", Recovery: "" })
          for (const column of BOTH) assert.equal(row[column], theirs[column], column)
          opened++
        }
      })
    }
    assert.ok(opened >= ROWS)
  })

  it("updateRecord() and rewrapRecord() leave rows that the peer opens", async () => {
    await shared("raw", async (crypto, name) => {
      for (let i = 0; i < 20; i++) {
        const given = randomPerson()
        const row = await theirRow(name, given)
        const patch = { Email: text(20), Phone: maybe(() => text(9)), Born: maybe(int64) }
        const updated = { ...row, ...(await crypto.updateRecord(person, row, patch)) }
        const wanted = withoutPassword({ ...given, ...patch })
        assert.deepEqual(await openedByPeer(name, updated), wanted)
        if (i % 5 === 0) await crypto.rotateKEK()
        const fresh = { ...updated, ...(await crypto.rewrapRecord(person, updated as PersonRow)) }
        assert.equal(fresh.key_version, await crypto.getCurrentKEKVersion())
        assert.deepEqual(await openedByPeer(name, fresh), wanted)
      }
    })
  })

  it("encryptDEK() and decryptDEKWithVersion() exchange data keys with the peer", async () => {
    for (const wrap of WRAPS) {
      await shared(wrap, async (crypto, name) => {
        for (let version = 1; version <= 3; version++) {
          const ours = crypto.generateDEK()
          const wrapped = await crypto.encryptDEK(ours, { format: "go-encx" })
          assert.equal(wrapped.version, version)
          const question = { crypto: name, wrapped: hex(wrapped.ciphertext), version }
          assert.equal((await peer.ask("decryptDEK", question))["dek"], hex(ours))
          const theirs = crypto.generateDEK()
          const answer = await peer.ask("encryptDEK", { crypto: name, dek: hex(theirs) })
          const bytes = fromHex(String(answer["wrapped"]), "a wrapped key")
          assert.deepEqual(await crypto.decryptDEKWithVersion(bytes, version, { format: "go-encx" }), theirs)
          // Neither form is ever tried for the other.
          const bound = await crypto.encryptDEK(ours)
          await assert.rejects(
            () => crypto.decryptDEKWithVersion(bound.ciphertext, version, { format: "go-encx" }),
            DecryptionFailed,
          )
          await crypto.rotateKEK()
        }
      })
    }
  })

  it("one keys.db serves both sides, whichever of them rotates", async () => {
    await shared("raw", async (crypto, name) => {
      const rows: { given: Person; row: object; version: number }[] = []
      for (let version = 1; version <= 12; version++) {
        for (const side of ["ours", "theirs"]) {
          const given = randomPerson()
          const row = side === "ours" ? await crypto.sealRecord(person, given) : await theirRow(name, given)
          rows.push({ given, row, version })
        }
        if (version % 2 === 0) await crypto.rotateKEK()
        else await peer.ask("rotateKEK", { crypto: name })
        // What the peer rotated, this side notices with the first row of that version, or after the age of what it knows.
        const newest = randomPerson()
        const row = await theirRow(name, newest)
        assert.equal(row.key_version, version + 1)
        assert.deepEqual(await crypto.openRecord(person, row), withoutPassword(newest))
        rows.push({ given: newest, row, version: version + 1 })
      }
      for (const { given, row, version } of rows) {
        assert.equal((row as PersonRow).key_version, version)
        assert.deepEqual(await crypto.openRecord(person, row as PersonRow), withoutPassword(given))
        assert.deepEqual(await openedByPeer(name, row), withoutPassword(given))
      }
      const { versions } = await peer.ask<{
        versions: { version: number; kms_key_id: string; is_deprecated: boolean }[]
      }>("versions", { crypto: name })
      assert.deepEqual(
        versions.map(({ version, kms_key_id, is_deprecated }) => [version, kms_key_id, is_deprecated]),
        Array.from({ length: 13 }, (_, i) => [i + 1, `key-${i + 1}`, i < 12]),
      )
      assert.equal(await crypto.getCurrentKEKVersion(), 13)
    })
  })
})
