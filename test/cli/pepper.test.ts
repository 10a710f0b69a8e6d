import assert from "node:assert/strict"
import { readFileSync, writeFileSync } from "node:fs"
import { test } from "node:test"
import { createSecrets } from "../../cli/_secrets.ts"
import { newCrypto, SecretStorageUnavailable, withKEKAlias, withKMSService, withPepper } from "../../mod.ts"
import { local } from "../../providers/local.ts"
import { memory } from "../../providers/memory.ts"
import { assertFailed, errorOf, Home } from "./_encx.ts"

const json = async (home: Home, ...argv: string[]) => JSON.parse((await home.ok([...argv, "--json"])).stdout)
const storedSecrets = (home: Home): unknown[] => JSON.parse(readFileSync(home.keyFile, "utf8")).data.secrets

test("pepper init makes the pepper and the index root once, and says what was there", async () => {
  const home = new Home()
  try {
    await home.ok(["keys", "create", "--no-pepper"])
    assert.equal((await home.ok(["pepper", "init"])).stdout, 'Created pepper, index root under "default".\n')
    const before = readFileSync(home.keyFile, "utf8")
    const again = await home.ok(["pepper", "init"])
    assert.equal(again.stdout, "Created nothing; there already: pepper, index root.\n")
    assert.deepEqual(await json(home, "pepper", "init"), {
      provider: "local",
      alias: "default",
      created: [],
      existing: ["pepper", "index root"],
      paths: { pepper: "encx/default/pepper", indexRoot: "encx/default/index-root" },
    })
    assert.equal(readFileSync(home.keyFile, "utf8"), before)

    const file = JSON.parse(before)
    file.data.secrets = file.data.secrets.filter(({ path }: { path: string }) => path.endsWith("/pepper"))
    writeFileSync(home.keyFile, JSON.stringify(file))
    assert.equal(
      (await home.ok(["pepper", "init"])).stdout,
      'Created index root under "default"; there already: pepper.\n',
    )
  } finally {
    home.remove()
  }
})

test("pepper init makes nothing without the key that seals the index root", async () => {
  const home = new Home()
  try {
    assertFailed(await home.encx(["pepper", "init", "--json"]), 1, "KEY_NOT_FOUND")
    assert.equal(home.exists(".encx"), false)
    await home.ok(["keys", "create", "--no-pepper"])
    assertFailed(await home.encx(["pepper", "init", "--alias", "other", "--json"]), 1, "KEY_NOT_FOUND")
    assert.deepEqual(storedSecrets(home), [])
  } finally {
    home.remove()
  }
})

test("pepper init of many at once has one that made each secret", async () => {
  const store = memory()
  await store.createKey("app")
  const services = { kms: store, alias: "app", secrets: store, pepperAlias: "app" }
  const io = { signal: new AbortController().signal }
  const made = await Promise.all(Array.from({ length: 20 }, () => createSecrets(services, store, io)))
  assert.deepEqual(made.flatMap(({ created }) => created).sort(), ["index root", "pepper"])
  assert.equal(made.flatMap(({ existing }) => existing).length, 38)
  const crypto = await newCrypto(withKMSService(store), withKEKAlias("app"), withPepper(store, "app"))
  assert.equal(crypto.blindIndex("a", { table: "t", column: "c" }).length, 34)
  await crypto.close()
})

test("pepper init takes what could not be asked for absent in no case", async () => {
  const store = memory()
  await store.createKey("app")
  const failure = { provider: "memory", operation: "getIndexRoot" }
  const deaf = {
    ...store,
    getIndexRoot: () => Promise.reject(new SecretStorageUnavailable("Cannot read: no answer", failure)),
  }
  const services = { kms: store, alias: "app", secrets: deaf, pepperAlias: "app" }
  await assert.rejects(
    createSecrets(services, deaf, { signal: new AbortController().signal }),
    SecretStorageUnavailable,
  )
  assert.equal(await store.pepperExists("app"), false)
})

test("pepper rotate makes a new current version, and older hashes still verify", async () => {
  const home = await Home.withKeys()
  const keys = local({ path: home.keyFile })
  const program = () => newCrypto(withKMSService(keys), withKEKAlias("default"), withPepper(keys, "default"))
  try {
    const old = await program()
    const hash = await old.hashSecure("correct horse")
    const before = await json(home, "pepper", "status")
    const rotated = await json(home, "pepper", "rotate")
    assert.deepEqual(
      rotated.versions.map(({ version, stage }: { version: string; stage: string }) => [version, stage]),
      [
        ["2", "current"],
        ["1", "previous"],
      ],
    )
    assert.equal(rotated.versions[1].id, before.pepper.versions[0].id)
    assert.notEqual(rotated.versions[0].id, rotated.versions[1].id)
    assert.deepEqual(rotated.lost, [])
    const crypto = await program()
    assert.equal(await crypto.compareSecureHashAndValue("correct horse", hash), true)
    assert.equal(crypto.needsRehash(hash), true)
    await Promise.all([old.close(), crypto.close()])
    const { stdout } = await home.ok(["pepper", "rotate"])
    assert.match(stdout, /^Rotated the pepper at "encx\/default\/pepper" to version 3 \([0-9a-f]{8}\)\.\nRestart every/)
  } finally {
    home.remove()
  }
})

test("pepper rotate needs a pepper, and makes none", async () => {
  const home = new Home()
  try {
    const ran = await home.encx(["pepper", "rotate", "--json"])
    assertFailed(ran, 1, "SECRET_NOT_FOUND")
    assert.match(errorOf(ran).hint ?? "", /encx pepper init/)
    assert.equal(home.exists(".encx"), false)
  } finally {
    home.remove()
  }
})

test("pepper status shows versions, stages, ids and paths, and absence by its exit code", async () => {
  const home = await Home.withKeys()
  try {
    await home.ok(["pepper", "rotate"])
    const { stdout } = await home.ok(["pepper", "status"])
    assert.match(stdout, /pepper +encx\/default\/pepper +2 +current +[0-9a-f]{8}\n/)
    assert.match(stdout, /pepper +encx\/default\/pepper +1 +previous +[0-9a-f]{8}\n/)
    assert.match(stdout, /index root +encx\/default\/index-root +there\n/)
    const none = await home.encx(["pepper", "status", "--pepper-alias", "none", "--json"])
    assert.equal(none.code, 1)
    assert.deepEqual(JSON.parse(none.stdout), {
      provider: "local",
      alias: "none",
      pepper: { path: "encx/none/pepper", exists: false, versions: [] },
      indexRoot: { path: "encx/none/index-root", exists: false },
    })
    const text = await home.encx(["pepper", "status", "--pepper-alias", "none"])
    assert.match(text.stdout, /absent[\s\S]*encx pepper init/)
    assert.equal(text.stderr, "")
  } finally {
    home.remove()
  }
})

test("pepper status that cannot ask fails, and does not say absent", async () => {
  const home = new Home()
  try {
    const ran = await home.encx(["pepper", "status", "--kms", `local://${home.write("file", "x")}/keys.json`, "--json"])
    assertFailed(ran, 1, "SECRET_STORAGE_UNAVAILABLE")
    const broken = await home.encx(["pepper", "status", "--kms", `local://${home.path("file")}`, "--json"])
    assert.equal(broken.code, 1)
    assert.equal(errorOf(broken).code, "UNSAFE_FILE")
  } finally {
    home.remove()
  }
})

test("the pepper verbs need a store that keeps secrets, and no KMS where one is named", async () => {
  const home = await Home.withKeys()
  try {
    for (const what of ["init", "rotate", "status"]) {
      assertFailed(await home.encx(["pepper", what, "--kms", "env://", "--json"]), 2, "USAGE")
    }
    const secrets = ["--secrets", `local://${home.keyFile}`, "--pepper-alias", "default"]
    await home.ok(["pepper", "status", "--kms", "nobody://", ...secrets])
    await home.ok(["pepper", "rotate", "--kms", "nobody://", ...secrets])
  } finally {
    home.remove()
  }
})
