import assert from "node:assert/strict"
import { createHmac, hkdfSync } from "node:crypto"
import { test } from "node:test"
import { ascii, concat, hex, lp, randomBytes, u16, utf8 } from "../../core/bytes.ts"
import { type BlindIndexKey, IndexRoot, widthProblem } from "../../core/hash/blind-index.ts"
import {
  type BlindIndexPlace,
  type Crypto,
  digits,
  InvalidInput,
  lowercase,
  newCrypto,
  nfc,
  nfkc,
  type Option,
  trim,
  UninitializedPepper,
  withIndexRoot,
  withKEKAlias,
  withKMSService,
} from "../../mod.ts"
import { memory } from "../../providers/memory.ts"

const rootBytes = randomBytes(32)
const root = new IndexRoot(rootBytes)
const KEY: BlindIndexKey = {
  version: 1,
  bits: 256,
  tenant: "acme",
  table: "people",
  column: "email",
  name: "index",
  normalisers: [],
}
const PLACE: BlindIndexPlace = { table: "people", column: "email", tenant: "acme" }

async function program(...options: readonly Option[]): Promise<Crypto> {
  const kms = memory()
  await kms.createKey("app")
  return await newCrypto(withKMSService(kms), withKEKAlias("app"), ...options)
}

// FORMATS §5, once more: as the runtime's own HKDF and HMAC compute it.
function model(
  { version, bits, tenant, table, column, name, normalisers }: BlindIndexKey,
  value: Uint8Array,
): Uint8Array {
  const names = [tenant, table, column, name, normalisers.join(",")].map((each) => lp(utf8(each, ""), ""))
  const info = concat(ascii("encx.v2.bidx\0"), Uint8Array.of(version), u16(bits), ...names)
  const key = new Uint8Array(hkdfSync("sha256", rootBytes, new Uint8Array(0), info, 32))
  const mac = BigInt(`0x${createHmac("sha256", key).update(value).digest("hex")}`)
  const kept = (mac >> BigInt(256 - bits)) << BigInt((8 - (bits % 8)) % 8)
  const digitsOfIndex = kept.toString(16).padStart(Math.ceil(bits / 8) * 2, "0")
  return concat(Uint8Array.of(1, version), Buffer.from(digitsOfIndex, "hex"))
}

// --- Separation ---

const KEYS: readonly BlindIndexKey[] = [
  KEY,
  ...[2, 3, 254, 255].map((version) => ({ ...KEY, version })),
  ...[64, 65, 127, 128, 255].map((bits) => ({ ...KEY, bits })),
  ...["", "acm", "acmee", "Acme", "acme ", "globex", "peopleacme"].map((tenant) => ({ ...KEY, tenant })),
  ...["", "peopl", "peoples", "People", "orders"].map((table) => ({ ...KEY, table })),
  ...["", "emai", "emails", "Email", "name"].map((column) => ({ ...KEY, column })),
  ...["", "inde", "indexes", "Index", "search"].map((name) => ({ ...KEY, name })),
  ...[
    ["trim"],
    ["lowercase"],
    ["trim", "lowercase"],
    ["lowercase", "trim"],
    ["trim", "trim"],
    ["nfc"],
    ["nfkc"],
    ["digits"],
  ].map((normalisers) => ({ ...KEY, normalisers })),
  // The same letters, cut elsewhere
  { ...KEY, tenant: "acmep", table: "eople" },
  { ...KEY, table: "peoplee", column: "mail" },
  { ...KEY, column: "emaili", name: "ndex" },
  { ...KEY, name: "indextrim" },
  { ...KEY, tenant: "people", table: "acme" },
  { ...KEY, table: "email", column: "people" },
  { ...KEY, column: "index", name: "email" },
]

test("index() differs when tenant, table, column, name, version, bits or normalisers do", () => {
  assert.equal(KEYS.length, 1 + 4 + 5 + 7 + 5 + 5 + 5 + 8 + 7)
  for (let i = 0; i < 20; i++) {
    const value = randomBytes(i)
    // The first 62 bits, which all of them have: whether a head or a width differs does not count.
    const heads = KEYS.map((key) => (BigInt(`0x${hex(root.index(key, value).subarray(2, 10))}`) >> 2n).toString(16))
    assert.equal(new Set(heads).size, KEYS.length)
    for (const key of KEYS)
      assert.equal(hex(root.index(key, value)), hex(root.index({ ...key }, Uint8Array.from(value))))
  }
})

test("index() gives two values two indexes when one root and one key make them, and two roots other ones", () => {
  const other = new IndexRoot(randomBytes(32))
  const values = [
    new Uint8Array(0),
    ...Array.from({ length: 256 }, (_, i) => Uint8Array.of(i)),
    ...Array.from({ length: 256 }, (_, i) => Uint8Array.of(0, i)),
  ]
  const indexes = new Set([root, other].flatMap((each) => values.map((value) => hex(each.index(KEY, value)))))
  assert.equal(indexes.size, 2 * values.length)
})

test("blindIndex() separates what the program names when it is called outside of a record", async () => {
  const crypto = await program(withIndexRoot(rootBytes))
  const places: BlindIndexPlace[] = [
    PLACE,
    { table: "people", column: "email" },
    { ...PLACE, tenant: "globex" },
    { ...PLACE, table: "orders" },
    { ...PLACE, column: "name" },
    { ...PLACE, name: "search" },
    { ...PLACE, version: 2 },
    { ...PLACE, bits: 128 },
    { ...PLACE, bits: 64 },
    { ...PLACE, normalize: [trim] },
    { ...PLACE, normalize: [trim, lowercase] },
    { ...PLACE, normalize: [lowercase, trim] },
    { ...PLACE, normalize: [nfc] },
    { ...PLACE, normalize: [nfkc] },
    { ...PLACE, normalize: [digits] },
    { ...PLACE, type: "bytes" },
  ]
  const indexes = places.map((place) =>
    hex(crypto.blindIndex(place.type === "bytes" ? Uint8Array.of(0x31) : "1", place).subarray(2, 10)),
  )
  assert.equal(new Set(indexes).size, places.length)
  assert.equal(
    hex(crypto.blindIndex("1", PLACE)),
    hex(crypto.blindIndex("1", { ...PLACE, name: "index", version: 1, bits: 256, normalize: [] })),
  )
  assert.equal(
    hex(crypto.blindIndex("1", { ...PLACE, type: "padded" })),
    hex(crypto.blindIndex("1", PLACE)),
    "padding is no part of a value",
  )
})

test("blindIndex() gives one index when values are one after their normalisers", async () => {
  const crypto = await program(withIndexRoot(rootBytes))
  const groups: (readonly [BlindIndexPlace, readonly string[], string])[] = [
    [{ ...PLACE, normalize: [trim] }, ["ada", " ada", "ada\n", "\u00a0ada\ufeff"], "Ada"],
    [{ ...PLACE, normalize: [lowercase] }, ["ada", "ADA", "aDa"], " ada"],
    [{ ...PLACE, normalize: [trim, lowercase] }, ["ada", " ADA "], "a da"],
    [{ ...PLACE, normalize: [nfc] }, ["é", "e\u0301"], "e"],
    [{ ...PLACE, normalize: [nfkc] }, ["fi2", "ﬁ２"], "fi3"],
    [{ ...PLACE, normalize: [digits] }, ["4915112345", "+49 (151) 12345"], "491511234"],
    [PLACE, ["ada"], "ada "],
  ]
  for (const [place, same, other] of groups) {
    assert.equal(new Set(same.map((value) => hex(crypto.blindIndex(value, place)))).size, 1)
    assert.notEqual(hex(crypto.blindIndex(other, place)), hex(crypto.blindIndex(same[0], place)))
  }
})

// --- Width ---

test("index() keeps the high bits and sets the spare ones to zero when a width is any", () => {
  for (let bits = 8; bits <= 256; bits++) {
    const key = { ...KEY, bits, version: (bits % 255) + 1 }
    for (const value of [new Uint8Array(0), randomBytes(5), randomBytes(100)]) {
      const index = root.index(key, value)
      assert.equal(index.length, 2 + Math.ceil(bits / 8))
      assert.equal((index.at(-1) as number) & (0xff >> (bits % 8 || 8)), 0)
      assert.equal(hex(index), hex(model(key, value)), `${bits} bits`)
    }
  }
})

test("widthProblem() tells of a width when FORMATS §5 refuses it", () => {
  const width = (bits: number, unique = false, distinct?: number) => widthProblem({ bits, unique, distinct })
  const good = [
    width(256),
    width(255),
    width(128),
    width(127),
    width(64),
    width(256, true),
    width(128, true),
    width(200, true, 10),
    // 2^N < X/2 and 2^N > √X
    width(8, false, 513),
    width(8, false, 65_535),
    width(12, false, 8193),
    width(12, false, 20_000),
    width(12, false, 2 ** 24 - 1),
    width(16, false, 2 ** 17 + 1),
    width(20, false, 10_000_000),
    width(32, false, 2 ** 34),
    width(48, false, 2 ** 50),
    width(51, false, Number.MAX_SAFE_INTEGER),
  ]
  assert.deepEqual(
    good,
    good.map(() => undefined),
  )
  const bad = [
    width(0),
    width(7),
    width(257),
    width(-8),
    width(8.5),
    width(Number.NaN),
    width(Number.POSITIVE_INFINITY),
    width(127, true),
    width(64, true),
    width(63, true, 2 ** 70),
    width(12, true, 20_000),
    width(8),
    width(12),
    width(63),
    width(8, false, 512),
    width(8, false, 65_536),
    width(8, false, 1),
    width(8, false, 0),
    width(8, false, Number.NaN),
    width(8, false, -1000),
    width(12, false, 8192),
    width(12, false, 2 ** 24),
    width(12, false, 2 ** 30),
    width(63, false, 2 ** 53),
  ]
  assert.deepEqual(
    bad.map((problem) => typeof problem),
    bad.map(() => "string"),
  )
})

test("blindIndex() refuses what FORMATS §5 refuses", async () => {
  const crypto = await program(withIndexRoot(rootBytes))
  assert.equal(crypto.blindIndex("1", { ...PLACE, bits: 12, distinct: 20_000 }).length, 4)
  const places: BlindIndexPlace[] = [
    { ...PLACE, bits: 7 },
    { ...PLACE, bits: 257 },
    { ...PLACE, bits: 12 },
    { ...PLACE, bits: 12, distinct: 8192 },
    { ...PLACE, bits: 127, unique: true },
    { ...PLACE, version: 0 },
    { ...PLACE, version: 256 },
    { ...PLACE, version: 1.5 },
    { ...PLACE, table: "" },
    { ...PLACE, column: "" },
    { ...PLACE, tenant: "" },
    { ...PLACE, table: "\ud800" },
    { ...PLACE, name: "\ud800" },
  ]
  for (const place of places) assert.throws(() => crypto.blindIndex("1", place), InvalidInput, JSON.stringify(place))
  const values: (readonly [unknown, BlindIndexPlace["type"]])[] = [
    [null, "text"],
    [undefined, "text"],
    [1, "text"],
    ["\ud800", "text"],
    [Number.NaN, "number"],
    [{}, "json"],
    ["{}", "json"],
    [2 ** 53, "integer"],
    ["1", "integer"],
  ]
  for (const [value, type] of values)
    assert.throws(
      () => crypto.blindIndex(value, { ...PLACE, type: type as "text" }),
      InvalidInput,
      `${String(value)} ${type}`,
    )
  assert.throws(() => crypto.blindIndex(1, { ...PLACE, type: "integer", normalize: [trim] }), InvalidInput)
})

test("blindIndex() throws UninitializedPepper when there is no index root", async () => {
  const crypto = await program()
  assert.throws(() => crypto.blindIndex("1", PLACE), UninitializedPepper)
})

test("IndexRoot refuses a root when it has not 32 bytes, and keeps its own copy", () => {
  const bytes = Uint8Array.from(rootBytes)
  const copy = new IndexRoot(bytes)
  bytes.fill(0)
  assert.equal(hex(copy.index(KEY, bytes)), hex(root.index(KEY, bytes)))
  for (const length of [0, 16, 31, 33, 64]) assert.throws(() => new IndexRoot(new Uint8Array(length)), RangeError)
  assert.throws(() => new IndexRoot("x".repeat(32) as unknown as Uint8Array), TypeError)
})

test("blindIndex() lets two values share an index once in 2^12 when it has 12 bits", async () => {
  const crypto = await program(withIndexRoot(randomBytes(32)))
  const counts = new Map<string, number>()
  const values = 20_000
  for (let i = 0; i < values; i++) {
    const index = hex(crypto.blindIndex(`value ${i}`, { ...PLACE, bits: 12, distinct: values }))
    counts.set(index, (counts.get(index) ?? 0) + 1)
  }
  assert.ok(counts.size <= 4096)
  const shared = [...counts.values()].reduce((pairs, count) => pairs + (count * (count - 1)) / 2, 0)
  // About 48,800 of 2·10^8 pairs: its standard deviation is 0.5 %.
  const rate = shared / ((values * (values - 1)) / 2)
  assert.ok(Math.abs(rate * 4096 - 1) < 0.1, `2^-12 times ${rate * 4096}`)
})
