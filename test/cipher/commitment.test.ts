import assert from "node:assert/strict"
import { createCipheriv, randomInt } from "node:crypto"
import { test } from "node:test"
import { concat, fromHex, hex, randomBytes } from "../../core/bytes.ts"
import { openMessage } from "../../core/cipher/cobblestone.ts"
import { hkdfExpand, labelled } from "../../core/cipher/derive.ts"
import { DecryptionFailed, decryptData } from "../../mod.ts"

// AES-GCM does not commit to its key: one ciphertext and tag can be made that two keys open ("invisible salamanders").
// https://eprint.iacr.org/2019/016. This makes them, and shows that Cobblestone-256 refuses what is made of them.

// --- GF(2^128) as GHASH has it: the first bit of the first byte is the coefficient of x^0 ---

const POLYNOMIAL = 0xe1n << 120n

const toField = (block: Uint8Array): bigint => BigInt(`0x${hex(block)}`)
const fromField = (element: bigint): Uint8Array => fromHex(element.toString(16).padStart(32, "0"), "a block")

function multiply(a: bigint, b: bigint): bigint {
  let product = 0n
  for (let bit = 127n, v = b; bit >= 0n; bit--) {
    if ((a >> bit) & 1n) product ^= v
    v = v & 1n ? (v >> 1n) ^ POLYNOMIAL : v >> 1n
  }
  return product
}

// a^(2^128 - 2)
function inverse(a: bigint): bigint {
  let result = 1n << 127n
  let square = a
  for (let i = 1; i < 128; i++) {
    square = multiply(square, square)
    result = multiply(result, square)
  }
  return result
}

function ghash(h: bigint, blocks: readonly bigint[]): bigint {
  return blocks.reduce((sum, block) => multiply(sum ^ block, h), 0n)
}

function encryptBlock(key: Uint8Array, block: Uint8Array): bigint {
  const cipher = createCipheriv("aes-256-ecb", key, null).setAutoPadding(false)
  return toField(concat(cipher.update(block), cipher.final()))
}

// --- Salamanders ---

interface KeyAndNonce {
  readonly key: Uint8Array
  readonly nonce: Uint8Array
}

/** `ciphertext ‖ tag` of whole random blocks that both keys open, each under its nonce. */
function salamander(first: KeyAndNonce, second: KeyAndNonce, blocks: number): Uint8Array {
  const [one, two] = [first, second].map(({ key, nonce }) => ({
    h: encryptBlock(key, new Uint8Array(16)),
    mask: encryptBlock(key, concat(nonce, Uint8Array.of(0, 0, 0, 1))),
  })) as [{ h: bigint; mask: bigint }, { h: bigint; mask: bigint }]
  const chosen = Array.from({ length: blocks - 1 }, () => toField(randomBytes(16)))
  const lengths = BigInt(blocks * 128)
  // The last block c is free, and both tags shall be one: c·H² is all that it adds to a tag.
  const open = ({ h, mask }: { h: bigint; mask: bigint }): bigint => ghash(h, [...chosen, 0n, lengths]) ^ mask
  const factor = multiply(one.h, one.h) ^ multiply(two.h, two.h)
  const free = multiply(open(one) ^ open(two), inverse(factor))
  const tag = ghash(one.h, [...chosen, free, lengths]) ^ one.mask
  return concat(...[...chosen, free, tag].map(fromField))
}

test("decryptData() opens one ciphertext under two keys when it is made for both", () => {
  for (let i = 0; i < 50; i++) {
    const nonce = randomBytes(12)
    const [one, two] = [
      { key: randomBytes(32), nonce },
      { key: randomBytes(32), nonce },
    ]
    const blocks = randomInt(1, 20)
    const stored = concat(nonce, salamander(one, two, blocks))
    const [first, second] = [decryptData(stored, one.key), decryptData(stored, two.key)]
    assert.equal(first.length, blocks * 16)
    assert.notEqual(hex(first), hex(second))
    assert.throws(() => decryptData(stored, randomBytes(32)), DecryptionFailed)
  }
})

// As in core/cipher/cobblestone.ts, from the specification: key ‖ base nonce ‖ commitment.
function derive(dek: Uint8Array, salt: Uint8Array, context: Uint8Array): KeyAndNonce & { commitment: Uint8Array } {
  const okm = hkdfExpand("sha512", dek, labelled("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM", salt, context), 76)
  return { key: okm.subarray(0, 32), nonce: okm.subarray(32, 44), commitment: okm.subarray(44) }
}

test("openMessage() opens under two keys never when a chunk is made for both", () => {
  const opened = { chunks: 0, committed: 0, both: 0, neither: 0 }
  for (let i = 0; i < 50; i++) {
    const [salt, context] = [randomBytes(24), randomBytes(30)]
    const deks = [randomBytes(32), randomBytes(32)] as const
    const keys = deks.map((dek) => derive(dek, salt, context)) as [ReturnType<typeof derive>, ReturnType<typeof derive>]
    const chunk = salamander(...keys, randomInt(1, 20))
    // The chunk itself opens under either chunk key: the attack works.
    for (const { key, nonce } of keys) if (decryptData(concat(nonce, chunk), key).length > 0) opened.chunks++

    const openings = (commitment: Uint8Array): boolean[] =>
      deks.map((dek) => openMessage(dek, context, concat(salt, commitment, chunk)) !== undefined)
    // A message is committed to one key: the other refuses it before it looks at the chunk.
    for (const [mine, { commitment }] of keys.entries()) {
      const [first, second] = openings(commitment)
      if ([first, second][mine]) opened.committed++
      if (first && second) opened.both++
    }
    const [one, two] = keys.map(({ commitment }) => commitment) as [Uint8Array, Uint8Array]
    const others = [
      randomBytes(32),
      one.map((byte, j) => byte ^ (two[j] as number)),
      concat(one.subarray(0, 16), two.subarray(16)),
    ]
    for (const other of others) if (openings(other).includes(true)) opened.neither++
  }
  assert.deepEqual(opened, { chunks: 100, committed: 100, both: 0, neither: 0 })
})

test("openMessage() says undefined under both keys when a ciphertext made for both is read as a message", () => {
  for (let i = 0; i < 50; i++) {
    const nonce = randomBytes(12)
    const [one, two] = [
      { key: randomBytes(32), nonce },
      { key: randomBytes(32), nonce },
    ]
    const stored = salamander(one, two, 5)
    assert.equal(decryptData(concat(nonce, stored), one.key).length, decryptData(concat(nonce, stored), two.key).length)
    for (const { key } of [one, two]) assert.equal(openMessage(key, new Uint8Array(0), stored), undefined)
  }
})
