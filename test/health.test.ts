import assert from "node:assert/strict"
import { describe, it } from "node:test"
import {
  Closed,
  type Crypto,
  DatabaseUnavailable,
  type Health,
  type HealthCheck,
  type HealthSubject,
  InvalidInput,
  withAdditionalKEK,
  withDatabase,
  withIndexRoot,
  withKMSService,
  withPepper,
  withRetiredKEK,
} from "../mod.ts"
import { type FakeKMS, type FakeSecrets, fakeKMS, fakeSecrets, memoryKEKVersions, newTestCrypto } from "../testing.ts"
import { within } from "./_within.ts"

interface Program {
  readonly crypto: Crypto
  readonly kms: FakeKMS
  readonly other: FakeKMS
  readonly secrets: FakeSecrets
}

/** A program of which every part is a fake. */
async function program(): Promise<Program> {
  const [kms, other, old, secrets] = [fakeKMS(), fakeKMS(), fakeKMS(), fakeSecrets()]
  await other.createKey("other")
  await old.createKey("old")
  const crypto = await newTestCrypto(
    withKMSService(kms),
    withAdditionalKEK(other, "other"),
    withRetiredKEK(old, "old"),
    withPepper(secrets, "test"),
  )
  return { crypto, kms, other, secrets }
}

const of = ({ checks }: Health, subject: HealthSubject): HealthCheck => {
  const found = checks.find(({ check }) => check === subject)
  assert.ok(found, subject)
  return found
}

describe("crypto.health()", () => {
  it("is healthy when every service answers, and says who was asked", async () => {
    const { crypto } = await program()
    const health = await crypto.health()
    assert.equal(health.status, "healthy")
    const asked = health.checks.map(({ check, provider, alias, status }) => ({ check, provider, alias, status }))
    const memory = { provider: "memory", status: "healthy" }
    const own = { provider: undefined, alias: undefined, status: "healthy" }
    assert.deepEqual(asked, [
      { check: "kms", alias: "test", ...memory },
      { check: "additional-kms", alias: "other", ...memory },
      { check: "retired-kms", alias: "old", ...memory },
      { check: "secrets", alias: "test", ...memory },
      { check: "database", alias: "test", ...memory },
      { check: "circuits", ...own },
      { check: "cache", ...own },
    ])
    for (const { durationMs } of health.checks) assert.ok(durationMs >= 0)
    await crypto.close()
  })

  it("asks, and calls nothing that makes, wraps or opens", async () => {
    const { crypto, kms } = await program()
    const before = { ...kms.calls }
    await crypto.health()
    assert.deepEqual({ ...kms.calls, describeKey: before.describeKey }, before)
    assert.equal(kms.calls.describeKey, before.describeKey + 1)
    await crypto.close()
  })

  for (const [kind, code] of [
    ["unavailable", "KMS_UNAVAILABLE"],
    ["denied", "ACCESS_DENIED"],
    ["unauthenticated", "AUTHENTICATION_FAILED"],
    ["lost", "KEY_NOT_FOUND"],
    ["disabled", "KEY_DISABLED"],
  ] as const) {
    it(`is unhealthy when the first key's KMS is ${kind}, and degraded when another's is`, async () => {
      const { crypto, kms, other } = await program()
      const heal = other.inject({ kind })
      const degraded = await crypto.health()
      assert.equal(degraded.status, "degraded")
      assert.equal(of(degraded, "additional-kms").code, code)
      assert.equal(of(degraded, "kms").status, "healthy")
      heal()
      kms.inject({ kind, methods: ["describeKey"] })
      const unhealthy = await crypto.health()
      assert.equal(unhealthy.status, "unhealthy")
      assert.equal(of(unhealthy, "kms").code, code)
      await crypto.close()
    })
  }

  it("is degraded when the secret store cannot be asked, or has lost the pepper", async () => {
    const { crypto, secrets } = await program()
    const heal = secrets.inject({ kind: "unavailable" })
    const silent = await crypto.health()
    assert.equal(silent.status, "degraded")
    assert.equal(of(silent, "secrets").code, "SECRET_STORAGE_UNAVAILABLE")
    heal()
    const error = new Error("something else, with a secret in it")
    const odd = secrets.inject({ kind: "unavailable", error })
    const unknown = of(await crypto.health(), "secrets")
    assert.equal(unknown.code, "UNKNOWN")
    assert.ok(!JSON.stringify(unknown).includes("secret in it"))
    odd()
    assert.equal((await crypto.health()).status, "healthy")
    await crypto.close()
  })

  it("asks an index root that is kept elsewhere for itself, and not for a pepper", async () => {
    const roots = fakeSecrets()
    const crypto = await newTestCrypto(withIndexRoot(roots, "roots"))
    const health = await crypto.health()
    assert.equal(health.status, "healthy")
    const asked = health.checks.filter(({ check }) => check === "secrets").map(({ alias }) => alias)
    assert.deepEqual(asked, ["test", "roots"])
    roots.inject({ kind: "lost", methods: ["getIndexRoot"] })
    const lost = await crypto.health()
    assert.equal(lost.status, "degraded")
    assert.ok(lost.checks.some(({ alias, code }) => alias === "roots" && code === "SECRET_NOT_FOUND"))
    await crypto.close()
  })

  it("is unhealthy when the database cannot be asked, or records nothing that may wrap, and the KMS is told apart", async () => {
    const database = memoryKEKVersions()
    const crypto = await newTestCrypto(withDatabase(database))
    const { listVersions } = database
    database.listVersions = () =>
      Promise.reject(new DatabaseUnavailable("no", { provider: "memory", operation: "listVersions" }))
    const silent = await crypto.health()
    assert.equal(silent.status, "unhealthy")
    assert.equal(of(silent, "database").code, "DATABASE_UNAVAILABLE")
    assert.equal(of(silent, "kms").status, "healthy")
    database.listVersions = async (alias) =>
      (await listVersions(alias)).map((version) => ({ ...version, deprecated: true }))
    assert.equal(of(await crypto.health(), "database").code, "KEY_ROTATION_REQUIRED")
    database.listVersions = listVersions
    assert.equal((await crypto.health()).status, "healthy")
    await crypto.close()
  })

  it("answers within its time when services hang, deaf or not, and tells the others apart", async () => {
    const { crypto, kms, other } = await program()
    kms.inject({ kind: "hang" })
    other.describeKey = () => new Promise<never>(() => {})
    const health = await within(5_000, () => crypto.health({ timeoutMs: 20 }))
    assert.equal(health.status, "unhealthy")
    assert.equal(of(health, "kms").code, "TIMEOUT")
    assert.equal(of(health, "secrets").status, "healthy")
    await crypto.close()
  })

  it("rejects with the signal's reason when its caller leaves, before and meanwhile", async () => {
    const { crypto, kms } = await program()
    const reason = new Error("this caller left")
    await assert.rejects(crypto.health({ signal: AbortSignal.abort(reason) }), reason)
    kms.inject({ kind: "hang" })
    const leaving = new AbortController()
    const asked = crypto.health({ signal: leaving.signal })
    const refused = assert.rejects(asked, reason)
    leaving.abort(reason)
    await refused
    await crypto.close()
  })

  it("refuses a time that is none, and a program that was closed", async () => {
    const { crypto } = await program()
    for (const timeoutMs of [0, -1, 1.5, 2 ** 31, Number.NaN])
      await assert.rejects(crypto.health({ timeoutMs }), InvalidInput)
    await crypto.close()
    await assert.rejects(crypto.health(), Closed)
  })
})
