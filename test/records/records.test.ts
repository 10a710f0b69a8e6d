import assert from "node:assert/strict"
import { describe, it } from "node:test"
import fc from "fast-check"
import {
  bigint,
  boolean,
  bytes,
  DecryptionFailed,
  date,
  EncryptionFailed,
  EncxError,
  InvalidConfiguration,
  InvalidFormat,
  InvalidInput,
  integer,
  json,
  lowercase,
  number,
  paddedText,
  plain,
  record,
  type StoredRow,
  text,
  trim,
  UninitializedPepper,
  withBootstrap,
  withDEKCache,
} from "../../mod.ts"
import { program } from "./_program.ts"

const everything = record(
  "everything",
  { row: "id", tenant: "org" },
  {
    id: plain<number | string | bigint>(),
    org: plain<string>(),
    note: plain<string | null>(),
    title: text()
      .encrypt()
      .index({ normalize: [trim, lowercase] }),
    body: paddedText().encrypt().nullable(),
    photo: bytes().encrypt(),
    active: boolean().encrypt(),
    age: integer().encrypt().nullable().index(),
    size: bigint().encrypt(),
    weight: number().encrypt(),
    birthDate: date().encrypt().sealNull(),
    tags: json<unknown>().encrypt(),
    password: text().hashSecure().nullable(),
  },
)

const object = {
  id: 7,
  org: "acme",
  note: null,
  title: " Ada@Example.org",
  body: "a longer text" as string | null,
  photo: Uint8Array.of(1, 2, 3),
  active: true,
  age: 42 as number | null,
  size: 2n ** 62n,
  weight: -0.5,
  birthDate: new Date("1815-12-10T00:00:00Z") as Date | null,
  tags: { a: [1, null, "é"] } as unknown,
  password: "correct horse" as string | null,
}

const { password: _, ...opened } = object
type Loose = Record<string, unknown>

describe("sealRecord() and openRecord()", () => {
  it("give back every type, and hold no plaintext", async () => {
    const { crypto } = await program()
    const row = await crypto.sealRecord(everything, object)
    assert.deepEqual(await crypto.openRecord(everything, row), opened)
    assert.deepEqual(Object.keys(row), [
      ...[
        "id",
        "org",
        "note",
        "title_encrypted",
        "title_index",
        "body_encrypted",
        "photo_encrypted",
        "active_encrypted",
      ],
      ...["age_encrypted", "age_index", "size_encrypted", "weight_encrypted", "birth_date_encrypted", "tags_encrypted"],
      ...["password_hash_secure", "dek_encrypted", "key_version"],
    ])
    const stored = Object.values(row).map((each) =>
      each instanceof Uint8Array ? Buffer.from(each).toString("latin1") : String(each),
    )
    for (const secret of ["Ada", "example", "longer", "correct"])
      assert.ok(!stored.some((each) => each.includes(secret)))
  })

  it("keep NULL as NULL, and hide it where the schema seals it", async () => {
    const { crypto } = await program()
    const row = await crypto.sealRecord(everything, {
      ...object,
      body: null,
      age: null,
      birthDate: null,
      password: null,
    })
    assert.equal(row.body_encrypted, null)
    assert.equal(row.age_encrypted, null)
    assert.equal(row.age_index, null)
    assert.equal(row.password_hash_secure, null)
    assert.ok(row.birth_date_encrypted instanceof Uint8Array)
    assert.deepEqual(await crypto.openRecord(everything, row), { ...opened, body: null, age: null, birthDate: null })
    assert.equal(await crypto.compareRecordHash(everything, row, "password", ""), false)
    await assert.rejects(crypto.openRecord(everything, { ...row, title_encrypted: null as never }), InvalidFormat)
    await assert.rejects(crypto.openRecord(everything, { ...row, birth_date_encrypted: null }), InvalidFormat)
  })

  it("give back any value", async () => {
    const { crypto } = await program()
    const anything = fc.record({
      id: fc.oneof(fc.maxSafeInteger(), fc.uuid(), fc.bigInt(), fc.string({ unit: "grapheme", minLength: 1 })),
      org: fc.string({ unit: "grapheme", minLength: 1 }),
      title: fc.string({ unit: "binary" }).filter((each) => each.isWellFormed()),
      body: fc.option(fc.string({ unit: "grapheme" })),
      photo: fc.uint8Array(),
      active: fc.boolean(),
      age: fc.option(fc.maxSafeInteger()),
      size: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      weight: fc.double(),
      birthDate: fc.option(fc.date({ noInvalidDate: true })),
      tags: fc.jsonValue(),
    })
    await fc.assert(
      fc.asyncProperty(anything, async (each) => {
        const row = await crypto.sealRecord(everything, { ...each, note: null, password: null })
        const expected = {
          ...each,
          note: null,
          photo: Uint8Array.from(each.photo),
          tags: JSON.parse(JSON.stringify(each.tags)),
        }
        assert.deepEqual(await crypto.openRecord(everything, row), expected)
      }),
      { numRuns: 300 },
    )
  })

  it("bind table, column, row and tenant: a value that was moved does not open", async () => {
    const { crypto } = await program()
    const fields = { id: plain<number>(), org: plain<string>(), a: text().encrypt(), b: text().encrypt() }
    const here = record("here", { row: "id", tenant: "org" }, fields)
    const there = record("there", { row: "id", tenant: "org" }, fields)
    const [row, other] = await crypto.sealRecords(here, [
      { id: 1, org: "x", a: "same", b: "same" },
      { id: 2, org: "x", a: "same", b: "same" },
    ])
    assert.ok(row && other)
    assert.deepEqual(
      row.dek_encrypted,
      other.dek_encrypted,
      "one data key serves both, so that nothing but the binding tells them apart",
    )
    assert.deepEqual(await crypto.openRecord(here, row), { id: 1, org: "x", a: "same", b: "same" })
    const moved: [string, StoredRow<typeof here>][] = [
      ["to another column", { ...row, a_encrypted: row.b_encrypted }],
      ["columns swapped", { ...row, a_encrypted: row.b_encrypted, b_encrypted: row.a_encrypted }],
      ["to another row", { ...other, a_encrypted: row.a_encrypted }],
      ["row renamed", { ...row, id: 2 }],
      ["to another tenant", { ...row, org: "y" }],
    ]
    for (const [how, each] of moved) await assert.rejects(crypto.openRecord(here, each), DecryptionFailed, how)
    await assert.rejects(crypto.openRecord(there, row), DecryptionFailed)
  })

  it("take an identity in any of its spellings, and only those", async () => {
    const { crypto } = await program()
    const t = record("t", { row: "id" }, { id: plain<number | string | bigint>(), a: text().encrypt() })
    const uuid = "6F2C0B6E-58A3-4F4B-9B0E-1F5A3C9D7E21"
    for (const [id, same, other] of [
      [7, 7n, 8],
      [7n, "7", "07"],
      [uuid, uuid.toLowerCase(), `${uuid}0`],
      ["Ab", "Ab", "ab"],
    ] as const) {
      const row = await crypto.sealRecord(t, { id, a: "x" })
      assert.equal((await crypto.openRecord(t, { ...row, id: same })).a, "x")
      await assert.rejects(crypto.openRecord(t, { ...row, id: other }), DecryptionFailed)
    }
    for (const id of ["", 1.5, Number.NaN, 2 ** 53, null, undefined, new Uint8Array(1), "\ud800"]) {
      await assert.rejects(crypto.sealRecord(t, { id: id as number, a: "x" }), EncxError, String(id))
    }
  })

  it("make an identity where the schema says so, and none where it says that", async () => {
    const { crypto } = await program()
    const generated = record("g", { row: "generated" }, { a: text().encrypt() })
    const row = await crypto.sealRecord(generated, { a: "x" })
    assert.match(row.record_id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    const age = Date.now() - Number.parseInt(row.record_id.replace("-", "").slice(0, 12), 16)
    assert.ok(age >= 0 && age < 60_000)
    assert.deepEqual(await crypto.openRecord(generated, row), { a: "x" })
    await assert.rejects(
      crypto.openRecord(generated, { ...row, record_id: row.record_id.replace(/.$/, "x") }),
      DecryptionFailed,
    )

    const unbound = record("u", { row: "unbound" }, { a: text().encrypt() })
    const [first, second] = await crypto.sealRecords(unbound, [{ a: "1" }, { a: "2" }])
    assert.ok(first && second)
    assert.deepEqual(await crypto.openRecord(unbound, { ...first, a_encrypted: second.a_encrypted }), { a: "2" })
  })

  it("name the field that cannot be sealed, and seal nothing", async () => {
    const { crypto } = await program()
    const before = crypto.stats().kms
    const cases: [string, unknown][] = [
      ["title", 7],
      ["title", "\ud800"],
      ["title", null],
      ["title", undefined],
      ["body", {}],
      ["photo", "text"],
      ["active", 1],
      ["age", 1.5],
      ["age", 2 ** 53],
      ["size", 2n ** 63n],
      ["weight", "1"],
      ["birthDate", new Date(Number.NaN)],
      ["birthDate", "1815-12-10"],
      ["tags", undefined],
      ["tags", () => 1],
      ["tags", 1n],
      ["password", "x".repeat(4097)],
      ["password", 7],
    ]
    for (const [field, value] of cases) {
      await assert.rejects(
        crypto.sealRecord(everything, { ...object, [field]: value }),
        (error: unknown) =>
          error instanceof EncryptionFailed && error.field === field && error.message.includes(`"${field}"`),
        `${field} = ${String(value)}`,
      )
    }
    await assert.rejects(crypto.sealRecord(everything, { ...object, emial: "x" } as never), /"emial" is not a field/)
    await assert.rejects(crypto.sealRecord(everything, { ...object, org: "" }), InvalidInput)
    assert.deepEqual(crypto.stats().kms, before, "nothing of it cost a KMS call")
  })

  it("refuse a row that is not whole, before any KMS call", async () => {
    const { crypto } = await program()
    const row = await crypto.sealRecord(everything, object)
    assert.deepEqual(await crypto.openRecord(everything, row), opened)
    const calls = crypto.stats().kms.decryptDEK
    const broken: Loose[] = [
      ...Object.keys(row)
        .filter((column) => !/index|hash|key_version/.test(column))
        .map((column) => ({ ...row, [column]: undefined })),
      { ...row, title_encrypted: "text" },
      { ...row, title_encrypted: row.title_encrypted.subarray(0, 70) },
      { ...row, title_encrypted: new Uint8Array(0) },
      { ...row, title_encrypted: Uint8Array.from(row.title_encrypted).fill(0xe3, 0, 1) },
      { ...row, title_encrypted: Uint8Array.from(row.title_encrypted).fill(2, 1, 2) },
      { ...row, dek_encrypted: row.dek_encrypted.subarray(1) },
      { ...row, dek_encrypted: Buffer.concat([row.dek_encrypted, Uint8Array.of(0)]) },
      { ...row, dek_encrypted: row.dek_encrypted.subarray(0, 24) },
    ]
    for (const each of broken) await assert.rejects(crypto.openRecord(everything, each as never), EncxError)
    assert.equal(crypto.stats().kms.decryptDEK, calls)
  })

  it("say it when a query found no row, or the row's identity is not in it", async () => {
    const { crypto } = await program()
    const { id, ...row } = await crypto.sealRecord(everything, object)
    assert.ok(id !== undefined)
    for (const none of [undefined, null]) {
      const told = new TypeError(`Cannot use "row": it is ${none}`)
      await assert.rejects(crypto.openRecord(everything, none as never), told)
      await assert.rejects(crypto.rewrapRecord(everything, none as never), told)
      await assert.rejects(crypto.sealRecord(everything, none as never), TypeError)
    }
    await assert.rejects(crypto.openRecord(everything, row as never), /"id", which is its identity, is missing/)
  })

  it("take names that objects have by themselves for fields like any other", async () => {
    const { crypto } = await program()
    const odd = record(
      "odd",
      { row: "id" },
      { id: plain<number>(), constructor: text().encrypt(), toString: text().encrypt().nullable() },
    )
    await assert.rejects(crypto.sealRecord(odd, { id: 1 } as never), EncryptionFailed)
    const row = await crypto.sealRecord(odd, { id: 1, constructor: "c", toString: null })
    const back = await crypto.openRecord(odd, row)
    assert.equal(back.constructor, "c")
    assert.equal(back.toString, null)
  })

  it("read a row's own key however many wraps were planted before it", async () => {
    const { crypto, services } = await program()
    const t = record("t", { row: "id" }, { id: plain<number>(), a: text().encrypt() })
    const row = await crypto.sealRecord(t, { id: 1, a: "x" })
    const { dekID } = crypto.inspect(row.dek_encrypted)
    const planted = await crypto.encryptDEK(new Uint8Array(32).fill(9), { dekID })
    const forged = Uint8Array.from(row.dek_encrypted)
    forged.set(planted.ciphertext, forged.length - planted.ciphertext.length)
    await assert.rejects(crypto.openRecord(t, { ...row, dek_encrypted: forged }), (error: unknown) => {
      return error instanceof DecryptionFailed && error.tries[0]?.code === "COMMITMENT"
    })
    await assert.rejects(crypto.rewrapRecord(t, { ...row, dek_encrypted: forged }), DecryptionFailed)
    await assert.rejects(crypto.updateRecord(t, { ...row, dek_encrypted: forged }, { a: "y" }), DecryptionFailed)
    assert.equal(services.provider, "memory")
  })
})

describe("sealRecords()", () => {
  it("keeps the order, with one KMS call for many rows", async () => {
    const { crypto } = await program()
    const t = record("t", { row: "id" }, { id: plain<number>(), a: text().encrypt().index() })
    const before = crypto.stats().kms.encryptDEK
    const rows = await crypto.sealRecords(
      t,
      Array.from({ length: 1000 }, (_, id) => ({ id, a: `value ${id}` })),
    )
    assert.deepEqual(
      rows.map(({ id }) => id),
      Array.from({ length: 1000 }, (_, id) => id),
    )
    assert.equal(crypto.stats().kms.encryptDEK, before + 1)
    assert.equal((await crypto.openRecord(t, rows[999] as (typeof rows)[0])).a, "value 999")
  })

  it("keeps within the limits of the cache, and gives each tenant keys of its own", async () => {
    const { crypto } = await program(withDEKCache({ maxMessages: 100 }))
    const t = record(
      "t",
      { row: "id", tenant: "org" },
      { id: plain<number>(), org: plain<string>(), a: text().encrypt() },
    )
    const rows = await crypto.sealRecords(
      t,
      Array.from({ length: 500 }, (_, id) => ({ id, org: `org ${id % 2}`, a: "x" })),
    )
    const byKey = Map.groupBy(rows, (row) => crypto.inspect(row.dek_encrypted).dekID)
    assert.equal(byKey.size, 6)
    for (const group of byKey.values()) {
      assert.ok(group.length <= 100)
      assert.equal(new Set(group.map(({ org }) => org)).size, 1)
    }
  })

  it("seals what it was given, whatever the caller does to it meanwhile", async () => {
    const { crypto } = await program()
    const files = record(
      "files",
      { row: "id" },
      { id: plain<number>(), body: bytes().encrypt(), pin: bytes().hashSecure() },
    )
    const objects = Array.from({ length: 20 }, (_, id) => ({
      id,
      body: Uint8Array.of(id, 1),
      pin: Uint8Array.of(id, 2),
    }))
    const sealing = crypto.sealRecords(files, objects)
    for (const { body, pin } of objects) {
      body.fill(0)
      pin.fill(0)
    }
    for (const [id, row] of (await sealing).entries()) {
      assert.deepEqual((await crypto.openRecord(files, row)).body, Uint8Array.of(id, 1))
      if (id % 10 === 9) assert.equal(await crypto.compareRecordHash(files, row, "pin", Uint8Array.of(id, 2)), true)
    }
  })

  it("ends with the first failure, and names the field", async () => {
    const { crypto } = await program()
    const t = record("t", { row: "id" }, { id: plain<number>(), a: text().encrypt() })
    await assert.rejects(
      crypto.sealRecords(t, [
        { id: 1, a: "x" },
        { id: 2, a: "\ud800" },
      ]),
      EncryptionFailed,
    )
  })
})

describe("updateRecord()", () => {
  it("seals what changed with the row's own key, and touches nothing else", async () => {
    const { crypto } = await program()
    const row = await crypto.sealRecord(everything, object)
    const calls = crypto.stats().kms.encryptDEK
    const patch = await crypto.updateRecord(everything, row, {
      title: "grace@example.org",
      note: "moved",
      password: "new",
    })
    assert.deepEqual(Object.keys(patch), ["note", "title_encrypted", "title_index", "password_hash_secure"])
    assert.equal(crypto.stats().kms.encryptDEK, calls)
    const updated = { ...row, ...patch } as typeof row
    assert.deepEqual(await crypto.openRecord(everything, updated), {
      ...opened,
      title: "grace@example.org",
      note: "moved",
    })
    assert.equal(await crypto.compareRecordHash(everything, updated, "password", "new"), true)
    assert.deepEqual(await crypto.updateRecord(everything, row, {}), {})
    assert.deepEqual(await crypto.updateRecord(everything, row, { age: null }), {
      age_encrypted: null,
      age_index: null,
    })
  })

  it("refuses what the row is bound to, and what is no field", async () => {
    const { crypto } = await program()
    const row = await crypto.sealRecord(everything, object)
    for (const patch of [{ id: 8 }, { org: "other" }])
      await assert.rejects(crypto.updateRecord(everything, row, patch as never), InvalidInput)
    await assert.rejects(crypto.updateRecord(everything, row, { emial: "x" } as never), EncryptionFailed)
    await assert.rejects(crypto.updateRecord(everything, { ...row, id: 8 }, { title: "x" }), DecryptionFailed)
  })
})

describe("rewrapRecord()", () => {
  it("moves a row to the current version and leaves its columns as they are", async () => {
    const { crypto } = await program()
    const row = await crypto.sealRecord(everything, object)
    await crypto.rotateKEK()
    const patch = await crypto.rewrapRecord(everything, row)
    assert.deepEqual(Object.keys(patch).sort(), ["dek_encrypted", "key_version"])
    assert.equal(row.key_version, 1)
    assert.equal(patch.key_version, 2)
    assert.equal(crypto.inspect(patch.dek_encrypted).keys[0]?.version, 2)
    assert.deepEqual(await crypto.openRecord(everything, { ...row, ...patch }), opened)
    assert.deepEqual(await crypto.openRecord(everything, row), opened, "the old wrap opens as before")
  })
})

describe("compareRecordHash()", () => {
  it("verifies in its row alone", async () => {
    const { crypto } = await program()
    const t = record(
      "t",
      { row: "id", tenant: "org" },
      { id: plain<number>(), org: plain<string>(), password: text().hashSecure(), pin: text().hashSecure() },
    )
    const row = await crypto.sealRecord(t, { id: 1, org: "x", password: "secret", pin: "1234" })
    assert.ok(!("dek_encrypted" in row))
    assert.equal(await crypto.compareRecordHash(t, row, "password", "secret"), true)
    assert.equal(await crypto.compareRecordHash(t, row, "password", new TextEncoder().encode("secret")), true)
    assert.equal(await crypto.compareRecordHash(t, row, "password", "Secret"), false)
    for (const moved of [
      { ...row, id: 2 },
      { ...row, org: "y" },
      { ...row, pin_hash_secure: row.password_hash_secure },
    ]) {
      const field = "id" in moved && moved.id === 1 && moved.org === "x" ? "pin" : "password"
      assert.equal(await crypto.compareRecordHash(t, moved, field, "secret"), false)
    }
    const sameValueElsewhere = record("other", { row: "id", tenant: "org" }, t.fields)
    assert.equal(await crypto.compareRecordHash(sameValueElsewhere, row, "password", "secret"), false)
    await assert.rejects(crypto.compareRecordHash(t, row, "id" as never, "x"), InvalidInput)
    assert.equal(crypto.needsRehash(row.password_hash_secure), false)
  })
})

describe("lookup() and openMatches()", () => {
  it("find a row by the normalised value, in its tenant alone", async () => {
    const { crypto } = await program()
    const row = await crypto.sealRecord(everything, object)
    const same = crypto.lookup(everything, "title", "ADA@example.ORG  ", { tenant: "acme" })
    assert.deepEqual(Object.keys(same), ["title_index"])
    assert.deepEqual(same.title_index, row.title_index)
    assert.notDeepEqual(
      crypto.lookup(everything, "title", "ada@example.org", { tenant: "other" }).title_index,
      row.title_index,
    )
    assert.notDeepEqual(
      crypto.lookup(everything, "title", "grace@example.org", { tenant: "acme" }).title_index,
      row.title_index,
    )
    assert.deepEqual(crypto.lookup(everything, "age", 42, { tenant: "acme" }).age_index, row.age_index)
    assert.throws(() => crypto.lookup(everything, "title", "x"), InvalidInput)
    assert.throws(() => crypto.lookup(everything, "photo" as never, "x" as never, { tenant: "acme" }), InvalidInput)
  })

  it("decrypt and compare what a shared index found", async () => {
    const { crypto } = await program()
    const people = record(
      "people",
      { row: "id" },
      {
        id: plain<number>(),
        city: text()
          .encrypt()
          .index({ name: "beacon", bits: 9, distinct: 2000, normalize: [lowercase] }),
      },
    )
    const rows = await crypto.sealRecords(
      people,
      Array.from({ length: 2000 }, (_, id) => ({ id, city: `City ${id}` })),
    )
    // 2,000 values on 512 indexes: some row shares its index with another.
    const groups = Map.groupBy(rows, (row) => Buffer.from(row.city_beacon_index).toString("hex"))
    const found = [...groups.values()].find((group) => group.length > 1) ?? []
    const [{ id } = { id: -1 }] = found
    assert.ok(found.length > 1)
    const wanted = crypto.lookup(people, "city", `city ${id}`, { index: "beacon" })
    assert.deepEqual(wanted.city_beacon_index, found[0]?.city_beacon_index)
    assert.deepEqual(await crypto.openMatches(people, found, "city", `CITY ${id}`, { index: "beacon" }), [
      { id, city: `City ${id}` },
    ])
  })

  it("say what is missing where there is no index root", async () => {
    const { services } = await program()
    const { newCrypto, withKEKAlias, withKMSService } = await import("../../mod.ts")
    const crypto = await newCrypto(withKMSService(services), withKEKAlias("app"), withBootstrap({}))
    assert.throws(() => crypto.lookup(everything, "title", "x", { tenant: "acme" }), UninitializedPepper)
    await assert.rejects(crypto.sealRecord(everything, object), UninitializedPepper)
  })
})

describe("record()", () => {
  it("gives a schema to which no field can be added: its values would be dropped", () => {
    const schema = record("t", { row: "id" }, { id: plain<number>() })
    assert.throws(() => Object.assign(schema.fields, { late: text().encrypt() }), TypeError)
  })

  it("lists every problem of a schema", () => {
    assert.throws(
      () =>
        record(
          "t",
          { row: "nobody" as never, tenant: "a" as never },
          {
            id: plain<number>(),
            a: text().encrypt().index({ bits: 64, unique: true }).index(),
            b: text() as never,
            c: json().encrypt().index(),
            d: bytes()
              .encrypt()
              .index({ normalize: [lowercase] }),
            e: text().encrypt().index({ name: "x", bits: 12 }),
            a_encrypted: plain<string>(),
            key_version: plain<number>(),
            f: json().hashSecure() as never,
            generated: plain<number>(),
          },
        ),
      (error: unknown) => error instanceof InvalidConfiguration && error.problems.length >= 11,
    )
  })

  it("refuses two indexes of one name", () => {
    assert.throws(() => record("t", { row: "unbound" }, { a: text().encrypt().index().index() }), /two of its columns/)
  })
})
