import assert from "node:assert/strict"
import { createSecretKey, hkdfSync, randomInt } from "node:crypto"
import { test } from "node:test"
import { hex, randomBytes } from "../../core/bytes.ts"
import { ExpandKey, type Hash, hkdf, hkdfExpand, hkdfExtract, hmac, labelled } from "../../core/cipher/derive.ts"
import { Closed } from "../../core/errors.ts"

const HASHES: readonly (readonly [Hash, number])[] = [
  ["sha256", 32],
  ["sha512", 64],
]

test("hkdfExpand() gives what the runtime's HKDF gives when it follows hkdfExtract()", () => {
  for (let i = 0; i < 1000; i++) {
    const [hash, size] = HASHES[i % 2] as readonly [Hash, number]
    const [ikm, salt, info] = [
      randomBytes(randomInt(1, 200)),
      randomBytes(randomInt(0, 200)),
      randomBytes(randomInt(0, 1024)),
    ]
    const length = i < 100 ? ([1, size - 1, size, size + 1, 76, 255 * size][i % 6] as number) : randomInt(1, 500)
    const expected = hex(new Uint8Array(hkdfSync(hash, ikm, salt, info, length)))
    const prk = hkdfExtract(hash, salt, ikm)
    assert.equal(hex(hkdfExpand(hash, prk, info, length)), expected)
    assert.equal(hex(hkdfExpand(hash, createSecretKey(prk), info, length)), expected)
    assert.equal(hex(hkdf(hash, ikm, salt, info, length)), expected)
  }
})

test("hkdfExpand() throws RangeError when more than 255 blocks are asked for", () => {
  for (const [hash, size] of HASHES) {
    assert.equal(hkdfExpand(hash, randomBytes(size), new Uint8Array(0), 255 * size).length, 255 * size)
    assert.equal(hkdfExpand(hash, randomBytes(size), new Uint8Array(0), 0).length, 0)
    for (const length of [255 * size + 1, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => hkdfExpand(hash, randomBytes(size), new Uint8Array(0), length), RangeError, `${length}`)
    }
  }
})

const expanded = (key: ExpandKey, ...parts: readonly Uint8Array[]): Uint8Array => {
  const okm = new Uint8Array(128)
  key.expand(okm, ...parts)
  return okm
}

test("ExpandKey.expand() gives the first 128 bytes of hkdfExpand(), whatever the parts of its info and however often", () => {
  for (let i = 0; i < 20; i++) {
    const key = randomBytes(32)
    const kept = new ExpandKey(key)
    for (const length of [0, 1, 75, 510, 511, 512, 513, 1024, 9000, 3]) {
      const info = randomBytes(length)
      const cut = randomInt(0, length + 1)
      const expected = hex(hkdfExpand("sha512", key, info, 128))
      assert.equal(hex(expanded(kept, info)), expected, `${length}`)
      assert.equal(hex(expanded(kept, info.subarray(0, cut), new Uint8Array(0), info.subarray(cut))), expected)
    }
  }
})

test("ExpandKey takes 32 bytes, keeps its own copy, and is of no use after destroy()", () => {
  for (const length of [0, 31, 33, 64]) assert.throws(() => new ExpandKey(randomBytes(length)), RangeError)
  const key = randomBytes(32)
  const kept = new ExpandKey(key)
  const before = hex(expanded(kept))
  key.fill(0)
  assert.equal(hex(expanded(kept)), before)
  kept.destroy()
  assert.throws(() => expanded(kept), Closed)
})

test("ExpandKey.export() gives the key, and leaves no other copy of it", () => {
  const key = randomBytes(32)
  const kept = new ExpandKey(key)
  const { slice } = Uint8Array.prototype
  const copies: Uint8Array[] = []
  Uint8Array.prototype.slice = function (...range) {
    const copy = slice.apply(this, range)
    copies.push(copy)
    return copy
  }
  try {
    const exported = kept.export()
    assert.equal(hex(exported), hex(key))
    exported.fill(0)
  } finally {
    Uint8Array.prototype.slice = slice
  }
  assert.deepEqual(
    copies.filter((copy) => copy.some((byte) => byte !== 0)),
    [],
  )
})

test("hmac() is the same when its message comes in parts", () => {
  const [key, message] = [randomBytes(32), randomBytes(100)]
  const whole = hex(hmac("sha256", key, message))
  for (let cut = 0; cut <= 100; cut++)
    assert.equal(hex(hmac("sha256", key, message.subarray(0, cut), message.subarray(cut))), whole)
})

test("labelled() keeps a label apart when it is the beginning of another", () => {
  assert.equal(hex(labelled("ab", Uint8Array.of(1))), "61620001")
  assert.notEqual(hex(labelled("a", Uint8Array.of(0x62))), hex(labelled("ab")))
})
