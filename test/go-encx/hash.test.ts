import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { describe, it } from "node:test"
import fc from "fast-check"
import { base64, concat, randomBytes } from "../../core/bytes.ts"
import { Busy, InvalidFormat, InvalidInput, UninitializedPepper } from "../../core/errors.ts"
import { compareBasic, hashBasic } from "../../core/go-encx/basic-hash.ts"
import { formatGoHash, parseGoHash } from "../../core/go-encx/hash.ts"
import {
  goBytes,
  goInt64,
  goString,
  goStrings,
  parseMetadata,
  pointer,
  serializeValue,
  stringifyMetadata,
} from "../../core/go-encx/mod.ts"
import { PasswordHasher } from "../../core/hash/password.ts"
import { Peppers } from "../../core/hash/pepper.ts"
import { type Crypto, newCrypto, type Option, withArgon2, withKEKAlias, withKMSService, withPepper } from "../../mod.ts"
import { memory } from "../../providers/memory.ts"

const CHEAP = { memoryKiB: 7168, iterations: 5, parallelism: 1 }
const [A, B, C] = [randomBytes(32), randomBytes(32), randomBytes(32)]
const hasherOf = (peppers: readonly [Uint8Array, ...Uint8Array[]], options = {}): PasswordHasher =>
  new PasswordHasher(new Peppers(peppers), { ...CHEAP, ...options })
const VALUE = serializeValue(goString(), "correct horse")
const unpadded = (length: number): string => base64(new Uint8Array(length).fill(0xa5)).replace(/=+$/, "")

async function withCrypto<Result>(use: (crypto: Crypto) => Promise<Result>, ...options: Option[]): Promise<Result> {
  const kms = memory()
  await kms.createKey("app")
  const crypto = await newCrypto(withKMSService(kms), withKEKAlias("app"), withArgon2(CHEAP), ...options)
  try {
    return await use(crypto)
  } finally {
    await crypto.close()
  }
}

// --- hash_basic ---

describe("Crypto.hashBasic()", () => {
  it("is the SHA-256 of what is serialised, of whatever type", async () => {
    await withCrypto(async (crypto) => {
      const sha256 = (serialised: Uint8Array): string => createHash("sha256").update(serialised).digest("hex")
      assert.equal(crypto.hashBasic("user@example.com"), sha256(serializeValue(goString(), "user@example.com")))
      assert.equal(crypto.hashBasic(Uint8Array.of(1, 2)), sha256(serializeValue(goBytes(), Uint8Array.of(1, 2))))
      assert.equal(crypto.hashBasic(5n, goInt64()), sha256(serializeValue(goInt64(), 5n)))
      assert.equal(crypto.hashBasic(["a"], goStrings()), sha256(serializeValue(goStrings(), ["a"])))
      assert.notEqual(crypto.hashBasic("a", pointer(goString())), crypto.hashBasic("a"))
      for (const wrong of [5, null, undefined, {}]) assert.throws(() => crypto.hashBasic(wrong as never), InvalidInput)
    })
  })
})

describe("Crypto.compareBasicHashAndValue()", () => {
  it("takes hex of either case, and the empty string for the hash of no value", async () => {
    await withCrypto(async (crypto) => {
      const hash = crypto.hashBasic("ada")
      for (const stored of [hash, hash.toUpperCase(), hash.replace(/[a-f]/, (letter) => letter.toUpperCase())])
        assert.equal(crypto.compareBasicHashAndValue("ada", stored), true)
      assert.equal(crypto.compareBasicHashAndValue("Ada", hash), false)
      assert.equal(crypto.compareBasicHashAndValue("ada", ""), false)
      assert.equal(crypto.compareBasicHashAndValue(7n, crypto.hashBasic(7n, goInt64()), goInt64()), true)
      assert.equal(crypto.compareBasicHashAndValue("ada", crypto.hashBasic("ada", pointer(goString()))), false)
    })
  })

  it("refuses what is no hash, and says nothing of it", () => {
    const hash = hashBasic(VALUE)
    for (const stored of [hash.slice(1), `${hash}0`, `g${hash.slice(1)}`, ` ${hash.slice(1)}`, `${hash}\n`, null, 5]) {
      assert.throws(
        () => compareBasic(VALUE, stored as string),
        (error) => error instanceof InvalidFormat && !error.message.includes(hash.slice(1, 9)),
      )
    }
  })
})

// --- hash_secure: its form ---

describe("parseGoHash()", () => {
  const form = (m: unknown, t: unknown, p: unknown, salt = unpadded(16), hash = unpadded(32)): string =>
    `$argon2id$v=19$m=${m},t=${t},p=${p}$${salt}$${hash}`
  const refused = (stored: unknown): void =>
    assert.throws(() => parseGoHash(stored as string), InvalidFormat, String(stored))

  it("reads what formatGoHash() writes, within its caps", () => {
    for (const [m, t, p, salt, hash] of [
      [8, 1, 1, 8, 16],
      [65_536, 3, 4, 16, 32],
      [262_144, 4, 255, 64, 128],
      [10_485, 100, 255, 63, 127],
      [2040, 100, 255, 9, 17],
    ] as const) {
      const parts = { memoryKiB: m, iterations: t, parallelism: p, salt: randomBytes(salt), hash: randomBytes(hash) }
      assert.deepEqual(parseGoHash(formatGoHash(parts)), parts)
    }
  })

  it("defect 7: refuses bombs: memory, passes, lanes, and their product", () => {
    for (const [m, t, p] of [
      [262_145, 1, 1],
      [4_294_967_295, 1, 1],
      [9_999_999_999, 1, 1],
      ["99999999999999999999", 1, 1],
      [65_536, 17, 4],
      [262_144, 5, 4],
      [10_486, 100, 1],
      [8, 101, 1],
      [8, 4_294_967_295, 1],
      [65_536, 3, 256],
      [65_536, 0, 1],
      [65_536, 3, 0],
      [0, 3, 1],
      [7, 1, 1],
      [2039, 1, 255],
    ])
      refused(form(m, t, p))
  })

  it("refuses salts and hashes of another length, and long strings before they are decoded", () => {
    for (const length of [0, 7, 65, 66, 1000]) refused(form(65_536, 3, 4, unpadded(length)))
    for (const length of [0, 15, 129, 130, 1000]) refused(form(65_536, 3, 4, unpadded(16), unpadded(length)))
    refused(form(65_536, 3, 4, unpadded(16), "A".repeat(2 ** 20)))
  })

  it("refuses every other spelling and order", () => {
    const good = form(65_536, 3, 4)
    parseGoHash(good)
    for (const stored of [
      form("065536", 3, 4),
      form("+65536", 3, 4),
      form("65536.0", 3, 4),
      form("0x10000", 3, 4),
      form("65_536", 3, 4),
      form(" 65536", 3, 4),
      form(65_536, "3 ", 4),
      form(65_536, 3, ""),
      form("-65536", 3, 4),
      good.replace("m=65536,t=3", "t=3,m=65536"),
      good.replace("m=65536", "M=65536"),
      good.replace("m=65536,", "m=65536,m=65536,"),
      good.replace("p=4", "p=4,keyid=AAAAAA"),
      good.replace(",p=4", ""),
      good.replace("v=19", "v=16"),
      good.replace("v=19", "v=019"),
      good.replace("$v=19", ""),
      good.replace("argon2id", "argon2i"),
      good.replace("$argon2id", "$Argon2id"),
      good.replace("$argon2id", "argon2id"),
      good.replace("$argon2id", "$encx2-argon2id"),
      good.replace(unpadded(16), `${unpadded(16)}==`),
      good.replace(unpadded(16), unpadded(16).replace("l", "-")),
      good.replace(/.$/, "V"),
      `${good}$`,
      `$${good}`,
      `${good} `,
      `${good}\n`,
      "",
      "$argon2id$",
      null,
      undefined,
      5,
    ])
      refused(stored)
  })

  it("reads nothing that formatGoHash() would not write", () => {
    const good = form(65_536, 3, 4)
    const characters = "$=,0123456789mtpvid AZaz+/-_\n"
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.constantFrom(...characters), fc.nat(2), (at, character, kind) => {
        const [before, after] = [good.slice(0, at), good.slice(at + 1)]
        const changed = [before + after, before + character + after, before + character + good.slice(at)][
          kind
        ] as string
        try {
          assert.equal(formatGoHash(parseGoHash(changed)), changed)
        } catch (error) {
          assert.ok(error instanceof InvalidFormat, `${changed}: ${error}`)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

// --- hash_secure: making and verifying ---

describe("PasswordHasher.verifyGo()", () => {
  it("tries every pepper, the current one first", async () => {
    const stored = await hasherOf([B]).hashGo(VALUE)
    assert.equal(await hasherOf([A, B, C]).verifyGo(VALUE, stored), true)
    assert.equal(await hasherOf([B, A]).verifyGo(VALUE, stored), true)
    assert.equal(await hasherOf([A, C]).verifyGo(VALUE, stored), false)
    // One at a time: with no queue, two at once would be Busy.
    assert.equal(await hasherOf([A, C, B], { concurrency: 1, queue: 0 }).verifyGo(VALUE, stored), true)
  })

  it("defect 7: refuses a bomb before it looks for a pepper, and so before any work", async () => {
    const none = new PasswordHasher(undefined, CHEAP)
    const bomb = `$argon2id$v=19$m=4294967295,t=4294967295,p=255$${unpadded(16)}$${unpadded(32)}`
    await assert.rejects(() => none.verifyGo(VALUE, bomb), InvalidFormat)
    await assert.rejects(
      () => none.verifyGo(VALUE, bomb.replace("m=4294967295,t=4294967295", "m=65536,t=3")),
      UninitializedPepper,
    )
    await assert.rejects(() => none.hashGo(VALUE), UninitializedPepper)
  })

  it("waits in the same queue as this library's own hashes", async () => {
    const hasher = hasherOf([A], { concurrency: 1, queue: 0 })
    const stored = await hasher.hashGo(VALUE)
    const running = hasher.hash("correct horse", {})
    await assert.rejects(() => hasher.verifyGo(VALUE, stored), Busy)
    await assert.rejects(() => hasher.hashGo(VALUE), Busy)
    await running
    assert.equal(await hasher.verifyGo(VALUE, stored), true)
  })

  it("hands on the signal's reason", async () => {
    const reason = new Error("enough")
    const signal = AbortSignal.abort(reason)
    const stored = await hasherOf([A]).hashGo(VALUE)
    for (const call of [
      () => hasherOf([A]).verifyGo(VALUE, stored, { signal }),
      () => hasherOf([A]).hashGo(VALUE, { signal }),
    ])
      await assert.rejects(call, (error) => error === reason)
  })

  it("defect 8: leaves the caller's bytes as they are, and those around them", async () => {
    const around = concat(Uint8Array.of(1), VALUE, new Uint8Array(64).fill(9))
    const view = around.subarray(1, 1 + VALUE.length)
    const before = around.slice()
    const stored = await hasherOf([A]).hashGo(view)
    assert.equal(await hasherOf([A]).verifyGo(view, stored), true)
    assert.deepEqual(around, before)
    // What the caller does with them afterwards is nobody's business.
    const wiped = VALUE.slice()
    const hashing = hasherOf([A]).hashGo(wiped)
    wiped.fill(0)
    assert.equal(await hasherOf([A]).verifyGo(VALUE, await hashing), true)
  })

  it("refuses values of more than 1 MiB", async () => {
    await assert.rejects(() => hasherOf([A]).hashGo(new Uint8Array(2 ** 20 + 1)), InvalidInput)
    const large = new Uint8Array(2 ** 20)
    assert.equal(await hasherOf([A]).verifyGo(large, await hasherOf([A]).hashGo(large)), true)
  })
})

describe("Crypto.hashSecure(), in the Go library's form", () => {
  it("writes what verifies, of text, bytes and any Go type", async () => {
    await withCrypto(async (crypto) => {
      const format = "go-encx"
      const stored = await crypto.hashSecure("pässwörd", { format })
      assert.match(stored, /^\$argon2id\$v=19\$m=7168,t=5,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
      const same = new TextEncoder().encode("pässwörd")
      for (const value of ["pässwörd", same]) assert.equal(await crypto.compareSecureHashAndValue(value, stored), true)
      assert.equal(await crypto.compareSecureHashAndValue("pässwörd", stored, { type: goString() }), true)
      assert.equal(await crypto.compareSecureHashAndValue("passwort", stored), false)
      assert.equal(await crypto.compareSecureHashAndValue("pässwörd", stored, { type: pointer(goString()) }), false)
      const number = await crypto.hashSecure(5n, { format, type: goInt64() })
      assert.equal(await crypto.compareSecureHashAndValue(5n, number, { type: goInt64() }), true)
      assert.equal(await crypto.compareSecureHashAndValue(6n, number, { type: goInt64() }), false)
      assert.notEqual(await crypto.hashSecure("pässwörd", { format }), stored)
    }, withPepper(A))
  })

  it("says that it is to be hashed anew, in the form that names its pepper and its account", async () => {
    await withCrypto(
      async (crypto) => {
        const stored = await crypto.hashSecure("correct horse", { format: "go-encx" })
        assert.equal(crypto.needsRehash(stored), true)
        assert.throws(() => crypto.needsRehash(`${stored}$`), InvalidFormat)
        const context = { user: "7" }
        // A program that asks with the account's context moves its users one by one.
        assert.equal(await crypto.compareSecureHashAndValue("correct horse", stored, { context }), true)
        const renewed = await crypto.hashSecure("correct horse", { context })
        assert.equal(crypto.needsRehash(renewed), false)
        assert.equal(await crypto.compareSecureHashAndValue("correct horse", renewed, { context }), true)
        assert.equal(await crypto.compareSecureHashAndValue("correct horse", renewed), false)
        // A program whose hashes have all been renewed takes no other for one of them.
        const pinned = { context, format: "encx2" } as const
        assert.equal(await crypto.compareSecureHashAndValue("correct horse", renewed, pinned), true)
        await assert.rejects(() => crypto.compareSecureHashAndValue("correct horse", stored, pinned), InvalidFormat)
        await assert.rejects(
          () => crypto.compareSecureHashAndValue("correct horse", renewed, { format: "go-encx" }),
          InvalidFormat,
        )
      },
      withPepper([A, B]),
    )
  })

  it("never takes one form for the other", async () => {
    await withCrypto(async (crypto) => {
      const [ours, theirs] = [await crypto.hashSecure("x"), await crypto.hashSecure("x", { format: "go-encx" })]
      const disguised = theirs.replace("$argon2id$", "$encx2-argon2id$")
      for (const stored of [disguised, ours.replace("$encx2-argon2id$", "$argon2id$")])
        await assert.rejects(() => crypto.compareSecureHashAndValue("x", stored), InvalidFormat)
    }, withPepper(A))
  })

  it("refuses a context, a type without the format, a format that is unknown, and a value of another type", async () => {
    await withCrypto(async (crypto) => {
      const calls: readonly (() => Promise<unknown>)[] = [
        () => crypto.hashSecure("x", { format: "go-encx", context: { user: "7" } } as never),
        () => crypto.hashSecure("x", { type: goString() } as never),
        () => crypto.hashSecure("x", { format: "go" } as never),
        () => crypto.hashSecure(5 as never, { format: "go-encx" }),
        () => crypto.hashSecure("x" as never, { format: "go-encx", type: goInt64() }),
      ]
      for (const call of calls) await assert.rejects(call, InvalidInput)
    }, withPepper(A))
    await withCrypto(async (crypto) => {
      await assert.rejects(() => crypto.hashSecure("x", { format: "go-encx" }), UninitializedPepper)
    })
  })
})

// --- Metadata ---

describe("parseMetadata()", () => {
  const METADATA = { pepper_version: 0, kek_alias: "app", encryption_time: 1_700_000_000, generator_version: "1.0.0" }
  const json = JSON.stringify(METADATA)

  it("reads text, its UTF-8, and what a database parsed", () => {
    const reordered = Object.fromEntries(Object.entries(METADATA).toReversed())
    for (const stored of [
      json,
      Buffer.from(json),
      ` ${json}\n`,
      METADATA,
      reordered,
      JSON.stringify(reordered, null, 2),
    ])
      assert.deepEqual(parseMetadata(stored), METADATA)
  })

  it("refuses everything else, and does not repeat it", () => {
    const others: unknown[] = [
      "",
      "null",
      "[]",
      "5ecret",
      `${json}5ecret`,
      json.slice(1),
      json.replace("{", '{"kek_alias":"5ecret",'),
      json.replace("{", '{"kek_\\u0061lias":"5ecret",'),
      json.replace("}", ',"5ecret":1}'),
      json.replace('"kek_alias":"app",', ""),
      json.replace('"app"', '""'),
      json.replace('"app"', "5"),
      json.replace('"1.0.0"', '""'),
      json.replace(":0,", ":-1,"),
      json.replace(":0,", ":0.5,"),
      json.replace(":0,", ':"0",'),
      json.replace("1700000000", "1e300"),
      json.replace("1700000000", '"1700000000"'),
      JSON.stringify({ ...METADATA, kek_alias: "5ecret".repeat(1000) }),
      Uint8Array.of(0xff),
      null,
      undefined,
      5,
      [METADATA],
      { ...METADATA, more: 1 },
      Object.create(METADATA),
    ]
    for (const stored of others) {
      assert.throws(
        () => parseMetadata(stored),
        (error) => error instanceof InvalidFormat && !error.message.includes("5ecret"),
        String(stored),
      )
    }
  })

  it("gives back what stringifyMetadata() wrote, of any text", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary", minLength: 1, maxLength: 100 }).filter((alias) => alias.isWellFormed()),
        fc.maxSafeInteger(),
        fc.maxSafeNat(),
        (kek_alias, encryption_time, pepper_version) => {
          const metadata = { pepper_version, kek_alias, encryption_time, generator_version: "1.0.0" }
          const written = stringifyMetadata(metadata)
          assert.deepEqual(parseMetadata(written), metadata)
          assert.ok(!/[<>&\u2028\u2029]/.test(written))
        },
      ),
    )
    const odd = stringifyMetadata({ ...METADATA, kek_alias: '\b\f\u007f\u2028\u2029<>&"\\/\0\u001f' })
    assert.ok(odd.includes('"\\b\\f\u007f\\u2028\\u2029\\u003c\\u003e\\u0026\\"\\\\/\\u0000\\u001f"'), odd)
    for (const wrong of [
      { kek_alias: "" },
      { kek_alias: "\ud800" },
      { encryption_time: 0.5 },
      { pepper_version: Number.NaN },
    ])
      assert.throws(() => stringifyMetadata({ ...METADATA, ...wrong }), InvalidInput)
  })
})
