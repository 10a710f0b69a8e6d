import assert from "node:assert/strict"
import { lstatSync, symlinkSync } from "node:fs"
import process from "node:process"
import { test } from "node:test"
import { sql } from "kysely"
import { withDatabase } from "../../cli/_database.ts"
import { CommandError, Interrupted } from "../../cli/_errors.ts"
import { importCSV } from "../../cli/import.ts"
import {
  type Crypto,
  FileExists,
  type KeyManagementService,
  newCrypto,
  withBootstrap,
  withKEKAlias,
  withKMSService,
} from "../../mod.ts"
import { memory } from "../../providers/memory.ts"
import { assertFailed, errorOf, Home, meeting, type Ran, SILENT_IO } from "./_encx.ts"

const CSV = `id,name,email,city,password
1,Ada, Ada@Example.org,London,correct horse 1
2,"O'Brien, ""Bo""",bo@example.org,Łódź,
3,"two
lines",bo@example.org,Fès,
`
const FLAGS = [
  "--table",
  "people",
  "--row",
  "id",
  "--encrypt",
  "name",
  "--index",
  "email",
  "--normalize",
  "trim,lowercase",
  "--hash",
  "password",
  "--plain",
  "city",
]

const importInto = (home: Home, csv: string, ...more: string[]): Promise<Ran> =>
  home.encx(["import", home.write("in.csv", csv), "--to", home.path("db.sqlite"), ...FLAGS, ...more, "--json"])

test("import seals the columns, and the database holds no plaintext of them", async () => {
  const home = await Home.withKeys()
  try {
    const ran = await importInto(home, CSV)
    assert.equal(ran.code, 0, ran.stdout)
    assert.equal(JSON.parse(ran.stdout).rows, 3)
    assert.equal(ran.stderr, "", "no progress in a pipe")
    const rows = home.sqlite("db.sqlite", (db) => db.prepare("select * from people order by id").all())
    assert.deepEqual(Object.keys(rows[0] ?? {}), [
      "id",
      "name_encrypted",
      "email_encrypted",
      "email_index",
      "city",
      "password_hash_secure",
      "dek_encrypted",
      "key_version",
    ])
    assert.equal(rows[1]?.city, "Łódź")
    assert.match(String(rows[0]?.password_hash_secure), /^\$encx2-argon2id\$/)
    assert.equal(rows[1]?.password_hash_secure, null)
    assert.deepEqual(rows[1]?.email_index, rows[2]?.email_index)
    const file = new TextDecoder("latin1").decode(home.read("db.sqlite"))
    for (const secret of ["Brien", "bo@example", "correct horse", "two\nlines", "normalize"])
      assert.ok(!file.includes(secret), secret)
    assert.deepEqual(home.names(), ["db.sqlite", "in.csv"])
  } finally {
    home.remove()
  }
})

test("import says in words what it did", async () => {
  const home = await Home.withKeys()
  try {
    const { stdout } = await home.ok(["import", home.write("in.csv", CSV), "--to", home.path("db.sqlite"), ...FLAGS])
    assert.match(stdout, /^Imported 3 rows into the table "people" of .*db\.sqlite\.\n$/)
  } finally {
    home.remove()
  }
})

test("a column that no flag names is refused: nobody stores plaintext by forgetting one", async () => {
  const home = await Home.withKeys()
  try {
    const ran = await home.encx([
      "import",
      home.write("in.csv", CSV),
      "--to",
      home.path("db.sqlite"),
      "--table",
      "t",
      "--row",
      "id",
      "--encrypt",
      "name",
    ])
    assert.equal(ran.code, 2)
    assert.match(
      ran.stderr,
      /nothing says how to keep "email", "city", "password"\n.*--plain email,city,password only if/,
    )
    assert.deepEqual(home.names(), ["in.csv"])
  } finally {
    home.remove()
  }
})

test("flags that do not fit the file or each other are refused", async () => {
  const home = await Home.withKeys()
  try {
    const base = ["import", home.write("in.csv", CSV), "--to", home.path("db.sqlite"), "--json"]
    const cases = [
      ["--table", "t", "--row", "id", "--encrypt", "nmae"],
      ["--table", "t", "--row", "id", "--encrypt", "id"],
      ["--table", "t", "--row", "id", "--encrypt", "name", "--plain", "name"],
      ["--table", "t", "--row", "id", "--encrypt", "name", "--hash", "name"],
      ["--table", "t", "--row", "id", "--index", "name", "--normalize", "upper"],
      ["--table", "no such; name", "--row", "id"],
      ["--table", "encx_tables", "--row", "id"],
      ["--table", "t", "--row", "id", "--tenant", "team"],
    ]
    for (const flags of cases) assertFailed(await home.encx([...base, ...flags]), 2, "USAGE")
    assert.match((await home.encx([...base, ...(cases[0] as string[])])).stdout, /did you mean \\"name\\"\?/)
    assert.deepEqual(home.names(), ["in.csv"])
  } finally {
    home.remove()
  }
})

const BROKEN: readonly (readonly [string, string, RegExp])[] = [
  ["a ragged row", `${CSV}4,x,y\n`, /line 6: it has 3 cells, and the header 5/],
  ["a duplicate row", `${CSV}2,x,y,z,\n`, /line 6 has the same .*id/],
  ["an empty row id", `${CSV},x,y,z,\n`, /\(line 6\)/],
  ["a password that is too long", `${CSV}4,x,y,z,${"p".repeat(4097)}\n`, /password.*\(line 6\)/],
  ["a duplicate header", CSV.replace("city", "Name"), /two of its columns are called .*Name/],
  ["an open quote", `${CSV}4,"x`, /quote not closed/],
  ["no header", "", /empty/],
  ["no rows", "id,name,email,city,password\n", /no rows/],
]

for (const [what, csv, message] of BROKEN) {
  test(`import of a file with ${what} leaves no database, and an existing one as it was`, async () => {
    const home = await Home.withKeys()
    try {
      const fresh = await importInto(home, csv)
      assertFailed(fresh, 1, "INVALID_CSV")
      assert.match(fresh.stdout, message)
      assert.deepEqual(home.names(), ["in.csv"])
      home.sqlite("db.sqlite", (db) => db.exec("create table mine (a); insert into mine values (1)"))
      const before = home.read("db.sqlite")
      assertFailed(await importInto(home, csv), 1, "INVALID_CSV")
      assert.deepEqual(home.read("db.sqlite"), before)
      assert.deepEqual(home.names(), ["db.sqlite", "in.csv"])
    } finally {
      home.remove()
    }
  })
}

test("what is not UTF-8 is refused, not replaced", async () => {
  const home = await Home.withKeys()
  try {
    home.write("in.csv", Uint8Array.of(...new TextEncoder().encode("id,name\n1,"), 0xff, 0x0a))
    assertFailed(
      await home.encx([
        "import",
        home.path("in.csv"),
        "--to",
        home.path("db.sqlite"),
        "--table",
        "t",
        "--row",
        "id",
        "--encrypt",
        "name",
        "--json",
      ]),
      1,
      "INVALID_CSV",
    )
    assert.deepEqual(home.names(), ["in.csv"])
  } finally {
    home.remove()
  }
})

test("a byte-order mark and Windows line ends are no part of the values", async () => {
  const home = await Home.withKeys()
  try {
    const file = home.write("in.csv", "\ufeffid;name\r\n1;Ada, Countess\r\n")
    await home.ok([
      "import",
      file,
      "--to",
      home.path("db.sqlite"),
      "--table",
      "t",
      "--row",
      "id",
      "--index",
      "name",
      "--delimiter",
      ";",
    ])
    const { rows } = JSON.parse(
      (await home.ok(["find", home.path("db.sqlite"), "--table", "t", "name=Ada, Countess", "--json"])).stdout,
    )
    assert.deepEqual(rows, [{ id: "1", name: "Ada, Countess" }])
  } finally {
    home.remove()
  }
})

test("an existing table is refused, and a second one is added", async () => {
  const home = await Home.withKeys()
  try {
    assert.equal((await importInto(home, CSV)).code, 0)
    const before = home.read("db.sqlite")
    assertFailed(await importInto(home, CSV), 1, "TABLE_EXISTS")
    assertFailed(await importInto(home, CSV, "--table", "PEOPLE"), 1, "TABLE_EXISTS")
    assert.deepEqual(home.read("db.sqlite"), before)
    assert.equal((await importInto(home, CSV, "--table", "others")).code, 0)
  } finally {
    home.remove()
  }
})

test("a table that was dropped can be imported again", async () => {
  const home = await Home.withKeys()
  try {
    assert.equal((await importInto(home, CSV)).code, 0)
    home.sqlite("db.sqlite", (db) => db.exec("drop table people"))
    // With other flags: what is found is what the new definition says.
    const file = home.write("in.csv", "nr,mail\n7,Ada@example.org\n")
    const flags = ["--table", "people", "--row", "nr", "--index", "mail", "--normalize", "lowercase"]
    await home.ok(["import", file, "--to", home.path("db.sqlite"), ...flags])
    const found = await home.ok(["find", home.path("db.sqlite"), "--table", "people", "mail=ADA@example.org", "--json"])
    assert.deepEqual(JSON.parse(found.stdout).rows, [{ nr: "7", mail: "Ada@example.org" }])
    assertFailed(await importInto(home, CSV), 1, "TABLE_EXISTS")
  } finally {
    home.remove()
  }
})

test("of many that import into one new database at once, one does, and the others leave it alone", async () => {
  const home = new Home()
  const all = meeting(4)
  // Whoever asks for a data key has found no such database: all find none, and then all write.
  const importing = async (name: string): Promise<string> => {
    const kms = memory()
    const slow: KeyManagementService = {
      ...kms,
      encryptDEK: async (...call) => {
        await all()
        return await kms.encryptDEK(...call)
      },
    }
    const crypto: Crypto = await newCrypto(
      withKMSService(slow),
      withKEKAlias("app"),
      withBootstrap({ createKEK: true }),
    )
    try {
      const csv = home.write(`${name}.csv`, `id,name\n${name},Ada\n`)
      await importCSV(SILENT_IO, crypto, csv, { to: home.path("db.sqlite"), table: "t", row: "id", encrypt: ["name"] })
      return name
    } finally {
      await crypto.close()
    }
  }
  try {
    const ended = await Promise.allSettled(["a", "b", "c", "d"].map(importing))
    const winners = ended.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []))
    assert.equal(winners.length, 1)
    for (const each of ended) {
      if (each.status === "fulfilled") continue
      assert.ok(each.reason instanceof FileExists, String(each.reason))
    }
    const rows = home.sqlite("db.sqlite", (db) => db.prepare("select id from t").all())
    assert.deepEqual(
      rows.map(({ id }) => id),
      winners,
    )
    assert.deepEqual(home.names(), ["a.csv", "b.csv", "c.csv", "d.csv", "db.sqlite"])
  } finally {
    home.remove()
  }
})

const NO_LINKS = process.platform === "win32" ? "symbolic links need a right on Windows" : false

test("a database behind a link to nothing is refused, and nothing is made there", { skip: NO_LINKS }, async () => {
  const home = await Home.withKeys()
  try {
    symlinkSync(home.path("none.sqlite"), home.path("db.sqlite"))
    assertFailed(await importInto(home, CSV), 1, "FILE_NOT_FOUND")
    const db = home.path("db.sqlite")
    assertFailed(await home.encx(["find", db, "--table", "people", "email=x", "--json"]), 1, "FILE_NOT_FOUND")
    assertFailed(await home.encx(["rewrap", db, "--table", "people", "--json"]), 1, "FILE_NOT_FOUND")
    assert.ok(lstatSync(db).isSymbolicLink())
    assert.deepEqual(home.names(), ["db.sqlite", "in.csv"])
  } finally {
    home.remove()
  }
})

test("a full disk is called full, and the database is as it was", async () => {
  const home = new Home()
  try {
    home.sqlite("db.sqlite", (db) => db.exec("create table mine (a); insert into mine values (1)"))
    const before = home.read("db.sqlite")
    // SQLite's own limit fails as the disk does: with SQLITE_FULL, and the transaction gone.
    const failing = withDatabase(home.path("db.sqlite"), async (db) => {
      await sql`pragma max_page_count = 4`.execute(db)
      await db.transaction().execute(async (transaction) => {
        for (let i = 0; i < 10; i++)
          await transaction
            .insertInto("mine")
            .values({ a: new Uint8Array(4096) })
            .execute()
      })
    })
    const error = await failing.catch((reason: unknown) => reason)
    assert.ok(error instanceof CommandError, String(error))
    assert.equal(error.code, "DATABASE_ERROR")
    assert.match(error.message, /^Cannot use the database ".*db\.sqlite": database or disk is full$/)
    assert.deepEqual(home.read("db.sqlite"), before)
    assert.deepEqual(home.names(), ["db.sqlite"])
  } finally {
    home.remove()
  }
})

test("a header of any words is a column", async () => {
  const home = await Home.withKeys()
  try {
    const file = home.write("in.csv", 'id,Full name,"a.b as ""c""","x, y"\n1,Ada,one,two\n')
    const flags = [
      "--table",
      "t",
      "--row",
      "id",
      "--index",
      "Full name",
      "--encrypt",
      '"x, y"',
      "--plain",
      'a.b as "c"',
    ]
    await home.ok(["import", file, "--to", home.path("db.sqlite"), ...flags])
    const { rows } = JSON.parse(
      (await home.ok(["find", home.path("db.sqlite"), "--table", "t", "Full name=Ada", "--json"])).stdout,
    )
    assert.deepEqual(rows, [{ id: "1", 'a.b as "c"': "one", "Full name": "Ada", "x, y": "two" }])
  } finally {
    home.remove()
  }
})

test("Ctrl-C leaves no database, and an existing one as it was", async () => {
  const home = await Home.withKeys()
  try {
    const rows = Array.from({ length: 50_000 }, (_, i) => `${i},x`).join("\n")
    const file = home.write("in.csv", `id,name\n${rows}\n`)
    const importing = async (): Promise<Ran> => {
      const controller = new AbortController()
      setTimeout(() => controller.abort(new Interrupted()), 150)
      return await home.encx(
        ["import", file, "--to", home.path("db.sqlite"), "--table", "t", "--row", "id", "--encrypt", "name"],
        { signal: controller.signal },
      )
    }
    assert.equal((await importing()).code, 130)
    assert.deepEqual(home.names(), ["in.csv"])
    home.sqlite("db.sqlite", (db) => db.exec("create table mine (a)"))
    const before = home.read("db.sqlite")
    assert.equal((await importing()).code, 130)
    assert.deepEqual(home.read("db.sqlite"), before)
    assert.deepEqual(home.names(), ["db.sqlite", "in.csv"])
  } finally {
    home.remove()
  }
})

test("names that cannot be read, and a delimiter that delimits nothing, are wrong usage", async () => {
  const home = await Home.withKeys()
  try {
    const base = ["import", home.write("in.csv", "id\tname\n1\tAda, Countess\n"), "--to", home.path("db.sqlite")]
    const flags = ["--table", "t", "--row", "id"]
    for (const name of ['"a', "a\nb", "name\r\nid", '"na"me']) {
      for (const flag of ["--encrypt", "--index", "--hash", "--plain", "--normalize"]) {
        const ran = await home.encx([...base, ...flags, flag, name, "--json"])
        assertFailed(ran, 2, "USAGE")
        assert.match(errorOf(ran).message, /it is not names with commas between them$/)
      }
    }
    for (const sign of ["", '"', "\n", "\r\n"]) {
      const ran = await home.encx([...base, ...flags, "--encrypt", "name", "--delimiter", sign, "--json"])
      assertFailed(ran, 2, "USAGE")
      assert.match(errorOf(ran).message, /^Cannot use the delimiter/)
    }
    assert.deepEqual(home.names(), ["in.csv"])
    for (const [i, sign] of ["\\t", "\t"].entries()) {
      const table = `t${i}`
      await home.ok([...base, "--table", table, "--row", "id", "--index", "name", "--delimiter", sign])
      const found = await home.ok(["find", home.path("db.sqlite"), "--table", table, "name=Ada, Countess", "--json"])
      assert.deepEqual(JSON.parse(found.stdout).rows, [{ id: "1", name: "Ada, Countess" }])
    }
  } finally {
    home.remove()
  }
})

test("import without a pepper or an index root says what makes them", async () => {
  const home = new Home()
  try {
    await home.ok(["keys", "create", "--no-pepper"])
    const ran = await importInto(home, CSV)
    assertFailed(ran, 1, "UNINITIALIZED_PEPPER")
    assert.match(ran.stdout, /encx pepper init/)
    const file = home.write("two.csv", "id,name\n1,Ada\n")
    await home.ok(["import", file, "--to", home.path("db.sqlite"), "--table", "t", "--row", "id", "--encrypt", "name"])
  } finally {
    home.remove()
  }
})

test("progress is shown on a terminal alone", async () => {
  const home = await Home.withKeys()
  try {
    const quiet = await importInto(home, CSV)
    assert.equal(quiet.stderr, "")
    assert.doesNotMatch(quiet.stdout, /%/)
  } finally {
    home.remove()
  }
})
