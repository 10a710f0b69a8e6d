import assert from "node:assert/strict"
import { existsSync, readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { fromHex, hex } from "../../core/bytes.ts"
import {
  GoField,
  type GoStoredRow,
  type GoType,
  goBytes,
  goDate,
  goInt,
  goString,
  goTime,
  goUUID,
  pointer,
} from "../../core/go-encx/mod.ts"
import {
  type Crypto,
  DecryptionFailed,
  EncryptionFailed,
  EncxError,
  InvalidConfiguration,
  InvalidFormat,
  InvalidInput,
  newCrypto,
  plain,
  record,
  text,
  UninitializedPepper,
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
  person,
  rowFromPeer,
  seededKMS,
  toPeer,
  versionsInMemory,
  type Wrap,
  withProgram,
} from "./_program.ts"

type PersonRow = GoStoredRow<typeof person>
type Loose = Record<string, unknown>
type Sized = { readonly length?: number } | null

const ada = {
  ID: 7,
  Note: "as it is",
  Email: "ada@example.org",
  Phone: "+44 123" as string | null,
  Password: "correct horse",
  Recovery: "battery",
  Born: -4_859_000_000_000_000_000n as bigint | null,
  Age: 36n,
  Score: -0.5,
  Active: true,
  Photo: Uint8Array.of(1, 2, 3),
  Tags: ["a", "é"] as readonly string[],
  Rank: -3,
  Visits: 2 ** 32 - 1,
}
const { Password: _, ...opened } = ada

// --- The Go library's own ---

interface Golden {
  readonly seed: string
  readonly pepper: string
  readonly alias: string
  readonly in: Partial<PeerPerson>
  readonly row: PeerRow
  readonly out: Partial<PeerPerson>
}
const VECTORS = new URL("../vectors/encx-go-2.json", import.meta.url)
const { rows: golden, columns } = JSON.parse(readFileSync(VECTORS, "utf8")) as {
  readonly rows: readonly Golden[]
  readonly columns: readonly Readonly<Record<string, string>>[]
}

async function withGolden(each: Golden, use: (crypto: Crypto, row: PersonRow) => Promise<void>): Promise<void> {
  const crypto = await newCrypto(
    withKMSService(seededKMS(fromHex(each.seed, "a seed"))),
    withKEKAlias(each.alias),
    withDatabase(versionsInMemory()),
    withPepper(fromHex(each.pepper, "a pepper")),
    CHEAP,
  )
  try {
    await use(crypto, rowFromPeer<PersonRow>(each.row))
  } finally {
    await crypto.close()
  }
}

describe("the Go library's rows", () => {
  it("are here, eight of them", () => {
    assert.ok(existsSync(VECTORS))
    assert.equal(golden.length, 8)
  })

  it("open to what they were made of, hash-only fields aside", async () => {
    for (const each of golden) {
      await withGolden(each, async (crypto, row) => {
        const { Password: _, ...expected } = fromPeer(each.out)
        assert.deepEqual(await crypto.openRecord(person, row), expected)
        const metadata = JSON.stringify(row.metadata)
        assert.deepEqual(await crypto.openRecord(person, { ...row, metadata }), expected, "JSON as text")
        const asDatabases = {
          ...row,
          key_version: BigInt(row.key_version),
          dek_encrypted: Buffer.from(row.dek_encrypted),
        }
        assert.deepEqual(await crypto.openRecord(person, asDatabases), expected)
        assert.deepEqual(await crypto.openRecord(person, { ...row, key_version: String(row.key_version) }), expected)
      })
    }
  })

  it("have the hashes that are looked up by, and those that passwords are compared with", async () => {
    for (const each of golden) {
      await withGolden(each, async (crypto, row) => {
        const given = fromPeer(each.in)
        assert.deepEqual(crypto.lookup(person, "Email", given.Email), { email_hash: row.email_hash })
        assert.deepEqual(crypto.lookup(person, "Phone", given.Phone ?? ""), { phone_hash: row.phone_hash })
        assert.deepEqual(crypto.lookup(person, "Age", given.Age), { age_hash: row.age_hash })
        assert.deepEqual(crypto.lookup(person, "Tags", given.Tags), { tags_hash: row.tags_hash })
        assert.equal(await crypto.compareRecordHash(person, row, "Password", given.Password), true)
        assert.equal(await crypto.compareRecordHash(person, row, "Recovery", given.Recovery), true)
        assert.equal(await crypto.compareRecordHash(person, row, "Recovery", `${given.Recovery}x`), false)
        assert.equal(await crypto.compareRecordHash(person, row, "Age", given.Age), true)
        assert.equal(await crypto.compareRecordHash(person, row, "Age", given.Age + 1n), false)
        const matches = await crypto.openMatches(person, [row, row], "Email", given.Email)
        assert.equal(matches.length, 2)
        assert.deepEqual(await crypto.openMatches(person, [row], "Email", "other"), [])
      })
    }
  })

  it("are re-sealed in the same columns, with the same hashes, and open again", async () => {
    for (const each of golden) {
      await withGolden(each, async (crypto, row) => {
        const given = fromPeer(each.in)
        const again = (await crypto.sealRecord(person, given)) as Loose
        assert.deepEqual(Object.keys(again).sort(), Object.keys(each.row).sort())
        for (const [column, value] of Object.entries(each.row)) {
          if (column === "metadata") continue
          if (column.endsWith("_hash") || column === "id" || column === "note") assert.deepEqual(again[column], value)
          assert.equal(again[column] === null, value === null, column)
          assert.equal((again[column] as Sized)?.length, ((row as Loose)[column] as Sized)?.length, column)
        }
        assert.deepEqual(toPeer({ ...given, ...(await crypto.openRecord(person, again as never)) }), toPeer(given))
      })
    }
  })

  it("have columns called as the generator calls them", async () => {
    const fields = {
      UserID: plain<number>(),
      FirstName: goString().encrypt().hashBasic(),
      HTTPToken: goString().encrypt(),
      Password: goString().hashSecure(),
    }
    const schema = record("columns", { layout: "go-encx" }, fields)
    await withProgram(async (crypto) => {
      const row = await crypto.sealRecord(schema, { UserID: 1, FirstName: "a", HTTPToken: "b", Password: "c" })
      const wanted = columns.flatMap(({ field: _, ...names }) => Object.values(names))
      assert.deepEqual(Object.keys(row).sort(), [...wanted, "dek_encrypted", "key_version", "metadata"].sort())
    })
  })
})

// --- Sealing and opening ---

describe('sealRecord() of the layout "go-encx"', () => {
  it("gives back every value, and holds no plaintext", async () => {
    await withProgram(async (crypto) => {
      const before = Math.floor(Date.now() / 1000)
      const row = await crypto.sealRecord(person, ada)
      assert.deepEqual(await crypto.openRecord(person, row), opened)
      assert.deepEqual(Object.keys(await crypto.openRecord(person, row)), Object.keys(opened))
      const { encryption_time, ...metadata } = JSON.parse(row.metadata)
      assert.deepEqual(metadata, { pepper_version: 0, kek_alias: "alias/interop", generator_version: "1.0.0" })
      assert.ok(Number.isInteger(encryption_time) && encryption_time >= before)
      assert.match(
        row.metadata,
        /^\{"pepper_version":0,"kek_alias":"alias\/interop","encryption_time":\d+,"generator_version":"1\.0\.0"\}$/,
      )
      const stored = Object.values(row).map((each) =>
        each instanceof Uint8Array ? Buffer.from(each).toString("latin1") : String(each),
      )
      for (const secret of ["ada@example", "+44 123", "horse", "battery"])
        assert.ok(!stored.some((each) => each.includes(secret)), secret)
    })
  })

  it("leaves out what the generator leaves out: NULL, and empty hashes", async () => {
    const schema = record(
      "absent",
      { layout: "go-encx" },
      {
        Phone: pointer(goString()).encrypt().hashBasic(),
        Code: pointer(goString()).hashSecure(),
        Born: goTime().encrypt().hashBasic(),
        Seen: goDate().encrypt(),
        Team: goUUID().encrypt().hashBasic(),
        Photo: pointer(goBytes()).encrypt(),
      },
    )
    await withProgram(async (crypto) => {
      const none = { Phone: null, Code: null, Born: null, Seen: null, Team: null, Photo: null }
      const row = await crypto.sealRecord(schema, none)
      const { dek_encrypted, key_version, metadata: _, ...columns } = row
      assert.deepEqual(columns, {
        ...{ phone_encrypted: null, phone_hash: "", code_hash_secure: "", born_encrypted: null, born_hash: "" },
        ...{ seen_encrypted: null, team_encrypted: null, team_hash: "", photo_encrypted: null },
      })
      assert.equal(key_version, 1)
      assert.equal(dek_encrypted.length, 60)
      const { Code: _code, ...rest } = none
      assert.deepEqual(await crypto.openRecord(schema, row), rest)
      const empty = { ...row, phone_encrypted: new Uint8Array(0), team_encrypted: Buffer.alloc(0) }
      assert.deepEqual(await crypto.openRecord(schema, empty), rest, "a driver may give no bytes for NULL")
      assert.equal(await crypto.compareRecordHash(schema, row, "Code", ""), false)
      assert.equal(await crypto.compareRecordHash(schema, row, "Phone", ""), false)
      assert.deepEqual(await crypto.openMatches(schema, [row], "Phone", ""), [])
      const some = { ...none, Phone: "", Born: 0n, Team: "9b2ac2e1-0000-4000-8000-0123456789ab" }
      const { Code: _absent, ...found } = some
      assert.deepEqual(await crypto.openRecord(schema, await crypto.sealRecord(schema, some)), found)
      const nil = "00000000-0000-0000-0000-000000000000"
      assert.equal((await crypto.sealRecord(schema, { ...none, Team: nil })).team_encrypted, null)
    })
  })

  it("gives every record a data key of its own", async () => {
    await withProgram(async (crypto) => {
      const schema = record("t", { layout: "go-encx" }, { A: goString().encrypt() })
      const rows = await crypto.sealRecords(
        schema,
        Array.from({ length: 40 }, (_, i) => ({ A: String(i) })),
      )
      assert.equal(new Set(rows.map(({ dek_encrypted }) => hex(dek_encrypted))).size, 40)
      const back = await Promise.all(rows.map((row) => crypto.openRecord(schema, row)))
      assert.deepEqual(
        back.map(({ A }) => A),
        Array.from({ length: 40 }, (_, i) => String(i)),
      )
    })
  })

  it("seals what the objects held when it was called, however many there are", async () => {
    await withProgram(async (crypto) => {
      const schema = record("t", { layout: "go-encx" }, { A: goBytes().encrypt() })
      const objects = Array.from({ length: 40 }, (_, i) => ({ A: Uint8Array.of(i + 1) }))
      const sealing = crypto.sealRecords(schema, objects)
      for (const { A } of objects) A.fill(0)
      const back = await Promise.all((await sealing).map((row) => crypto.openRecord(schema, row)))
      assert.deepEqual(
        back.map(({ A }) => A[0]),
        objects.map((_, i) => i + 1),
      )
    })
  })

  it("names the field that cannot be sealed, calls no KMS and returns nothing of the record", async () => {
    await withProgram(async (crypto) => {
      const calls = { ...crypto.stats().kms }
      const wrong: [string, Loose][] = [
        ["Email", { ...ada, Email: "\ud800" }],
        ["Email", { ...ada, Email: 7 }],
        ["Email", { ...ada, Email: null }],
        ["Email", { ...ada, Email: undefined }],
        ["Phone", { ...ada, Phone: undefined }],
        ["Age", { ...ada, Age: 36 }],
        ["Age", { ...ada, Age: 2n ** 63n }],
        ["Rank", { ...ada, Rank: 40_000 }],
        ["Visits", { ...ada, Visits: -1 }],
        ["Born", { ...ada, Born: new Date(0) }],
        ["Active", { ...ada, Active: 1 }],
        ["Password", { ...ada, Password: 1 }],
        ["Recovery", { ...ada, Recovery: "x".repeat(2 ** 20) }],
        ["Tags", { ...ada, Tags: ["a", 1] }],
        ["Emial", { ...ada, Emial: "x" }],
        ["Note", { ...ada, Note: undefined }],
      ]
      for (const [field, object] of wrong) {
        await assert.rejects(crypto.sealRecord(person, object as never), (error: unknown) => {
          assert.ok(error instanceof EncryptionFailed, String(error))
          assert.equal(error.field, field)
          assert.ok(!/ada@|horse|40000/.test(error.message), error.message)
          return true
        })
      }
      assert.deepEqual(crypto.stats().kms, calls)
      const proto = Object.create(ada) as typeof ada
      await assert.rejects(crypto.sealRecord(person, proto), EncryptionFailed, "what is inherited is no field")
    })
  })

  it("ends with the first record that fails", async () => {
    await withProgram(async (crypto) => {
      const schema = record("t", { layout: "go-encx" }, { A: goString().encrypt() })
      await assert.rejects(crypto.sealRecords(schema, [{ A: "x" }, { A: 7 as never }, { A: "z" }]), EncryptionFailed)
      const calls = { ...crypto.stats().kms }
      const many = [...Array.from({ length: 40 }, () => ({ A: "x" })), { A: 7 as never }]
      await assert.rejects(crypto.sealRecords(schema, many), EncryptionFailed)
      assert.deepEqual(crypto.stats().kms, calls, "before the KMS is asked for any of them")
    })
  })

  it("refuses without a database, and a password hash without a pepper", async () => {
    const kms = seededKMS(Uint8Array.of(1))
    const schema = record("t", { layout: "go-encx" }, { A: goString().encrypt(), B: goString().hashSecure() })
    const alone = await newCrypto(withKMSService(kms), withKEKAlias("a"), withPepper(PEPPER), CHEAP)
    await assert.rejects(alone.sealRecord(schema, { A: "x", B: "y" }), (error: unknown) => {
      return error instanceof InvalidConfiguration && /database/i.test(`${error.message} ${error.hint}`)
    })
    await alone.close()
    const plainOne = await newCrypto(withKMSService(kms), withKEKAlias("a"), withDatabase(versionsInMemory()))
    await assert.rejects(plainOne.sealRecord(schema, { A: "x", B: "y" }), UninitializedPepper)
    const long = { A: "x", B: "y".repeat(2 ** 20) }
    await assert.rejects(plainOne.sealRecord(schema, long), EncryptionFailed, "found before a hash is asked for")
    await plainOne.close()
  })

  it("reads what it wrote with every spelling of a wrapped key", async () => {
    for (const wrap of ["raw", "base64", "vault"] as const satisfies readonly Wrap[]) {
      await withProgram(
        async (crypto) => {
          const row = await crypto.sealRecord(person, ada)
          if (wrap === "vault") assert.match(Buffer.from(row.dek_encrypted).toString("latin1"), /^vault:v1:/)
          assert.deepEqual(await crypto.openRecord(person, row), opened)
        },
        withKMSService(seededKMS(Uint8Array.of(9), wrap)),
      )
    }
  })
})

describe('openRecord() of the layout "go-encx"', () => {
  it("refuses what is no row of it before any call", async () => {
    await withProgram(async (crypto) => {
      const row = await crypto.sealRecord(person, ada)
      crypto.invalidate()
      const calls = { ...crypto.stats().kms }
      const without = (column: string): Loose => {
        const { [column]: _, ...rest } = row as Loose
        return rest
      }
      const broken: Loose[] = [
        ...Object.keys(row)
          .filter((column) => !/_hash/.test(column))
          .map(without),
        { ...row, email_encrypted: null },
        { ...row, email_encrypted: new Uint8Array(0) },
        { ...row, email_encrypted: row.email_encrypted.subarray(0, 27) },
        { ...row, email_encrypted: "ada@example.org" },
        { ...row, dek_encrypted: null },
        { ...row, dek_encrypted: new Uint8Array(0) },
        { ...row, dek_encrypted: hex(row.dek_encrypted) },
        ...[0, -1, 1.5, Number.NaN, 2 ** 31, "", "01", "1 ", "x", null, true, 0n, 2n ** 64n].map((key_version) => ({
          ...row,
          key_version,
        })),
        ...["", "x", "[]", "null", null, 7, []].map((metadata) => ({ ...row, metadata })),
      ]
      for (const each of broken)
        await assert.rejects(crypto.openRecord(person, each as never), InvalidFormat, JSON.stringify(Object.keys(each)))
      assert.deepEqual(crypto.stats().kms, calls)
    })
  })

  it("refuses what was changed, or is another row's", async () => {
    await withProgram(async (crypto) => {
      const row = await crypto.sealRecord(person, ada)
      const other = await crypto.sealRecord(person, { ...ada, ID: 8 })
      const flipped = (bytes: Uint8Array, at: number): Uint8Array => bytes.with(at, (bytes.at(at) as number) ^ 1)
      const changed: PersonRow[] = [
        { ...row, dek_encrypted: other.dek_encrypted },
        { ...row, email_encrypted: other.email_encrypted },
        { ...row, email_encrypted: flipped(row.email_encrypted, -1) },
        { ...row, visits_encrypted: flipped(row.visits_encrypted, 0) },
        { ...row, dek_encrypted: flipped(row.dek_encrypted, 20) },
        { ...row, dek_encrypted: row.dek_encrypted.subarray(1) },
      ]
      for (const each of changed) {
        await assert.rejects(crypto.openRecord(person, each), DecryptionFailed)
        await assert.rejects(crypto.updateRecord(person, each, { Email: "x" }), DecryptionFailed)
        await assert.rejects(crypto.rewrapRecord(person, each), DecryptionFailed)
      }
      await assert.rejects(crypto.openRecord(person, { ...row, key_version: 9 }), EncxError)
    })
  })

  it("refuses a value of another type than the field's, and says nothing of it", async () => {
    await withProgram(async (crypto) => {
      const asText = record("t", { layout: "go-encx" }, { A: goString().encrypt() })
      const asNumber = record("t", { layout: "go-encx" }, { A: goInt().encrypt() })
      const row = await crypto.sealRecord(asText, { A: "secret" })
      await assert.rejects(crypto.openRecord(asNumber, row as never), (error: unknown) => {
        return (
          error instanceof InvalidFormat && /^Cannot open "A": /.test(error.message) && !/secret/.test(error.message)
        )
      })
    })
  })

  it("does not notice a swap within a row: the format binds nothing, and the documents say so", async () => {
    await withProgram(async (crypto) => {
      const schema = record("t", { layout: "go-encx" }, { A: goString().encrypt(), B: goString().encrypt() })
      const row = await crypto.sealRecord(schema, { A: "a", B: "b" })
      const swapped = { ...row, a_encrypted: row.b_encrypted, b_encrypted: row.a_encrypted }
      assert.deepEqual(await crypto.openRecord(schema, swapped as never), { A: "b", B: "a" })
    })
  })

  it("takes no row of the other layout, and the other none of this: each says so", async () => {
    await withProgram(async (crypto) => {
      const ours = record(
        "t",
        { row: "id" },
        { id: plain<number>(), email: text().encrypt(), pin: text().hashSecure() },
      )
      const theirs = record(
        "t",
        { layout: "go-encx" },
        { id: plain<number>(), email: goString().encrypt(), pin: goString().hashSecure() },
      )
      const row = await crypto.sealRecord(ours, { id: 1, email: "x", pin: "1" })
      const goRow = await crypto.sealRecord(theirs, { id: 1, email: "x", pin: "1" })
      crypto.invalidate()
      const calls = { ...crypto.stats().kms }
      const refused = async (work: Promise<unknown>, hint: RegExp): Promise<void> => {
        await assert.rejects(work, (error: unknown) => {
          assert.ok(error instanceof InvalidFormat, String(error))
          assert.match(`${error.message} ${error.hint}`, hint)
          return true
        })
      }
      const native = { ...row, metadata: goRow.metadata }
      for (const work of [
        () => crypto.openRecord(theirs, native as never),
        () => crypto.updateRecord(theirs, native as never, { email: "y" }),
        () => crypto.rewrapRecord(theirs, native as never),
      ])
        await refused(work(), /not written in the layout "go-encx"/)
      for (const work of [
        () => crypto.openRecord(ours, goRow as never),
        () => crypto.updateRecord(ours, goRow as never, { email: "y" }),
        () => crypto.rewrapRecord(ours, goRow as never),
      ])
        await refused(work(), /layout "go-encx"/)
      await assert.rejects(crypto.compareRecordHash(ours, goRow as never, "pin", "1"), InvalidFormat)
      await assert.rejects(crypto.compareRecordHash(theirs, native as never, "pin", "1"), InvalidFormat)
      assert.deepEqual(crypto.stats().kms, calls)
    })
  })
})

// --- Changing and finding ---

describe('updateRecord() of the layout "go-encx"', () => {
  it("seals what changed with the row's own key, and gives back its columns alone", async () => {
    await withProgram(async (crypto) => {
      const row = await crypto.sealRecord(person, ada)
      const wraps = crypto.stats().kms.encryptDEK
      const patch = await crypto.updateRecord(person, row, {
        Email: "grace@example.org",
        Phone: null,
        Note: "new",
        Password: "other",
      })
      assert.deepEqual(Object.keys(patch), [
        "note",
        "email_encrypted",
        "email_hash",
        "phone_encrypted",
        "phone_hash",
        "password_hash_secure",
      ])
      assert.equal(crypto.stats().kms.encryptDEK, wraps)
      assert.equal(patch.phone_encrypted, null)
      assert.equal(patch.phone_hash, "")
      const updated = { ...row, ...patch }
      assert.deepEqual(await crypto.openRecord(person, updated), {
        ...opened,
        Email: "grace@example.org",
        Phone: null,
        Note: "new",
      })
      assert.deepEqual(crypto.lookup(person, "Email", "grace@example.org"), { email_hash: patch.email_hash })
      assert.equal(await crypto.compareRecordHash(person, updated, "Password", "other"), true)
      assert.equal(await crypto.compareRecordHash(person, updated, "Password", "correct horse"), false)
      assert.deepEqual(await crypto.updateRecord(person, row, {}), {})
      await assert.rejects(crypto.updateRecord(person, row, { Rank: 1e9 }), EncryptionFailed)
      await assert.rejects(crypto.updateRecord(person, row, { Emial: "x" } as never), EncryptionFailed)
    })
  })
})

describe('rewrapRecords() of the layout "go-encx"', () => {
  it("wraps under the current version, in order, and leaves the columns as they are", async () => {
    await withProgram(async (crypto) => {
      const row = await crypto.sealRecord(person, ada)
      const other = await crypto.sealRecord(person, { ...ada, ID: 8 })
      await crypto.rotateKEK()
      const fresh = await crypto.sealRecord(person, ada)
      assert.deepEqual([row.key_version, fresh.key_version], [1, 2])
      const unwraps = crypto.stats().kms.decryptDEK
      const [first, second, third] = await crypto.rewrapRecords(person, [row, other, row])
      assert.ok(first && second && third)
      assert.ok(crypto.stats().kms.decryptDEK - unwraps <= 2, "rows that share a data key cost one call")
      assert.deepEqual(Object.keys(first).sort(), ["dek_encrypted", "key_version"])
      assert.deepEqual([first.key_version, second.key_version], [2, 2])
      assert.deepEqual(third, first)
      assert.notDeepEqual(first.dek_encrypted, row.dek_encrypted)
      crypto.invalidate()
      assert.deepEqual(await crypto.openRecord(person, { ...row, ...first }), opened)
      assert.deepEqual(await crypto.openRecord(person, { ...other, ...second }), { ...opened, ID: 8 })
      assert.deepEqual(await crypto.openRecord(person, row), opened, "the old wrap opens as before")
      await assert.rejects(crypto.openRecord(person, { ...row, ...first, key_version: 1 }), EncxError)
      const changed = { ...row, email_encrypted: other.email_encrypted }
      await assert.rejects(crypto.rewrapRecords(person, [row, changed]), DecryptionFailed, "each row that shares a key")
      await assert.rejects(crypto.rewrapRecords(person, [row, { ...row, key_version: 2 }]), DecryptionFailed)
    })
  })
})

describe("what the caller holds", () => {
  it("is not looked at again: not the columns of a row, nor what its key is kept in", async () => {
    await withProgram(async (crypto) => {
      const row = await crypto.sealRecord(person, ada)
      const lent = { ...row, email_encrypted: row.email_encrypted.slice(), dek_encrypted: row.dek_encrypted.slice() }
      crypto.invalidate()
      const opening = crypto.openRecord(person, lent as PersonRow)
      const updating = crypto.updateRecord(person, lent as PersonRow, { Password: "other", Note: "new", Email: "x@y" })
      lent.email_encrypted.fill(0)
      lent.dek_encrypted.fill(0)
      const results = await Promise.all([opening, updating])
      assert.deepEqual(results[0], opened)
      const updated = await crypto.openRecord(person, { ...row, ...results[1] })
      assert.deepEqual(updated, { ...opened, Note: "new", Email: "x@y" })
    })
  })

  it("is overwritten where it was serialised, whether it was sealed or not", async () => {
    const made: Uint8Array[] = []
    const watched: GoType<string> = {
      name: "string",
      encode: (value) => {
        const bytes = goString().encode(value)
        made.push(bytes)
        return bytes
      },
      decode: (bytes) => goString().decode(bytes),
    }
    const type = new GoField<string, false, false, false>(watched)
    const schema = record("t", { layout: "go-encx" }, { A: type.encrypt(), B: type.hashSecure(), C: goInt().encrypt() })
    await withProgram(async (crypto) => {
      const row = await crypto.sealRecord(schema, { A: "a", B: "b", C: 1n })
      await crypto.updateRecord(schema, row, { A: "c" })
      await crypto.sealRecords(schema, [{ A: "d", B: "e", C: 1n }])
      await crypto.compareRecordHash(schema, row, "B", "b")
      await assert.rejects(crypto.sealRecord(schema, { A: "f", B: "g", C: 1 as never }), EncryptionFailed)
    })
    assert.equal(made.length, 8)
    for (const bytes of made) assert.ok(bytes.length > 4 && bytes.every((byte) => byte === 0))
  })
})

describe('lookup() and compareRecordHash() of the layout "go-encx"', () => {
  it("refuse what has no such hash, and what is no value", async () => {
    await withProgram(async (crypto) => {
      const row = await crypto.sealRecord(person, ada)
      for (const field of ["ID", "Password", "Score", "none", "constructor"])
        assert.throws(() => crypto.lookup(person, field as never, "x" as never), InvalidInput, field)
      for (const value of [null, undefined, 7])
        assert.throws(() => crypto.lookup(person, "Phone", value as never), InvalidInput, String(value))
      for (const options of [{ tenant: "acme" }, { index: "other" }]) {
        const untyped = crypto as unknown as Record<"lookup" | "openMatches", (...all: unknown[]) => Promise<unknown>>
        assert.throws(() => untyped.lookup(person, "Email", "x", options), InvalidInput)
        await assert.rejects(untyped.openMatches(person, [row], "Email", "x", options), InvalidInput)
      }
      for (const field of ["ID", "Score", "none"])
        await assert.rejects(crypto.compareRecordHash(person, row, field as never, "x" as never), InvalidInput, field)
      await assert.rejects(
        crypto.compareRecordHash(person, { ...row, password_hash_secure: 7 } as never, "Password", "x"),
        InvalidFormat,
      )
      await assert.rejects(
        crypto.compareRecordHash(person, { ...row, password_hash_secure: "x" }, "Password", "x"),
        InvalidFormat,
      )
    })
  })

  it("find rows of a field that is only hashed by its hash", async () => {
    await withProgram(async (crypto) => {
      const schema = record("t", { layout: "go-encx" }, { A: goString().encrypt(), B: goString().hashBasic() })
      const row = await crypto.sealRecord(schema, { A: "a", B: "b" })
      assert.deepEqual(await crypto.openMatches(schema, [row], "B", "b"), [{ A: "a" }])
      assert.deepEqual(await crypto.openMatches(schema, [row], "B", "c"), [])
    })
  })
})
