import assert from "node:assert/strict"
import type { ChildProcess } from "node:child_process"
import { closeSync, existsSync, mkdirSync, openSync, readdirSync } from "node:fs"
import process from "node:process"
import { test } from "node:test"
import { setTimeout } from "node:timers/promises"
import { Home } from "./_encx.ts"
import { encx, outcome, POSIX, shell } from "./_process.ts"

const CSV = `id,name\n${Array.from({ length: 100_000 }, (_, i) => `${i},${"x".repeat(50)}`).join("\n")}\n`
const importing = (home: Home): ChildProcess =>
  encx(home, [
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

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 10) {
    assert.ok(waited < 20_000, "it did not begin")
    await setTimeout(10)
  }
}

test("the executable gives output, exit codes and no warning of the runtime", async () => {
  const home = new Home()
  try {
    const created = await outcome(encx(home, ["keys", "create"]))
    assert.deepEqual([created.code, created.stdout], [0, 'Created key, pepper, index root under "default".\n'])
    assert.doesNotMatch(created.stderr, /SQLite/)
    const refused = await outcome(encx(home, ["seal", home.path("none"), "--json"]))
    assert.equal(refused.code, 1)
    assert.equal(JSON.parse(refused.stdout).error.code, "FILE_NOT_FOUND")
    assert.equal((await outcome(encx(home, ["sael"]))).code, 2)
  } finally {
    home.remove()
  }
})

test("Ctrl-C ends one that waits for standard input", { skip: !POSIX }, async () => {
  const home = await Home.withKeys()
  try {
    const child = encx(home, ["seal", "-", "-o", home.path("a.encx")])
    const done = outcome(child)
    // More than a pipe holds: it has begun to read, and waits for the rest.
    await new Promise((resolve) => child.stdin?.write(new Uint8Array(1024 * 1024), resolve))
    // Not child.kill(): Deno's closes its stdin and hides its exit code, https://github.com/denoland/deno/issues/36643
    process.kill(child.pid as number, "SIGINT")
    const { code, stdout, stderr } = await done
    assert.deepEqual([code, stdout], [130, ""])
    assert.match(stderr, /(^|\n)encx: interrupted; what is there is whole\n$/)
    assert.deepEqual(home.names(), [])
  } finally {
    home.remove()
  }
})

test("an import that is killed makes no database, and leaves an existing one as it was", { skip: !POSIX }, async () => {
  const home = await Home.withKeys()
  try {
    const fresh = importing(home)
    const freshDone = outcome(fresh)
    await until(() => home.names().some((name) => name.endsWith("-journal")))
    fresh.kill("SIGKILL")
    await freshDone
    assert.equal(home.exists("db.sqlite"), false)

    home.sqlite("db.sqlite", (db) => db.exec("create table mine (a); insert into mine values (1)"))
    const second = importing(home)
    const secondDone = outcome(second)
    await until(() => home.exists("db.sqlite-journal"))
    second.kill("SIGKILL")
    await secondDone
    const tables = home.sqlite("db.sqlite", (db) =>
      db
        .prepare("select name from sqlite_master")
        .all()
        .map(({ name }) => name),
    )
    assert.deepEqual(tables, ["mine"])
  } finally {
    home.remove()
  }
})

const NO_SHELL = POSIX ? false : "there is no /bin/sh"

test("a demo whose reader has enough ends well, and leaves nothing", { skip: NO_SHELL }, async () => {
  const home = new Home()
  try {
    mkdirSync(home.path("tmp"))
    const line = "{ encx demo; echo $? > code; } | head -1"
    const { code, stdout, stderr } = await shell(home, line, { TMPDIR: home.path("tmp") })
    assert.deepEqual([code, stderr], [0, ""])
    assert.match(stdout, /^Imported 1000 rows of [^\n]+\n$/)
    assert.equal(new TextDecoder().decode(home.read("code")), "0\n")
    assert.deepEqual(readdirSync(home.path("tmp")), [])
  } finally {
    home.remove()
  }
})

test("a terminal that is closed ends a demo, which leaves nothing", { skip: !POSIX }, async () => {
  const home = new Home()
  const child = encx(home, ["demo"])
  try {
    const done = outcome(child)
    await until(() => home.names().some((name) => home.exists(`${name}/keys.json`)))
    process.kill(child.pid as number, "SIGHUP")
    const { code, stderr } = await done
    assert.equal(code, 129)
    assert.match(stderr, /(^|\n)encx: interrupted; what is there is whole\n$/)
    assert.deepEqual(home.names(), [])
  } finally {
    child.kill("SIGKILL")
    home.remove()
  }
})

const NO_FULL = process.platform === "linux" && existsSync("/dev/full") ? false : "there is no /dev/full"

const FULL: readonly (readonly [string, false | string])[] = [
  ["--help", NO_FULL],
  ["--version", NO_FULL],
  ["keys list", NO_FULL],
  ["keys list --json", NO_FULL],
  ["keys list nobody --json", NO_FULL],
  ["open a.encx -o -", NO_FULL],
  ["demo", NO_FULL],
]

for (const [line, skip] of FULL) {
  test(`an output that is full is exit code 1 and words: encx ${line}`, { skip }, async () => {
    const home = await Home.withKeys()
    const full = openSync("/dev/full", "w")
    let child: ChildProcess | undefined
    try {
      await home.ok(["seal", home.write("a", "hello")])
      const argv = line.split(" ").map((word) => (word === "a.encx" ? home.path(word) : word))
      child = encx(home, argv, { stdout: full })
      const { code, stderr } = await outcome(child)
      assert.equal(code, 1)
      assert.match(stderr, /^encx: [^\n]+\n( {2}[^\n]+\n)?$/)
      assert.deepEqual(home.names(), ["a", "a.encx"])
    } finally {
      child?.kill("SIGKILL")
      closeSync(full)
      home.remove()
    }
  })
}

test("imports at once into one database wait for each other", async () => {
  const home = await Home.withKeys()
  // Few enough for the last to wait no longer than SQLite does, on a slow machine, too.
  const count = 200
  const rows = Array.from({ length: count }, (_, i) => `${i},x\n`).join("")
  const file = home.write("in.csv", `id,name\n${rows}`)
  home.sqlite("db.sqlite", (db) => db.exec("create table mine (a)"))
  const tables = ["one", "two", "three"]
  const children = tables.map((table) =>
    encx(home, [
      "import",
      file,
      "--to",
      home.path("db.sqlite"),
      "--table",
      table,
      "--row",
      "id",
      "--encrypt",
      "name",
      "--json",
    ]),
  )
  try {
    for (const { code, stdout } of await Promise.all(children.map(outcome))) assert.equal(code, 0, stdout)
    home.sqlite("db.sqlite", (db) => {
      for (const table of tables)
        assert.equal(db.prepare(`select count(*) as rows from ${table}`).get()?.["rows"], count, table)
    })
    assert.deepEqual(home.names(), ["db.sqlite", "in.csv"])
  } finally {
    for (const child of children) child.kill("SIGKILL")
    home.remove()
  }
})
