import assert from "node:assert/strict"
import { chmodSync, linkSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { test } from "node:test"
import type { Diagnosis } from "../../core/contracts.ts"
import { local } from "../../providers/local.ts"
import { inFolder, snapshot } from "./_files.ts"

interface Given {
  readonly alias?: string
  readonly passphrase?: string
}

async function diagnosed(path: string, { alias = "app", ...options }: Given = {}): Promise<Diagnosis[]> {
  const keys = local({ path, ...options })
  const found: Diagnosis[] = []
  for await (const each of keys.diagnose?.(alias) ?? []) found.push(each)
  return found
}

const told = (found: readonly Diagnosis[]): [string, boolean][] => found.map(({ check, ok }) => [check, ok])

test("diagnose() says what a key file keeps under an alias, and changes nothing", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "keys.json")
    const keys = local({ path })
    await keys.createKey("app")
    await keys.storePepper("peppers", new Uint8Array(32).fill(1, 1))
    const before = snapshot(folder)
    const found = await diagnosed(path)
    assert.deepEqual(told(found), [
      ["key file", true],
      ["alias", true],
      ["protection", true],
    ])
    assert.equal(found[1]?.detail, 'the file keeps a key under "app"')
    assert.match(found[2]?.detail ?? "", /^no passphrase/)
    assert.equal((await diagnosed(path, { alias: "peppers" }))[1]?.detail, 'the file keeps a pepper under "peppers"')
    assert.equal((await diagnosed(path, { alias: "not a secret's alias" }))[1]?.ok, false)
    assert.deepEqual(snapshot(folder), before)
  })
})

test("diagnose() says that a passphrase fits, or does not", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "keys.json")
    await local({ path, passphrase: "six words" }).createKey("app")
    assert.equal((await diagnosed(path, { passphrase: "six words" }))[2]?.detail, "sealed under a passphrase")
    for (const wrong of [{ passphrase: "seven words" }, {}]) {
      const found = await diagnosed(path, wrong)
      assert.deepEqual(told(found), [
        ["key file", true],
        ["alias", false],
      ])
      assert.match(found[1]?.detail ?? "", /passphrase/)
    }
  })
})

test("diagnose() says that there is no key file, and makes none", async () => {
  await inFolder(async (folder) => {
    const found = await diagnosed(join(folder, "none", "keys.json"))
    assert.deepEqual(
      found.map(({ check, ok }) => [check, ok]),
      [["key file", false]],
    )
    assert.match(found[0]?.hint ?? "", /encx keys create/)
    assert.deepEqual(snapshot(folder), [])
  })
})

test("diagnose() tells what others could do to a key file", { skip: process.platform === "win32" }, async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "keys.json")
    await local({ path }).createKey("app")
    chmodSync(folder, 0o777)
    assert.match((await diagnosed(path))[0]?.hint ?? "", /^chmod go-w/)
    chmodSync(folder, 0o700)
    chmodSync(path, 0o640)
    assert.match((await diagnosed(path))[0]?.hint ?? "", /^chmod 600/)
    chmodSync(path, 0o600)
    linkSync(path, join(folder, "second"))
    assert.match((await diagnosed(path))[0]?.detail ?? "", /more than one name/)
  })
})
