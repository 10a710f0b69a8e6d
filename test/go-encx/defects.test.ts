/** Faults of the Go library that end here, by their numbers in docs/from-go.md; others of them stand beside what they are about. */
import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { describe, it } from "node:test"
import { hex } from "../../core/bytes.ts"
import type { Context, KeyManagementService } from "../../core/contracts.ts"
import { goString, pointer } from "../../core/go-encx/mod.ts"
import {
  AccessDenied,
  type Crypto,
  DecryptionFailed,
  InvalidConfiguration,
  InvalidFormat,
  integer,
  isAuthError,
  isRetryableError,
  KeyNotFound,
  KMSUnavailable,
  lowercase,
  newCrypto,
  type Option,
  pepperID,
  plain,
  record,
  text,
  trim,
  UnknownPepper,
  withArgon2,
  withBootstrap,
  withDEKCache,
  withIndexRoot,
  withKEKAlias,
  withKMSService,
  withPepper,
} from "../../mod.ts"
import { awsKMS } from "../../providers/aws-kms.ts"
import { memory } from "../../providers/memory.ts"
import { newTestCrypto } from "../../testing.ts"
import { lent, startAWS } from "../_aws.ts"
import { blocksOf } from "../_markdown.ts"
import { needsServer } from "../servers/index.ts"

const root = resolve(import.meta.dirname, "../..")
const utf8 = (value: string): Uint8Array => new TextEncoder().encode(value)
const bytes = (fill: number, length = 32): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + fill) % 256)
const cheap = withArgon2({ memoryKiB: 19_456, iterations: 2, parallelism: 1 })

async function withCrypto<Result>(use: (crypto: Crypto) => Promise<Result>, ...options: Option[]): Promise<Result> {
  const crypto = await newCrypto(
    withKMSService("memory"),
    withKEKAlias("app"),
    withBootstrap({ createKEK: true }),
    withPepper(bytes(1)),
    withIndexRoot(bytes(2)),
    cheap,
    ...options,
  )
  try {
    return await use(crypto)
  } finally {
    await crypto.close()
  }
}

const people = record("people", { row: "id" }, { id: plain<number>(), first: text().encrypt(), last: text().encrypt() })

describe("what is sealed", () => {
  it("defect 1: a value opens in no other column, row or table than its own", async () => {
    await withCrypto(async (crypto) => {
      const ada = await crypto.sealRecord(people, { id: 1, first: "Ada", last: "Lovelace" })
      const bob = await crypto.sealRecord(people, { id: 2, first: "Bob", last: "Noyce" })
      const { first_encrypted, last_encrypted, dek_encrypted } = bob
      const others = record("others", { row: "id" }, people.fields)
      for (const swapped of [
        () =>
          crypto.openRecord(people, {
            ...ada,
            first_encrypted: ada.last_encrypted,
            last_encrypted: ada.first_encrypted,
          }),
        () => crypto.openRecord(people, { ...ada, first_encrypted, last_encrypted, dek_encrypted }),
        () => crypto.openRecord(people, { ...ada, first_encrypted }),
        () => crypto.openRecord(others, ada),
      ])
        await assert.rejects(swapped, DecryptionFailed)
      assert.deepEqual(await crypto.openRecord(people, ada), { id: 1, first: "Ada", last: "Lovelace" })
    })
    await withCrypto(async (crypto) => {
      const dek = crypto.generateDEK()
      const sealed = crypto.encryptData(utf8("value"), dek, { additionalData: utf8("people.first.1") })
      assert.throws(() => crypto.decryptData(sealed, dek, { additionalData: utf8("people.last.1") }), DecryptionFailed)
      assert.deepEqual(crypto.decryptData(sealed, dek, { additionalData: utf8("people.first.1") }), utf8("value"))
    })
  })

  it("defect 14: a value is read as the type that it was written as, and as no other", async () => {
    await withCrypto(async (crypto) => {
      const asNumber = record("people", { row: "id" }, { id: plain<number>(), age: integer().encrypt() })
      const asText = record("people", { row: "id" }, { id: plain<number>(), age: text().encrypt() })
      const row = await crypto.sealRecord(asNumber, { id: 1, age: 0x4142434445 })
      await assert.rejects(() => crypto.openRecord(asText, { ...row }), InvalidFormat)
      assert.deepEqual(await crypto.openRecord(asNumber, row), { id: 1, age: 0x4142434445 })
    })
  })

  it("defect 15: each message has a key of its own, for one purpose, and is committed to it", async () => {
    await withCrypto(async (crypto) => {
      const row = await crypto.sealRecord(people, { id: 1, first: "Ada", last: "Ada" })
      // The header of the row before the value of a column: an envelope by its form, under the same data key, for another purpose.
      const envelope = new Uint8Array([...row.dek_encrypted, ...row.first_encrypted.subarray(2)])
      await assert.rejects(() => crypto.open(envelope), DecryptionFailed)
      const sealed = await crypto.seal(utf8("value"))
      const commitment = sealed.length - "value".length - 16 - 1
      const changed = sealed.with(commitment, (sealed[commitment] as number) ^ 1)
      await assert.rejects(
        () => crypto.open(changed),
        (error: unknown) => error instanceof DecryptionFailed && error.tries.every(({ code }) => code === "COMMITMENT"),
      )
      assert.deepEqual(await crypto.open(sealed), utf8("value"))
    })
  })
})

// --- Data keys ---

interface Watched {
  readonly kms: KeyManagementService
  readonly contexts: Context[]
  /** Every data key that went in or out, as the library holds it, and what it was. */
  readonly deks: { readonly held: Uint8Array; readonly was: string }[]
}

/** The service in memory, with an eye on what it is given and what becomes of what it gives. */
function watched(cut = 32): Watched {
  const inner = memory()
  const contexts: Context[] = []
  const deks: { held: Uint8Array; was: string }[] = []
  const note = (held: Uint8Array): Uint8Array => {
    deks.push({ held, was: hex(held) })
    return held
  }
  const kms: KeyManagementService = {
    provider: inner.provider,
    getKeyID: (alias, options) => inner.getKeyID(alias, options),
    describeKey: (keyID, options) => inner.describeKey(keyID, options),
    createKey: async (alias, options) => (await inner.createKey?.(alias, options)) ?? "",
    encryptDEK: async (keyID, dek, context, options) => {
      contexts.push(context)
      return await inner.encryptDEK(keyID, note(dek), context, options)
    },
    decryptDEK: async (wrapped, context, options) => {
      contexts.push(context)
      return note((await inner.decryptDEK(wrapped, context, options)).slice(0, cut))
    },
  }
  return { kms, contexts, deks }
}

describe("data keys", () => {
  it("defect 2: a wrap opens for its own data key and purpose alone, and the KMS is told both", async () => {
    const { kms, contexts } = watched()
    await withCrypto(async (crypto) => {
      const wrapped = await crypto.encryptDEK(bytes(3))
      await assert.rejects(() => crypto.decryptDEK({ ...wrapped, dekID: "00".repeat(16) }), DecryptionFailed)
      assert.deepEqual(await crypto.decryptDEK(wrapped), bytes(3))
      assert.deepEqual(contexts.at(-1), { purpose: "encx.v2.dek", dek_id: wrapped.dekID })
      assert.deepEqual(contexts[0], contexts.at(-1))
    }, withKMSService(kms))
  })

  it("defect 11: data keys are overwritten once they were used, and no method gives a pepper away", async () => {
    const { kms, deks } = watched()
    await withCrypto(
      async (crypto) => {
        const row = await crypto.sealRecord(people, { id: 1, first: "Ada", last: "Lovelace" })
        await crypto.openRecord(people, row)
        await crypto.rewrapRecord(people, row)
        assert.ok(deks.length >= 4)
        for (const { held, was } of deks) assert.deepEqual(held, new Uint8Array(32), was)
        for (const { was } of deks) assert.notEqual(was, "00".repeat(32))
        const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(crypto))
        assert.deepEqual(
          methods.filter((name) => /pepper/i.test(name)),
          [],
        )
        assert.deepEqual(Object.keys(crypto), [])
      },
      withKMSService(kms),
      withDEKCache(false),
    )
  })

  it("defect 12: a data key has 32 bytes, whoever made it", async () => {
    await withCrypto(async (crypto) => {
      for (const length of [16, 24, 31, 33]) {
        assert.throws(() => crypto.encryptData(utf8("value"), bytes(4, length)), RangeError)
        assert.throws(() => crypto.decryptData(bytes(4, 64), bytes(4, length)), RangeError)
        await assert.rejects(() => crypto.encryptDEK(bytes(4, length)), RangeError)
      }
    })
    const { kms } = watched(16)
    await withCrypto(async (crypto) => {
      const envelope = await crypto.seal(utf8("value"))
      crypto.invalidate()
      await assert.rejects(() => crypto.open(envelope), KMSUnavailable)
    }, withKMSService(kms))
  })
})

// --- Hashes ---

const sha256 = (value: Uint8Array): string => createHash("sha256").update(value).digest("hex")

describe("hashes", () => {
  it("defect 5: an index tests no guess without the root, and cannot be compared across columns, tenants and tables", async () => {
    const of = (table: string) =>
      record(
        table,
        { row: "id", tenant: "tenant" },
        {
          id: plain<number>(),
          tenant: plain<string>(),
          email: text()
            .encrypt()
            .index({ normalize: [trim, lowercase] }),
          other: text().encrypt().index(),
        },
      )
    const table = of("people")
    const indexes = async (...options: Option[]): Promise<string[]> =>
      await withCrypto(
        async (crypto) => {
          const acme = crypto.lookup(table, "email", " Ada@Example.org", { tenant: "acme" })
          const row = await crypto.sealRecord(table, {
            id: 1,
            tenant: "acme",
            email: "ada@example.org",
            other: "ada@example.org",
          })
          assert.deepEqual(acme.email_index, row.email_index)
          return [
            acme.email_index,
            row.other_index,
            crypto.lookup(table, "email", "ada@example.org", { tenant: "zeta" }).email_index,
            crypto.lookup(of("others"), "email", "ada@example.org", { tenant: "acme" }).email_index,
          ].map((index) => hex(index as Uint8Array))
        },
        ...options,
      )
    const all = [...(await indexes()), ...(await indexes(withIndexRoot(bytes(5))))]
    assert.equal(new Set(all).size, 8)
    for (const index of all) assert.ok(!index.includes(sha256(utf8("ada@example.org"))))
  })

  it("defect 6: hashes are compared in a time that tells nothing, and hex is hex", async () => {
    await withCrypto(async (crypto) => {
      const hash = crypto.hashBasic("ada@example.org")
      assert.equal(hash, sha256(new Uint8Array([15, 0, 0, 0, ...utf8("ada@example.org")])))
      assert.equal(crypto.compareBasicHashAndValue("ada@example.org", hash), true)
      assert.equal(crypto.compareBasicHashAndValue("ada@example.org", hash.toUpperCase()), true)
      assert.equal(crypto.compareBasicHashAndValue("eve@example.org", hash), false)
    })
    // What cannot be measured without noise: which comparison it is.
    assert.match(
      readFileSync(join(root, "core/bytes.ts"), "utf8"),
      /export function equal\([\s\S]{0,300}timingSafeEqual/,
    )
    assert.match(readFileSync(join(root, "core/go-encx/basic-hash.ts"), "utf8"), /\bequal\(/)
  })

  it("defect 9: a hash names its pepper, several peppers verify, and one that is missing is never a wrong password", async () => {
    const [old, current] = [bytes(6), bytes(7)]
    const before = await withCrypto((crypto) => crypto.hashSecure("correct horse"), withPepper(old))
    assert.ok(before.includes(`keyid=${Buffer.from(pepperID(old)).toString("base64").replace(/=+$/, "")}`), before)
    await withCrypto(
      async (crypto) => {
        const after = await crypto.hashSecure("correct horse")
        for (const hash of [before, after])
          assert.equal(await crypto.compareSecureHashAndValue("correct horse", hash), true)
        assert.deepEqual([crypto.needsRehash(before), crypto.needsRehash(after)], [true, false])
        // The value and the pepper are not strung together: no other split of them is the same hash.
        const glued = new Uint8Array([...utf8("correct horse"), ...current])
        assert.equal(await crypto.compareSecureHashAndValue(glued, after), false)
      },
      withPepper([current, old]),
    )
    await withCrypto(async (crypto) => {
      await assert.rejects(() => crypto.compareSecureHashAndValue("correct horse", before), UnknownPepper)
    }, withPepper(current))
    await assert.rejects(() => withCrypto(async () => {}, withPepper(new Uint8Array(32))), InvalidConfiguration)
  })

  it("defect 10: what was hashed verifies, as text and as bytes, and needsRehash() says when to renew", async () => {
    const value = "correct horse"
    const stored = await withCrypto(async (crypto) => {
      for (const hashed of [value, utf8(value)]) {
        const hash = await crypto.hashSecure(hashed)
        for (const given of [value, utf8(value)]) {
          assert.equal(await crypto.compareSecureHashAndValue(given, hash), true)
        }
        assert.equal(await crypto.compareSecureHashAndValue("wrong horse", hash), false)
        assert.equal(crypto.needsRehash(hash), false)
      }
      return await crypto.hashSecure(value)
    })
    await withCrypto(
      async (crypto) => {
        assert.equal(crypto.needsRehash(stored), true)
        assert.equal(await crypto.compareSecureHashAndValue(value, stored), true)
      },
      withArgon2({ memoryKiB: 19_456, iterations: 3, parallelism: 1 }),
    )
  })
})

// --- AWS ---

describe("AWS", needsServer("moto"), () => {
  it("defect 23: an alias, a key id and both ARNs name a key, and a refusal is not called an outage", async () => {
    const aws = await startAWS()
    try {
      await lent(aws.kms(), async (kms) => {
        const arn = await kms.createKey("alias/app")
        const [, id = ""] = arn.split("key/")
        for (const name of ["alias/app", id, arn, arn.replace(`key/${id}`, "alias/app")])
          assert.equal(await kms.getKeyID(name), arn, name)
        await assert.rejects(
          () => kms.getKeyID("alias/absent"),
          (error: unknown) => error instanceof KeyNotFound && !isRetryableError(error),
        )
      })
      aws.proxy.fault = { kind: "error", name: "AccessDeniedException", operation: "DescribeKey" }
      await lent(awsKMS({ ...aws.at(), endpoint: aws.proxy.url }), async (kms) => {
        await assert.rejects(
          () => kms.getKeyID("alias/app"),
          (error: unknown) => error instanceof AccessDenied && !isRetryableError(error) && isAuthError(error),
        )
      })
      assert.equal(aws.proxy.count("CreateKey"), 0)
    } finally {
      await aws.close()
    }
  })
})

describe("the guide of AWS", () => {
  it("defect 27: its policies name what rotating a key and looking for a pepper ask for", () => {
    const policies = blocksOf(readFileSync(join(root, "docs/aws.md"), "utf8")).filter(
      ({ language }) => language === "json",
    )
    const granted = (action: string): string[] =>
      policies.filter(({ code }) => code.includes(`"${action}"`)).map(({ heading }) => heading)
    // That they are enough, and no more than enough, is what test/aws-docs.test.ts compares with the requests of each program.
    for (const action of [
      "kms:CreateKey",
      "kms:RotateKeyOnDemand",
      "secretsmanager:CreateSecret",
      "secretsmanager:DescribeSecret",
    ])
      assert.ok(granted(action).length > 0, `no policy grants ${action}`)
  })
})

// --- What no reader can mend ---

describe("the Go library's formats", () => {
  it("stay as weak as docs/from-go.md says: what was moved opens, and equal values show", async () => {
    const fields = {
      ID: plain<number>(),
      First: goString().encrypt(),
      Last: pointer(goString()).encrypt().hashBasic(),
      Password: goString().hashSecure(),
    }
    const [users, others] = [
      record("users", { layout: "go-encx" }, fields),
      record("others", { layout: "go-encx" }, fields),
    ]
    const crypto = await newTestCrypto()
    try {
      const ada = await crypto.sealRecord(users, { ID: 1, First: "Ada", Last: "Byron", Password: "correct horse" })
      const bob = await crypto.sealRecord(users, { ID: 2, First: "Bob", Last: "Byron", Password: "battery staple" })

      const { first_encrypted, dek_encrypted, key_version, password_hash_secure } = bob
      const moved = await crypto.openRecord(others, { ...bob, id: 1, first_encrypted, dek_encrypted, key_version })
      assert.deepEqual(moved, { ID: 1, First: "Bob", Last: "Byron" })
      await assert.rejects(() => crypto.openRecord(users, { ...ada, last_encrypted: null }), InvalidFormat)
      assert.deepEqual(await crypto.openRecord(users, { ...ada, last_encrypted: null, last_hash: "" as never }), {
        ID: 1,
        First: "Ada",
        Last: null,
      })
      assert.equal(ada.last_hash, bob.last_hash)
      const stolen = { ...ada, password_hash_secure }
      assert.equal(await crypto.compareRecordHash(users, stolen, "Password", "battery staple"), true)

      // One column under another row's key is noticed, and so is one of a type that Go never leaves out.
      await assert.rejects(() => crypto.openRecord(users, { ...ada, first_encrypted }), DecryptionFailed)
      await assert.rejects(() => crypto.openRecord(users, { ...ada, first_encrypted: null as never }), InvalidFormat)
    } finally {
      await crypto.close()
    }
  })

  it("are told from rows of this library's own, by either reader", async () => {
    const go = record("users", { layout: "go-encx" }, { ID: plain<number>(), Name: goString().encrypt() })
    const own = record("users", { row: "id" }, { id: plain<number>(), name: text().encrypt() })
    const crypto = await newTestCrypto()
    try {
      const ours = await crypto.sealRecord(own, { id: 1, name: "Ada" })
      const theirs = await crypto.sealRecord(go, { ID: 1, Name: "Ada" })
      await assert.rejects(() => crypto.openRecord(go, { ...theirs, ...ours }), { code: "INVALID_FORMAT" })
      await assert.rejects(() => crypto.openRecord(own, { ...ours, dek_encrypted: theirs.dek_encrypted }), {
        code: "INVALID_FORMAT",
      })
    } finally {
      await crypto.close()
    }
  })
})
