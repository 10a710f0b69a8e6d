import assert from "node:assert/strict"
import { describe, it } from "node:test"
import {
  DecryptionFailed,
  InvalidConfiguration,
  type KeyManagementService,
  KMSUnavailable,
  newCrypto,
  withAdditionalKEK,
  withBootstrap,
  withIndexRoot,
  withKEKAlias,
  withKMSContext,
  withKMSService,
  withPepper,
  withRetiredKEK,
} from "../../mod.ts"
import { memory } from "../../providers/memory.ts"

const SECRET = new TextEncoder().encode("secret")

describe("withKMSContext()", () => {
  it("can be changed: the key's old pairs open what they wrapped, and a re-wrap moves it to the new ones", async () => {
    const services = memory()
    const common = [withKMSService(services), withKEKAlias("app"), withPepper(services, "app")]
    const old = { stage: "test", app: "billing" }
    const before = await newCrypto(
      ...common,
      withKMSContext(old),
      withBootstrap({ createKEK: true, createPepper: true }),
    )
    const envelope = await before.seal(SECRET, { a: "b" })

    const changed = [withKMSContext({ stage: "live" })]
    await assert.rejects(newCrypto(...common, ...changed), DecryptionFailed, "the index root is under the old pairs")
    const after = await newCrypto(...common, ...changed, withRetiredKEK(services, "app", { kmsContext: old }))
    assert.deepEqual(await after.open(envelope, { a: "b" }), SECRET)
    const rewrapped = await after.rewrap(envelope, { a: "b" })
    assert.equal(after.inspect(rewrapped).keys.length, 1)

    const plain = [withKMSService(services), withKEKAlias("app"), withIndexRoot(new Uint8Array(32).map((_, i) => i))]
    const later = await newCrypto(...plain, ...changed)
    assert.deepEqual(await later.open(rewrapped, { a: "b" }), SECRET)
    await assert.rejects(later.open(envelope, { a: "b" }), DecryptionFailed)
  })
})

describe("the keys that wrap", () => {
  it("are refused at the start when two of them are one, or they are more than an envelope holds", async () => {
    const services = memory()
    await services.createKey("app")
    const first = [withKMSService(services), withKEKAlias("app")]
    await newCrypto(...first)
    await assert.rejects(newCrypto(...first, withAdditionalKEK(services, "app")), InvalidConfiguration)
    const many = Array.from({ length: 8 }, () => withAdditionalKEK(memory(), "app"))
    await assert.rejects(newCrypto(...first, ...many), /9 keys would wrap/)
  })
})

describe("open()", () => {
  it("says which keys were tried, and that one could not be asked", async () => {
    const [near, far] = [memory(), memory()]
    for (const each of [near, far]) await each.createKey("app")
    const both = [withKMSService(near), withKEKAlias("app"), withAdditionalKEK(far, "app")]
    const envelope = await (await newCrypto(...both)).seal(SECRET)
    const down: KeyManagementService = {
      ...far,
      decryptDEK: async () => {
        throw new KMSUnavailable("Cannot ask the KMS: it is down", { provider: "memory", operation: "decryptDEK" })
      },
    }
    const stranger: KeyManagementService = {
      ...near,
      decryptDEK: (_, context) => near.decryptDEK(_, { ...context, other: "1" }),
    }
    const crypto = await newCrypto(withKMSService(stranger), withKEKAlias("app"), withAdditionalKEK(down, "app"))
    await assert.rejects(crypto.open(envelope), (error: unknown) => {
      assert.ok(error instanceof KMSUnavailable && error.retryable)
      assert.deepEqual(
        error.tries?.map(({ code }) => code),
        ["DECRYPTION_FAILED", "KMS_UNAVAILABLE"],
      )
      return true
    })
  })
})
