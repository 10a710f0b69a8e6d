import assert from "node:assert/strict"
import { join } from "node:path"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import { DataKeys } from "../core/keys/data-keys.ts"
import type { DataKey, SealingKey } from "../core/keys/dek.ts"
import { DEK_CACHE_DEFAULTS, DEKCache } from "../core/keys/dek-cache.ts"
import { Keyring } from "../core/keys/keyring.ts"
import {
  type Clock,
  type Crypto,
  configFromEnv,
  DatabaseUnavailable,
  DecryptionFailed,
  InvalidConfiguration,
  type KEKVersionStore,
  type KeyManagementService,
  KeyNotAllowed,
  KeyNotFound,
  KeyRotationRequired,
  newCrypto,
  newCryptoFromEnv,
  type Option,
  plain,
  record,
  text,
  withBootstrap,
  withClock,
  withDatabase,
  withKEKAlias,
  withKMSService,
  withLogger,
  withMetricsCollector,
  withObservabilityHook,
  withRetiredKEK,
} from "../mod.ts"
import { awsKMS } from "../providers/aws-kms.ts"
import { local } from "../providers/local.ts"
import { memory } from "../providers/memory.ts"
import { sql } from "../providers/sql.ts"
import { vaultTransit } from "../providers/vault-transit.ts"
import { memoryKEKVersions } from "../testing.ts"
import { CREDENTIALS } from "./_aws.ts"
import { type DatabaseServer, query, SQLITE } from "./providers/_databases.ts"
import { inFolder } from "./providers/_files.ts"
import { needsServer, type Server, startMoto, startVault, type Vault } from "./servers/index.ts"
import { bytes32, rejectsWith } from "./suites/_assert.ts"

const ALIAS = "app"
const SECRET = new TextEncoder().encode("secret")
const CREATE = withBootstrap({ createKEK: true })
const users = record("users", { row: "id" }, { id: plain<number>(), email: text().encrypt() })

/** A KMS whose every rotation makes another key, as the Go library's does. */
function rekeying(inner: ReturnType<typeof memory> = memory()): KeyManagementService & { keys: string[] } {
  const keys: string[] = []
  return {
    ...inner,
    keys,
    rotateKey: async (_, options) => {
      const keyID = await inner.createKey(`${ALIAS}-${keys.length + 1}`, options)
      keys.push(keyID)
      return await inner.describeKey(keyID, options)
    },
  }
}

/** A program over these services. */
async function program(
  kms: KeyManagementService,
  database: KEKVersionStore | string,
  ...options: Option[]
): Promise<Crypto> {
  return await newCrypto(withKMSService(kms), withKEKAlias(ALIAS), withDatabase(database), ...options)
}

const versionsOf = async (crypto: Crypto): Promise<number[]> =>
  (await crypto.describeKEK()).versions.map(({ version }) => version)

describe("withDatabase()", () => {
  let server: DatabaseServer
  before(async () => {
    server = await SQLITE.start()
  })
  after(async () => await server.close())

  for (const [name, open] of [
    ["new versions of one key", () => memory()],
    ["a new key with each rotation", () => rekeying()],
  ] as const) {
    describe(`over a KMS with ${name}`, () => {
      it("shows the database's versions wherever a version is shown", async () => {
        const [kms, url] = [open(), await server.fresh()]
        const crypto = await program(kms, url, CREATE)
        const first = await crypto.encryptDEK(bytes32(1))
        assert.equal(first.version, 1)
        for (const expected of [2, 3]) {
          const rotated = await crypto.rotateKEK()
          assert.equal(rotated.currentVersion, expected)
          assert.equal(await crypto.getCurrentKEKVersion(), expected)
          const wrapped = await crypto.encryptDEK(bytes32(expected))
          assert.equal(wrapped.version, expected)
          assert.equal(await crypto.getKMSKeyIDForVersion(expected), wrapped.keyID)
          assert.deepEqual(await crypto.decryptDEK(wrapped), bytes32(expected))
          const { ciphertext, dekID } = wrapped
          assert.deepEqual(await crypto.decryptDEKWithVersion(ciphertext, expected, { dekID }), bytes32(expected))
        }
        assert.deepEqual(await versionsOf(crypto), [1, 2, 3])
        assert.deepEqual(await crypto.decryptDEK(first), bytes32(1))
        const { ciphertext, dekID } = first
        assert.deepEqual(await crypto.decryptDEKWithVersion(ciphertext, 1, { dekID }), bytes32(1))
        await rejectsWith(crypto.getKMSKeyIDForVersion(4), KeyNotFound)
        await rejectsWith(crypto.decryptDEKWithVersion(ciphertext, 4, { dekID }), KeyNotFound)
        await crypto.close()
      })

      it("writes the database's version beside what is sealed, and opens what each version sealed", async () => {
        const crypto = await program(open(), await server.fresh(), CREATE)
        const rows: Awaited<ReturnType<typeof seal>>[] = []
        const seal = async (id: number) => await crypto.sealRecord(users, { id, email: `${id}@example.com` })
        const envelopes: Uint8Array[] = []
        for (const version of [1, 2, 3]) {
          if (version > 1) await crypto.rotateKEK()
          rows.push(await seal(version))
          envelopes.push(await crypto.seal(SECRET))
        }
        assert.deepEqual(
          rows.map((row) => row.key_version),
          [1, 2, 3],
        )
        for (const [i, row] of rows.entries())
          assert.equal((await crypto.openRecord(users, row)).email, `${i + 1}@example.com`)
        for (const each of envelopes) assert.deepEqual(await crypto.open(each), SECRET)
        const key = await crypto.rewrapRecord(users, rows[0] as (typeof rows)[0])
        assert.equal(key.key_version, 3)
        assert.equal(
          (await crypto.openRecord(users, { ...(rows[0] as (typeof rows)[0]), ...key })).email,
          "1@example.com",
        )
        await crypto.close()
      })

      it("a rotation by one program is used by another: at once to open, and with the alias's age to seal", async () => {
        const [kms, url] = [open(), await server.fresh()]
        let now = 0
        const clock: Clock = { now: () => now }
        const [one, other] = [await program(kms, url, CREATE), await program(kms, url, withClock(clock))]
        await one.rotateKEK()
        const wrapped = await one.encryptDEK(bytes32(1))
        const envelope = await one.seal(SECRET)
        assert.equal((await other.encryptDEK(bytes32(2))).version, 1, "it has not noticed")
        now = 600_000
        assert.equal((await other.encryptDEK(bytes32(2))).version, 2)
        await one.rotateKEK()
        const later = [await one.seal(SECRET), await one.encryptDEK(bytes32(3))] as const
        const { ciphertext, dekID, version } = later[1]
        assert.equal(version, 3)
        assert.deepEqual(await other.decryptDEKWithVersion(ciphertext, version, { dekID }), bytes32(3))
        assert.deepEqual(await other.open(later[0]), SECRET)
        assert.equal((await other.encryptDEK(bytes32(4))).version, 3, "what it read then holds for sealing, too")
        assert.deepEqual(await other.decryptDEK(wrapped), bytes32(1))
        assert.deepEqual(await other.open(envelope), SECRET)
        for (const each of [one, other]) await each.close()
      })

      it("a data key that other programs' rotation outdated seals nothing more once that is noticed", async () => {
        const [kms, url] = [open(), await server.fresh()]
        const [one, other] = [await program(kms, url, CREATE), await program(kms, url)]
        const before = await other.sealRecord(users, { id: 1, email: "a@example.com" })
        await one.rotateKEK()
        assert.equal(await other.getCurrentKEKVersion(), 2)
        const next = await other.sealRecord(users, { id: 2, email: "b@example.com" })
        assert.deepEqual([before.key_version, next.key_version], [1, 2])
        for (const each of [one, other]) await each.close()
      })

      it("repairs what the Go library's broken rotation left: it opens, refuses to seal, and rotates to the next version", async () => {
        const [kms, url] = [open(), await server.fresh()]
        const first = await program(kms, url, CREATE)
        const wrapped = await first.encryptDEK(bytes32(1))
        await first.close()
        await query(url, "update kek_versions set is_deprecated = TRUE")
        const crypto = await program(kms, url, CREATE)
        assert.equal(await crypto.getCurrentKEKVersion(), 0)
        assert.deepEqual(await crypto.decryptDEK(wrapped), bytes32(1))
        await rejectsWith(crypto.seal(SECRET), KeyRotationRequired)
        await rejectsWith(crypto.encryptDEK(bytes32(2)), KeyRotationRequired)
        assert.equal((await crypto.rotateKEK()).currentVersion, 2)
        assert.equal((await crypto.encryptDEK(bytes32(2))).version, 2)
        assert.deepEqual(await crypto.open(await crypto.seal(SECRET)), SECRET)
        assert.deepEqual(await crypto.decryptDEK(wrapped), bytes32(1))
        await crypto.close()
      })
    })
  }

  it("is shared by a key file's programs", async () => {
    await inFolder(async (folder) => {
      const [path, url] = [join(folder, "keys", "keys.json"), await server.fresh()]
      const [one, other] = [await program(local({ path }), url, CREATE), await program(local({ path }), url)]
      const wraps: Awaited<ReturnType<Crypto["encryptDEK"]>>[] = []
      for (const [i, crypto] of [one, other, one, other].entries()) {
        assert.equal((await crypto.rotateKEK()).currentVersion, i + 2)
        wraps.push(await crypto.encryptDEK(bytes32(i)))
      }
      for (const crypto of [one, other]) {
        for (const [i, wrapped] of wraps.entries()) assert.deepEqual(await crypto.decryptDEK(wrapped), bytes32(i))
      }
      await rejectsWith(
        one.decryptDEK({ ...(wraps[0] as (typeof wraps)[0]), dekID: "00".repeat(16) }),
        DecryptionFailed,
      )
      for (const each of [one, other]) await each.close()
    })
  })

  it("opens what was wrapped before there was a database", async () => {
    const kms = memory()
    const options = [withKMSService(kms), withKEKAlias(ALIAS)]
    const before = await newCrypto(...options, CREATE)
    await before.rotateKEK()
    const [wrapped, envelope] = [await before.encryptDEK(bytes32(1)), await before.seal(SECRET)]
    assert.equal(wrapped.version, 2)
    const crypto = await program(kms, memoryKEKVersions())
    assert.equal(await crypto.getCurrentKEKVersion(), 1)
    assert.deepEqual(await crypto.decryptDEK(wrapped), bytes32(1))
    assert.deepEqual(await crypto.open(envelope), SECRET)
  })

  it("makes a key only when it is told to, and none where a version is recorded", async () => {
    const [kms, store] = [memory(), memoryKEKVersions()]
    await rejectsWith(program(kms, store), KeyNotFound)
    assert.deepEqual(await store.listVersions(ALIAS), [])
    await (await program(kms, store, CREATE)).close()
    const [recorded] = await store.listVersions(ALIAS)
    const moved = await kms.createKey("moved")
    const other = memoryKEKVersions()
    await other.ensureVersion("nobody", moved)
    const crypto = await newCrypto(withKMSService(kms), withKEKAlias("nobody"), withDatabase(other), CREATE)
    assert.equal((await crypto.encryptDEK(bytes32(1))).keyID, moved)
    await rejectsWith(kms.getKeyID("nobody"), KeyNotFound)
    assert.equal(recorded?.keyID, await kms.getKeyID(ALIAS))
  })

  it("one version is recorded when 20 programs start for the first time at once", async () => {
    const [kms, url] = [memory(), await server.fresh()]
    const programs = await Promise.all(Array.from({ length: 20 }, () => program(kms, url, CREATE)))
    for (const each of programs) assert.deepEqual(await versionsOf(each), [1])
    await Promise.all(programs.map((each) => each.rotateKEK()))
    const [first] = programs as [Crypto]
    assert.deepEqual(
      await versionsOf(first),
      Array.from({ length: 21 }, (_, i) => i + 1),
    )
    assert.equal(await first.getCurrentKEKVersion(), 21)
    for (const each of programs) await each.close()
  })

  it("tells the KMS nothing when the database cannot be asked, and may be called again when it failed in between", async () => {
    const kms = memory()
    const store = memoryKEKVersions()
    const failing = { listVersions: false, addVersion: false }
    const fails = async (name: keyof typeof failing): Promise<void> => {
      if (failing[name]) throw new DatabaseUnavailable("Cannot ask: it is down", { provider: "test", operation: name })
    }
    const flaky: KEKVersionStore = {
      ...store,
      listVersions: async (...args) => await fails("listVersions").then(() => store.listVersions(...args)),
      addVersion: async (...args) => await fails("addVersion").then(() => store.addVersion(...args)),
    }
    const crypto = await program(kms, flaky, CREATE)
    const keyID = await kms.getKeyID(ALIAS)
    failing.listVersions = true
    await rejectsWith(crypto.rotateKEK(), DatabaseUnavailable)
    assert.equal((await kms.describeKey(keyID)).currentVersion, 1)
    assert.deepEqual(await crypto.open(await crypto.seal(SECRET)), SECRET, "what is known goes on")
    failing.listVersions = false
    failing.addVersion = true
    await rejectsWith(crypto.rotateKEK(), DatabaseUnavailable)
    assert.equal(await crypto.getCurrentKEKVersion(), 1)
    assert.deepEqual(await crypto.open(await crypto.seal(SECRET)), SECRET)
    failing.addVersion = false
    assert.equal((await crypto.rotateKEK()).currentVersion, 2)
    assert.deepEqual(await crypto.open(await crypto.seal(SECRET)), SECRET)
    failing.listVersions = true
    await rejectsWith(program(kms, flaky), DatabaseUnavailable)
  })

  it("asks for nothing that it knows: sealing and opening cost no query", async () => {
    let queries = 0
    const store = memoryKEKVersions()
    const counted: KEKVersionStore = {
      ...store,
      listVersions: (...args) => {
        queries++
        return store.listVersions(...args)
      },
    }
    const crypto = await program(memory(), counted, CREATE)
    const start = queries
    for (let i = 0; i < 10; i++) {
      await crypto.open(await crypto.seal(SECRET))
      await crypto.decryptDEK(await crypto.encryptDEK(bytes32(i)))
    }
    assert.equal(queries, start)
  })

  it("opens what a retired key wrapped without a query, and while the database is down", async () => {
    const [kms, old, store] = [memory(), memory(), memoryKEKVersions()]
    const before = await newCrypto(withKMSService(old), withKEKAlias("old"), CREATE)
    await before.rotateKEK()
    const [wrapped, envelope] = [await before.encryptDEK(bytes32(1)), await before.seal(SECRET)]
    let isDown = false
    const flaky: KEKVersionStore = {
      ...store,
      listVersions: async (...args) => {
        if (isDown) throw new DatabaseUnavailable("Cannot ask: it is down", { provider: "test", operation: "list" })
        return await store.listVersions(...args)
      },
    }
    const crypto = await program(kms, flaky, CREATE, withRetiredKEK(old, "old"))
    isDown = true
    assert.deepEqual(await crypto.decryptDEK(wrapped), bytes32(1))
    assert.deepEqual(await crypto.open(envelope), SECRET)
    await rejectsWith(crypto.decryptDEK({ ...wrapped, keyID: "unknown" }), DatabaseUnavailable)
  })

  it("asks for an old key that is gone once in the alias's age, however often it meets what it does not know", async () => {
    const [inner, foreign, store] = [memory(), memory(), memoryKEKVersions()]
    let now = 0
    const asked: string[] = []
    const kms: KeyManagementService = {
      ...inner,
      getKeyID: async (name, options) => {
        asked.push(name)
        return await inner.getKeyID(name, options)
      },
    }
    await store.addVersion(ALIAS, "gone")
    await store.addVersion(ALIAS, await inner.createKey(ALIAS))
    const crypto = await program(kms, store, withClock({ now: () => now }))
    const stranger = await newCrypto(withKMSService(foreign), withKEKAlias("else"), CREATE)
    const envelope = await stranger.seal(SECRET)
    for (const count of [1, 1, 2]) {
      if (count === 2) now = 600_000
      await rejectsWith(crypto.open(envelope), KeyNotAllowed)
      assert.equal(asked.filter((name) => name === "gone").length, count)
    }
  })

  it("refuses a store whose answers make no sense", async () => {
    const kms = memory()
    await kms.createKey(ALIAS)
    const row = { keyID: await kms.getKeyID(ALIAS), deprecated: false }
    for (const versions of [
      [{ ...row, version: 0 }],
      [{ ...row, version: 1.5 }],
      [
        { ...row, version: 1 },
        { ...row, version: 1 },
      ],
      [{ ...row, version: 1, keyID: "" }],
    ]) {
      const store = { ...memoryKEKVersions(), listVersions: async () => versions }
      await rejectsWith(program(kms, store), DatabaseUnavailable)
    }
  })

  it("ends the connections of a URL with close(), and leaves a store of the program's open", async () => {
    const store = sql(await server.fresh())
    const crypto = await program(memory(), store, CREATE)
    await crypto.close()
    assert.equal((await store.listVersions(ALIAS)).length, 1)
    await store.close?.()
  })

  it("reports what cannot be a database, a collector, a hook or a logger with all other problems", async () => {
    const none = (value: unknown): never => value as never
    await assert.rejects(
      newCrypto(
        withKMSService(memory()),
        withDatabase("postgres://ada:hunter2@[::1/x"),
        withMetricsCollector(none({ setGauge: () => {} })),
        withObservabilityHook(none({})),
        withObservabilityHook(none({ onError: 7 })),
        withLogger(none(7)),
      ),
      (error: unknown) => {
        assert.ok(error instanceof InvalidConfiguration)
        assert.equal(error.problems.length, 6, error.problems.join("\n"))
        assert.match(error.message, /names no key.*metrics collector.*logger.*hook.*hook.*database's URL/)
        assert.ok(!error.message.includes("hunter2"))
        return true
      },
    )
    for (const database of [undefined, "keys.db", "redis://h", {}, 7, { selectFrom: () => {} }])
      await assert.rejects(
        newCrypto(withKMSService(memory()), withKEKAlias(ALIAS), withDatabase(none(database))),
        InvalidConfiguration,
      )
    await newCrypto(
      withKMSService(memory()),
      withKEKAlias(ALIAS),
      CREATE,
      withLogger(console),
      withObservabilityHook({ onError: () => {} }),
    )
  })
})

describe("the environment's database", () => {
  const keys = { ENCX_KMS: "memory", ENCX_KEK_ALIAS: ALIAS }
  const databaseOf = (variables: Record<string, string>): unknown =>
    configFromEnv({ ...keys, ...variables }).find((each) => each.database !== undefined)?.database

  it("is named by ENCX_DATABASE, or by the Go library's variables with its defaults", () => {
    assert.equal(databaseOf({}), undefined)
    assert.equal(databaseOf({ ENCX_DATABASE: "postgres://h/d" }), "postgres://h/d")
    assert.equal(databaseOf({ ENCX_DB_PATH: "/var/lib/app" }), "sqlite:/var/lib/app/keys.db")
    assert.equal(databaseOf({ ENCX_DB_FILENAME: "other.db" }), "sqlite:.encx/other.db")
    assert.equal(databaseOf({ ENCX_DB_PATH: "a b", ENCX_DB_FILENAME: "c?#%.db" }), "sqlite:a%20b/c%3F%23%25.db")
    assert.equal(databaseOf({ ENCX_DB_PATH: "x", ENCX_DATABASE: "mysql://h/d" }), "mysql://h/d")
    assert.equal(databaseOf({ ENCX_DB_PATH: "", ENCX_DATABASE: "" }), undefined)
  })

  it("is the one that newCryptoFromEnv() uses, unless one is given", async () => {
    await inFolder(async (folder) => {
      const names = ["ENCX_KMS", "ENCX_KEK_ALIAS", "ENCX_DB_PATH"] as const
      const saved = names.map((name) => [name, process.env[name]] as const)
      Object.assign(process.env, keys, { ENCX_DB_PATH: join(folder, "go?lib") })
      try {
        const crypto = await newCryptoFromEnv(CREATE)
        await crypto.rotateKEK()
        await crypto.close()
        const store = sql(`sqlite:${encodeURIComponent(join(folder, "go?lib", "keys.db"))}`)
        assert.equal((await store.listVersions(ALIAS)).length, 2)
        await store.close?.()
        const given = memoryKEKVersions()
        await (await newCryptoFromEnv(CREATE, withDatabase(given))).close()
        assert.equal((await given.listVersions(ALIAS)).length, 1)
      } finally {
        for (const [name, value] of saved) {
          if (value === undefined) delete process.env[name]
          else process.env[name] = value
        }
      }
    })
  })
})

// --- Data keys whose wrap stands alone ---

const dataKeysOf = (kms: KeyManagementService, store?: KEKVersionStore): DataKeys =>
  new DataKeys(
    new Keyring([{ kms, alias: ALIAS, wraps: true, kmsContext: { team: "a" } }], performance, store),
    new DEKCache<SealingKey, DataKey>(DEK_CACHE_DEFAULTS, performance),
  )

describe("bare data keys", () => {
  for (const generates of [false, true]) {
    it(`are wrapped with nothing bound to them, and open by their version${generates ? ", when the KMS makes them" : ""}`, async () => {
      const inner = memory()
      const contexts: unknown[] = []
      const keyID = await inner.createKey(ALIAS)
      const kms: KeyManagementService = {
        ...inner,
        encryptDEK: (id, dek, context) => {
          contexts.push(context)
          return inner.encryptDEK(id, dek, context)
        },
        ...(generates && {
          generateDEK: async (id, context) => {
            contexts.push(context)
            return { ...(await inner.encryptDEK(id, bytes32(9), context)), plaintext: bytes32(9) }
          },
        }),
      }
      const dataKeys = dataKeysOf(kms, memoryKEKVersions())
      const make = () => dataKeys.sealBare({}, (dek, wrapped, version) => ({ key: dek.key.export(), wrapped, version }))
      const { key, wrapped, version } = await make()
      assert.equal(version, 1)
      assert.deepEqual(contexts, [{}])
      await dataKeys.rotate({})
      const next = await make()
      assert.equal(next.version, 2)
      for (let i = 0; i < 2; i++) {
        const opened: unknown = await dataKeys.openBare(wrapped, version, {}, (each) => each.key.export())
        assert.deepEqual(opened, key)
      }
      assert.equal(dataKeys.cache.stats().hits, 1)
      const fresh = await dataKeys.rewrapBare(wrapped, version, {}, (each) => each.key.export().equals(key))
      assert.equal(fresh.version, 2)
      assert.deepEqual(await dataKeys.openBare(fresh.wrapped, 2, {}, (each) => each.key.export()), key)
      assert.deepEqual(
        await inner.decryptDEK({ ciphertext: fresh.wrapped, keyID, version: 2 }, {}),
        new Uint8Array(key),
      )
      await rejectsWith(
        dataKeys.rewrapBare(wrapped, version, {}, () => false),
        DecryptionFailed,
      )
      await rejectsWith(
        dataKeys.openBare(
          wrapped.map((byte) => byte ^ 1),
          1,
          {},
          () => 1,
        ),
        DecryptionFailed,
      )
      await rejectsWith(
        dataKeys.openBare(wrapped, 3, {}, () => 1),
        KeyNotFound,
      )
    })
  }

  it("need a database", async () => {
    const kms = memory()
    await kms.createKey(ALIAS)
    const dataKeys = dataKeysOf(kms)
    const calls = [
      () => dataKeys.sealBare({}, () => 1),
      () => dataKeys.openBare(bytes32(1), 1, {}, () => 1),
      () => dataKeys.rewrapBare(bytes32(1), 1, {}, () => true),
    ]
    for (const call of calls) await rejectsWith(call(), InvalidConfiguration)
  })
})

describe("withDatabase() over AWS KMS", needsServer("moto"), () => {
  let moto: Server
  before(async () => {
    moto = await startMoto()
  })
  after(async () => await moto?.close())

  it("reads the Go library's rows of keys by their bare ids, and its text of wrapped keys", async () => {
    const kms = awsKMS({ region: "eu-west-1", endpoint: moto.url, credentials: CREDENTIALS, encoding: "base64" })
    const arn = await kms.createKey("alias/go")
    const uuid = arn.replace(/^.*\//, "")
    const store = memoryKEKVersions()
    await store.ensureVersion("alias/go", uuid)
    const crypto = await newCrypto(withKMSService(kms), withKEKAlias("alias/go"), withDatabase(store))
    const wrapped = await crypto.encryptDEK(bytes32(1))
    assert.equal(wrapped.keyID, arn)
    assert.equal(wrapped.version, 1)
    assert.match(new TextDecoder().decode(wrapped.ciphertext), /^[A-Za-z0-9+/]+=*$/)
    assert.equal((await crypto.rotateKEK()).currentVersion, 2)
    const later = await crypto.encryptDEK(bytes32(2))
    assert.equal(later.version, 2)
    for (const [i, each] of [wrapped, later].entries()) {
      assert.deepEqual(await crypto.decryptDEK(each), bytes32(i + 1))
      const { ciphertext, version, dekID } = each
      assert.deepEqual(await crypto.decryptDEKWithVersion(ciphertext, version, { dekID }), bytes32(i + 1))
    }
    assert.deepEqual(await crypto.open(await crypto.seal(SECRET)), SECRET)
    await crypto.close()
    await kms.close()
  })
})

describe("withDatabase() over Vault", needsServer("vault"), () => {
  let vault: Vault
  before(async () => {
    vault = await startVault()
  })
  after(async () => await vault?.close())

  for (const keyIDs of ["resolved", "name"] as const) {
    it(`records a transit key as the Go library names it, where its ids are ${keyIDs}`, async () => {
      const kms = vaultTransit({ address: vault.url, token: vault.token, environment: {}, keyIDs })
      const [store, alias] = [memoryKEKVersions(), `go-${keyIDs}`]
      const options = [withKMSService(kms), withKEKAlias(alias), withDatabase(store)]
      const crypto = await newCrypto(...options, CREATE)
      const first = await crypto.encryptDEK(bytes32(1))
      assert.equal((await crypto.rotateKEK()).currentVersion, 2)
      const second = await crypto.encryptDEK(bytes32(2))
      assert.match(new TextDecoder().decode(second.ciphertext), /^vault:v2:/)
      const recorded = await store.listVersions(alias)
      assert.deepEqual(
        recorded.map(({ version, keyID }) => [version, keyID]),
        [
          [1, alias],
          [2, alias],
        ],
      )
      for (const [i, each] of [first, second].entries()) assert.deepEqual(await crypto.decryptDEK(each), bytes32(i + 1))
      assert.deepEqual(await crypto.open(await crypto.seal(SECRET)), SECRET)
      await crypto.close()
      await kms.close()
    })
  }
})
