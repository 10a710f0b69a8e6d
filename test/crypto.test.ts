import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { describe, it } from "node:test"
import {
  Closed,
  type Crypto,
  DecryptionFailed,
  EncxError,
  InvalidConfiguration,
  InvalidFormat,
  InvalidInput,
  type KeyManagementService,
  KeyNotAllowed,
  KMSUnavailable,
  newCrypto,
  type Option,
  plain,
  record,
  type SecretManagementService,
  text,
  UninitializedPepper,
  withArgon2,
  withBootstrap,
  withDEKCache,
  withKEKAlias,
  withKMSContext,
  withKMSService,
  withPepper,
  withRetiredKEK,
} from "../mod.ts"
import { env } from "../providers/env.ts"
import { type LocalServices, memory } from "../providers/memory.ts"

const SECRET = new TextEncoder().encode("secret")
const CHEAP = withArgon2({ memoryKiB: 7168, iterations: 5, parallelism: 1 })
const fields = { id: plain<number>(), a: text().encrypt().nullable(), b: text().encrypt().nullable() }
const rows = record("rows", { row: "id" }, fields)

async function open(services: LocalServices = memory()): Promise<Crypto> {
  return await newCrypto(
    withKMSService(services),
    withKEKAlias("app"),
    withPepper(services, "app"),
    withBootstrap({ createKEK: true, createPepper: true }),
    CHEAP,
  )
}

/** A KMS that waits before it answers, so that a caller has time to do something else. */
function slow(services: LocalServices, ms = 5): LocalServices {
  const wait = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
  return {
    ...services,
    encryptDEK: async (...args) => {
      const wrapped = await services.encryptDEK(...args)
      await wait()
      return wrapped
    },
    decryptDEK: async (...args) => {
      await wait()
      return await services.decryptDEK(...args)
    },
  }
}

describe("the caller's memory", () => {
  it("can be reused at once: what is sealed is what was given", async () => {
    const crypto = await open(slow(memory()))
    const data = Uint8Array.from(SECRET)
    const sealing = crypto.seal(data)
    data.fill(46)
    assert.deepEqual(await crypto.open(await sealing), SECRET)

    const dek = crypto.generateDEK()
    const copy = Uint8Array.from(dek)
    const wrapping = crypto.encryptDEK(dek)
    dek.fill(0)
    assert.deepEqual(await crypto.decryptDEK(await wrapping), copy)
  })

  it("can be reused after opening: no key keeps a part of it", async () => {
    const crypto = await open()
    const [first, second] = await crypto.sealRecords(
      rows,
      [1, 2].map((id) => ({ id, a: "x", b: null })),
    )
    assert.ok(first && second)
    // A database gives a Buffer, whose slice() is a view.
    const fromDatabase = Buffer.from(first.dek_encrypted)
    await crypto.openRecord(rows, { ...first, dek_encrypted: fromDatabase })
    fromDatabase.fill(0)
    assert.equal((await crypto.openRecord(rows, second)).a, "x")
  })

  it("can be reused at once: what is opened is what was given, whether its key is there or not", async () => {
    const crypto = await open(slow(memory()))
    const envelope = await crypto.seal(SECRET)
    const row = await crypto.sealRecord(rows, { id: 1, a: "x", b: null })
    for (const key of ["is not there", "is there"]) {
      const data = Uint8Array.from(envelope)
      const opening = crypto.open(data)
      data.fill(0)
      assert.deepEqual(await opening, SECRET, key)
      const column = Uint8Array.from(row.a_encrypted as Uint8Array) as typeof row.a_encrypted
      const openingRow = crypto.openRecord(rows, { ...row, a_encrypted: column })
      column?.fill(0)
      assert.equal((await openingRow).a, "x", key)
    }
    const verifying = crypto.verify(envelope)
    envelope.fill(0)
    assert.deepEqual(
      (await verifying).map(({ ok }) => ok),
      [true],
    )
  })

  it("can be changed while the program starts and after: the KMS context is the one that was given", async () => {
    const services = memory()
    await services.createKey("app")
    const [now, before] = [{ team: "a" }, { team: "b" }]
    const program = (context: Record<string, string>, ...options: Option[]): Promise<Crypto> =>
      newCrypto(withKMSService(services), withKEKAlias("app"), withKMSContext(context), ...options)
    const old = await (await program({ ...before })).seal(SECRET)
    const starting = program(now, withRetiredKEK(services, "app", { kmsContext: before }))
    now.team = "c"
    const crypto = await starting
    before.team = "c"
    assert.deepEqual(await (await program({ team: "a" })).open(await crypto.seal(SECRET)), SECRET)
    assert.deepEqual(await crypto.open(old), SECRET)
    await assert.rejects(program(new Map([["team", "a"]]) as never), InvalidConfiguration)
  })

  it("can be wiped while the program starts: the pepper is the one that was given", async () => {
    const services = memory()
    await services.createKey("app")
    const pepper = randomBytes(32)
    const copy = Uint8Array.from(pepper)
    const starting = newCrypto(withKMSService(slow(services)), withKEKAlias("app"), withPepper(pepper), CHEAP)
    pepper.fill(0)
    const hash = await (await starting).hashSecure("x")
    const again = await newCrypto(withKMSService(services), withKEKAlias("app"), withPepper(copy), CHEAP)
    assert.equal(await again.compareSecureHashAndValue("x", hash), true)
  })

  it("stays the caller's in a store, Buffers too", async () => {
    const services = memory()
    const pepper = randomBytes(32)
    await services.storePepper("app", pepper)
    const [first] = await services.getPepper("app")
    first?.value.fill(0)
    pepper.fill(0)
    await open(services)
    await open(services)
  })
})

describe("close()", () => {
  it("ends all use, and work under way keeps no key", async () => {
    const crypto = await open(slow(memory(), 1))
    const work = crypto.sealRecords(
      rows,
      Array.from({ length: 100 }, (_, id) => ({ id, a: "x", b: null })),
    )
    await crypto.close()
    await assert.rejects(crypto.seal(SECRET), Closed)
    await Promise.allSettled([work])
    assert.equal(crypto.stats().cache.size, 0)
    await crypto.close()
  })
})

describe("a data key", () => {
  it("serves envelopes or rows, never both", async () => {
    const crypto = await open()
    const envelope = await crypto.seal(SECRET)
    const row = await crypto.sealRecord(rows, { id: 1, a: "x", b: null })
    assert.notEqual(crypto.inspect(envelope).dekID, crypto.inspect(row.dek_encrypted).dekID)
  })

  it("has 32 bytes and an id of 32 digits wherever it is given", async () => {
    const crypto = await open()
    const { dekID, ...wrapped } = await crypto.encryptDEK(crypto.generateDEK())
    assert.match(dekID, /^[0-9a-f]{32}$/)
    await assert.rejects(crypto.encryptDEK(new Uint8Array(5)), RangeError)
    for (const id of ["", "ab", dekID.toUpperCase(), `${dekID}00`]) {
      await assert.rejects(crypto.encryptDEK(crypto.generateDEK(), { dekID: id }), EncxError)
      await assert.rejects(crypto.decryptDEK({ ...wrapped, dekID: id }), EncxError)
    }
    const envelope = await crypto.seal(SECRET)
    const id = crypto.inspect(envelope).dekID
    await assert.rejects(crypto.open(envelope, {}, { dek: new Uint8Array(31), dekID: id }), RangeError)
    await assert.rejects(crypto.open(envelope, {}, { dek: "1234" as never, dekID: id }), TypeError)
  })
})

describe("a key with two KMS contexts", () => {
  it("opens under many callers at once: each try is the answer to its own context", async () => {
    const services = slow(memory(), 1)
    const old = { stage: "old" }
    await services.createKey("app")
    const common = [withKMSService(services), withKEKAlias("app")]
    const envelope = await (await newCrypto(...common, { kmsContext: old })).seal(SECRET)
    const crypto = await newCrypto(...common, withRetiredKEK(services, "app", { kmsContext: old }))
    const opened = await Promise.all(Array.from({ length: 200 }, () => crypto.open(envelope)))
    assert.ok(opened.every((each) => Buffer.compare(each, SECRET) === 0))
    const tries = await crypto.verify(envelope)
    assert.deepEqual(
      tries.map(({ ok }) => ok),
      [false, true],
    )
  })
})

describe("an alias", () => {
  it("that was moved is seen by a program that only opens", async () => {
    const [before, after] = [memory(), memory()]
    for (const each of [before, after]) await each.createKey("app")
    let target = before
    const moving: KeyManagementService = {
      provider: "memory",
      getKeyID: (...args) => target.getKeyID(...args),
      describeKey: (...args) => target.describeKey(...args),
      encryptDEK: (...args) => target.encryptDEK(...args),
      decryptDEK: (wrapped, ...args) =>
        after.decryptDEK(wrapped, ...args).catch(() => before.decryptDEK(wrapped, ...args)),
    }
    let time = 0
    const crypto = await newCrypto(withKMSService(moving), withKEKAlias("app"), { clock: { now: () => time } })
    const old = await crypto.seal(SECRET)
    target = after
    const fresh = await (await newCrypto(withKMSService(moving), withKEKAlias("app"))).seal(SECRET)
    await assert.rejects(crypto.open(fresh), KeyNotAllowed)
    time += 600_000
    assert.deepEqual(await crypto.open(fresh), SECRET)
    assert.deepEqual(await crypto.open(old), SECRET, "the key it had before is still known to this program")
  })
})

describe("errors of the keys", () => {
  it("are each caller's own, and say that a retry may help where one key could not be asked", async () => {
    const [denied, down] = [memory(), memory()]
    for (const each of [denied, down]) await each.createKey("app")
    const both = { kms: denied, kekAlias: "app", additionalKEKs: [{ kms: down, alias: "app" }] }
    const envelope = await (await newCrypto(both)).seal(SECRET)
    const frozen = Object.freeze(
      new KMSUnavailable("Cannot ask the KMS: it is down", { provider: "memory", operation: "decryptDEK" }),
    )
    const failing = (services: LocalServices, error: Error): KeyManagementService => ({
      ...services,
      decryptDEK: async () => {
        throw error
      },
    })
    const crypto = await newCrypto({
      ...both,
      kms: failing(denied, frozen),
      additionalKEKs: [{ kms: failing(down, new DecryptionFailed()), alias: "app" }],
    })
    const errors = await Promise.all([1, 2].map(() => crypto.open(envelope).catch((error: unknown) => error)))
    for (const error of errors) {
      assert.ok(error instanceof KMSUnavailable && error.retryable && error.cause === frozen)
      assert.deepEqual(
        error.tries.map(({ code }) => code),
        ["KMS_UNAVAILABLE", "DECRYPTION_FAILED"],
      )
    }
    assert.notEqual(errors[0], errors[1])
    assert.deepEqual(frozen.tries, [])
  })

  it("refuse an answer of a KMS that fits no envelope, and do not keep it", async () => {
    const services = memory()
    await services.createKey("app")
    for (const answer of [
      { ciphertext: new Uint8Array(3) },
      { version: -1 },
      { keyID: "other" },
      { ciphertext: "text" as never },
    ]) {
      const odd: KeyManagementService = {
        ...services,
        encryptDEK: async (...args) => ({ ...(await services.encryptDEK(...args)), ...answer }),
      }
      const crypto = await newCrypto(withKMSService(odd), withKEKAlias("app"))
      await assert.rejects(crypto.seal(SECRET), KMSUnavailable)
      assert.equal(crypto.stats().cache.size, 0)
    }
  })

  it("show no control characters of an envelope's names", async () => {
    const services = memory()
    const strange: KeyManagementService = {
      ...services,
      provider: "strange",
      getKeyID: async () => "key\n\u001b[31m",
      encryptDEK: async () => ({ ciphertext: new Uint8Array(16), keyID: "key\n\u001b[31m", version: 0 }),
    }
    const envelope = await (await newCrypto(withKMSService(strange), withKEKAlias("x"))).seal(SECRET)
    const crypto = await open()
    const error = await crypto.open(envelope).catch((reason: unknown) => reason)
    assert.ok(error instanceof KeyNotAllowed)
    assert.ok([...error.message].every((character) => character >= " "))
  })

  it("say of a KMS that cannot rotate that it cannot, not that its key is absent", async () => {
    const kek = Buffer.alloc(32, 7).toString("base64")
    const crypto = await newCrypto(withKMSService(env({ variables: { ENCX_KEK: kek } })), withKEKAlias("ENCX_KEK"))
    await assert.rejects(crypto.rotateKEK(), InvalidConfiguration)
  })
})

describe("a pepper", () => {
  it("is the store's current one, whatever order the store gives", async () => {
    const services = memory()
    await open(services)
    await services.rotatePepper("app", randomBytes(32))
    const reversed: SecretManagementService = {
      ...services,
      getPepper: async (...args) => [...(await services.getPepper(...args))].reverse(),
    }
    await assert.rejects(
      newCrypto(withKMSService(services), withKEKAlias("app"), withPepper(reversed, "app")),
      UninitializedPepper,
    )
  })
})

describe("a KMS", () => {
  // Whether it decrypts in place, or hands the bytes to a thread.
  for (const [does, spoil] of [
    ["overwrites", (bytes: Uint8Array) => bytes.fill(0)],
    ["transfers", (bytes: Uint8Array<ArrayBuffer>) => structuredClone(bytes, { transfer: [bytes.buffer] })],
  ] as const) {
    it(`that ${does} the wrap it is given spoils it for nobody`, async () => {
      const services = memory()
      await services.createKey("app")
      const spoiling: KeyManagementService = {
        ...services,
        decryptDEK: async (wrapped, ...rest) => {
          const dek = await services.decryptDEK(wrapped, ...rest)
          spoil(wrapped.ciphertext as Uint8Array<ArrayBuffer>)
          return dek
        },
      }
      const [crypto, other] = await Promise.all(
        [spoiling, services].map((kms) => newCrypto(withKMSService(kms), withKEKAlias("app"))),
      )
      const envelope = (await crypto?.seal(SECRET)) as Uint8Array
      for (let i = 0; i < 2; i++) {
        assert.deepEqual(await crypto?.open(envelope), SECRET)
        crypto?.invalidate()
      }
      assert.deepEqual(await other?.open(envelope), SECRET)
    })
  }

  it("that uses the memory of its answer again spoils no envelope", async () => {
    const services = memory()
    await services.createKey("app")
    const answer = new Uint8Array(1024)
    const reusing: KeyManagementService = {
      ...services,
      encryptDEK: async (...args) => {
        const wrapped = await services.encryptDEK(...args)
        answer.set(wrapped.ciphertext)
        return { ...wrapped, ciphertext: answer.subarray(0, wrapped.ciphertext.length) }
      },
    }
    const crypto = await newCrypto(withKMSService(reusing), withKEKAlias("app"))
    await crypto.seal(SECRET)
    answer.fill(0)
    // The header of envelopes with a context is another, and made with the first of them.
    assert.deepEqual(await crypto.open(await crypto.seal(SECRET, { a: "b" }), { a: "b" }), SECRET)
  })
})

describe("rows", () => {
  it("that are not whole are neither updated nor re-wrapped: their key could not be checked", async () => {
    const crypto = await open()
    const row = await crypto.sealRecord(rows, { id: 1, a: "x", b: "y" })
    const { b_encrypted: _, ...part } = row
    await assert.rejects(crypto.updateRecord(rows, part as never, { a: "z" }), InvalidFormat)
    await assert.rejects(crypto.rewrapRecord(rows, part as never), InvalidFormat)
  })

  it("that cannot be bound cost no KMS call and no hash", async () => {
    const crypto = await open()
    const bound = record(
      "bound",
      { row: "id", tenant: "org" },
      {
        id: plain<string>(),
        org: plain<string>(),
        a: text().encrypt(),
        p: text().hashSecure(),
        q: text().hashSecure(),
      },
    )
    const good = { id: "1", org: "x", a: "a", p: "p", q: "q" }
    await crypto.sealRecord(bound, good)
    const before = crypto.stats().kms
    for (const change of [
      { org: "\ud800" },
      { id: "x".repeat(9000) },
      { q: "x".repeat(4097) },
      { q: undefined as never },
    ]) {
      await assert.rejects(crypto.sealRecord(bound, { ...good, ...change }), (error: unknown) => {
        return error instanceof InvalidInput || (error instanceof EncxError && error.code === "ENCRYPTION_FAILED")
      })
    }
    assert.deepEqual(crypto.stats().kms, before)
  })

  it("with passwords are sealed in any number, however short the queue of hashes", async () => {
    const services = memory()
    const crypto = await newCrypto(
      withKMSService(services),
      withKEKAlias("app"),
      withPepper(services, "app"),
      withBootstrap({ createKEK: true, createPepper: true }),
      withArgon2({ memoryKiB: 7168, iterations: 5, parallelism: 1, concurrency: 1, queue: 0 }),
    )
    const logins = record("logins", { row: "id" }, { id: plain<number>(), password: text().hashSecure() })
    const sealed = await crypto.sealRecords(
      logins,
      Array.from({ length: 8 }, (_, id) => ({ id, password: `${id}` })),
    )
    assert.equal(sealed.length, 8)
  })

  it("of another tenant are not matches", async () => {
    const crypto = await open()
    const people = record(
      "people",
      { row: "id", tenant: "org" },
      {
        id: plain<number>(),
        org: plain<string>(),
        name: text().encrypt().index(),
      },
    )
    const sealed = await crypto.sealRecords(
      people,
      ["x", "y"].map((org, id) => ({ id, org, name: "Ada" })),
    )
    assert.deepEqual(await crypto.openMatches(people, sealed, "name", "Ada", { tenant: "y" }), [
      { id: 1, org: "y", name: "Ada" },
    ])
    await assert.rejects(crypto.openMatches(people, sealed, "name", "Ada"), InvalidInput)
  })

  it("that share a data key go on sharing it after a re-wrap, for one unwrap and one wrap", async () => {
    const crypto = await open()
    const sealed = await crypto.sealRecords(
      rows,
      Array.from({ length: 50 }, (_, id) => ({ id, a: "x", b: null })),
    )
    await crypto.rotateKEK()
    const before = crypto.stats().kms
    const wraps = await crypto.rewrapRecords(rows, sealed)
    const after = crypto.stats().kms
    assert.equal(after.decryptDEK - before.decryptDEK, 1)
    assert.equal(after.encryptDEK - before.encryptDEK, 1)
    assert.equal(new Set(wraps.map(({ dek_encrypted }) => Buffer.from(dek_encrypted).toString("hex"))).size, 1)
    for (const [i, row] of sealed.entries())
      assert.equal((await crypto.openRecord(rows, { ...row, ...wraps[i] })).id, i)
    const planted = sealed.map((row, i) =>
      i === 7 ? { ...row, a_encrypted: (sealed[8] as typeof row).a_encrypted } : row,
    )
    await assert.rejects(crypto.rewrapRecords(rows, planted), DecryptionFailed)
  })
})

describe("the cache's limits", () => {
  it("let those who find no room fetch side by side, as many as there may be at once", async () => {
    const services = slow(memory())
    await services.createKey("app")
    const asked = { now: 0, most: 0 }
    const counting: KeyManagementService = {
      ...services,
      encryptDEK: async (...args) => {
        asked.most = Math.max(asked.most, ++asked.now)
        return await services.encryptDEK(...args).finally(() => asked.now--)
      },
    }
    const crypto = await newCrypto(
      withKMSService(counting),
      withKEKAlias("app"),
      withDEKCache({ maxMessages: 10, maxFlights: 50 }),
    )
    const envelopes = await Promise.all(Array.from({ length: 1000 }, () => crypto.seal(SECRET)))
    assert.equal(asked.most, 50)
    const uses = Map.groupBy(envelopes, (each) => crypto.inspect(each).dekID)
    assert.equal(uses.size, 100)
    assert.ok([...uses.values()].every((each) => each.length <= 10))
    assert.equal(crypto.stats().kms.encryptDEK, 100)
  })
})
