import assert from "node:assert/strict"
import { test } from "node:test"
import { withDatabase } from "../../cli/_database.ts"
import { loadDefinition } from "../../cli/_tables.ts"
import { importCSV } from "../../cli/import.ts"
import { rewrapTable } from "../../cli/rewrap.ts"
import { type KeyManagementService, newCrypto, withBootstrap, withKEKAlias, withKMSService } from "../../mod.ts"
import { memory } from "../../providers/memory.ts"
import { assertFailed, errorOf, Home, SILENT_IO } from "./_encx.ts"

test("rewrap overwrites no row that was changed while the KMS was asked", async () => {
  const home = new Home()
  const kms = memory()
  let meddle = (): void => undefined
  const slow: KeyManagementService = {
    ...kms,
    encryptDEK: async (...call) => {
      meddle()
      return await kms.encryptDEK(...call)
    },
  }
  const crypto = await newCrypto(withKMSService(slow), withKEKAlias("app"), withBootstrap({ createKEK: true }))
  try {
    const to = home.path("db.sqlite")
    const csv = home.write("in.csv", "id,name\n1,Ada\n2,Bo\n3,Cy\n")
    await importCSV(SILENT_IO, crypto, csv, { to, table: "t", row: "id", encrypt: ["name"] })
    await crypto.rotateKEK()
    // The definition is wrapped first, then the rows.
    let asked = 0
    meddle = () => {
      asked++
      if (asked === 2) home.sqlite("db.sqlite", (db) => db.exec("update t set dek_encrypted = x'00' where id = '2'"))
    }
    const done = await withDatabase(to, async (db) => {
      return await rewrapTable(SILENT_IO, crypto, db, await loadDefinition(db, crypto, "t", {}))
    })
    assert.deepEqual(done, { rewrapped: 2, skipped: 1 })
    const rows = home.sqlite("db.sqlite", (db) =>
      db.prepare("select key_version, length(dek_encrypted) as bytes from t order by id").all(),
    )
    assert.deepEqual(
      rows.map(({ key_version, bytes }) => [key_version, bytes === 1]),
      [
        [2, false],
        [1, true],
        [2, false],
      ],
    )
  } finally {
    await crypto.close()
    home.remove()
  }
})

test("rewrap does what it can when rows are damaged, and names the first", async () => {
  const home = await Home.withKeys()
  const other = await Home.withKeys()
  try {
    // More than two batches of 500.
    const ids = Array.from({ length: 1200 }, (_, i) => String(10_000 + i))
    const csv = home.write("in.csv", `id,name\n${ids.map((id) => `${id},Ada\n`).join("")}`)
    const flags = ["--table", "t", "--row", "id", "--encrypt", "name"]
    await home.ok(["import", csv, "--to", home.path("db.sqlite"), ...flags])
    await other.ok(["import", csv, "--to", other.path("db.sqlite"), ...flags])
    await home.ok(["keys", "rotate"])
    const wrapOf = (from: Home, id: string): Uint8Array =>
      from.sqlite("db.sqlite", (db) => db.prepare("select dek_encrypted from t where id = ?").get(id))?.[
        "dek_encrypted"
      ] as Uint8Array
    const healthy = wrapOf(home, "10003")
    const flipped = Uint8Array.from(healthy)
    flipped[flipped.length - 1] = (flipped.at(-1) as number) ^ 1
    const damage: readonly (readonly [string, Uint8Array | string | null])[] = [
      ["10003", flipped],
      ["10004", healthy.subarray(0, 40)],
      ["10499", wrapOf(other, "10499")],
      ["10500", null],
      ["11100", "text"],
      ["11199", new Uint8Array(0)],
    ]
    const before = damage.map(([id]) => [id, wrapOf(home, id)] as const)
    const put = (id: string, wrap: Uint8Array | string | null): void =>
      home.sqlite("db.sqlite", (db) => void db.prepare("update t set dek_encrypted = ? where id = ?").run(wrap, id))
    const outdated = (): unknown[] =>
      home.sqlite("db.sqlite", (db) =>
        db
          .prepare("select id from t where key_version <> 2 order by id")
          .all()
          .map(({ id }) => id),
      )
    const rewrap = ["rewrap", home.path("db.sqlite"), "--table", "t", "--json"]
    for (const each of damage) put(...each)

    const ran = await home.encx(rewrap)
    assertFailed(ran, 1, "ROWS_DAMAGED")
    assert.match(errorOf(ran).message, /^Cannot re-wrap 6 rows of "t": .*the first is "10003"$/)
    assert.match(errorOf(ran).hint ?? "", /^1194 others re-wrapped/)
    assert.deepEqual(
      outdated(),
      damage.map(([id]) => id),
    )
    for (const [id, wrap] of damage.slice(0, 2)) assert.deepEqual(wrapOf(home, id), Uint8Array.from(wrap as Uint8Array))

    const again = await home.encx(rewrap)
    assertFailed(again, 1, "ROWS_DAMAGED")
    assert.match(errorOf(again).hint ?? "", /^0 others re-wrapped/)
    for (const each of before) put(...each)
    assert.deepEqual(JSON.parse((await home.ok(rewrap)).stdout), { table: "t", rewrapped: 6, skipped: 0 })
    assert.deepEqual(outdated(), [])
  } finally {
    home.remove()
    other.remove()
  }
})
