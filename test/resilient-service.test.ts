// A service of a program's own, with the time-outs, retries and circuits that the library's own have.
import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { setImmediate as turn } from "node:timers/promises"
import {
  AccessDenied,
  InvalidConfiguration,
  KMSUnavailable,
  resilientService,
  SecretStorageUnavailable,
} from "../mod.ts"
import { fakeKMS, fakeSecrets, keyManagementServiceSuite, secretManagementServiceSuite, testClock } from "../testing.ts"
import { within } from "./_within.ts"

const QUICK = { random: () => 0 }

keyManagementServiceSuite("resilientService() around a KMS", async () => {
  const kms = resilientService(fakeKMS())
  await kms.createKey("app")
  return { kms, alias: "app", close: () => kms.close() }
})

secretManagementServiceSuite("resilientService() around a secret store", async () => ({
  secrets: resilientService(fakeSecrets()),
}))

describe("resilientService()", () => {
  it("repeats what cannot be asked, as often as it is told to, and gives the last error", async () => {
    const fake = fakeKMS()
    await fake.createKey("app")
    const kms = resilientService(fake, { ...QUICK, attempts: 3 })
    fake.inject({ kind: "unavailable", methods: ["getKeyID"], times: 2 })
    assert.equal(typeof (await kms.getKeyID("app")), "string")
    assert.equal(fake.calls.getKeyID, 3)
    fake.inject({ kind: "unavailable", methods: ["describeKey"] })
    await assert.rejects(kms.describeKey("app"), KMSUnavailable)
    assert.equal(fake.calls.describeKey, 3)
  })

  it("repeats no answer that is a no", async () => {
    const fake = fakeKMS({ faults: [{ kind: "denied" }] })
    await assert.rejects(resilientService(fake, QUICK).getKeyID("app"), AccessDenied)
    assert.equal(fake.calls.getKeyID, 1)
  })

  it("does what must not happen twice once, unless the service says that it did nothing", async () => {
    const fake = fakeKMS({ faults: [{ kind: "unavailable" }] })
    await assert.rejects(resilientService(fake, QUICK).createKey("app"), KMSUnavailable)
    await assert.rejects(resilientService(fake, QUICK).rotateKey("app"), KMSUnavailable)
    assert.deepEqual([fake.calls.createKey, fake.calls.rotateKey], [1, 1])
    fake.heal()
    fake.inject({ kind: "unavailable", methods: ["createKey"], times: 1 })
    await resilientService(fake, { ...QUICK, isThrottled: () => true }).createKey("app")
    assert.equal(fake.calls.createKey, 3)
    const secrets = fakeSecrets({ faults: [{ kind: "unavailable" }] })
    await assert.rejects(
      resilientService(secrets, QUICK).storePepper("app", new Uint8Array(32)),
      SecretStorageUnavailable,
    )
    assert.equal(secrets.calls.storePepper, 1)
  })

  it("ends an attempt that does not answer, as unavailable", async () => {
    const kms = resilientService(fakeKMS({ faults: [{ kind: "hang" }] }), { attempts: 1, requestTimeoutMs: 10 })
    await within(5_000, () => assert.rejects(kms.getKeyID("app"), { code: "KMS_UNAVAILABLE", retryable: true }))
    const secrets = resilientService(fakeSecrets({ faults: [{ kind: "hang" }] }), { attempts: 1, requestTimeoutMs: 10 })
    await within(5_000, () => assert.rejects(secrets.pepperExists("app"), SecretStorageUnavailable))
  })

  it("wipes data keys that come when nobody waits for them any more", async () => {
    const fake = fakeKMS()
    const keyID = await fake.createKey("app")
    const wrapped = await fake.encryptDEK(keyID, new Uint8Array(32).fill(7), {})
    const late = Promise.withResolvers<void>()
    const keys = [new Uint8Array(32).fill(7), new Uint8Array(32).fill(7)]
    const [generated, opened] = keys as [Uint8Array, Uint8Array]
    const slow = {
      ...fake,
      generateDEK: async (_keyID: string, _context: object) => {
        await late.promise
        return { ...wrapped, plaintext: generated }
      },
      decryptDEK: async (_wrapped: object, _context: object) => {
        await late.promise
        return opened
      },
    }
    const kms = resilientService(slow, { attempts: 1, requestTimeoutMs: 10 })
    await assert.rejects(kms.generateDEK(keyID, {}), KMSUnavailable)
    await assert.rejects(kms.decryptDEK(wrapped, {}), KMSUnavailable)
    assert.ok(keys.every((key) => key.every((byte) => byte === 7)))
    late.resolve()
    await turn()
    assert.ok(keys.every((key) => key.every((byte) => byte === 0)))
  })

  it("asks nobody while a circuit is open, and has one for each key", async () => {
    const clock = testClock()
    const fake = fakeKMS()
    const [first, second] = [await fake.createKey("first"), await fake.createKey("second")]
    const kms = resilientService(fake, {
      ...QUICK,
      clock,
      attempts: 1,
      breaker: { failures: 2, openMs: 1_000, successes: 1 },
    })
    const wrapped = await kms.encryptDEK(first, new Uint8Array(32), {})
    const heal = fake.inject({ kind: "unavailable", methods: ["decryptDEK"], times: 2 })
    for (let i = 0; i < 3; i++) await assert.rejects(kms.decryptDEK(wrapped, {}), KMSUnavailable)
    assert.equal(fake.calls.decryptDEK, 2)
    await kms.encryptDEK(second, new Uint8Array(32), {})
    heal()
    clock.advance(2_000)
    assert.equal((await kms.decryptDEK(wrapped, {})).length, 32)
  })

  it("wraps what it was given, whatever the caller does to its bytes meanwhile", async () => {
    const fake = fakeKMS()
    const keyID = await fake.createKey("app")
    const kms = resilientService(fake, QUICK)
    fake.inject({ kind: "unavailable", methods: ["encryptDEK"], times: 1 })
    const dek = new Uint8Array(32).fill(7)
    const wrapping = kms.encryptDEK(keyID, dek, {})
    dek.fill(0)
    assert.deepEqual(Uint8Array.from(await kms.decryptDEK(await wrapping, {})), new Uint8Array(32).fill(7))
  })

  it("opens what it was given, too, and hands on the options that are the service's own", async () => {
    const fake = fakeKMS()
    const keyID = await fake.createKey("app")
    const wrapped = await fake.encryptDEK(keyID, new Uint8Array(32).fill(7), { a: "b" })
    fake.inject({ kind: "unavailable", methods: ["decryptDEK"], times: 1 })
    const [given, context] = [{ ...wrapped, ciphertext: Uint8Array.from(wrapped.ciphertext) }, { a: "b" }]
    const opening = resilientService(fake, QUICK).decryptDEK(given, context)
    given.ciphertext.fill(0)
    context.a = "c"
    assert.deepEqual(Uint8Array.from(await opening), new Uint8Array(32).fill(7))

    let told: object = {}
    const own = {
      ...fake,
      createKey: async (_: string, options: object = {}): Promise<string> => {
        told = options
        return "app"
      },
    }
    await resilientService(own, QUICK).createKey("app", { autoRotateMs: 3_600_000 } as object)
    assert.equal((told as { autoRotateMs?: number }).autoRotateMs, 3_600_000)
    assert.ok((told as { signal?: unknown }).signal instanceof AbortSignal)
  })

  it("keeps what is no call as it is, and refuses limits that are none", async () => {
    const kms = resilientService(fakeKMS(), { attempts: 0 })
    assert.equal(kms.provider, "memory")
    await assert.rejects(kms.getKeyID("app"), InvalidConfiguration)
    assert.equal(resilientService(fakeSecrets()).getStoragePath("app"), fakeSecrets().getStoragePath("app"))
  })
})
