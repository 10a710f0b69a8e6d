import assert from "node:assert/strict"
import { readFileSync, statSync } from "node:fs"
import process from "node:process"
import { test } from "node:test"
import { assertFailed, Home } from "./_encx.ts"

test("keys create makes a key file of mode 0600 with key, pepper and index root, once", async () => {
  const home = new Home()
  try {
    const { stdout } = await home.ok(["keys", "create"])
    assert.equal(stdout, 'Created key, pepper, index root under "default".\n')
    if (process.platform !== "win32") assert.equal(statSync(home.keyFile).mode & 0o777, 0o600)
    const before = readFileSync(home.keyFile, "utf8")
    assertFailed(await home.encx(["keys", "create", "--json"]), 1, "KEY_EXISTS")
    assert.equal(readFileSync(home.keyFile, "utf8"), before)
  } finally {
    home.remove()
  }
})

test("keys create --no-pepper makes the key alone, and later what is missing", async () => {
  const home = new Home()
  try {
    const key = JSON.parse((await home.ok(["keys", "create", "app", "--no-pepper", "--json"])).stdout)
    assert.deepEqual(key, { alias: "app", created: ["key"] })
    assert.deepEqual(JSON.parse(readFileSync(home.keyFile, "utf8")).data.secrets, [])
    const rest = JSON.parse((await home.ok(["keys", "create", "app", "--json"])).stdout)
    assert.deepEqual(rest.created, ["pepper", "index root"])
  } finally {
    home.remove()
  }
})

test("keys create makes no key under a name that its secrets could not have", async () => {
  const home = new Home()
  try {
    for (const argv of [["my key"], ["schlüssel"], ["a..b"], ["app", "--pepper-alias", "my pepper"]]) {
      assertFailed(await home.encx(["keys", "create", ...argv, "--json"]), 1, "INVALID_INPUT")
      assert.equal(home.exists(".encx/keys.json"), false, argv.join(" "))
    }
    const alone = JSON.parse((await home.ok(["keys", "create", "my key", "--no-pepper", "--json"])).stdout)
    assert.deepEqual(alone, { alias: "my key", created: ["key"] })
    const beside = JSON.parse((await home.ok(["keys", "create", "my key", "--pepper-alias", "p", "--json"])).stdout)
    assert.deepEqual(beside.created, ["pepper", "index root"])
  } finally {
    home.remove()
  }
})

test("keys list shows versions, and rotate adds one that older data still opens with", async () => {
  const home = await Home.withKeys()
  try {
    await home.ok(["seal", home.write("a", "hello")])
    const { stdout } = await home.ok(["keys", "rotate"])
    assert.match(stdout, /^Rotated "default" to version 2\.\n/)
    const { keys } = JSON.parse((await home.ok(["keys", "list", "--json"])).stdout)
    assert.equal(keys[0].currentVersion, 2)
    assert.deepEqual(
      keys[0].versions.map(({ version, state }: { version: number; state: string }) => [version, state]),
      [
        [1, "enabled"],
        [2, "enabled"],
      ],
    )
    assert.match((await home.ok(["keys", "list"])).stdout, /default +[0-9a-f-]{36} +2 \(current\) +enabled/)
    await home.ok(["open", home.path("a.encx"), "-o", home.path("b")])
    assertFailed(await home.encx(["keys", "list", "nobody", "--json"]), 1, "KEY_NOT_FOUND")
  } finally {
    home.remove()
  }
})

test("options win over the environment", async () => {
  const home = new Home()
  try {
    const env = { ENCX_KMS: `local://${home.path("k.json")}`, ENCX_KEK_ALIAS: "env" }
    await home.ok(["keys", "create"], { env })
    await home.ok(["keys", "create", "--alias", "flag"], { env })
    const { keys } = JSON.parse((await home.ok(["keys", "list", "env", "flag", "--json"], { env })).stdout)
    assert.deepEqual(
      keys.map(({ alias }: { alias: string }) => alias),
      ["env", "flag"],
    )
    assertFailed(await home.encx(["keys", "create", "a", "--alias", "b", "--json"], { env }), 2, "USAGE")
    assert.equal(home.exists(".encx"), false)
  } finally {
    home.remove()
  }
})

test("an unknown KMS is a failure that says which are known", async () => {
  const home = new Home()
  try {
    const ran = await home.encx(["keys", "list", "--kms", "vault:key=hunter2", "--json"])
    assertFailed(ran, 1, "INVALID_CONFIGURATION")
    assert.doesNotMatch(ran.stdout, /hunter2/)
    assert.match(ran.stdout, /local/)
  } finally {
    home.remove()
  }
})

test("keys describe shows one key by its alias or its id", async () => {
  const home = await Home.withKeys()
  try {
    await home.ok(["keys", "rotate"])
    const key = JSON.parse((await home.ok(["keys", "describe", "--json"])).stdout)
    assert.deepEqual([key.provider, key.alias, key.currentVersion, key.versions.length], ["local", "default", 2, 2])
    assert.deepEqual(
      JSON.parse((await home.ok(["keys", "describe", key.keyID, "--json"])).stdout).versions,
      key.versions,
    )
    const { stdout } = await home.ok(["keys", "describe"])
    assert.match(stdout, /^provider +local\nalias +default\nkey +[0-9a-f-]{36}\n\nversion +state +created\n1 +enabled/)
    assert.match(stdout, /\n2 \(current\) +enabled +\d{4}-/)
    assertFailed(await home.encx(["keys", "describe", "nobody", "--json"]), 1, "KEY_NOT_FOUND")
    assertFailed(await home.encx(["keys", "describe", "a", "--alias", "b", "--json"]), 2, "USAGE")
  } finally {
    home.remove()
  }
})

test("a KMS without regions copies no key and makes none of many regions", async () => {
  const home = await Home.withKeys()
  try {
    const before = readFileSync(home.keyFile, "utf8")
    const copied = await home.encx(["keys", "replicate", "eu-west-1", "--json"])
    assertFailed(copied, 2, "USAGE")
    assert.match(copied.stdout, /provider \\"local\\" has no regions/)
    assertFailed(await home.encx(["keys", "create", "b", "--multi-region", "--json"]), 2, "USAGE")
    assertFailed(await home.encx(["keys", "replicate", "--json"]), 2, "USAGE")
    assert.equal(readFileSync(home.keyFile, "utf8"), before)
  } finally {
    home.remove()
  }
})

test("an error of a provider says what that provider needs", async () => {
  const home = new Home()
  try {
    const { stderr } = await home.encx(["keys", "list", "--kms", "env://", "--alias", "NOT_SET"])
    assert.match(stderr, /\n {2}set it to 32 bytes in base64: export NOT_SET=/)
  } finally {
    home.remove()
  }
})
