/** Faults of the Go library's rotation and of its database that end here, by their numbers in docs/from-go.md. */
import assert from "node:assert/strict"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { describe, it } from "node:test"
import type { KEKVersionStore } from "../../core/contracts.ts"
import { goString } from "../../core/go-encx/mod.ts"
import {
  AccessDenied,
  type Crypto,
  KeyNotFound,
  KeyRotationRequired,
  KMSUnavailable,
  newCrypto,
  type Option,
  plain,
  record,
  withBootstrap,
  withDatabase,
  withDEKCache,
  withKEKAlias,
  withKMSService,
} from "../../mod.ts"
import { sql } from "../../providers/sql.ts"
import { type FaultKind, fakeKMS, memoryKEKVersions } from "../../testing.ts"
import { withFolder } from "../_programs.ts"

const users = record("users", { layout: "go-encx" }, { ID: plain<number>(), Name: goString().encrypt() })
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

async function withKEK<Result>(use: (crypto: Crypto) => Promise<Result>, ...options: Option[]): Promise<Result> {
  const crypto = await newCrypto(withKEKAlias("app"), withBootstrap({ createKEK: true }), ...options)
  try {
    return await use(crypto)
  } finally {
    await crypto.close()
  }
}

describe("a start", () => {
  it("defect 18: makes no key because the KMS could not be asked, and none that was not asked for", async () => {
    const refusals = { unavailable: KMSUnavailable, denied: AccessDenied } as const
    for (const kind of Object.keys(refusals) as (keyof typeof refusals & FaultKind)[]) {
      const kms = fakeKMS({ faults: [{ kind, methods: ["getKeyID"] }] })
      const store = memoryKEKVersions()
      const start = () => withKEK(async () => {}, withKMSService(kms), withDatabase(store))
      for (const _ of [1, 2]) await assert.rejects(start, refusals[kind])
      assert.equal(kms.calls.createKey, 0)
      assert.deepEqual(await store.listVersions("app"), [])

      kms.heal()
      for (const _ of [1, 2]) await start()
      assert.equal(kms.calls.createKey, 1)
      assert.equal((await store.listVersions("app")).length, 1)
    }
    const kms = fakeKMS()
    await assert.rejects(() => newCrypto(withKMSService(kms), withKEKAlias("app")), KeyNotFound)
    assert.equal(kms.calls.createKey, 0)
  })
})

describe("a rotation", () => {
  it("defect 19: that the Go library left half done opens, refuses to seal until it is mended, and is mended by another", async () => {
    await withFolder(async (folder) => {
      const path = join(folder, "keys.db")
      const kms = fakeKMS()
      const options = [withKMSService(kms), withDatabase(`sqlite:${path}`), withDEKCache(false)]
      const row = await withKEK((crypto) => crypto.sealRecord(users, { ID: 1, Name: "Ada" }), ...options)

      // What a crash between its two statements leaves.
      const file = new DatabaseSync(path)
      file.exec("UPDATE kek_versions SET is_deprecated = TRUE WHERE alias = 'app'")
      file.close()

      await withKEK(
        async (crypto) => {
          assert.deepEqual(await crypto.openRecord(users, row), { ID: 1, Name: "Ada" })
          await assert.rejects(() => crypto.sealRecord(users, { ID: 2, Name: "Bob" }), KeyRotationRequired)
          assert.equal((await crypto.rotateKEK()).currentVersion, 2)
          assert.equal((await crypto.sealRecord(users, { ID: 2, Name: "Bob" })).key_version, 2)
          assert.deepEqual(await crypto.openRecord(users, row), { ID: 1, Name: "Ada" })
        },
        ...options,
      )
      assert.equal(kms.calls.createKey, 1)
    })
  })

  it("defect 20: while rows are written leaves none whose version is not the one that wrapped it", async () => {
    const kms = fakeKMS({ faults: [{ kind: "slow", methods: ["encryptDEK"], delayMs: 2 }] })
    const store = memoryKEKVersions()
    const options = [withKMSService(kms), withDatabase(store), withDEKCache(false)]
    const rows = await withKEK(
      async (crypto) => {
        const write = async (ID: number) => await crypto.sealRecord(users, { ID, Name: `name ${ID}` })
        const work = Array.from({ length: 30 }, (_, i) => (i % 6 === 5 ? () => crypto.rotateKEK() : () => write(i)))
        const results = await Promise.all(work.map((each) => each()))
        return results.filter((each) => "dek_encrypted" in each)
      },
      ...options,
    )
    assert.equal(rows.length, 25)
    assert.deepEqual(
      (await store.listVersions("app")).map(({ version, deprecated }) => [version, deprecated]),
      [1, 2, 3, 4, 5, 6].map((version) => [version, version < 6]),
    )
    await withKEK(
      async (crypto) => {
        for (const row of rows) assert.equal((await crypto.openRecord(users, row)).Name, `name ${row.id}`)
      },
      ...options,
    )
  })
})

describe("the table of versions", () => {
  it("defect 21: is shared by programs, and native data opens without it", async () => {
    const kms = fakeKMS()
    const shared = memoryKEKVersions()
    const [row, envelope] = await withKEK(
      async (one) =>
        await withKEK(
          async (other) => {
            await one.rotateKEK()
            const row = await one.sealRecord(users, { ID: 1, Name: "Ada" })
            // It was started before there was a version 2.
            assert.deepEqual(await other.openRecord(users, row), { ID: 1, Name: "Ada" })
            return [row, await one.seal(bytes("value"))] as const
          },
          withKMSService(kms),
          withDatabase(shared),
        ),
      withKMSService(kms),
      withDatabase(shared),
    )
    assert.equal(row.key_version, 2)
    await withKEK(
      async (crypto) => {
        assert.deepEqual(await crypto.open(envelope), bytes("value"))
        await assert.rejects(() => crypto.openRecord(users, row), KeyNotFound)
      },
      withKMSService(kms),
      withDatabase(memoryKEKVersions()),
    )
  })

  it("defect 22: is not asked for each row, and let go of when the program ends", async () => {
    await withFolder(async (folder) => {
      const inner = sql(`sqlite:${join(folder, "keys.db")}`)
      let asked = 0
      const counted: KEKVersionStore = {
        provider: inner.provider,
        listVersions: (...call) => {
          asked++
          return inner.listVersions(...call)
        },
        ensureVersion: (...call) => {
          asked++
          return inner.ensureVersion(...call)
        },
        addVersion: (...call) => inner.addVersion(...call),
      }
      const kms = fakeKMS()
      await withKEK(
        async (crypto) => {
          const before = asked
          for (let ID = 0; ID < 50; ID++)
            await crypto.openRecord(users, await crypto.sealRecord(users, { ID, Name: "Ada" }))
          assert.equal(asked, before)
        },
        withKMSService(kms),
        withDatabase(counted),
      )
      // What a program named by URL is its own, and ends with it: nothing keeps this process alive, and the folder can go.
      await withKEK(async () => {}, withKMSService(kms), withDatabase(`sqlite:${join(folder, "keys.db")}`))
      await inner.close?.()
    })
  })
})
