/** What the tests of a key management service share, and those of its keys' lives. */
import assert from "node:assert/strict"
import type { Context, KeyDescription, KeyManagementService, WrappedDEK } from "../../core/contracts.ts"
import { Busy, KeyExists } from "../../core/errors.ts"
import { bytes32, race, rejectsWith } from "./_assert.ts"

/** The context of every wrap, where it is not another on purpose. */
export const CONTEXT: Context = { purpose: "encx.v2.dek", dek_id: "00112233445566778899aabbccddeeff", tenant: "acme" }

/** Declares a test with a fresh service, the alias of its key, and the key's id. */
export type DeclareTest = (
  title: string,
  run: (kms: KeyManagementService, alias: string, keyID: string) => Promise<void>,
) => void

/** Declares the tests of `createKey` and `rotateKey`, which a service may leave out. */
export function declareKeyLifecycle(test: DeclareTest, atOnce: number): void {
  test("createKey() makes a key once: of many at once, one succeeds, where there is one", async (kms, alias, keyID) => {
    if (!kms.createKey) return
    const create = kms.createKey.bind(kms, `${alias}-new`)
    const { won, refused } = await race(Array.from({ length: atOnce }, () => create()))
    assert.equal(won.length, 1)
    assert.equal(refused.filter((each) => each instanceof KeyExists).length, atOnce - 1, String(refused[0]))
    await rejectsWith(create(), KeyExists)
    await rejectsWith(kms.createKey(alias), KeyExists)
    assert.equal(await kms.getKeyID(alias), keyID)
    const created = await kms.getKeyID(`${alias}-new`)
    assert.equal(created, won[0]?.value)
    assertDescription(await kms.describeKey(created), created)
    assert.deepEqual(await unwrap(kms, await kms.encryptDEK(created, bytes32(6), CONTEXT)), bytes32(6))
  })

  test("rotateKey() makes a version that wraps, and older ones still unwrap, where there is one", async (kms, _a, keyID) => {
    if (!kms.rotateKey) return
    const before = await kms.describeKey(keyID)
    const old = await kms.encryptDEK(keyID, bytes32(7), CONTEXT)
    const after = await kms.rotateKey(keyID)
    assertDescription(after, keyID)
    assert.deepEqual(after, await kms.describeKey(keyID))
    if (before.currentVersion > 0) assert.equal(after.currentVersion, before.currentVersion + 1)
    const wrapped = await kms.encryptDEK(keyID, bytes32(8), CONTEXT)
    assertWrapped(wrapped, keyID, after)
    assert.deepEqual(await unwrap(kms, old), bytes32(7))
    assert.deepEqual(await unwrap(kms, wrapped), bytes32(8))
  })

  test("rotateKey() leaves no gap when several rotate at once, where there is one", async (kms, _alias, keyID) => {
    const rotate = kms.rotateKey?.bind(kms, keyID)
    if (!rotate) return
    const before = await kms.describeKey(keyID)
    const old = await kms.encryptDEK(keyID, bytes32(9), CONTEXT)
    const { won, refused } = await race(Array.from({ length: Math.ceil(atOnce / 2) }, () => rotate()))
    assert.ok(won.length > 0 && refused.every((each) => each instanceof Busy), String(refused[0]))
    const after = await kms.describeKey(keyID)
    assertDescription(after, keyID)
    if (before.currentVersion > 0) {
      assert.equal(after.currentVersion, before.currentVersion + won.length)
      assert.equal(new Set(won.map(({ value }) => value.currentVersion)).size, won.length)
    }
    assert.deepEqual(await unwrap(kms, old), bytes32(9))
  })
}

/** The data key, as plain bytes: Bun tells a `Buffer` from a `Uint8Array` when it compares. */
export async function unwrap(
  kms: KeyManagementService,
  wrapped: WrappedDEK,
  context: Context = CONTEXT,
): Promise<Uint8Array> {
  return Uint8Array.from(await kms.decryptDEK(wrapped, context))
}

/** Fails unless a wrap is well-formed and names its key and version. */
export function assertWrapped(
  { ciphertext, keyID: named, version }: WrappedDEK,
  keyID: string,
  described: KeyDescription,
): void {
  assert.ok(ciphertext instanceof Uint8Array)
  assert.ok(ciphertext.length >= 16 && ciphertext.length <= 6144, `it has ${ciphertext.length} bytes`)
  assert.equal(named, keyID)
  assert.equal(version, described.currentVersion)
}

/** Fails unless a description is that of this key, without gaps, and its current version wraps. */
export function assertDescription({ keyID: named, currentVersion, versions }: KeyDescription, keyID: string): void {
  assert.equal(named, keyID)
  assert.ok(Number.isInteger(currentVersion) && currentVersion >= 0)
  assert.deepEqual(
    versions.map(({ version }) => version),
    versions.map((_, i) => i + 1),
  )
  if (versions.length > 0) assert.equal(versions.find(({ version }) => version === currentVersion)?.state, "enabled")
}
