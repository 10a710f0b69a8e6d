import assert from "node:assert/strict"
import { test } from "node:test"
import { withDatabase } from "../../cli/_database.ts"
import { loadDefinition } from "../../cli/_tables.ts"
import { importCSV } from "../../cli/import.ts"
import { rewrapTable } from "../../cli/rewrap.ts"
import { type KeyManagementService, newCrypto, withBootstrap, withKEKAlias, withKMSService } from "../../mod.ts"
import { memory } from "../../providers/memory.ts"
import { Home, SILENT_IO } from "./_encx.ts"

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
