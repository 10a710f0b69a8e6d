/**
 * What every store of key versions must do.
 *
 * @module
 */
import assert from "node:assert/strict"
import type { KEKVersion, KEKVersionStore } from "../../core/contracts.ts"
import { race, rejectsWhenAborted } from "./_assert.ts"
import { describe, it } from "./_runner.ts"

/** A store for one test. */
export interface OpenedVersions {
  /** The store, which is empty and which nobody else uses. */
  readonly store: KEKVersionStore
  /** Other stores over the same data, as other programs have them. */
  readonly others?: readonly KEKVersionStore[]
  /** Takes away what was opened. */
  close?(): Promise<void>
}

const ALIAS = "suite/app"
const AT_ONCE = 20

const shown = (versions: readonly KEKVersion[]): unknown[] =>
  versions.map(({ version, keyID, deprecated }) => [version, keyID, deprecated])

/**
 * Declares the tests that a store of key versions must pass: every sentence of the `KEKVersionStore` contract.
 *
 * @param name what the tests are listed under
 * @param open gives a fresh, empty store, for each test
 *
 * @example A store of your own
 * ```ts
 * kekVersionStoreSuite("my-store", () => ({ store: myStore() }))
 * ```
 */
export function kekVersionStoreSuite(name: string, open: () => OpenedVersions | Promise<OpenedVersions>): void {
  const test = (title: string, run: (store: KEKVersionStore, all: KEKVersionStore[]) => Promise<void>): void => {
    it(title, async () => {
      const { store, others = [], close } = await open()
      try {
        await run(store, [store, ...others])
      } finally {
        for (const each of [store, ...others]) await each.close?.()
        await close?.()
      }
    })
  }
  const assertGapless = async (store: KEKVersionStore, count: number): Promise<void> => {
    const versions = await store.listVersions(ALIAS)
    assert.deepEqual(
      versions.map(({ version }) => version),
      Array.from({ length: count }, (_, i) => i + 1),
    )
    const current = versions.filter(({ deprecated }) => !deprecated).map(({ version }) => version)
    assert.deepEqual(current, [count], "the last is the one that wraps")
  }

  describe(`KEKVersionStore: ${name}`, () => {
    test("listVersions() gives nothing, and records nothing, when nothing was recorded", async (store) => {
      for (let i = 0; i < 2; i++) assert.deepEqual(await store.listVersions(ALIAS), [])
    })

    test("ensureVersion() records version 1, once", async (store) => {
      assert.deepEqual(shown(await store.ensureVersion(ALIAS, "key-1")), [[1, "key-1", false]])
      assert.deepEqual(shown(await store.ensureVersion(ALIAS, "key-2")), [[1, "key-1", false]])
      assert.deepEqual(shown(await store.listVersions(ALIAS)), [[1, "key-1", false]])
    })

    test("ensureVersion() changes nothing when every version is deprecated", async (store) => {
      await store.ensureVersion(ALIAS, "key-1")
      await store.addVersion(ALIAS, "key-2")
      const before = shown(await store.listVersions(ALIAS))
      assert.deepEqual(shown(await store.ensureVersion(ALIAS, "key-3")), before)
    })

    test("ensureVersion() gives everybody the same version when many programs start at once", async (_, all) => {
      const calls = Array.from({ length: AT_ONCE }, (_, i) =>
        (all[i % all.length] as KEKVersionStore).ensureVersion(ALIAS, `key-${i}`),
      )
      const { won, refused } = await race(calls)
      assert.deepEqual(refused, [])
      const [first] = await (all[0] as KEKVersionStore).listVersions(ALIAS)
      for (const { value } of won) assert.deepEqual(shown(value), [[1, first?.keyID, false]])
    })

    test("addVersion() records the next version and deprecates those before", async (store) => {
      await store.ensureVersion(ALIAS, "key-1")
      assert.deepEqual(shown([await store.addVersion(ALIAS, "key-2")]), [[2, "key-2", false]])
      assert.deepEqual(shown([await store.addVersion(ALIAS, "key-2")]), [[3, "key-2", false]])
      assert.deepEqual(shown(await store.listVersions(ALIAS)), [
        [1, "key-1", true],
        [2, "key-2", true],
        [3, "key-2", false],
      ])
    })

    test("addVersion() records version 1 when there is none", async (store) => {
      assert.deepEqual(shown([await store.addVersion(ALIAS, "key-1")]), [[1, "key-1", false]])
      await assertGapless(store, 1)
    })

    test("addVersion() leaves no gap and one current version when many programs rotate at once", async (_, all) => {
      const [store] = all as [KEKVersionStore]
      await store.ensureVersion(ALIAS, "key-0")
      const calls = Array.from({ length: AT_ONCE }, (_, i) =>
        (all[i % all.length] as KEKVersionStore).addVersion(ALIAS, `key-${i + 1}`),
      )
      const { won, refused } = await race(calls)
      assert.deepEqual(refused, [])
      await assertGapless(store, 1 + AT_ONCE)
      const recorded = await store.listVersions(ALIAS)
      for (const { value } of won) {
        assert.equal(recorded[value.version - 1]?.keyID, value.keyID, "each has the number that it was told")
      }
    })

    test("addVersion() leaves no gap when many programs rotate what nobody recorded", async (_, all) => {
      const calls = Array.from({ length: AT_ONCE }, (_, i) =>
        (all[i % all.length] as KEKVersionStore).addVersion(ALIAS, `key-${i}`),
      )
      assert.deepEqual((await race(calls)).refused, [])
      await assertGapless(all[0] as KEKVersionStore, AT_ONCE)
    })

    test("every method tells aliases apart, by every letter", async (store) => {
      const aliases = [ALIAS, ALIAS.toUpperCase(), "é", "e\u0301", "e", "E", "%", "_", "'; DROP TABLE kek_versions; --"]
      for (const [i, alias] of aliases.entries()) {
        assert.deepEqual(await store.listVersions(alias), [], alias)
        await store.ensureVersion(alias, `key-${i}`)
      }
      await store.addVersion(ALIAS, "key-next")
      for (const [i, alias] of aliases.entries()) {
        assert.equal((await store.listVersions(alias))[0]?.keyID, `key-${i}`)
        assert.equal((await store.listVersions(alias)).length, alias === ALIAS ? 2 : 1, alias)
      }
    })

    test("every method takes ids as long as they come, and keeps them as they are", async (store) => {
      const keyID = `arn:aws:kms:eu-west-1:123456789012:key/${"é'\"\\%_ ".repeat(20)}${"x".repeat(700)}`
      await store.ensureVersion(ALIAS, keyID)
      await store.addVersion(ALIAS, `${keyID} `)
      assert.deepEqual(
        (await store.listVersions(ALIAS)).map((each) => each.keyID),
        [keyID, `${keyID} `],
      )
    })

    test("every method shows what another program recorded", async (_, all) => {
      for (const [i, store] of all.entries()) await store.addVersion(ALIAS, `key-${i}`)
      for (const store of all) await assertGapless(store, all.length)
    })

    test("every method rejects with the signal's reason, and changes nothing, when it was aborted before", async (store) => {
      await store.ensureVersion(ALIAS, "key-1")
      await rejectsWhenAborted([
        (options) => store.listVersions(ALIAS, options),
        (options) => store.ensureVersion(ALIAS, "key-2", options),
        (options) => store.addVersion(ALIAS, "key-2", options),
      ])
      await assertGapless(store, 1)
    })

    test("close() may be called twice", async (store) => {
      await store.listVersions(ALIAS)
      await store.close?.()
      await store.close?.()
    })
  })
}
