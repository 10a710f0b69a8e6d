/**
 * What every key management service must do.
 *
 * @module
 */
import assert from "node:assert/strict"
import type { Context, KeyManagementService } from "../../core/contracts.ts"
import { DecryptionFailed, KeyNotFound } from "../../core/errors.ts"
import { bytes32, listOf, rejectsWhenAborted, rejectsWith } from "./_assert.ts"
import { assertDescription, assertWrapped, CONTEXT, type DeclareTest, declareKeyLifecycle, unwrap } from "./_keys.ts"
import { describe, it } from "./_runner.ts"

/** A service for one test. */
export interface OpenedKMS<KMS extends KeyManagementService = KeyManagementService> {
  /** The service, which nobody else uses. */
  readonly kms: KMS
  /** The alias of a key that exists; `{alias}-absent` and `{alias}-new` do not. */
  readonly alias: string
  /** Takes away what was opened. */
  close?(): Promise<void>
}

/** Options of {@link keyManagementServiceSuite}. */
export interface KMSSuiteOptions {
  /** How many calls race for one alias; half of them rotate one key. Fewer suit a service that counts them. @default {20} */
  readonly atOnce?: number
}

/**
 * Declares the tests that a key management service must pass: every sentence of the `KeyManagementService` contract. Methods that
 * a service may leave out are tested where it has them.
 *
 * @param name what the tests are listed under
 * @param open gives a fresh service with one key, for each test
 *
 * @example A provider of your own
 * ```ts
 * keyManagementServiceSuite("my-kms", async () => {
 *   const kms = myKMS()
 *   await kms.createKey("app")
 *   return { kms, alias: "app", close: () => kms.close() }
 * })
 * ```
 */
export function keyManagementServiceSuite<KMS extends KeyManagementService>(
  name: string,
  open: () => OpenedKMS<KMS> | Promise<OpenedKMS<KMS>>,
  { atOnce = 20 }: KMSSuiteOptions = {},
): void {
  const test: DeclareTest = (title, run) => {
    it(title, async () => {
      const opened = await open()
      try {
        const { kms, alias } = opened
        await run(kms, alias, await kms.getKeyID(alias))
      } finally {
        await opened.close?.()
      }
    })
  }

  describe(`KeyManagementService: ${name}`, () => {
    test("getKeyID() resolves an alias, and a key id to itself", async (kms, alias, keyID) => {
      assert.match(kms.provider, /^[a-z][a-z0-9+.-]*$/)
      assert.ok(keyID.length > 0 && keyID.length <= 512 && keyID.isWellFormed())
      assert.equal(await kms.getKeyID(alias), keyID)
      assert.equal(await kms.getKeyID(keyID), keyID)
    })

    test("every method rejects with KeyNotFound and creates nothing when there is no such key", async (kms, alias, keyID) => {
      const absent = `${alias}-absent`
      const wrapped = await kms.encryptDEK(keyID, bytes32(1), CONTEXT)
      await rejectsWith(kms.getKeyID(absent), KeyNotFound)
      await rejectsWith(kms.describeKey(absent), KeyNotFound)
      await rejectsWith(kms.encryptDEK(absent, bytes32(1), CONTEXT), KeyNotFound)
      await rejectsWith(kms.decryptDEK({ ...wrapped, keyID: absent }, CONTEXT), KeyNotFound, DecryptionFailed)
      if (kms.generateDEK) await rejectsWith(kms.generateDEK(absent, CONTEXT), KeyNotFound)
      if (kms.rotateKey) await rejectsWith(kms.rotateKey(absent), KeyNotFound)
      await rejectsWith(kms.getKeyID(absent), KeyNotFound)
    })

    test("decryptDEK() gives back what encryptDEK() wrapped", async (kms, _alias, keyID) => {
      const dek = bytes32(1)
      const [first, second] = [await kms.encryptDEK(keyID, dek, CONTEXT), await kms.encryptDEK(keyID, dek, CONTEXT)]
      assert.deepEqual(dek, bytes32(1), "the caller's bytes stay as they are")
      for (const wrapped of [first, second]) assertWrapped(wrapped, keyID, await kms.describeKey(keyID))
      for (const wrapped of [first, second]) assert.deepEqual(await unwrap(kms, wrapped), bytes32(1))
      const bare = await kms.encryptDEK(keyID, dek, {})
      assert.deepEqual(await unwrap(kms, bare, {}), bytes32(1))
    })

    test("describeKey() lists versions without gaps, of which the current one is enabled", async (kms, _alias, keyID) => {
      assertDescription(await kms.describeKey(keyID), keyID)
    })

    test("decryptDEK() takes the context in any order", async (kms, _alias, keyID) => {
      const wrapped = await kms.encryptDEK(keyID, bytes32(2), CONTEXT)
      const reversed = Object.fromEntries(Object.entries(CONTEXT).reverse())
      assert.deepEqual(await unwrap(kms, wrapped, reversed), bytes32(2))
    })

    test("decryptDEK() rejects when one pair of the context is changed, added or removed", async (kms, _alias, keyID) => {
      const wrapped = await kms.encryptDEK(keyID, bytes32(2), CONTEXT)
      assert.deepEqual(await unwrap(kms, wrapped), bytes32(2))
      const others: Context[] = Object.keys(CONTEXT).flatMap((key) => {
        const { [key]: value, ...rest } = CONTEXT
        return [rest, { ...rest, [key]: `${value}x` }, { ...rest, [`${key}x`]: value as string }]
      })
      for (const other of [...others, { ...CONTEXT, more: "1" }, {}]) {
        await rejectsWith(kms.decryptDEK(wrapped, other), DecryptionFailed)
      }
    })

    test("decryptDEK() rejects when a bit of the ciphertext is flipped, or it is cut or longer", async (kms, _alias, keyID) => {
      const wrapped = await kms.encryptDEK(keyID, bytes32(3), CONTEXT)
      assert.deepEqual(await unwrap(kms, wrapped), bytes32(3))
      const { ciphertext } = wrapped
      const positions = Array.from({ length: 17 }, (_, i) => Math.floor(((ciphertext.length - 1) * i) / 16))
      const flipped = positions.map((at) => ciphertext.map((byte, i) => (i === at ? byte ^ 1 : byte)))
      const cut = [0, 1, ciphertext.length >>> 1, ciphertext.length - 1].map((end) => ciphertext.slice(0, end))
      for (const changed of [...flipped, ...cut, Uint8Array.of(...ciphertext, 0)]) {
        await rejectsWith(kms.decryptDEK({ ...wrapped, ciphertext: changed }, CONTEXT), DecryptionFailed)
      }
    })

    test("decryptDEK() finds the version out when nobody wrote it down", async (kms, _alias, keyID) => {
      const before = await kms.encryptDEK(keyID, bytes32(1), {})
      if (kms.rotateKey) await kms.rotateKey(keyID)
      const after = await kms.encryptDEK(keyID, bytes32(2), { a: "b" })
      assert.deepEqual(await kms.decryptDEK({ ...before, version: 0 }, {}), bytes32(1))
      assert.deepEqual(await kms.decryptDEK({ ...after, version: 0 }, { a: "b" }), bytes32(2))
      await rejectsWith(kms.decryptDEK({ ...after, version: 0 }, { a: "c" }), DecryptionFailed)
    })

    test("decryptDEK() rejects when the key or the version is another", async (kms, alias, keyID) => {
      const wrapped = await kms.encryptDEK(keyID, bytes32(4), CONTEXT)
      assert.deepEqual(await unwrap(kms, wrapped), bytes32(4))
      if (kms.createKey) {
        const other = await kms.createKey(`${alias}-new`)
        await rejectsWith(kms.decryptDEK({ ...wrapped, keyID: other }, CONTEXT), DecryptionFailed)
      }
      if (wrapped.version === 0) return
      const later = { ...wrapped, version: wrapped.version + 1 }
      await rejectsWith(kms.decryptDEK(later, CONTEXT), DecryptionFailed, KeyNotFound)
      if (!kms.rotateKey) return
      await kms.rotateKey(keyID)
      await rejectsWith(kms.decryptDEK(later, CONTEXT), DecryptionFailed)
    })

    test("what is returned is the caller's: wiping it changes nothing", async (kms, _alias, keyID) => {
      const wrapped = await kms.encryptDEK(keyID, bytes32(5), CONTEXT)
      const kept = { ...wrapped, ciphertext: wrapped.ciphertext.slice() }
      const first = await kms.decryptDEK(kept, CONTEXT)
      first.fill(0)
      wrapped.ciphertext.fill(0)
      assert.deepEqual(await unwrap(kms, kept), bytes32(5))
    })

    test("generateDEK() makes 32 new bytes and their wrap, where there is one", async (kms, _alias, keyID) => {
      if (!kms.generateDEK) return
      const made = [await kms.generateDEK(keyID, CONTEXT), await kms.generateDEK(keyID, CONTEXT)]
      const plaintexts = made.map(({ plaintext }) => plaintext.slice())
      assert.notDeepEqual(plaintexts[0], plaintexts[1])
      for (const [i, { plaintext, ...wrapped }] of made.entries()) {
        assert.equal(plaintext.length, 32)
        plaintext.fill(0)
        assertWrapped(wrapped, keyID, await kms.describeKey(keyID))
        assert.deepEqual(await unwrap(kms, wrapped), plaintexts[i])
        await rejectsWith(kms.decryptDEK(wrapped, { ...CONTEXT, tenant: "other" }), DecryptionFailed)
      }
    })

    test("reencryptDEK() wraps under another key, with the same context, where there is one", async (kms, alias, keyID) => {
      if (!kms.reencryptDEK || !kms.createKey) return
      const other = await kms.createKey(`${alias}-new`)
      const old = await kms.encryptDEK(keyID, bytes32(12), CONTEXT)
      const wrapped = await kms.reencryptDEK(old, CONTEXT, other)
      assertWrapped(wrapped, other, await kms.describeKey(other))
      assert.deepEqual(await unwrap(kms, wrapped), bytes32(12))
      assert.deepEqual(await unwrap(kms, old), bytes32(12))
      await rejectsWith(kms.decryptDEK(wrapped, {}), DecryptionFailed)
      await rejectsWith(kms.reencryptDEK(old, {}, other), DecryptionFailed)
      await rejectsWith(kms.reencryptDEK(old, CONTEXT, `${alias}-absent`), KeyNotFound)
      await rejectsWhenAborted([kms.reencryptDEK.bind(kms, old, CONTEXT, other)])
    })

    test("sameKey() knows a key from another, where there is one", async (kms, alias, keyID) => {
      if (!kms.sameKey) return
      assert.equal(kms.sameKey(keyID, keyID), true)
      assert.equal(kms.sameKey(keyID, `${keyID}x`), false)
      if (kms.createKey) assert.equal(kms.sameKey(keyID, await kms.createKey(`${alias}-new`)), false)
    })

    test("diagnose() finds nothing wrong with a key that is there, and does not reject for one that is not, where there is one", async (kms, alias, keyID) => {
      if (!kms.diagnose) return
      const before = await kms.describeKey(keyID)
      const found = await listOf(kms.diagnose(alias))
      for (const { check, detail } of found) assert.ok(check !== "" && detail !== "")
      // That a key is not rotated by itself, or an answer slow, may be found of one that works.
      const wrong = found.filter(({ ok, check }) => !ok && !/rotation|latency|clock/.test(check))
      assert.deepEqual(wrong, [])
      const absent = await listOf(kms.diagnose(`${alias}-absent`))
      assert.ok(absent.some(({ ok }) => !ok))
      assert.deepEqual(await kms.describeKey(keyID), before)
      await rejectsWith(kms.getKeyID(`${alias}-absent`), KeyNotFound)
    })

    declareKeyLifecycle(test, atOnce)

    test("every method rejects with the signal's reason, and does nothing, when it is aborted already", async (kms, alias, keyID) => {
      const wrapped = await kms.encryptDEK(keyID, bytes32(10), CONTEXT)
      const before = await kms.describeKey(keyID)
      await rejectsWhenAborted([
        (options) => kms.getKeyID(alias, options),
        (options) => kms.describeKey(keyID, options),
        (options) => kms.encryptDEK(keyID, bytes32(10), CONTEXT, options),
        (options) => kms.decryptDEK(wrapped, CONTEXT, options),
        ...(kms.generateDEK ? [kms.generateDEK.bind(kms, keyID, CONTEXT)] : []),
        ...(kms.createKey ? [kms.createKey.bind(kms, `${alias}-new`)] : []),
        ...(kms.rotateKey ? [kms.rotateKey.bind(kms, keyID)] : []),
      ])
      assert.deepEqual(await kms.describeKey(keyID), before)
      await rejectsWith(kms.getKeyID(`${alias}-new`), KeyNotFound)
    })

    test("close() may be called twice, where there is one", async (kms) => {
      await kms.close?.()
      await kms.close?.()
    })
  })
}
