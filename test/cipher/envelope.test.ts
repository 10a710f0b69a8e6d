import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { ascii, concat, hex, lp, randomBytes, u16, u32 } from "../../core/bytes.ts"
import {
  bodyContext,
  encodeHeader,
  type Header,
  type KeyEntry,
  keyName,
  PROVIDERS,
  parseEnvelope,
  parseHeader,
  parseRowKey,
  providerOf,
} from "../../core/cipher/envelope.ts"
import { InvalidFormat, InvalidInput } from "../../mod.ts"

const BODY = new Uint8Array(72)
const CODES = [1, 2, 3, 4, 5, 6, 7, 8, 0x7f]
const dekID = randomBytes(16)

const key = (provider = 5, ref = "r", version = 1, wrapped = 16): KeyEntry => ({
  provider,
  ref,
  version,
  wrapped: new Uint8Array(wrapped).fill(9),
})
const header = (keys: readonly KeyEntry[], hasContext = false): Header => ({ dekID, hasContext, keys })
const envelope = (keys: readonly KeyEntry[] = [key()]): Uint8Array => concat(encodeHeader(header(keys)), BODY)

// Writes what encodeHeader() would refuse to.
function raw(keys: readonly KeyEntry[], count = keys.length): Uint8Array {
  const block = concat(
    Uint8Array.of(count),
    ...keys.flatMap(({ provider, ref, version, wrapped }) => [
      Uint8Array.of(provider),
      lp(ascii(ref), ""),
      u32(version),
      lp(wrapped, ""),
    ]),
  )
  return concat(encodeHeader(header([])).with(6, 1), u16(block.length), block, BODY)
}

// --- The 24 bytes ---

test("parseHeader() reads one value of a byte when the format defines one", () => {
  const good = envelope()
  const accepted = (at: number): number[] =>
    Array.from({ length: 256 }, (_, value) => value).filter((value) => {
      try {
        parseEnvelope(good.with(at, value))
        return true
      } catch (error) {
        assert.ok(error instanceof InvalidFormat)
        return false
      }
    })
  for (let at = 0; at < 4; at++) assert.deepEqual(accepted(at), [[0x8e, 0x45, 0x4e, 0x58][at]], "magic")
  assert.deepEqual(accepted(4), [2], "version")
  assert.deepEqual(accepted(5), [1], "suite")
  assert.deepEqual(accepted(7), [0], "reserved")
  // Without K the key block is a part of the body, which any bytes may be.
  assert.deepEqual(accepted(6), [0, 1, 2, 3], "flags")
  assert.equal(parseHeader(good.with(6, 0)).keys.length, 0)
  assert.equal(parseHeader(good.with(6, 2)).hasContext, true)
  assert.deepEqual(accepted(8).length, 256, "dek_id")
})

test("parseHeader() throws InvalidFormat when it is cut", () => {
  const good = encodeHeader(header([key(), key(7)]))
  assert.equal(parseHeader(good).keys.length, 2)
  for (let length = 0; length < good.length; length++)
    assert.throws(() => parseHeader(good.subarray(0, length)), InvalidFormat)
})

test("parseEnvelope() throws InvalidFormat when no message has the length of its body", () => {
  const head = encodeHeader(header([key()]))
  const accepts = (length: number): boolean => {
    try {
      return parseEnvelope(concat(head, new Uint8Array(length))).body.length === length
    } catch (error) {
      assert.ok(error instanceof InvalidFormat)
      return false
    }
  }
  for (let length = 0; length < 72; length++) assert.equal(accepts(length), false, `${length}`)
  assert.ok(accepts(72) && accepts(56 + 16_399) && accepts(56 + 16_400 + 16))
  for (let more = 0; more < 16; more++) assert.equal(accepts(56 + 16_400 + more), false, `${more}`)
})

test("parseRowKey() throws InvalidFormat when a header is not alone, has a context or no keys", () => {
  const alone = encodeHeader(header([key()]))
  assert.equal(parseRowKey(alone).keys.length, 1)
  assert.throws(() => parseRowKey(concat(alone, Uint8Array.of(0))), InvalidFormat)
  assert.throws(() => parseRowKey(encodeHeader(header([key()], true))), InvalidFormat)
  assert.throws(() => parseRowKey(encodeHeader(header([]))), InvalidFormat)
})

// --- The key block ---

test("parseHeader() reads 1 to 8 keys when an envelope says that it has keys", () => {
  const keys = CODES.map((code) => key(code, code === 0x7f ? "own:r" : "r"))
  for (let count = 1; count <= 8; count++) assert.equal(parseHeader(envelope(keys.slice(0, count))).keys.length, count)
  assert.throws(() => encodeHeader(header(keys)), InvalidInput)
  assert.throws(() => parseHeader(raw(keys)), InvalidFormat)
  assert.equal(parseHeader(raw([key()])).keys.length, 1)
  for (const count of [0, 2, 3, 8, 9, 255])
    assert.throws(() => parseHeader(raw([key()], count)), InvalidFormat, `${count}`)
})

test("parseHeader() consumes the key block exactly when its length is right, and throws when it is not", () => {
  const good = envelope()
  const length = 1 + 1 + 2 + 1 + 4 + 2 + 16
  assert.equal(parseHeader(good).body.length, 72)
  for (const other of [0, 1, 26, length + 1, length + 72, length + 73, 32_768, 32_769, 65_535]) {
    const changed = Uint8Array.from(good)
    changed.set(u16(other), 24)
    assert.throws(() => parseHeader(changed), InvalidFormat, `${other}`)
  }
  const byteMore = concat(good.subarray(0, 24), u16(length + 1), good.subarray(26, 26 + length), Uint8Array.of(0), BODY)
  assert.throws(() => parseHeader(byteMore), InvalidFormat)
})

test("parseHeader() takes a size when it is at the limit, and throws beyond it", () => {
  const ref = (length: number): string => "r".repeat(length)
  const good: KeyEntry[] = [
    key(5, ref(1)),
    key(5, ref(512)),
    key(5, "r", 0),
    key(5, "r", 2 ** 31 - 1),
    key(5, "r", 1, 16),
    key(5, "r", 1, 6144),
    key(0x7f, "a:b"),
    key(0x7f, `a+.-9:${ref(506)}`),
  ]
  for (const each of good) assert.deepEqual(parseHeader(envelope([each])).keys, [each])
  const bad: KeyEntry[] = [
    key(5, ""),
    key(5, ref(513)),
    key(5, "r", 2 ** 31),
    key(5, "r", 2 ** 32 - 1),
    key(5, "r", 1, 0),
    key(5, "r", 1, 15),
    key(5, "r", 1, 6145),
    key(0),
    key(9),
    key(0x7e),
    key(0x80),
    key(0xff),
  ]
  for (const each of bad) {
    assert.throws(() => encodeHeader(header([each])), InvalidInput)
    assert.throws(() => parseHeader(raw([each])), InvalidFormat)
  }
  for (const version of [-1, 1.5, Number.NaN])
    assert.throws(() => encodeHeader(header([key(5, "r", version)])), InvalidInput)
})

test("parseHeader() reads 32,768 bytes of keys when that is what they take, and throws beyond it", () => {
  const full = ["a", "b", "c", "d", "e"].map((ref) => key(5, ref, 1, 6144))
  const room = 32_768 - 1 - 5 * (10 + 6144) - 10
  const fits = [...full, key(5, "f", 1, room)]
  assert.equal(hex(encodeHeader(header(fits)).subarray(24, 26)), "8000")
  assert.equal(parseHeader(envelope(fits)).keys.length, 6)
  const over = [...full, key(5, "f", 1, room + 1)]
  assert.throws(() => encodeHeader(header(over)), InvalidInput)
  assert.throws(() => parseHeader(raw(over)), InvalidFormat)
})

test("parseHeader() throws InvalidFormat when keys are unsorted or doubled", () => {
  const sorted = [key(5, "a"), key(5, "aa"), key(5, "b"), key(7, "a"), key(0x7f, "own:a")]
  assert.deepEqual(parseHeader(raw(sorted)).keys, sorted)
  assert.deepEqual(parseHeader(envelope(sorted.toReversed())).keys, sorted)
  for (let i = 1; i < sorted.length; i++) {
    const swapped = sorted.with(i - 1, sorted[i] as KeyEntry).with(i, sorted[i - 1] as KeyEntry)
    assert.throws(() => parseHeader(raw(swapped)), InvalidFormat)
    const doubled = sorted.toSpliced(i, 0, { ...(sorted[i] as KeyEntry), version: 9 })
    assert.throws(() => parseHeader(raw(doubled)), InvalidFormat)
    assert.throws(() => encodeHeader(header(doubled)), InvalidInput)
  }
})

test("encodeHeader() sorts refs by UTF-8 bytes when UTF-16 units would sort otherwise", () => {
  const refs = parseHeader(envelope([key(5, "\u{10000}"), key(5, "\uffff"), key(5, "z")])).keys.map(({ ref }) => ref)
  assert.deepEqual(refs, ["z", "\uffff", "\u{10000}"])
})

test("parseHeader() throws InvalidFormat when a ref is not UTF-8", () => {
  const good = raw([key(5, "abc")])
  const at = 24 + 2 + 1 + 1 + 2
  assert.equal(parseHeader(good).keys[0]?.ref, "abc")
  assert.equal(
    parseHeader(concat(good.subarray(0, at), Uint8Array.of(0xef, 0xbb, 0xbf), good.subarray(at + 3))).keys[0]?.ref,
    "\ufeff",
  )
  for (const bytes of [
    [0xff, 0x61, 0x61],
    [0xed, 0xa0, 0x80],
    [0xc0, 0xaf, 0x61],
    [0x61, 0x61, 0xc3],
  ]) {
    const changed = Uint8Array.from(good)
    changed.set(bytes, at)
    assert.throws(() => parseHeader(changed), InvalidFormat)
  }
})

test("parseHeader() throws InvalidFormat when provider 7F has no scheme in front of its ref", () => {
  assert.deepEqual(providerOf(parseHeader(raw([key(0x7f, "own:a:b")])).keys[0] as KeyEntry), {
    name: "own",
    keyID: "a:b",
  })
  for (const ref of ["own", "ownx", "r", ":own", "Own:a", "1own:a", "o wn:a", "o_wn:a", "own/a", ".:a"]) {
    assert.throws(() => parseHeader(raw([key(0x7f, ref)])), InvalidFormat, ref)
    assert.throws(() => encodeHeader(header([key(0x7f, ref)])), InvalidInput, ref)
  }
})

test("keyName() is the way back from providerOf() when a provider has a number and when it has none", () => {
  assert.deepEqual(
    Object.values(PROVIDERS).toSorted((a, b) => a - b),
    CODES.slice(0, 8),
  )
  for (const name of [...Object.keys(PROVIDERS), "own", "a", "a.b-c+1"]) {
    for (const keyID of ["k", "a:b", "arn:aws:kms:eu-central-1:1:key/x"])
      assert.deepEqual(providerOf(keyName(name, keyID)), { name, keyID })
  }
  for (const name of ["", "Own", "own:x", "ö", "__proto__", "1a"])
    assert.throws(() => keyName(name, "k"), InvalidInput, name)
  assert.deepEqual(keyName("constructor", "k"), { provider: 0x7f, ref: "constructor:k" })
})

// --- Round trip ---

const entry: fc.Arbitrary<KeyEntry> = fc
  .record({
    provider: fc.constantFrom(...CODES),
    ref: fc.string({ unit: "binary", minLength: 1, maxLength: 40 }),
    version: fc.oneof(fc.constantFrom(0, 1, 2 ** 31 - 1), fc.nat(2 ** 31 - 1)),
    wrapped: fc.uint8Array({ minLength: 16, maxLength: 200 }),
  })
  .map((each) => (each.provider === 0x7f ? { ...each, ref: `own:${each.ref}` } : each))

const anyHeader: fc.Arbitrary<Header> = fc.record({
  dekID: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  hasContext: fc.boolean(),
  keys: fc.uniqueArray(entry, { maxLength: 8, selector: ({ provider, ref }) => `${provider} ${ref}` }),
})

test("parseHeader() is the way back from encodeHeader() when a header is any", () => {
  fc.assert(
    fc.property(anyHeader, fc.uint8Array({ maxLength: 100 }), (made, body) => {
      const bytes = encodeHeader(made)
      const parsed = parseHeader(concat(bytes, body))
      assert.deepEqual(Uint8Array.from(parsed.body), body)
      assert.equal(hex(parsed.dekID), hex(made.dekID))
      assert.equal(parsed.hasContext, made.hasContext)
      const byName = ({ provider, ref, version, wrapped }: KeyEntry): string =>
        `${provider} ${ref} ${version} ${hex(wrapped)}`
      assert.deepEqual(parsed.keys.map(byName).toSorted(), made.keys.map(byName).toSorted())
      assert.equal(hex(encodeHeader(parsed)), hex(bytes), "one encoding each")
    }),
    { numRuns: 1000 },
  )
})

test("parseEnvelope() throws InvalidFormat and nothing else when bytes are any", () => {
  let accepted = 0
  const start = encodeHeader(header([])).subarray(0, 6)
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 70, maxLength: 300, size: "max" }),
      fc.integer({ min: 0, max: 3 }),
      fc.boolean(),
      (bytes, flags, framed) => {
        try {
          const parsed = parseEnvelope(framed ? concat(start, Uint8Array.of(flags, 0), bytes) : bytes)
          assert.equal(
            hex(concat(encodeHeader(parsed), parsed.body)),
            hex(concat(start, Uint8Array.of(flags, 0), bytes)),
          )
          accepted++
        } catch (error) {
          assert.ok(error instanceof InvalidFormat, String(error))
        }
      },
    ),
    { numRuns: 5000 },
  )
  assert.ok(accepted > 0)
})

test("parseHeader() tells a header from one that it has read, whatever bit is another, and keeps nothing of the caller's memory", () => {
  const good = encodeHeader(header([key(), key(7)]))
  const tell = (bytes: Uint8Array): string => {
    const { dekID, hasContext, keys } = parseHeader(bytes)
    return [
      hex(dekID),
      hasContext,
      ...keys.map((each) => `${each.provider} ${each.ref} ${each.version} ${hex(each.wrapped)}`),
    ].join()
  }
  const expected = tell(good)
  for (let bit = 0; bit < good.length * 8; bit++) {
    const other = good.with(bit >> 3, (good[bit >> 3] as number) ^ (1 << (bit & 7)))
    assert.equal(tell(good), expected)
    try {
      assert.notEqual(tell(other), expected, `bit ${bit}`)
    } catch (error) {
      assert.ok(error instanceof InvalidFormat)
    }
    other.fill(0)
  }
  assert.equal(tell(good), expected)
  assert.equal(parseHeader(concat(good, Uint8Array.of(1, 2))).body.length, 2)
})

const joined = (...args: Parameters<typeof bodyContext>): Uint8Array => concat(...bodyContext(...args))

test("bodyContext() is the same when keys are, and another when anything else is", () => {
  const encoded = Uint8Array.of(0, 0)
  const expected = concat(ascii("encx.v2.data\0"), encodeHeader(header([])), u32(2), encoded)
  assert.equal(hex(joined(header([key(), key(7)]), encoded)), hex(expected))
  assert.equal(hex(joined(header([]), encoded)), hex(expected))
  assert.notEqual(hex(joined(header([], true), encoded)), hex(expected))
  assert.notEqual(hex(joined({ ...header([]), dekID: randomBytes(16) }, encoded)), hex(expected))
  assert.notEqual(hex(joined(header([]), Uint8Array.of(0, 0, 0))), hex(expected))
})
