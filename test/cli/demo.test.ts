import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import { Interrupted } from "../../cli/_errors.ts"
import { PASSWORDS, PEOPLE_PLAN, peopleCSV } from "../../cli/_people.ts"
import { assertFailed, Home } from "./_encx.ts"

const FLAGS = Object.entries(PEOPLE_PLAN).flatMap(([name, value]) => [`--${name}`, String(value)])

interface Step {
  readonly step: string
  readonly rows: number
  readonly kmsCalls: number
}

test("make-people.ts gives people.csv byte for byte", () => {
  const file = new URL("../../examples/data/people.csv", import.meta.url)
  assert.equal(readFileSync(file, "utf8"), peopleCSV())
})

test("people.csv has what a CSV reader trips over", () => {
  const csv = peopleCSV()
  assert.match(csv, /"[^"\n]*,[^"\n]*"/)
  assert.match(csv, /""a dull ache""/)
  assert.match(csv, /"[^"]*\n[^"]*"/)
  assert.match(csv, /太郎|Ольга/)
  assert.equal(csv.match(/correct horse \d+\n/g)?.length, PASSWORDS)
})

test("demo goes from a CSV to the same CSV and keeps nothing", async () => {
  const home = new Home()
  try {
    const { stdout, stderr } = await home.ok(["demo", home.write("people.csv", peopleCSV(50)), ...FLAGS])
    assert.equal(stderr, "")
    assert.match(stdout, /Imported 50 rows/)
    assert.match(stdout, /name_encrypted +e201[0-9a-f]+… \(\d+ bytes\)/)
    assert.match(stdout, /Found 1 row by email=Person\.1@example\.org/)
    assert.match(stdout, /The right password is accepted, a wrong one is refused/)
    assert.match(stdout, /50 of 50 rows as in the CSV, and the one change/)
    assert.doesNotMatch(stdout, /correct horse/)
    assert.deepEqual(home.names(), ["people.csv"])
    assert.equal(home.exists(".encx"), false)
  } finally {
    home.remove()
  }
})

test("demo counts its steps under --json, and asks the KMS seldom", async () => {
  const home = new Home()
  try {
    const { steps } = JSON.parse(
      (await home.ok(["demo", home.write("people.csv", peopleCSV(50)), ...FLAGS, "--json"])).stdout,
    ) as { steps: Step[] }
    const calls = Object.fromEntries(steps.map(({ step, rows, kmsCalls }) => [step, [rows, kmsCalls]]))
    // One for the rows and one for the definition of the table.
    assert.deepEqual(calls["seal and import the CSV"], [50, 2])
    assert.deepEqual(calls["find by blind index"], [1, 0])
    assert.equal(calls["re-wrap every row"]?.[0], 50)
    assert.ok((calls["re-wrap every row"]?.[1] ?? 99) <= 5)
    assert.deepEqual(calls["open all, compare with the CSV"], [50, 1])
  } finally {
    home.remove()
  }
})

test("demo takes a file of one's own without flags", async () => {
  const home = new Home()
  try {
    const { stdout } = await home.ok(["demo", home.write("my list.csv", "key,what,more\na,b,c\nd,e,f\n")])
    assert.match(stdout, /what_index/)
    assert.match(stdout, /more_encrypted/)
    assert.match(stdout, /2 of 2 rows/)
    assertFailed(await home.encx(["demo", home.write("one.csv", "key;what\na;b\n"), "--json"]), 1, "INVALID_CSV")
  } finally {
    home.remove()
  }
})

test("demo --out keeps a database that find reads, and refuses a folder that is there", async () => {
  const home = new Home()
  try {
    const out = home.path("kept")
    const csv = home.write("people.csv", peopleCSV(12))
    await home.ok(["demo", csv, ...FLAGS, "--out", out])
    const kms = `local://${out}/keys.json`
    const { rows } = JSON.parse(
      (
        await home.ok([
          "find",
          `${out}/demo.sqlite`,
          "--table",
          "people",
          "--kms",
          kms,
          "email=person.7@EXAMPLE.org",
          "--json",
        ])
      ).stdout,
    )
    assert.match(rows[0].diagnosis, /\n/)
    assertFailed(await home.encx(["demo", csv, ...FLAGS, "--out", out, "--json"]), 1, "FILE_EXISTS")
    assert.ok(home.exists("kept/demo.sqlite"))
  } finally {
    home.remove()
  }
})

test("demo that fails or is interrupted keeps nothing", async () => {
  const home = new Home()
  try {
    assertFailed(
      await home.encx(["demo", home.write("bad.csv", "id,a\n1,b\n2\n"), "--out", home.path("kept"), "--json"]),
      1,
      "INVALID_CSV",
    )
    const controller = new AbortController()
    setTimeout(() => controller.abort(new Interrupted()), 100)
    assert.equal((await home.encx(["demo"], { signal: controller.signal })).code, 130)
    assert.deepEqual(home.names(), ["bad.csv"])
  } finally {
    home.remove()
  }
})
