import assert from "node:assert/strict"
import { test } from "node:test"
import { assertFailed, Home, type Ran } from "./_encx.ts"

const CSV = `id,team,name,email,city,password
1,red,Ada,Ada@Example.org,London,correct horse 1
2,red,Bo,bo@example.org,Fès,
3,blue,Cy,bo@example.org,"a
b",
`
const FLAGS = [
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
  "city,team",
]

async function homeWithPeople(...more: string[]): Promise<Home> {
  const home = await Home.withKeys()
  await home.ok([
    "import",
    home.write("in.csv", CSV),
    "--to",
    home.path("db.sqlite"),
    "--table",
    "people",
    ...FLAGS,
    ...more,
  ])
  return home
}
const find = (home: Home, ...argv: string[]): Promise<Ran> =>
  home.encx(["find", home.path("db.sqlite"), "--table", "people", ...argv])

test("find shows the rows opened, hashes apart", async () => {
  const home = await homeWithPeople()
  try {
    const { stdout } = await find(home, "email= ADA@example.org ")
    assert.match(stdout, /^id +team +name +email +city\n1 +red +Ada +Ada@Example\.org +London\n\n1 row\n$/)
    const { rows } = JSON.parse((await find(home, "email=bo@example.org", "--json")).stdout)
    assert.deepEqual(rows, [
      { id: "2", team: "red", name: "Bo", email: "bo@example.org", city: "Fès" },
      { id: "3", team: "blue", name: "Cy", email: "bo@example.org", city: "a\nb" },
    ])
    assert.match((await find(home, "email=bo@example.org")).stdout, /a\\nb/)
    assert.match((await find(home, "email=bo@example.org", "--limit", "1")).stdout, /1 row; there may be more/)
  } finally {
    home.remove()
  }
})

test("find of nothing is no failure", async () => {
  const home = await homeWithPeople()
  try {
    const ran = await find(home, "email=nobody@example.org")
    assert.deepEqual([ran.code, ran.stdout], [0, "0 rows\n"])
    assert.deepEqual(JSON.parse((await find(home, "email=nobody", "--json")).stdout).rows, [])
  } finally {
    home.remove()
  }
})

test("find by what has no index says which columns have one", async () => {
  const home = await homeWithPeople()
  try {
    for (const [query, message] of [
      ["password=x", /hashed/],
      ["name=Ada", /no index/],
      ["city=Fès", /no index/],
      ["emial=x", /did you mean "email"/],
      ["x", /column=value/],
    ] as const) {
      const ran = await find(home, query)
      assert.equal(ran.code, 2)
      assert.match(ran.stderr, message)
    }
    assertFailed(
      await home.encx(["find", home.path("db.sqlite"), "--table", "poeple", "email=x", "--json"]),
      1,
      "TABLE_NOT_FOUND",
    )
    assertFailed(
      await home.encx(["find", home.path("none.sqlite"), "--table", "people", "email=x", "--json"]),
      1,
      "FILE_NOT_FOUND",
    )
    assertFailed(
      await home.encx(["find", home.path("in.csv"), "--table", "people", "email=x", "--json"]),
      1,
      "DATABASE_ERROR",
    )
    assert.equal(home.exists("none.sqlite"), false)
  } finally {
    home.remove()
  }
})

test("find sees the rows of one tenant", async () => {
  const home = await Home.withKeys()
  try {
    const flags = FLAGS.map((flag) => (flag === "city,team" ? "city" : flag))
    await home.ok([
      "import",
      home.write("in.csv", CSV),
      "--to",
      home.path("db.sqlite"),
      "--table",
      "people",
      ...flags,
      "--tenant",
      "team",
    ])
    const { rows } = JSON.parse((await find(home, "email=bo@example.org", "--tenant", "blue", "--json")).stdout)
    assert.deepEqual(
      rows.map(({ id }: { id: string }) => id),
      ["3"],
    )
    assert.equal((await find(home, "email=bo@example.org")).code, 2)
  } finally {
    home.remove()
  }
})

test("a database of another key file is refused", async () => {
  const home = await homeWithPeople()
  const other = await Home.withKeys()
  try {
    assertFailed(
      await other.encx(["find", home.path("db.sqlite"), "--table", "people", "email=x", "--json"]),
      1,
      "KEY_NOT_ALLOWED",
    )
    assertFailed(
      await other.encx(["rewrap", home.path("db.sqlite"), "--table", "people", "--json"]),
      1,
      "KEY_NOT_ALLOWED",
    )
  } finally {
    home.remove()
    other.remove()
  }
})

test("a definition that was changed, or is another table's, is refused", async () => {
  const home = await homeWithPeople()
  try {
    await home.ok([
      "import",
      home.path("in.csv"),
      "--to",
      home.path("db.sqlite"),
      "--table",
      "others",
      "--row",
      "id",
      "--encrypt",
      "name,email,password",
      "--plain",
      "team,city",
    ])
    const original = home.sqlite(
      "db.sqlite",
      (db) => db.prepare("select definition from encx_tables where name = 'people'").get()?.definition,
    ) as Uint8Array
    const changed = Uint8Array.from(original, (byte, i) => (i === original.length - 1 ? byte ^ 1 : byte))
    const store = (definition: Uint8Array): void =>
      home.sqlite(
        "db.sqlite",
        (db) => void db.prepare("update encx_tables set definition = ? where name = 'people'").run(definition),
      )
    store(changed)
    assertFailed(await find(home, "email=bo@example.org", "--json"), 1, "DEFINITION_CHANGED")
    home.sqlite("db.sqlite", (db) =>
      db.exec(
        "update encx_tables set definition = (select definition from encx_tables where name = 'others') where name = 'people'",
      ),
    )
    assertFailed(await find(home, "email=bo@example.org", "--json"), 1, "DEFINITION_CHANGED")
    store(original)
    assert.equal((await find(home, "email=bo@example.org")).code, 0)
  } finally {
    home.remove()
  }
})

test("a value that was moved to another row does not open", async () => {
  const home = await homeWithPeople()
  try {
    home.sqlite("db.sqlite", (db) =>
      db.exec("update people set name_encrypted = (select name_encrypted from people where id = '2') where id = '1'"),
    )
    assertFailed(await find(home, "email=ada@example.org", "--json"), 1, "DECRYPTION_FAILED")
  } finally {
    home.remove()
  }
})

test("rewrap brings every row and the definition to the current version, once", async () => {
  const home = await homeWithPeople()
  try {
    const rewrap = async (): Promise<Record<string, unknown>> =>
      JSON.parse((await home.ok(["rewrap", home.path("db.sqlite"), "--table", "people", "--json"])).stdout)
    const versions = (): unknown[] =>
      home.sqlite("db.sqlite", (db) =>
        db
          .prepare("select distinct key_version from people")
          .all()
          .map((row) => row.key_version),
      )
    const cells = (): unknown[] =>
      home.sqlite("db.sqlite", (db) => db.prepare("select name_encrypted, email_index from people order by id").all())
    const before = cells()
    assert.equal((await rewrap()).rewrapped, 0)
    await home.ok(["keys", "rotate"])
    assert.deepEqual(await rewrap(), { table: "people", rewrapped: 3, skipped: 0 })
    assert.deepEqual(versions(), [2])
    assert.deepEqual(cells(), before)
    assert.equal((await rewrap()).rewrapped, 0)
    assert.equal(JSON.parse((await find(home, "email=bo@example.org", "--json")).stdout).rows.length, 2)
    const definition = home.sqlite(
      "db.sqlite",
      (db) => db.prepare("select definition from encx_tables").get()?.definition,
    ) as Uint8Array
    assert.equal(
      JSON.parse((await home.ok(["inspect", home.write("definition", definition), "--json"])).stdout).keys[0].version,
      2,
    )
  } finally {
    home.remove()
  }
})
