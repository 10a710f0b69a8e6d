import assert from "node:assert/strict"
import { test } from "node:test"
import { concat, hex, randomBytes } from "../../core/bytes.ts"
import { encryptWithNonce } from "../../core/cipher/aes-gcm.ts"
import { DecryptionFailed, decryptData, encryptData } from "../../mod.ts"

const SIZES = [0, 1, 15, 16, 17, 255, 4096]

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const changed = Uint8Array.from(bytes)
  changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
  return changed
}

test("decryptData() gives the plaintext back when encryptData() wrote it", () => {
  for (const size of SIZES) {
    for (const options of [{}, { additionalData: new Uint8Array(0) }, { additionalData: randomBytes(33) }]) {
      const [dek, plaintext] = [randomBytes(32), randomBytes(size)]
      const stored = encryptData(plaintext, dek, options)
      assert.equal(stored.length, 12 + size + 16)
      const opened = decryptData(stored, dek, options)
      assert.equal(Object.getPrototypeOf(opened), Uint8Array.prototype)
      assert.equal(hex(opened), hex(plaintext))
    }
  }
})

test("decryptData() reads the bytes of a view when it begins inside a larger buffer", () => {
  const [dek, plaintext, additionalData] = [randomBytes(32), randomBytes(100), randomBytes(20)]
  const within = (bytes: Uint8Array): Uint8Array =>
    concat(randomBytes(7), bytes, randomBytes(9)).subarray(7, 7 + bytes.length)
  const stored = encryptData(within(plaintext), within(dek), { additionalData: within(additionalData) })
  assert.equal(hex(decryptData(within(stored), dek, { additionalData: within(additionalData) })), hex(plaintext))
})

test("encryptData() never repeats a nonce when it is called 100,000 times", () => {
  const [dek, plaintext] = [randomBytes(32), new Uint8Array(0)]
  const nonces = new Set<string>()
  for (let i = 0; i < 100_000; i++) nonces.add(hex(encryptData(plaintext, dek).subarray(0, 12)))
  assert.equal(nonces.size, 100_000)
})

test("decryptData() refuses what was stored when one bit of it is another", () => {
  let refused = 0
  for (const size of [0, 1, 16, 255]) {
    const [dek, additionalData] = [randomBytes(32), randomBytes(5)]
    const stored = encryptData(randomBytes(size), dek, { additionalData })
    assert.equal(decryptData(stored, dek, { additionalData }).length, size)
    for (let bit = 0; bit < stored.length * 8; bit++, refused++) {
      assert.throws(() => decryptData(flipped(stored, bit), dek, { additionalData }), DecryptionFailed)
    }
    for (let bit = 0; bit < additionalData.length * 8; bit++, refused++) {
      assert.throws(() => decryptData(stored, dek, { additionalData: flipped(additionalData, bit) }), DecryptionFailed)
    }
    for (let bit = 0; bit < dek.length * 8; bit++, refused++) {
      assert.throws(() => decryptData(stored, flipped(dek, bit), { additionalData }), DecryptionFailed)
    }
  }
  assert.equal(refused, (4 * 28 + 272) * 8 + 4 * (5 + 32) * 8)
})

test("decryptData() refuses what was stored when it is cut or extended", () => {
  const dek = randomBytes(32)
  let refused = 0
  for (const size of [0, 1, 16, 255]) {
    const stored = encryptData(randomBytes(size), dek)
    assert.equal(decryptData(stored, dek).length, size)
    for (let length = 0; length < stored.length; length++, refused++) {
      assert.throws(() => decryptData(stored.subarray(0, length), dek), DecryptionFailed)
      assert.throws(() => decryptData(stored.subarray(stored.length - length), dek), DecryptionFailed)
    }
    for (let more = 1; more <= 64; more++, refused++) {
      assert.throws(() => decryptData(concat(stored, randomBytes(more)), dek), DecryptionFailed)
      assert.throws(() => decryptData(concat(stored, new Uint8Array(more)), dek), DecryptionFailed)
    }
  }
  assert.equal(refused, 4 * 28 + 272 + 4 * 64)
})

test("decryptData() refuses a tag when it has not 16 bytes", () => {
  const dek = randomBytes(32)
  const stored = encryptData(randomBytes(64), dek)
  const [front, tag] = [stored.subarray(0, -16), stored.subarray(-16)]
  assert.equal(decryptData(concat(front, tag), dek).length, 64)
  for (let length = 0; length <= 32; length++) {
    if (length === 16) continue
    const other = concat(tag, new Uint8Array(16)).subarray(0, length)
    assert.throws(() => decryptData(concat(front, other), dek), DecryptionFailed, `${length} bytes`)
  }
})

test("decryptData() refuses what was stored when additional data is missing, new or other", () => {
  const [dek, additionalData] = [randomBytes(32), Uint8Array.of(1)]
  const [bound, unbound] = [encryptData(Uint8Array.of(7), dek, { additionalData }), encryptData(Uint8Array.of(7), dek)]
  assert.deepEqual(decryptData(bound, dek, { additionalData }), Uint8Array.of(7))
  assert.deepEqual(decryptData(unbound, dek), Uint8Array.of(7))
  assert.throws(() => decryptData(bound, dek), DecryptionFailed)
  assert.throws(() => decryptData(bound, dek, { additionalData: Uint8Array.of(1, 0) }), DecryptionFailed)
  assert.throws(() => decryptData(unbound, dek, { additionalData }), DecryptionFailed)
})

test("encryptData() throws RangeError when the key has not 32 bytes", () => {
  const stored = encryptData(Uint8Array.of(7), new Uint8Array(32))
  assert.deepEqual(decryptData(stored, new Uint8Array(32)), Uint8Array.of(7))
  for (const length of [0, 1, 16, 24, 31, 33, 64]) {
    assert.throws(() => encryptData(Uint8Array.of(7), new Uint8Array(length)), RangeError, `${length} bytes`)
    assert.throws(() => decryptData(stored, new Uint8Array(length)), RangeError, `${length} bytes`)
  }
})

test("encryptData() throws TypeError when an argument is no Uint8Array", () => {
  const dek = randomBytes(32)
  const stored = encryptData(new Uint8Array(1), dek)
  const others: unknown[] = [
    "text",
    1,
    null,
    undefined,
    [1, 2],
    new ArrayBuffer(32),
    new DataView(new ArrayBuffer(32)),
    new Uint16Array(16),
  ]
  for (const other of others as Uint8Array[]) {
    assert.throws(() => encryptData(other, dek), TypeError)
    assert.throws(() => encryptData(new Uint8Array(1), other), TypeError)
    assert.throws(() => decryptData(other, dek), TypeError)
    assert.throws(() => decryptData(stored, other), TypeError)
    if (other === undefined) continue
    assert.throws(() => encryptData(new Uint8Array(1), dek, { additionalData: other }), TypeError)
    assert.throws(() => decryptData(stored, dek, { additionalData: other }), TypeError)
  }
})

test("encryptWithNonce() throws RangeError when the nonce has not 12 bytes", () => {
  const dek = randomBytes(32)
  assert.equal(encryptWithNonce(new Uint8Array(1), dek, new Uint8Array(12)).length, 29)
  for (const length of [0, 1, 11, 13, 16]) {
    assert.throws(() => encryptWithNonce(new Uint8Array(1), dek, new Uint8Array(length)), RangeError, `${length} bytes`)
  }
})
