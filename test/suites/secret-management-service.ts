/**
 * What every secret store must do.
 *
 * @module
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import type { SecretManagementService } from "../../core/contracts.ts"
import { InvalidInput, SecretExists, SecretNotFound } from "../../core/errors.ts"
import { bytes32, race, rejectsWhenAborted, rejectsWith } from "./_assert.ts"
import { describe, it } from "./_runner.ts"

/** A store for one test. */
export interface OpenedSecrets<Secrets extends SecretManagementService = SecretManagementService> {
  /** The store, which is empty and which nobody else uses. */
  readonly secrets: Secrets
  /** Takes away what was opened. */
  close?(): Promise<void>
}

const ALIAS = "suite-app"
const AT_ONCE = 20
const SEALED = Uint8Array.from({ length: 256 }, (_, i) => i)

/**
 * Declares the tests that a secret store must pass: every sentence of the `SecretManagementService` contract.
 *
 * @param name what the tests are listed under
 * @param open gives a fresh, empty store, for each test
 *
 * @example A store of your own
 * ```ts
 * secretManagementServiceSuite("my-store", () => ({ secrets: myStore() }))
 * ```
 */
export function secretManagementServiceSuite<Secrets extends SecretManagementService>(
  name: string,
  open: () => OpenedSecrets<Secrets> | Promise<OpenedSecrets<Secrets>>,
): void {
  const test = (title: string, run: (secrets: SecretManagementService) => Promise<void>): void => {
    it(title, async () => {
      const opened = await open()
      try {
        await run(opened.secrets)
      } finally {
        await opened.close?.()
      }
    })
  }

  describe(`SecretManagementService: ${name}`, () => {
    test("every method says that a secret is absent, and creates none, when there is none", async (secrets) => {
      for (let i = 0; i < 2; i++) {
        await rejectsWith(secrets.getPepper(ALIAS), SecretNotFound)
        await rejectsWith(secrets.rotatePepper(ALIAS, bytes32(1)), SecretNotFound)
        await rejectsWith(secrets.getIndexRoot(ALIAS), SecretNotFound)
        assert.equal(await secrets.pepperExists(ALIAS), false)
      }
    })

    test("getPepper() gives what storePepper() stored", async (secrets) => {
      const given = bytes32(1)
      await secrets.storePepper(ALIAS, given)
      given.fill(0)
      assert.deepEqual(await peppers(secrets), [{ stage: "current", value: bytes32(1) }])
      assert.equal(await secrets.pepperExists(ALIAS), true)
      await rejectsWith(secrets.getIndexRoot(ALIAS), SecretNotFound)
    })

    test("storePepper() rejects and changes nothing when there is one", async (secrets) => {
      await secrets.storePepper(ALIAS, bytes32(1))
      await rejectsWith(secrets.storePepper(ALIAS, bytes32(2)), SecretExists)
      assert.deepEqual(await peppers(secrets), [{ stage: "current", value: bytes32(1) }])
    })

    test("storePepper() lets one succeed when many store at once", async (secrets) => {
      const calls = Array.from({ length: AT_ONCE }, (_, i) => secrets.storePepper(ALIAS, bytes32(i)))
      const { won, refused } = await race(calls)
      assert.equal(won.length, 1)
      assert.equal(refused.filter((each) => each instanceof SecretExists).length, AT_ONCE - 1, String(refused[0]))
      assert.deepEqual(await peppers(secrets), [{ stage: "current", value: bytes32(won[0]?.index as number) }])
    })

    test("rotatePepper() puts the new pepper first and keeps the one before", async (secrets) => {
      await secrets.storePepper(ALIAS, bytes32(0))
      for (const i of [1, 2, 3]) {
        const given = bytes32(i)
        await secrets.rotatePepper(ALIAS, given)
        given.fill(0)
        const [current, previous, ...older] = await peppers(secrets)
        assert.deepEqual(current, { stage: "current", value: bytes32(i) })
        assert.deepEqual(previous, { stage: "previous", value: bytes32(i - 1) })
        assert.ok(older.every(({ stage }) => stage === "previous"))
        const versions = (await secrets.getPepper(ALIAS)).map(({ version }) => version)
        assert.equal(new Set(versions).size, versions.length)
      }
    })

    test("getIndexRoot() gives what storeIndexRoot() stored, once", async (secrets) => {
      const given = SEALED.slice()
      await secrets.storeIndexRoot(ALIAS, given)
      given.fill(0)
      assert.deepEqual(Uint8Array.from(await secrets.getIndexRoot(ALIAS)), SEALED)
      await rejectsWith(secrets.storeIndexRoot(ALIAS, bytes32(1)), SecretExists)
      assert.deepEqual(Uint8Array.from(await secrets.getIndexRoot(ALIAS)), SEALED)
      assert.equal(await secrets.pepperExists(ALIAS), false)
    })

    test("storeIndexRoot() lets one succeed when many store at once", async (secrets) => {
      const calls = Array.from({ length: AT_ONCE }, (_, i) => secrets.storeIndexRoot(ALIAS, bytes32(i)))
      const { won, refused } = await race(calls)
      assert.equal(won.length, 1)
      assert.equal(refused.filter((each) => each instanceof SecretExists).length, AT_ONCE - 1, String(refused[0]))
      assert.deepEqual(Uint8Array.from(await secrets.getIndexRoot(ALIAS)), bytes32(won[0]?.index as number))
    })

    test("what is returned is the caller's: wiping it changes nothing", async (secrets) => {
      await secrets.storePepper(ALIAS, bytes32(1))
      await secrets.storeIndexRoot(ALIAS, SEALED)
      for (const { value } of await secrets.getPepper(ALIAS)) value.fill(0)
      const root = await secrets.getIndexRoot(ALIAS)
      root.fill(0)
      assert.deepEqual(await peppers(secrets), [{ stage: "current", value: bytes32(1) }])
      assert.deepEqual(Uint8Array.from(await secrets.getIndexRoot(ALIAS)), SEALED)
    })

    test("two aliases have nothing in common", async (secrets) => {
      await secrets.storePepper(ALIAS, bytes32(1))
      await secrets.storeIndexRoot(ALIAS, SEALED)
      assert.equal(await secrets.pepperExists(`${ALIAS}2`), false)
      await rejectsWith(secrets.getPepper(`${ALIAS}2`), SecretNotFound)
      await rejectsWith(secrets.getIndexRoot(`${ALIAS}2`), SecretNotFound)
      await secrets.storePepper(`${ALIAS}2`, bytes32(2))
      await secrets.rotatePepper(`${ALIAS}2`, bytes32(3))
      assert.deepEqual(await peppers(secrets), [{ stage: "current", value: bytes32(1) }])
    })

    test("every method refuses an alias that climbs out of its place", async (secrets) => {
      assert.equal(await secrets.pepperExists(`team/${ALIAS}`), false, "a slash by itself is fine")
      for (const alias of [`../${ALIAS}`, `${ALIAS}/../other`, "..", ""]) {
        await rejectsWith(secrets.getPepper(alias), InvalidInput)
        await rejectsWith(secrets.storePepper(alias, bytes32(1)), InvalidInput)
        await rejectsWith(secrets.rotatePepper(alias, bytes32(1)), InvalidInput)
        await rejectsWith(secrets.pepperExists(alias), InvalidInput)
        await rejectsWith(secrets.getIndexRoot(alias), InvalidInput)
        await rejectsWith(secrets.storeIndexRoot(alias, bytes32(1)), InvalidInput)
        assert.throws(() => secrets.getStoragePath(alias), InvalidInput)
      }
    })

    test("getStoragePath() names a place for each secret, always the same, and no secret", async (secrets) => {
      const paths = [secrets.getStoragePath(ALIAS), secrets.getStoragePath(ALIAS, "index-root")]
      await secrets.storePepper(ALIAS, bytes32(1))
      await secrets.storeIndexRoot(ALIAS, bytes32(2))
      assert.deepEqual([secrets.getStoragePath(ALIAS, "pepper"), secrets.getStoragePath(ALIAS, "index-root")], paths)
      assert.notEqual(paths[0], paths[1])
      for (const path of paths) {
        assert.ok(path.includes(ALIAS), path)
        for (const encoding of ["hex", "base64", "base64url"] as const) {
          for (const seed of [1, 2]) assert.ok(!path.includes(Buffer.from(bytes32(seed)).toString(encoding)))
        }
      }
    })

    test("every method rejects with the signal's reason, and does nothing, when it is aborted already", async (secrets) => {
      await rejectsWhenAborted([
        (options) => secrets.storePepper(ALIAS, bytes32(1), options),
        (options) => secrets.storeIndexRoot(ALIAS, SEALED, options),
        (options) => secrets.pepperExists(ALIAS, options),
      ])
      assert.equal(await secrets.pepperExists(ALIAS), false)
      await rejectsWith(secrets.getIndexRoot(ALIAS), SecretNotFound)
      await secrets.storePepper(ALIAS, bytes32(1))
      await secrets.storeIndexRoot(ALIAS, SEALED)
      await rejectsWhenAborted([
        (options) => secrets.getPepper(ALIAS, options),
        (options) => secrets.rotatePepper(ALIAS, bytes32(2), options),
        (options) => secrets.getIndexRoot(ALIAS, options),
      ])
      assert.deepEqual(await peppers(secrets), [{ stage: "current", value: bytes32(1) }])
    })

    test("close() may be called twice, where there is one", async (secrets) => {
      await secrets.close?.()
      await secrets.close?.()
    })
  })
}

async function peppers(secrets: SecretManagementService): Promise<{ stage: string; value: Uint8Array }[]> {
  return (await secrets.getPepper(ALIAS)).map(({ stage, value }) => ({ stage, value: Uint8Array.from(value) }))
}
