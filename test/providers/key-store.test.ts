import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { KeyState } from "../../core/contracts.ts"
import { DecryptionFailed, KeyDisabled } from "../../core/errors.ts"
import { EMPTY_STORE, keyStoreServices } from "../../providers/_key-store.ts"
import { bytes32, rejectsWith } from "../suites/_assert.ts"
import { CONTEXT } from "../suites/_keys.ts"

describe("keyStoreServices()", () => {
  it("decryptDEK() has a version that is not enabled neither unwrap a key nor tell its own wraps from others", async () => {
    let store = EMPTY_STORE
    const kms = keyStoreServices(
      "test",
      {
        read: async () => store,
        change: async (change) => {
          store = change(store)
        },
      },
      "create it",
    )
    const keyID = await kms.createKey("app")
    const wrapped = await kms.encryptDEK(keyID, bytes32(1), CONTEXT)
    await kms.rotateKey(keyID)
    const unversioned = { ...wrapped, version: 0 }
    assert.deepEqual(await kms.decryptDEK(unversioned, CONTEXT), bytes32(1))
    for (const state of ["disabled", "destroyed"] satisfies KeyState[]) {
      store = {
        ...store,
        keys: store.keys.map((key) => ({
          ...key,
          versions: key.versions.map((each) => (each.version === 1 ? { ...each, state } : each)),
        })),
      }
      await rejectsWith(kms.decryptDEK(wrapped, CONTEXT), KeyDisabled)
      const answers = await Promise.all(
        [wrapped.ciphertext, wrapped.ciphertext.map((byte) => byte ^ 1)].map((ciphertext) =>
          kms.decryptDEK({ ...unversioned, ciphertext }, CONTEXT).catch((error: unknown) => error),
        ),
      )
      for (const each of answers) assert.deepEqual(each, new DecryptionFailed())
    }
  })
})
