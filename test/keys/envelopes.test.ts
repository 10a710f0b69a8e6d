import assert from "node:assert/strict"
import { randomInt } from "node:crypto"
import { test } from "node:test"
import { concat, hex, randomBytes, u16, u32 } from "../../core/bytes.ts"
import { encodeHeader, type KeyEntry, parseHeader } from "../../core/cipher/envelope.ts"
import {
  type Context,
  type Crypto,
  DecryptionFailed,
  EncxError,
  InvalidFormat,
  InvalidInput,
  type KeyManagementService,
  KeyNotAllowed,
  newCrypto,
  type Option,
  withAdditionalKEK,
  withDEKCache,
  withKEKAlias,
  withKMSContext,
  withKMSService,
  withRetiredKEK,
} from "../../mod.ts"
import { memory } from "../../providers/memory.ts"

const CORE = 24
const CONTEXT: Context = { tenant: "acme", purpose: "test" }

async function services(): Promise<ReturnType<typeof memory>> {
  const made = memory()
  await made.createKey("app")
  return made
}

async function program(kms: KeyManagementService, ...options: Option[]): Promise<Crypto> {
  return await newCrypto(withKMSService(kms), withKEKAlias("app"), ...options)
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const changed = Uint8Array.from(bytes)
  changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
  return changed
}

// An envelope whose first byte of the body is at `body`.
const split = (envelope: Uint8Array): { header: Uint8Array; body: Uint8Array } => {
  const body = parseHeader(envelope).body
  return { header: envelope.subarray(0, envelope.length - body.length), body }
}

async function refusal(opening: Promise<unknown>): Promise<EncxError | undefined> {
  return await opening.then(
    () => undefined,
    (error: unknown) => {
      assert.ok(error instanceof EncxError, String(error))
      return error
    },
  )
}

async function isRefused(
  crypto: Crypto,
  envelope: Uint8Array,
  what: string,
  context: Context = CONTEXT,
): Promise<void> {
  assert.ok(await refusal(crypto.open(envelope, context)), `${what} was accepted`)
}

async function opensTo(
  crypto: Crypto,
  envelope: Uint8Array,
  plaintext: Uint8Array,
  context: Context = CONTEXT,
): Promise<void> {
  assert.equal(hex(await crypto.open(envelope, context)), hex(plaintext))
}

// --- Every bit ---

for (const size of [0, 1, 16, 255, 4096]) {
  test(`open() refuses an envelope of ${size} bytes when one bit of it is another`, async () => {
    const crypto = await program(await services())
    const plaintext = randomBytes(size)
    const envelope = await crypto.seal(plaintext, CONTEXT)
    await opensTo(crypto, envelope, plaintext)
    const { header } = split(envelope)
    const outcomes = { refused: 0, same: 0 }
    for (let bit = 0; bit < envelope.length * 8; bit++) {
      const opened = await crypto.open(flipped(envelope, bit), CONTEXT).catch((error: unknown) => {
        assert.ok(error instanceof EncxError, `bit ${bit}: ${error}`)
      })
      if (opened === undefined) {
        outcomes.refused++
        continue
      }
      // What a KMS returned may be malleable; whatever opens is the same value.
      const at = bit >> 3
      assert.ok(at >= CORE && at < header.length, `bit ${bit} was accepted`)
      assert.equal(hex(opened), hex(plaintext), `bit ${bit}`)
      outcomes.same++
    }
    assert.equal(header.length, CORE + 2 + 1 + 1 + 2 + 36 + 4 + 2 + 104)
    assert.equal(envelope.length, header.length + 72 + size)
    // This provider's are not: nothing opened.
    assert.deepEqual(outcomes, { refused: envelope.length * 8, same: 0 })
    await opensTo(crypto, envelope, plaintext)
  })
}

test("open() gives the same value or none when one bit of two wrapped keys is another", async () => {
  const [a, b] = [await services(), await services()]
  const crypto = await program(a, withAdditionalKEK(b, "app"))
  const plaintext = randomBytes(16)
  const envelope = await crypto.seal(plaintext, CONTEXT)
  await opensTo(crypto, envelope, plaintext)
  const { header } = split(envelope)
  const outcomes = { refused: 0, same: 0 }
  for (let bit = 0; bit < envelope.length * 8; bit++) {
    const changed = flipped(envelope, bit)
    const within = bit >> 3 >= CORE && bit >> 3 < header.length
    if (!within) await isRefused(crypto, changed, `bit ${bit}`)
    else {
      const opened = await crypto.open(changed, CONTEXT).catch((error: unknown) => {
        assert.ok(error instanceof EncxError, `bit ${bit}: ${error}`)
      })
      if (opened) assert.equal(hex(opened), hex(plaintext))
      outcomes[opened ? "same" : "refused"]++
    }
  }
  assert.equal(outcomes.same + outcomes.refused, (header.length - CORE) * 8)
  assert.ok(outcomes.same >= 2 * 104 * 8, "each of the two keys opens what the other no longer does")
})

// --- Length ---

test("open() refuses an envelope when it is cut anywhere", async () => {
  const crypto = await program(await services())
  let refused = 0
  for (const size of [0, 1, 16, 255, 4096]) {
    const plaintext = randomBytes(size)
    const envelope = await crypto.seal(plaintext, CONTEXT)
    await opensTo(crypto, envelope, plaintext)
    for (let length = 0; length < envelope.length; length++, refused++)
      await isRefused(crypto, envelope.subarray(0, length), `${size} cut to ${length}`)
  }
  assert.equal(refused, 5 * (176 + 72) + 4368)
})

test("open() refuses an envelope when 1 to 64 bytes follow it or stand before it", async () => {
  const crypto = await program(await services())
  let refused = 0
  for (const size of [0, 1, 16, 255, 4096]) {
    const plaintext = randomBytes(size)
    const envelope = await crypto.seal(plaintext, CONTEXT)
    await opensTo(crypto, envelope, plaintext)
    for (let more = 1; more <= 64; more++, refused += 3) {
      await isRefused(crypto, concat(envelope, randomBytes(more)), `${size} and ${more} more`)
      await isRefused(crypto, concat(envelope, new Uint8Array(more)), `${size} and ${more} zeros`)
      await isRefused(crypto, concat(randomBytes(more), envelope), `${size} after ${more}`)
    }
  }
  assert.equal(refused, 5 * 64 * 3)
})

// --- Context ---

test("open() refuses an envelope when the context is another", async () => {
  const crypto = await program(await services())
  const plaintext = randomBytes(20)
  const envelope = await crypto.seal(plaintext, { tenant: "acme", city: "Zu\u0308rich" })
  await opensTo(crypto, envelope, plaintext, { city: "Zu\u0308rich", tenant: "acme" })
  const others: (Context | undefined)[] = [
    undefined,
    {},
    { tenant: "acme" },
    { city: "Zu\u0308rich" },
    { tenant: "acme", city: "Zu\u0308rich", more: "" },
    { tenant: "acme", city: "Zürich" },
    { tenant: "Acme", city: "Zu\u0308rich" },
    { Tenant: "acme", city: "Zu\u0308rich" },
    { tenant: "acme ", city: "Zu\u0308rich" },
    { tenant: "Zu\u0308rich", city: "acme" },
    { tenant: "acm", ecity: "Zu\u0308rich" },
  ]
  for (const other of others)
    assert.ok((await refusal(crypto.open(envelope, other))) instanceof DecryptionFailed, JSON.stringify(other))
  const bare = await crypto.seal(plaintext)
  assert.equal(hex(await crypto.open(bare)), hex(plaintext))
  assert.equal(hex(await crypto.open(bare, {})), hex(plaintext))
  assert.ok((await refusal(crypto.open(bare, { tenant: "acme" }))) instanceof DecryptionFailed)
})

test("seal() refuses a context when it is malformed, and open() does the same", async () => {
  const crypto = await program(await services())
  const envelope = await crypto.seal(new Uint8Array(1), { k: "v" })
  assert.equal((await crypto.open(envelope, { k: "v" })).length, 1)
  for (const context of [{ "": "v" }, { k: "\ud800" }, { k: 1 }, [], null] as unknown as Context[]) {
    assert.ok((await refusal(crypto.seal(new Uint8Array(1), context))) instanceof InvalidInput)
    assert.ok((await refusal(crypto.open(envelope, context))) instanceof InvalidInput)
  }
})

test("open() refuses an envelope when the KMS context is another", async () => {
  const kms = await services()
  const crypto = await program(kms, withKMSContext({ app: "shop" }))
  const envelope = await crypto.seal(new Uint8Array(1), CONTEXT)
  assert.equal((await crypto.open(envelope, CONTEXT)).length, 1)
  for (const context of [{}, { app: "other" }, { app: "shop", stage: "test" }]) {
    const other = await program(kms, withKMSContext(context))
    assert.ok((await refusal(other.open(envelope, CONTEXT))) instanceof DecryptionFailed)
  }
})

// --- Malformed envelopes ---

// Each makes one thing of a good envelope malformed; `keys` is where its key block begins, `length` how long that is.
const MALFORMED: readonly ((good: Uint8Array, keys: number, length: number) => Uint8Array)[] = [
  () => randomBytes(randomInt(0, 600)),
  (good) => good.with(randomInt(0, 4), randomInt(0, 0x45)),
  (good) => good.with(4, (3 + randomInt(0, 255)) % 256),
  (good) => good.with(5, (2 + randomInt(0, 255)) % 256),
  (good) => good.with(6, randomInt(4, 256)),
  (good) => good.with(7, randomInt(1, 256)),
  (good, keys, length) => good.subarray(0, randomInt(0, keys + length + 72)),
  (good, keys) => concat(good.subarray(0, keys - 2), u16(randomInt(0, 27)), good.subarray(keys)),
  (good, keys) => concat(good.subarray(0, keys - 2), u16(randomInt(32_769, 65_536)), good.subarray(keys)),
  (good, keys, length) => concat(good.subarray(0, keys - 2), u16(length + randomInt(1, 200)), good.subarray(keys)),
  (good, keys, length) =>
    concat(good.subarray(0, keys - 2), u16(length - randomInt(1, length - 27)), good.subarray(keys)),
  (good, keys) => good.with(keys, (2 + randomInt(0, 255)) % 256),
  (good, keys) => good.with(keys + 1, [0, randomInt(9, 0x7f), randomInt(0x80, 256)][randomInt(3)] as number),
  (good, keys) =>
    concat(good.subarray(0, keys + 2), u16((37 + randomInt(0, 65_535)) % 65_536), good.subarray(keys + 4)),
  (good, keys) => good.with(keys + 4 + randomInt(0, 36), randomInt(0x80, 256)),
  (good, keys) => concat(good.subarray(0, keys + 40), u32(randomInt(2 ** 31, 2 ** 32)), good.subarray(keys + 44)),
  (good, keys) =>
    concat(good.subarray(0, keys + 44), u16((105 + randomInt(0, 65_535)) % 65_536), good.subarray(keys + 46)),
  (good, keys, length) => {
    const entry = good.subarray(keys + 1, keys + length)
    return concat(
      good.subarray(0, keys - 2),
      u16(2 * length - 1),
      Uint8Array.of(2),
      entry,
      entry,
      good.subarray(keys + length),
    )
  },
  (good, keys, length) => concat(good.subarray(0, keys + length), randomBytes(randomInt(0, 72))),
  (good, keys, length) => concat(good.subarray(0, keys + length), randomBytes(56 + 16_400 + randomInt(0, 16))),
]

test("open() calls no KMS when an envelope is malformed", async () => {
  const crypto = await program(await services(), withDEKCache(false))
  const good = await crypto.seal(randomBytes(100), CONTEXT)
  await crypto.open(good, CONTEXT)
  const before = crypto.stats()
  assert.equal(before.kms.decryptDEK, 1)
  const length = ((good[24] as number) << 8) | (good[25] as number)
  for (let i = 0; i < 10_000; i++) {
    const kind = i % MALFORMED.length
    const malformed = (MALFORMED[kind] as (typeof MALFORMED)[number])(good, 26, length)
    const error = await refusal(crypto.open(malformed, CONTEXT))
    assert.ok(error instanceof InvalidFormat, `kind ${kind}: ${error} for ${hex(malformed.subarray(0, 200))}`)
    if (i < 1000)
      for (const call of [crypto.verify(malformed, CONTEXT), crypto.rewrap(malformed, CONTEXT)])
        assert.ok((await refusal(call)) instanceof InvalidFormat)
  }
  assert.deepEqual(crypto.stats().kms, before.kms)
  assert.equal((await crypto.open(good, CONTEXT)).length, 100)
})

test("open() calls no KMS when flag C and the context disagree, or no key is allowed", async () => {
  const crypto = await program(await services(), withDEKCache(false))
  const good = await crypto.seal(randomBytes(100), CONTEXT)
  await crypto.open(good, CONTEXT)
  const stranger = await program(await services())
  assert.ok((await refusal(crypto.open(good))) instanceof DecryptionFailed)
  assert.ok((await refusal(crypto.open(good.with(6, 1), CONTEXT))) instanceof DecryptionFailed)
  assert.ok((await refusal(stranger.open(good, CONTEXT))) instanceof KeyNotAllowed)
  assert.ok((await refusal(crypto.open(good.with(6, 2), CONTEXT))) instanceof KeyNotAllowed)
  assert.equal(crypto.stats().kms.decryptDEK, 1)
  assert.equal(stranger.stats().kms.decryptDEK, 0)
})

// --- Several keys ---

const replaced = (envelope: Uint8Array, change: (keys: readonly KeyEntry[]) => KeyEntry[]): Uint8Array => {
  const parsed = parseHeader(envelope)
  return concat(encodeHeader({ ...parsed, keys: change(parsed.keys) }), parsed.body)
}

test("open() opens with any key when several wrap", async () => {
  const [a, b] = [await services(), await services()]
  const both = await program(a, withAdditionalKEK(b, "app"))
  const first = await program(a)
  const second = await program(b)
  const third = await program(await services())
  const envelope = await both.seal(Uint8Array.of(7), CONTEXT)
  assert.equal(both.inspect(envelope).keys.length, 2)
  for (const crypto of [both, first, second]) await opensTo(crypto, envelope, Uint8Array.of(7))
  assert.ok((await refusal(third.open(envelope, CONTEXT))) instanceof KeyNotAllowed)
})

test("open() opens what a retired key wrapped, and seal() wraps under it no more", async () => {
  const [a, b] = [await services(), await services()]
  const old = await program(a)
  const now = await program(b, withRetiredKEK(a, "app"))
  const before = await old.seal(Uint8Array.of(7), CONTEXT)
  await opensTo(now, before, Uint8Array.of(7))
  const after = await now.seal(Uint8Array.of(8), CONTEXT)
  await opensTo(now, after, Uint8Array.of(8))
  assert.equal(now.inspect(after).keys.length, 1)
  assert.ok((await refusal(old.open(after, CONTEXT))) instanceof KeyNotAllowed)
})

// What somebody writes who may call the first KMS: another data key, well wrapped, under this envelope's id.
async function planted(kms: KeyManagementService, envelope: Uint8Array): Promise<Uint8Array> {
  const keyID = await kms.getKeyID("app")
  const context = { purpose: "encx.v2.dek", dek_id: hex(parseHeader(envelope).dekID) }
  const { ciphertext } = await kms.encryptDEK(keyID, randomBytes(32), context)
  return replaced(envelope, (keys) =>
    keys.map((entry) => (entry.ref === keyID ? { ...entry, wrapped: ciphertext } : entry)),
  )
}

test("open() opens with the second key when the first wrap was replaced by another key's", async () => {
  const [a, b] = [await services(), await services()]
  const both = await program(a, withAdditionalKEK(b, "app"))
  const first = await program(a)
  const envelope = await both.seal(Uint8Array.of(7), CONTEXT)
  await opensTo(first, envelope, Uint8Array.of(7))
  const changed = await planted(a, envelope)
  await opensTo(both, changed, Uint8Array.of(7))
  const error = await refusal(first.open(changed, CONTEXT))
  assert.ok(error instanceof DecryptionFailed)
  assert.deepEqual(error.tries, [{ provider: "memory", ref: await a.getKeyID("app"), version: 1, code: "COMMITMENT" }])
  const failed = await refusal(both.open(await planted(b, changed), CONTEXT))
  assert.ok(failed instanceof DecryptionFailed)
  assert.deepEqual(
    failed.tries.map(({ ref, code }) => [ref, code]),
    [
      [await a.getKeyID("app"), "COMMITMENT"],
      [await b.getKeyID("app"), "COMMITMENT"],
    ],
  )
})

test("verify() tells of each allowed key when one of them is damaged", async () => {
  const [a, b, c] = [await services(), await services(), await services()]
  const [idA, idB] = [await a.getKeyID("app"), await b.getKeyID("app")]
  const all = await program(a, withAdditionalKEK(b, "app"), withAdditionalKEK(c, "app"))
  const two = await program(a, withAdditionalKEK(b, "app"))
  const envelope = await all.seal(Uint8Array.of(7), CONTEXT)
  const told = async (bytes: Uint8Array): Promise<unknown> =>
    (await two.verify(bytes, CONTEXT)).map(({ provider, ref, version, code, ok }) => [provider, ref, version, code, ok])
  assert.deepEqual(await told(envelope), [
    ["memory", idA, 1, "OK", true],
    ["memory", idB, 1, "OK", true],
  ])
  assert.deepEqual(await told(await planted(a, envelope)), [
    ["memory", idA, 1, "COMMITMENT", false],
    ["memory", idB, 1, "OK", true],
  ])
  const damaged = replaced(envelope, (keys) =>
    keys.map((entry) => (entry.ref === idB ? { ...entry, wrapped: flipped(entry.wrapped, 400) } : entry)),
  )
  assert.deepEqual(await told(damaged), [
    ["memory", idA, 1, "OK", true],
    ["memory", idB, 1, "DECRYPTION_FAILED", false],
  ])
  const elsewhere = replaced(envelope, (keys) =>
    keys.map((entry) => (entry.ref === idB ? { ...entry, version: 5 } : entry)),
  )
  assert.deepEqual(await told(elsewhere), [
    ["memory", idA, 1, "OK", true],
    ["memory", idB, 5, "KEY_NOT_FOUND", false],
  ])
  await opensTo(two, damaged, Uint8Array.of(7))
  const cut = await told(envelope.with(-1, (envelope.at(-1) as number) ^ 1))
  assert.deepEqual(cut, [
    ["memory", idA, 1, "DECRYPTION_FAILED", false],
    ["memory", idB, 1, "DECRYPTION_FAILED", false],
  ])
})

test("verify() asks the KMS when the key is cached", async () => {
  const crypto = await program(await services())
  const envelope = await crypto.seal(Uint8Array.of(7), CONTEXT)
  await crypto.open(envelope, CONTEXT)
  await crypto.open(envelope, CONTEXT)
  assert.equal(crypto.stats().kms.decryptDEK, 1)
  await crypto.verify(envelope, CONTEXT)
  assert.equal(crypto.stats().kms.decryptDEK, 2)
})

// --- Re-wrapping ---

test("rewrap() keeps the body byte for byte when keys change, and what it gives opens", async () => {
  const [a, b] = [await services(), await services()]
  const old = await program(a)
  const now = await program(b, withRetiredKEK(a, "app"))
  const alone = await program(b)
  const plaintext = randomBytes(20_000)
  const before = await old.seal(plaintext, CONTEXT)
  const after = await now.rewrap(before, CONTEXT)
  assert.equal(hex(split(after).body), hex(split(before).body))
  assert.equal(hex(after.subarray(0, CORE)), hex(before.subarray(0, CORE)))
  assert.deepEqual(
    now.inspect(after).keys.map(({ keyID }) => keyID),
    [await b.getKeyID("app")],
  )
  await opensTo(alone, after, plaintext)
  assert.ok((await refusal(old.open(after, CONTEXT))) instanceof KeyNotAllowed)
})

test("rewrap() wraps under the present version when the key was rotated", async () => {
  const crypto = await program(await services())
  const before = await crypto.seal(Uint8Array.of(7), CONTEXT)
  await crypto.rotateKEK()
  await opensTo(crypto, before, Uint8Array.of(7))
  const after = await crypto.rewrap(before, CONTEXT)
  assert.deepEqual(
    [before, after].map((each) => crypto.inspect(each).keys[0]?.version),
    [1, 2],
  )
  assert.equal(hex(split(after).body), hex(split(before).body))
  await opensTo(crypto, after, Uint8Array.of(7))
})

test("rewrap() keeps an entry as it is when its key is not this program's", async () => {
  const [a, foreign] = [await services(), await services()]
  const both = await program(a, withAdditionalKEK(foreign, "app"))
  const mine = await program(a)
  const theirs = await program(foreign)
  const before = await both.seal(Uint8Array.of(7), CONTEXT)
  const after = await mine.rewrap(before, CONTEXT)
  const entry = async (envelope: Uint8Array, kms: KeyManagementService): Promise<string> => {
    const keyID = await kms.getKeyID("app")
    return hex(parseHeader(envelope).keys.find(({ ref }) => ref === keyID)?.wrapped as Uint8Array)
  }
  assert.equal(parseHeader(after).keys.length, 2)
  assert.equal(await entry(after, foreign), await entry(before, foreign))
  assert.notEqual(await entry(after, a), await entry(before, a))
  for (const crypto of [both, mine, theirs]) await opensTo(crypto, after, Uint8Array.of(7))
})

test("rewrap() refuses an envelope when the context, the key or the body is another's", async () => {
  const a = await services()
  const crypto = await program(a)
  const [envelope, other] = [
    await crypto.seal(Uint8Array.of(7), CONTEXT),
    await crypto.seal(Uint8Array.of(8), { tenant: "other" }),
  ]
  await opensTo(crypto, await crypto.rewrap(envelope, CONTEXT), Uint8Array.of(7))
  const spliced = concat(split(envelope).header, split(other).body)
  for (const call of [
    () => crypto.rewrap(envelope, { tenant: "acme" }),
    async () => crypto.rewrap(await planted(a, envelope), CONTEXT),
    () => crypto.rewrap(spliced, CONTEXT),
  ]) {
    assert.ok((await refusal(call())) instanceof DecryptionFailed)
  }
})

// --- A key that is kept elsewhere ---

test("open() opens an envelope without keys when it gets its data key, and no other", async () => {
  const kms = await services()
  const crypto = await program(kms)
  const envelope = await crypto.seal(Uint8Array.of(7), CONTEXT)
  const { dekID, keys } = parseHeader(envelope)
  const [entry] = keys as [KeyEntry]
  const wrapped = { ciphertext: entry.wrapped, keyID: entry.ref, version: entry.version, dekID: hex(dekID) }
  const dek = await crypto.decryptDEK(wrapped)
  const detached = replaced(envelope, () => [])
  assert.equal(detached.length, CORE + 72 + 1)
  const calls = crypto.stats().kms.decryptDEK
  assert.deepEqual(await crypto.open(detached, CONTEXT, { dek, dekID: hex(dekID) }), Uint8Array.of(7))
  assert.ok((await refusal(crypto.open(detached, CONTEXT))) instanceof KeyNotAllowed)
  assert.ok(
    (await refusal(crypto.open(detached, CONTEXT, { dek, dekID: hex(randomBytes(16)) }))) instanceof KeyNotAllowed,
  )
  assert.ok(
    (await refusal(crypto.open(detached, CONTEXT, { dek: randomBytes(32), dekID: hex(dekID) }))) instanceof
      DecryptionFailed,
  )
  await assert.rejects(crypto.open(detached, CONTEXT, { dek: new Uint8Array(31), dekID: hex(dekID) }), RangeError)
  assert.equal(crypto.stats().kms.decryptDEK, calls)
})

// --- An entry that contradicts itself ---

// A service whose ciphertexts name the version that wrapped them, as Vault's do.
async function likeVault(): Promise<KeyManagementService> {
  const kms = await services()
  const prefix = (version: number): Uint8Array => new TextEncoder().encode(`vault:v${version}:`)
  return {
    ...kms,
    provider: "vault-transit",
    async encryptDEK(...call) {
      const wrapped = await kms.encryptDEK(...call)
      return { ...wrapped, ciphertext: concat(prefix(wrapped.version), wrapped.ciphertext) }
    },
    decryptDEK: (wrapped, ...call) =>
      kms.decryptDEK({ ...wrapped, ciphertext: wrapped.ciphertext.subarray(prefix(wrapped.version).length) }, ...call),
  }
}

test("open(), verify() and rewrap() call no KMS when an entry and its ciphertext name two versions", async () => {
  const crypto = await program(await likeVault(), withDEKCache(false))
  const envelope = await crypto.seal(Uint8Array.of(7), CONTEXT)
  await opensTo(crypto, await crypto.rewrap(envelope, CONTEXT), Uint8Array.of(7))
  assert.deepEqual(
    (await crypto.verify(envelope, CONTEXT)).map(({ ok }) => ok),
    [true],
  )
  const calls = crypto.stats().kms.decryptDEK
  for (const version of [0, 2, 12]) {
    const changed = replaced(envelope, (keys) => keys.map((entry) => ({ ...entry, version })))
    assert.ok((await refusal(crypto.open(changed, CONTEXT))) instanceof DecryptionFailed)
    assert.ok((await refusal(crypto.rewrap(changed, CONTEXT))) instanceof DecryptionFailed)
    assert.deepEqual(
      (await crypto.verify(changed, CONTEXT)).map(({ code, ok }) => [code, ok]),
      [["DECRYPTION_FAILED", false]],
    )
  }
  assert.equal(crypto.stats().kms.decryptDEK, calls)
})

test("values of every size around whole chunks, and large ones, are what was given, and no bit of them can be changed", async () => {
  const crypto = await program(await services())
  for (const size of [16_383, 16_384, 32_767, 32_768, 32_769, 49_152, 65_536, 1_048_581]) {
    const plaintext = randomBytes(size)
    const given = Uint8Array.from(plaintext)
    const sealing = crypto.seal(given, CONTEXT)
    given.fill(0)
    const envelope = await sealing
    assert.equal(envelope.length, await crypto.sealedSize(size))
    const read = Uint8Array.from(envelope)
    const opening = crypto.open(read, CONTEXT)
    read.fill(0)
    assert.deepEqual(await opening, plaintext)
    await assert.rejects(crypto.open(envelope, { ...CONTEXT, tenant: "other" }), DecryptionFailed)
    const { bodyBytes } = crypto.inspect(envelope)
    for (const at of [envelope.length - 1, envelope.length - bodyBytes + 56, envelope.length - Math.floor(size / 2)])
      await assert.rejects(crypto.open(flipped(envelope, 8 * at), CONTEXT), DecryptionFailed)
  }
  await crypto.close()
})
