// The test kit: what a program's own tests stand on.
import assert from "node:assert/strict"
import { existsSync } from "node:fs"
import { join, resolve } from "node:path"
import process from "node:process"
import { describe, it } from "node:test"
import {
  AccessDenied,
  AuthenticationFailed,
  EncxError,
  InvalidConfiguration,
  KeyDisabled,
  KeyNotFound,
  KMSUnavailable,
  withArgon2,
  withClock,
  withDEKCache,
  withKEKAlias,
  withKMSService,
} from "../mod.ts"
import {
  type FaultKind,
  fakeKMS,
  fakeSecrets,
  type KMSMethod,
  kekVersionStoreSuite,
  keyManagementServiceSuite,
  memoryKEKVersions,
  newTestCrypto,
  secretManagementServiceSuite,
  testClock,
} from "../testing.ts"
import { runProgram } from "./_programs.ts"
import { within } from "./_within.ts"

const root = resolve(import.meta.dirname, "..")
const BYTES = Uint8Array.of(1, 2, 3)

keyManagementServiceSuite("fakeKMS() without faults", async () => {
  const kms = fakeKMS()
  await kms.createKey("app")
  return { kms, alias: "app", close: () => kms.close() }
})

secretManagementServiceSuite("fakeSecrets() without faults", async () => ({ secrets: fakeSecrets() }))

kekVersionStoreSuite("memoryKEKVersions()", () => ({ store: memoryKEKVersions() }))

describe("newTestCrypto()", () => {
  it("seals, opens, hashes, indexes and rotates, and each is a program of its own", async () => {
    const [crypto, other] = [await newTestCrypto(), await newTestCrypto()]
    const envelope = await crypto.seal(BYTES, { tenant: "acme" })
    await crypto.rotateKEK()
    assert.equal(await crypto.getCurrentKEKVersion(), 2)
    assert.equal(await other.getCurrentKEKVersion(), 1)
    assert.deepEqual(Uint8Array.from(await crypto.open(envelope, { tenant: "acme" })), BYTES)
    await assert.rejects(other.open(envelope, { tenant: "acme" }))
    const hash = await crypto.hashSecure("password")
    assert.equal(await crypto.compareSecureHashAndValue("password", hash), true)
    assert.equal(crypto.blindIndex("ada", { table: "users", column: "name" }).length, 34)
    await crypto.close()
    await other.close()
  })

  it("defect 26: it writes nothing to disk, what one process rotates is nothing to the next, and no runner starts", async () => {
    const program = `
import { readdirSync } from "node:fs"
import process from "node:process"
import { newTestCrypto } from "encx/testing"
process.chdir("/home/ada")
const before = readdirSync(".").join()
const crypto = await newTestCrypto()
const envelope = await crypto.seal(new Uint8Array(3))
await crypto.rotateKEK()
await crypto.open(envelope)
await crypto.hashSecure("password")
await crypto.close()
console.log(JSON.stringify({ unchanged: readdirSync(".").join() === before, version: 2 }))
`
    const onDisk = existsSync(join(root, ".encx"))
    for (let i = 0; i < 2; i++) {
      const { code, stdout, stderr } = await runProgram(program)
      assert.equal(code, 0, stderr)
      assert.deepEqual(JSON.parse(stdout), { unchanged: true, version: 2 })
    }
    assert.equal(existsSync(join(root, ".encx")), onDisk)
  })

  it("defect 26: many may use its KMS at once", async () => {
    const kms = fakeKMS()
    const crypto = await newTestCrypto(withKMSService(kms), withDEKCache(false))
    const calls = Array.from({ length: 100 }, (_, i) => async () => {
      if (i % 10 === 0) await kms.createKey(`key-${i}`)
      const envelope = await crypto.seal(Uint8Array.of(i))
      if (i % 25 === 0) await crypto.rotateKEK()
      return (await crypto.open(envelope))[0]
    })
    assert.deepEqual(
      await Promise.all(calls.map((call) => call())),
      calls.map((_, i) => i),
    )
    await crypto.close()
  })

  it("refuses a fault that would never happen", () => {
    const wrong = [{ kind: "unavailble" }, {}, { kind: "lost", methods: ["decryptDek"] }]
    for (const fault of wrong) assert.throws(() => fakeKMS().inject(fault as never), /Cannot inject a fault/)
  })

  it("hashes passwords far cheaper than newCrypto() allows, unless it is given a cost", async () => {
    const crypto = await newTestCrypto()
    assert.match(await crypto.hashSecure("password"), /\$m=64,t=1,p=1,/)
    await crypto.close()
    const dear = await newTestCrypto(withArgon2({ memoryKiB: 19_456, iterations: 2, parallelism: 1 }))
    assert.match(await dear.hashSecure("password"), /\$m=19456,t=2,p=1,/)
    await dear.close()
    const cheap = { memoryKiB: 64, iterations: 1, parallelism: 1 }
    await assert.rejects(newTestCrypto(withArgon2(cheap)), InvalidConfiguration)
  })

  it("takes options of a program, which win, and refuses those that do not fit", async () => {
    const crypto = await newTestCrypto(withKEKAlias("mine"))
    assert.equal(crypto.alias, "mine")
    await crypto.close()
    await assert.rejects(newTestCrypto(withKEKAlias("")), InvalidConfiguration)
  })

  it("is refused in production", async () => {
    const before = process.env["NODE_ENV"]
    process.env["NODE_ENV"] = "production"
    try {
      await assert.rejects(newTestCrypto(), { code: "INVALID_CONFIGURATION", message: /NODE_ENV is production/ })
      assert.throws(() => fakeKMS(), InvalidConfiguration)
      assert.throws(() => fakeSecrets(), InvalidConfiguration)
    } finally {
      if (before === undefined) delete process.env["NODE_ENV"]
      else process.env["NODE_ENV"] = before
    }
  })

  it("ages by the clock of a test, and not by itself", async () => {
    const clock = testClock()
    const kms = fakeKMS()
    const crypto = await newTestCrypto(withKMSService(kms), withClock(clock), withDEKCache({ maxAgeMs: 1_000 }))
    await crypto.seal(BYTES)
    await crypto.seal(BYTES)
    const { generateDEK } = kms.calls
    clock.advance(1_001)
    await crypto.seal(BYTES)
    assert.equal(kms.calls.generateDEK, generateDEK + 1)
    await crypto.close()
  })
})

describe("fakeKMS()", () => {
  const METHODS: readonly KMSMethod[] = [
    ...(["getKeyID", "describeKey", "encryptDEK", "decryptDEK"] as const),
    ...(["generateDEK", "reencryptDEK", "createKey", "rotateKey"] as const),
  ]

  async function calls(kms: ReturnType<typeof fakeKMS>): Promise<Record<KMSMethod, () => Promise<unknown>>> {
    const keyID = await kms.createKey("app")
    const wrapped = await kms.encryptDEK(keyID, new Uint8Array(32), {})
    return {
      getKeyID: () => kms.getKeyID("app"),
      describeKey: () => kms.describeKey(keyID),
      encryptDEK: () => kms.encryptDEK(keyID, new Uint8Array(32), {}),
      decryptDEK: () => kms.decryptDEK(wrapped, {}),
      generateDEK: () => kms.generateDEK(keyID, {}),
      reencryptDEK: () => kms.reencryptDEK(wrapped, {}, keyID),
      createKey: () => kms.createKey("other"),
      rotateKey: () => kms.rotateKey(keyID),
    }
  }

  it("fails in every method, in every way that is thrown", async () => {
    const classes = {
      unavailable: KMSUnavailable,
      denied: AccessDenied,
      unauthenticated: AuthenticationFailed,
      lost: KeyNotFound,
      disabled: KeyDisabled,
    } as const
    for (const [kind, Failure] of Object.entries(classes)) {
      const kms = fakeKMS()
      const each = await calls(kms)
      kms.inject({ kind: kind as FaultKind })
      for (const method of METHODS) {
        const before = kms.calls[method]
        await assert.rejects(each[method](), Failure, `${method} ${kind}`)
        assert.equal(kms.calls[method], before + 1)
      }
      kms.heal()
      for (const method of METHODS) await each[method]()
    }
  })

  it("hangs until its caller leaves, and is slow", async () => {
    const kms = fakeKMS()
    await kms.createKey("app")
    kms.inject({ kind: "hang", methods: ["getKeyID"], times: 1 })
    const reason = new Error("this caller left")
    const leaving = new AbortController()
    const refused = assert.rejects(kms.getKeyID("app", { signal: leaving.signal }), reason)
    leaving.abort(reason)
    await refused
    kms.inject({ kind: "slow", delayMs: 5 })
    assert.equal(typeof (await kms.getKeyID("app")), "string")
    kms.inject({ kind: "slow", methods: ["describeKey"], delayMs: 2 ** 30 })
    kms.heal()
    kms.inject({ kind: "slow", delayMs: 2 ** 30 })
    await within(5_000, () =>
      assert.rejects(kms.getKeyID("app", { signal: AbortSignal.timeout(5) }), { name: "TimeoutError" }),
    )
  })

  it("answers nonsense, which no program takes for an answer", async () => {
    const kms = fakeKMS()
    const crypto = await newTestCrypto(withKMSService(kms), withDEKCache(false))
    const envelope = await crypto.seal(BYTES)
    for (const [method, run] of [
      ["generateDEK", () => crypto.seal(BYTES)],
      ["encryptDEK", () => crypto.encryptDEK(new Uint8Array(32))],
      ["decryptDEK", () => crypto.open(envelope)],
    ] as const) {
      const heal = kms.inject({ kind: "nonsense", methods: [method] })
      await assert.rejects(run(), KMSUnavailable, method)
      heal()
    }
    await crypto.open(envelope)
    await crypto.close()
  })

  it("follows a script: which calls go wrong, and how many before and after do not", async () => {
    const kms = fakeKMS({ faults: [{ kind: "denied", methods: ["getKeyID"], after: 1, times: 2 }] })
    await kms.createKey("app")
    const outcomes: boolean[] = []
    for (let i = 0; i < 5; i++)
      outcomes.push(
        await kms.getKeyID("app").then(
          () => true,
          () => false,
        ),
      )
    assert.deepEqual(outcomes, [true, false, false, true, true])
    const error = new Error("my own")
    kms.inject({ kind: "unavailable", error })
    await assert.rejects(kms.describeKey("app"), error)
  })

  it("follows chance, the same for the same seed", async () => {
    const outcomes = async (seed: number): Promise<string> => {
      const kms = fakeKMS({ seed, faults: [{ kind: "unavailable", methods: ["getKeyID"], probability: 0.5 }] })
      await kms.createKey("app")
      let text = ""
      for (let i = 0; i < 64; i++)
        text += await kms.getKeyID("app").then(
          () => "+",
          () => "-",
        )
      return text
    }
    const [first, again, other] = [await outcomes(7), await outcomes(7), await outcomes(8)]
    assert.equal(first, again)
    assert.notEqual(first, other)
    assert.ok(/\+/.test(first) && /-/.test(first))
    assert.throws(() => fakeKMS({ faults: [{ kind: "lost", probability: 2 }] }), InvalidConfiguration)
  })

  it("defect 30: whatever goes wrong in it, a program throws an error of this library, with a code", async () => {
    for (const kind of ["unavailable", "denied", "unauthenticated", "lost", "disabled", "nonsense"] as const) {
      const kms = fakeKMS()
      const crypto = await newTestCrypto(withKMSService(kms), withDEKCache(false))
      const [envelope, wrapped] = [await crypto.seal(BYTES), await crypto.encryptDEK(new Uint8Array(32))]
      kms.inject({ kind })
      const operations: Readonly<Record<string, () => Promise<unknown>>> = {
        seal: () => crypto.seal(BYTES),
        open: () => crypto.open(envelope),
        rewrap: () => crypto.rewrap(envelope),
        encryptDEK: () => crypto.encryptDEK(new Uint8Array(32)),
        decryptDEK: () => crypto.decryptDEK(wrapped),
      }
      for (const [name, run] of Object.entries(operations)) {
        await assert.rejects(run(), (error) => {
          assert.ok(error instanceof EncxError && /^[A-Z_]+$/.test(error.code), `${name} ${kind}: ${String(error)}`)
          return true
        })
      }
      await crypto.close()
    }
  })
})
