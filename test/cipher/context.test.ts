import assert from "node:assert/strict"
import { randomInt } from "node:crypto"
import { test } from "node:test"
import fc from "fast-check"
import { ascii, concat, hex, lp, u16 } from "../../core/bytes.ts"
import { type Context, encodeContext, InvalidInput } from "../../mod.ts"

function shuffled<Item>(items: readonly Item[]): Item[] {
  const order = [...items]
  for (let i = order.length - 1; i > 0; i--) {
    const j = randomInt(i + 1)
    ;[order[i], order[j]] = [order[j] as Item, order[i] as Item]
  }
  return order
}

const pairs = (count: number): [string, string][] => Array.from({ length: count }, (_, i) => [`k${i}`, "v"])
const wellFormed = fc.string({ unit: "binary", maxLength: 20 })

test("encodeContext() is 00 00 when there is no pair", () => {
  for (const none of [undefined, {}, Object.create(null)]) assert.equal(hex(encodeContext(none)), "0000")
})

test("encodeContext() is the count and the pairs when it gets some", () => {
  assert.equal(hex(encodeContext({ b: "2", a: "" })), "0002" + "0001610000" + "00016200" + "0132")
  assert.equal(hex(encodeContext({ é: "€" })), "0001" + "0002c3a9" + "0003e282ac")
})

test("encodeContext() is the same when the pairs come in another order", () => {
  const names = [
    "",
    "\uffff",
    "\u{10000}",
    "\u{10ffff}",
    "é",
    "e\u0301",
    "1",
    "10",
    "2",
    "a",
    "A",
    "ab",
    "constructor",
    "toString",
  ]
  const entries: [string, string][] = names.map((name, i) => [`k${name}`, `value ${i}`])
  entries.push(["__proto__", "p"], ["\uffff", "x"], ["\u{10000}", "y"])
  const expected = hex(encodeContext(Object.fromEntries(entries)))
  assert.equal(expected.slice(0, 4), "0011")
  for (let i = 0; i < 1000; i++) assert.equal(hex(encodeContext(Object.fromEntries(shuffled(entries)))), expected)
})

test("encodeContext() sorts by UTF-8 bytes when UTF-16 units would sort otherwise", () => {
  const [low, high] = ["\uffff", "\u{10000}"]
  assert.ok(high < low, "in UTF-16 units the order is the other one")
  const expected = concat(
    u16(2),
    lp(Uint8Array.of(0xef, 0xbf, 0xbf), ""),
    lp(ascii("low"), ""),
    lp(Uint8Array.of(0xf0, 0x90, 0x80, 0x80), ""),
    lp(ascii("high"), ""),
  )
  assert.equal(hex(encodeContext({ [high]: "high", [low]: "low" })), hex(expected))
})

test("encodeContext() is another when a pair is another", () => {
  const contexts: Context[] = [
    {},
    { a: "" },
    { a: "b" },
    { a: "B" },
    { A: "b" },
    { ab: "" },
    { a: "b", c: "d" },
    { a: "bc", d: "" },
    { a: "d", c: "b" },
    { a: "é" },
    { a: "e\u0301" },
    { a: "b\0" },
    { "a\0": "b" },
  ]
  assert.equal(new Set(contexts.map((context) => hex(encodeContext(context)))).size, contexts.length)
})

test("encodeContext() is another when a map is another, for maps of any text", () => {
  const map = fc.dictionary(fc.string({ unit: "binary", minLength: 1, maxLength: 20 }), wellFormed, { maxKeys: 8 })
  const canonical = (context: Context): string =>
    JSON.stringify(Object.entries(context).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  fc.assert(
    fc.property(map, map, (a, b) => {
      assert.equal(hex(encodeContext(a)) === hex(encodeContext(b)), canonical(a) === canonical(b))
    }),
    { numRuns: 1000 },
  )
})

test("encodeContext() refuses a context when it has more than 64 pairs", () => {
  assert.equal(hex(encodeContext(Object.fromEntries(pairs(64))).subarray(0, 2)), "0040")
  assert.throws(() => encodeContext(Object.fromEntries(pairs(65))), InvalidInput)
})

test("encodeContext() refuses a context when it takes more than 8 KiB", () => {
  // 2 for the count, 2 + 1 for the key, 2 for the length of the value
  const context = (length: number): Context => ({ k: "v".repeat(length - 7) })
  assert.equal(encodeContext(context(8192)).length, 8192)
  assert.throws(() => encodeContext(context(8193)), InvalidInput)
  assert.throws(() => encodeContext({ k: "é".repeat(4093) }), InvalidInput)
  assert.throws(() => encodeContext({ ["k".repeat(8190)]: "" }), InvalidInput)
  assert.throws(() => encodeContext({ k: "v".repeat(70_000) }), InvalidInput)
  const inside = Object.fromEntries(pairs(64).map(([key]) => [key.padEnd(10, "."), "v".repeat(113)]))
  assert.equal(encodeContext(inside).length, 2 + 64 * 127)
})

test("encodeContext() refuses text when it holds a lone surrogate", () => {
  assert.equal(encodeContext({ "\ud83d\ude00": "\ud83d\ude00" }).length, 14)
  for (const lone of ["\ud800", "\udfff", "a\ud83d", "\ude00\ud83d", "\udc00b"]) {
    assert.throws(() => encodeContext({ k: lone }), InvalidInput)
    assert.throws(() => encodeContext({ [lone]: "v" }), InvalidInput)
  }
})

test("encodeContext() refuses a key when it is empty", () => {
  assert.equal(encodeContext({ k: "" }).length, 7)
  assert.throws(() => encodeContext({ "": "v" }), InvalidInput)
})

test("encodeContext() refuses what is no map of strings", () => {
  assert.equal(encodeContext({ k: "1" }).length, 8)
  const values: unknown[] = [
    1,
    0n,
    true,
    null,
    undefined,
    {},
    ["v"],
    new Date(0),
    Symbol("v"),
    new String("v"),
    Uint8Array.of(1),
  ]
  for (const value of values) assert.throws(() => encodeContext({ k: value } as unknown as Context), InvalidInput)
  class Own {
    k = "v"
  }
  const maps: unknown[] = [
    null,
    "k",
    1,
    1n,
    true,
    Symbol("k"),
    [],
    ["v"],
    new Map([["k", "v"]]),
    new Set(["k"]),
    new Date(0),
    /k/,
    new Own(),
    () => "k",
  ]
  maps.push(
    new String("k"),
    Uint8Array.of(1),
    new Error("k"),
    new URLSearchParams("k=v"),
    Promise.resolve({ k: "v" }),
    new Proxy([], {}),
  )
  for (const map of maps) assert.throws(() => encodeContext(map as Context), InvalidInput)
})
