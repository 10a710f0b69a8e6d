import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import process from "node:process"
import { test } from "node:test"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { Home } from "./_encx.ts"

const MAIN = fileURLToPath(new URL("../../cli/main.ts", import.meta.url))
const POSIX = process.platform !== "win32"
const RUNTIME =
  "Deno" in globalThis
    ? ["run", "-A"]
    : "Bun" in globalThis
      ? []
      : /^v22\./.test(process.version)
        ? ["--experimental-strip-types"]
        : []

function encx(home: Home, ...argv: string[]): ChildProcess {
  const env = { ...process.env, HOME: home.folder, TMPDIR: home.folder, ENCX_KMS: "", ENCX_KEK_ALIAS: "" }
  return spawn(process.execPath, [...RUNTIME, MAIN, ...argv], { env, stdio: ["pipe", "pipe", "pipe"] })
}

async function outcome(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  let stdout = ""
  let stderr = ""
  child.stdout?.on("data", (chunk) => (stdout += chunk))
  child.stderr?.on("data", (chunk) => (stderr += chunk))
  const [code] = (await once(child, "close")) as [number | null]
  return { code, stdout, stderr }
}

const CSV = `id,name\n${Array.from({ length: 100_000 }, (_, i) => `${i},${"x".repeat(50)}`).join("\n")}\n`
const importing = (home: Home): ChildProcess =>
  encx(
    home,
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
  )

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 10) {
    assert.ok(waited < 20_000, "it did not begin")
    await setTimeout(10)
  }
}

test("the executable gives output, exit codes and no warning of the runtime", async () => {
  const home = new Home()
  try {
    const created = await outcome(encx(home, "keys", "create"))
    assert.deepEqual([created.code, created.stdout], [0, 'Created key, pepper, index root under "default".\n'])
    assert.doesNotMatch(created.stderr, /SQLite/)
    const refused = await outcome(encx(home, "seal", home.path("none"), "--json"))
    assert.equal(refused.code, 1)
    assert.equal(JSON.parse(refused.stdout).error.code, "FILE_NOT_FOUND")
    assert.equal((await outcome(encx(home, "sael"))).code, 2)
  } finally {
    home.remove()
  }
})

test("Ctrl-C ends one that waits for standard input", { skip: !POSIX }, async () => {
  const home = await Home.withKeys()
  try {
    const child = encx(home, "seal", "-", "-o", home.path("a.encx"))
    const done = outcome(child)
    await setTimeout(1500)
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
