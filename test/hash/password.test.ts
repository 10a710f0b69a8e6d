import assert from "node:assert/strict"
import { createHmac } from "node:crypto"
import { test } from "node:test"
import { concat, hex, randomBytes, u32 } from "../../core/bytes.ts"
import { argon2id } from "../../core/hash/argon2.ts"
import { type Argon2Options, argon2Problem } from "../../core/hash/password.ts"
import { Peppers } from "../../core/hash/pepper.ts"
import { pepperID, pepperProblem } from "../../core/hash/pepper-id.ts"
import { formatPHC, parsePHC } from "../../core/hash/phc.ts"
import {
  Busy,
  type Context,
  type Crypto,
  encodeContext,
  InvalidConfiguration,
  InvalidFormat,
  InvalidInput,
  newCrypto,
  UninitializedPepper,
  UnknownPepper,
  withArgon2,
  withKEKAlias,
  withKMSService,
  withPepper,
} from "../../mod.ts"
import { memory } from "../../providers/memory.ts"

const COST = { memoryKiB: 7168, iterations: 5, parallelism: 1 } as const
const CONTEXT: Context = { account: "ada" }
const pepper = randomBytes(32)

async function program(peppers: readonly Uint8Array[] = [pepper], options: Argon2Options = COST): Promise<Crypto> {
  const kms = memory()
  await kms.createKey("app")
  return await newCrypto(withKMSService(kms), withKEKAlias("app"), withArgon2(options), withPepper(peppers))
}

async function unpeppered(): Promise<Crypto> {
  const kms = memory()
  await kms.createKey("app")
  return await newCrypto(withKMSService(kms), withKEKAlias("app"), withArgon2(COST))
}

// --- Right and wrong ---

test("compareSecureHashAndValue() says true when the value is that, and false when it is another", async () => {
  const crypto = await program()
  const stored = await crypto.hashSecure("correct horse", { context: CONTEXT })
  assert.equal(await crypto.compareSecureHashAndValue("correct horse", stored, { context: CONTEXT }), true)
  for (const other of ["correct hors", "correct horse ", "Correct horse", "", "correct\0horse", "correct horse\0"]) {
    assert.equal(await crypto.compareSecureHashAndValue(other, stored, { context: CONTEXT }), false, other)
  }
  assert.equal(crypto.needsRehash(stored), false)
})

test("compareSecureHashAndValue() says false when the context is another", async () => {
  const crypto = await program()
  const [bound, free] = [await crypto.hashSecure("pw", { context: CONTEXT }), await crypto.hashSecure("pw")]
  assert.equal(await crypto.compareSecureHashAndValue("pw", bound, { context: CONTEXT }), true)
  assert.equal(await crypto.compareSecureHashAndValue("pw", free), true)
  assert.equal(await crypto.compareSecureHashAndValue("pw", free, { context: {} }), true)
  assert.equal(await crypto.compareSecureHashAndValue("pw", bound), false)
  assert.equal(await crypto.compareSecureHashAndValue("pw", free, { context: CONTEXT }), false)
  for (const context of [{ account: "bob" }, { account: "ada", more: "" }, { Account: "ada" }]) {
    assert.equal(await crypto.compareSecureHashAndValue("pw", bound, { context }), false)
  }
  const pair = await crypto.hashSecure("pw", { context: { a: "1", b: "2" } })
  assert.equal(await crypto.compareSecureHashAndValue("pw", pair, { context: { b: "2", a: "1" } }), true)
})

test("hashSecure() draws a new salt when it is called again", async () => {
  const crypto = await program()
  const stored = await Promise.all(Array.from({ length: 20 }, () => crypto.hashSecure("pw")))
  assert.equal(new Set(stored.map((each) => hex(parsePHC(each).salt))).size, 20)
  assert.equal(new Set(stored.map((each) => hex(parsePHC(each).hash))).size, 20)
  for (const each of stored) assert.equal(crypto.needsRehash(each), false)
})

test("hashSecure() gives what FORMATS §6 says when it is computed by hand", async () => {
  const crypto = await program()
  for (const context of [{}, CONTEXT]) {
    const { salt, hash, keyID } = parsePHC(await crypto.hashSecure("pässword", { context }))
    const encoded = encodeContext(context)
    const message = concat(
      new TextEncoder().encode("encx.v2.pw\0"),
      u32(encoded.length),
      encoded,
      new TextEncoder().encode("pässword"),
    )
    const password = new Uint8Array(createHmac("sha256", pepper).update(message).digest())
    assert.equal(hex(hash), hex(await argon2id({ ...COST, password, salt, length: 32 })))
    assert.equal(hex(keyID), hex(pepperID(pepper)))
    assert.deepEqual([salt.length, hash.length], [16, 32])
  }
})

test("compareSecureHashAndValue() says the same when a text comes as its UTF-8", async () => {
  const crypto = await program()
  const bytes = new TextEncoder().encode("pässwörd💧")
  const before = hex(bytes)
  const [ofText, ofBytes] = [await crypto.hashSecure("pässwörd💧"), await crypto.hashSecure(bytes)]
  assert.equal(await crypto.compareSecureHashAndValue(bytes, ofText), true)
  assert.equal(await crypto.compareSecureHashAndValue("pässwörd💧", ofBytes), true)
  assert.equal(
    await crypto.compareSecureHashAndValue("pässwörd💧".normalize("NFD"), ofText),
    false,
    "nothing is normalised",
  )
  assert.equal(hex(bytes), before)
})

// --- What is refused ---

test("hashSecure() takes 4,096 bytes and refuses more when a value is long, and so does verifying", async () => {
  const crypto = await program()
  const stored = await crypto.hashSecure("x".repeat(4096))
  assert.equal(await crypto.compareSecureHashAndValue(new Uint8Array(4096).fill(0x78), stored), true)
  assert.equal(await crypto.compareSecureHashAndValue("x".repeat(4095), stored), false)
  for (const long of ["x".repeat(4097), "é".repeat(2049), new Uint8Array(4097), "x".repeat(1_000_000)]) {
    await assert.rejects(crypto.hashSecure(long), InvalidInput)
    await assert.rejects(crypto.compareSecureHashAndValue(long, stored), InvalidInput)
  }
})

test("hashSecure() refuses a value when it holds a lone surrogate or is neither text nor bytes", async () => {
  const crypto = await program()
  const stored = await crypto.hashSecure("\ud83d\ude00")
  assert.equal(await crypto.compareSecureHashAndValue("\ud83d\ude00", stored), true)
  const others: unknown[] = ["\ud83d", "a\udc00b", 1, null, undefined, {}, [], new ArrayBuffer(4), new String("pw")]
  for (const other of others as string[]) {
    await assert.rejects(crypto.hashSecure(other), InvalidInput)
    await assert.rejects(crypto.compareSecureHashAndValue(other, stored), InvalidInput)
  }
  for (const context of [{ k: "\ud800" }, { "": "v" }, { k: 1 }, []] as unknown as Context[]) {
    await assert.rejects(crypto.hashSecure("pw", { context }), InvalidInput)
    await assert.rejects(crypto.compareSecureHashAndValue("pw", stored, { context }), InvalidInput)
  }
})

test("hashSecure() throws UninitializedPepper when there is no pepper", async () => {
  const crypto = await program()
  const bare = await unpeppered()
  const stored = await crypto.hashSecure("pw")
  assert.equal(await crypto.compareSecureHashAndValue("pw", stored), true)
  await assert.rejects(bare.hashSecure("pw"), UninitializedPepper)
  await assert.rejects(bare.compareSecureHashAndValue("pw", stored), UninitializedPepper)
  assert.throws(() => bare.needsRehash(stored), UninitializedPepper)
  await assert.rejects(bare.compareSecureHashAndValue("pw", "malformed"), InvalidFormat)
})

test("hashSecure() throws Busy when more wait than may", async () => {
  const crypto = await program([pepper], { ...COST, concurrency: 2, queue: 3 })
  const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => crypto.hashSecure("pw")))
  const failed = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason as unknown] : []))
  assert.equal(failed.length, 15)
  for (const error of failed) assert.ok(error instanceof Busy)
  assert.equal((await crypto.hashSecure("pw")).length > 0, true)
})

test("hashSecure() rejects with the signal's reason when it is aborted while it waits", async () => {
  const crypto = await program([pepper], { ...COST, concurrency: 1, queue: 3 })
  const controller = new AbortController()
  const first = crypto.hashSecure("pw")
  const waiting = crypto.hashSecure("pw", { signal: controller.signal })
  const rejected = assert.rejects(waiting, /no more/)
  controller.abort(new Error("no more"))
  await rejected
  assert.equal(await crypto.compareSecureHashAndValue("pw", await first), true)
})

// --- Peppers ---

test("compareSecureHashAndValue() throws UnknownPepper when the pepper is another, and never says false", async () => {
  const crypto = await program()
  const other = await program([randomBytes(32)])
  const stored = await crypto.hashSecure("pw")
  assert.equal(await crypto.compareSecureHashAndValue("pw", stored), true)
  for (const value of ["pw", "wrong"])
    await assert.rejects(other.compareSecureHashAndValue(value, stored), UnknownPepper)
  assert.equal(other.needsRehash(stored), true)
})

test("compareSecureHashAndValue() verifies and needsRehash() says true when a pepper is a previous one", async () => {
  const [fresh, older] = [randomBytes(32), randomBytes(32)]
  const before = await program([pepper])
  const after = await program([fresh, pepper, older])
  const old = await before.hashSecure("pw", { context: CONTEXT })
  assert.equal(before.needsRehash(old), false)
  assert.equal(await after.compareSecureHashAndValue("pw", old, { context: CONTEXT }), true)
  assert.equal(await after.compareSecureHashAndValue("wrong", old, { context: CONTEXT }), false)
  assert.equal(after.needsRehash(old), true)
  const renewed = await after.hashSecure("pw", { context: CONTEXT })
  assert.equal(hex(parsePHC(renewed).keyID), hex(pepperID(fresh)))
  assert.equal(after.needsRehash(renewed), false)
  await assert.rejects(before.compareSecureHashAndValue("pw", renewed, { context: CONTEXT }), UnknownPepper)
})

test("withPepper() is refused when a pepper is not 32 bytes from a CSPRNG", async () => {
  const good = await program([pepper, randomBytes(32)])
  assert.equal(good.needsRehash(await good.hashSecure("pw")), false)
  for (const bad of [new Uint8Array(32), randomBytes(31), randomBytes(33), new Uint8Array(0)]) {
    assert.equal(typeof pepperProblem(bad), "string")
    await assert.rejects(program([bad]), InvalidConfiguration)
    await assert.rejects(program([pepper, bad]), InvalidConfiguration)
  }
  await assert.rejects(program([]), InvalidConfiguration)
})

test("Peppers.find() gives the first when two are one, and its own copy of each", () => {
  const bytes = Uint8Array.from(pepper)
  const peppers = new Peppers([bytes, randomBytes(32)])
  const id = pepperID(pepper)
  bytes.fill(0)
  assert.equal(hex(peppers.find(id).key.export()), hex(pepper))
  assert.equal(hex(peppers.current.id), hex(id))
  assert.equal(id.length, 4)
})

// --- Costs ---

test("needsRehash() says true when anything is not as new hashes have it, over 972 stored hashes", async () => {
  const previous = randomBytes(32)
  const costs = [
    { memoryKiB: 7168, iterations: 5, parallelism: 1 },
    { memoryKiB: 65_536, iterations: 3, parallelism: 4 },
    { memoryKiB: 19_456, iterations: 2, parallelism: 2 },
  ]
  let seen = 0
  for (const now of costs) {
    const crypto = await program([pepper, previous], now)
    let unchanged = 0
    for (const memoryKiB of [now.memoryKiB, now.memoryKiB - 1, now.memoryKiB + 1]) {
      for (const iterations of [now.iterations, now.iterations - 1, now.iterations + 1]) {
        for (const parallelism of [now.parallelism, now.parallelism + 1]) {
          for (const salt of [15, 16, 17]) {
            for (const hash of [31, 32, 33]) {
              for (const each of [pepper, previous]) {
                const stored = formatPHC({
                  memoryKiB,
                  iterations,
                  parallelism,
                  keyID: pepperID(each),
                  salt: randomBytes(salt),
                  hash: randomBytes(hash),
                })
                const same =
                  memoryKiB === now.memoryKiB &&
                  iterations === now.iterations &&
                  parallelism === now.parallelism &&
                  salt === 16 &&
                  hash === 32 &&
                  each === pepper
                assert.equal(crypto.needsRehash(stored), !same, stored)
                if (same) unchanged++
                seen++
              }
            }
          }
        }
      }
    }
    assert.equal(unchanged, 1)
  }
  assert.equal(seen, 972)
})

test("compareSecureHashAndValue() verifies and needsRehash() says true when a hash had another cost", async () => {
  const old = await program()
  const now = await program([pepper], { memoryKiB: 12_288, iterations: 3, parallelism: 1 })
  const stored = await old.hashSecure("pw")
  assert.equal(await now.compareSecureHashAndValue("pw", stored), true)
  assert.equal(await now.compareSecureHashAndValue("wrong", stored), false)
  assert.equal(now.needsRehash(stored), true)
  assert.equal(now.needsRehash(await now.hashSecure("pw")), false)
})

test("withArgon2() is refused when hashes would be too cheap, too dear or not whole numbers", async () => {
  assert.equal(argon2Problem({}), undefined)
  const good = await program([pepper], { ...COST, concurrency: 1, queue: 0 })
  assert.equal(good.needsRehash(await good.hashSecure("pw")), false)
  const bad: Argon2Options[] = [
    { ...COST, memoryKiB: 7167 },
    { ...COST, iterations: 4 },
    { memoryKiB: 262_145 },
    { memoryKiB: 262_144, iterations: 5 },
    { iterations: 17 },
    { iterations: 0 },
    { parallelism: 0 },
    { parallelism: 17 },
    { memoryKiB: 65_536.5 },
    { concurrency: 0 },
    { concurrency: 1.5 },
    { queue: -1 },
    { queue: Number.NaN },
  ]
  for (const options of bad) {
    assert.equal(typeof argon2Problem(options), "string", JSON.stringify(options))
    await assert.rejects(program([pepper], options), InvalidConfiguration)
  }
})
