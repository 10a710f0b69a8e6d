import assert from "node:assert/strict"
import { createSecretKey } from "node:crypto"
import { test } from "node:test"
import { concat, hex, randomBytes } from "../../core/bytes.ts"
import { chunkNonce, MIN_MESSAGE, openedSize, SALT, sealedSize } from "../../core/cipher/chunks.ts"
import { isCommittedTo, openMessage, sealMessage } from "../../core/cipher/cobblestone.ts"
import { DecryptionFailed, LimitExceeded } from "../../mod.ts"

const CHUNK = 16_384
const SEALED = CHUNK + 16
const HEADER = 56
const NONE = new Uint8Array(0)
const SIZES = [
  0,
  1,
  CHUNK - 1,
  CHUNK,
  CHUNK + 1,
  2 * CHUNK - 1,
  2 * CHUNK,
  2 * CHUNK + 1,
  3 * CHUNK - 1,
  3 * CHUNK,
  3 * CHUNK + 1,
]

const dek = randomBytes(32)
const context = randomBytes(40)

function isRefused(message: Uint8Array, what: string): void {
  try {
    assert.equal(openMessage(dek, context, message), undefined, what)
  } catch (error) {
    assert.ok(error instanceof DecryptionFailed, `${what}: ${error}`)
  }
}

function chunksOf(message: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let at = HEADER; at < message.length; at += SEALED) chunks.push(message.subarray(at, at + SEALED))
  return chunks
}

function permutations<Item>(items: readonly Item[]): Item[][] {
  if (items.length < 2) return [[...items]]
  return items.flatMap((first, i) => permutations(items.toSpliced(i, 1)).map((rest) => [first, ...rest]))
}

// --- Sizes ---

test("openMessage() gives the plaintext back when its size is about a whole number of chunks", () => {
  for (const size of SIZES) {
    const plaintext = randomBytes(size)
    const message = sealMessage(dek, context, plaintext)
    assert.equal(message.length, HEADER + size + 16 * (Math.floor(size / CHUNK) + 1), `${size}`)
    assert.equal(sealedSize(size), message.length)
    assert.equal(openedSize(message.length), size)
    const opened = openMessage(createSecretKey(dek), context, message)
    assert.ok(opened && Buffer.compare(opened, plaintext) === 0, `${size}`)
  }
})

test("openedSize() is the way back from sealedSize() when a message has that length, and undefined otherwise", () => {
  const sizes = new Map<number, number>()
  for (let size = 0; size <= 3 * CHUNK + 100; size++) sizes.set(sealedSize(size), size)
  assert.equal(sizes.size, 3 * CHUNK + 101)
  for (let length = 0; length <= sealedSize(3 * CHUNK + 100); length++)
    assert.equal(openedSize(length), sizes.get(length), `${length}`)
  assert.equal(MIN_MESSAGE, 72)
})

test("sealMessage() puts a prefix in front when it gets one", () => {
  const [prefix, salt, plaintext] = [randomBytes(30), randomBytes(SALT), randomBytes(CHUNK + 5)]
  const alone = sealMessage(dek, context, plaintext, undefined, salt)
  assert.equal(Buffer.compare(sealMessage(dek, context, plaintext, prefix, salt), concat(prefix, alone)), 0)
})

test("sealMessage() draws a new salt when none is given", () => {
  const salts = new Set(Array.from({ length: 1000 }, () => hex(sealMessage(dek, context, NONE).subarray(0, SALT))))
  assert.equal(salts.size, 1000)
})

// --- Tampering ---

test("openMessage() refuses a message when it is cut anywhere", () => {
  let refused = 0
  for (const size of [0, 1, 17, 255]) {
    const message = sealMessage(dek, context, randomBytes(size))
    assert.equal(openMessage(dek, context, message)?.length, size)
    for (let length = 0; length < message.length; length++, refused++)
      isRefused(message.subarray(0, length), `${size} cut to ${length}`)
  }
  assert.equal(refused, 4 * 72 + 273)
  for (const size of SIZES.filter((each) => each >= CHUNK - 1)) {
    const message = sealMessage(dek, context, randomBytes(size))
    assert.equal(openMessage(dek, context, message)?.length, size)
    const ends = [HEADER, HEADER + SEALED, HEADER + 2 * SEALED, HEADER + 3 * SEALED, message.length]
    const lengths = new Set(ends.flatMap((end) => Array.from({ length: 41 }, (_, i) => end - 20 + i)))
    for (const length of lengths)
      if (length < message.length) isRefused(message.subarray(0, length), `${size} cut to ${length}`)
  }
})

test("openMessage() refuses a message when 1 to 64 bytes follow it", () => {
  let refused = 0
  for (const size of SIZES) {
    const message = sealMessage(dek, context, randomBytes(size))
    assert.equal(openMessage(dek, context, message)?.length, size)
    for (let more = 1; more <= 64; more++, refused++)
      isRefused(concat(message, randomBytes(more)), `${size} and ${more} more`)
  }
  assert.equal(refused, SIZES.length * 64)
})

test("openMessage() refuses a message when one bit of it is another", () => {
  let refused = 0
  for (const size of [0, 1, 255]) {
    const message = sealMessage(dek, context, randomBytes(size))
    assert.equal(openMessage(dek, context, message)?.length, size)
    for (let bit = 0; bit < message.length * 8; bit++, refused++) {
      const changed = Uint8Array.from(message)
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      isRefused(changed, `bit ${bit}`)
    }
  }
  assert.equal(refused, (3 * 72 + 256) * 8)
})

test("openMessage() refuses chunks when they come in another order", () => {
  const message = sealMessage(dek, context, randomBytes(4 * CHUNK + 100))
  const chunks = chunksOf(message)
  assert.equal(chunks.length, 5)
  let refused = 0
  for (const order of permutations(chunks)) {
    const reordered = concat(message.subarray(0, HEADER), ...order)
    if (Buffer.compare(reordered, message) === 0) {
      assert.equal(openMessage(dek, context, reordered)?.length, 4 * CHUNK + 100)
      continue
    }
    isRefused(reordered, "another order")
    refused++
  }
  assert.equal(refused, 119)
})

test("openMessage() refuses chunks when one is doubled, dropped or another message's", () => {
  let refused = 0
  for (const size of [3 * CHUNK, 3 * CHUNK + 100]) {
    const [message, other] = [
      sealMessage(dek, context, randomBytes(size)),
      sealMessage(dek, context, randomBytes(size)),
    ]
    assert.equal(openMessage(dek, context, message)?.length, size)
    const [header, chunks, others] = [message.subarray(0, HEADER), chunksOf(message), chunksOf(other)]
    assert.equal(chunks.length, 4)
    for (let i = 0; i < 4; i++) {
      const changes = [
        chunks.toSpliced(i, 1),
        chunks.with(i, others[i] as Uint8Array),
        ...chunks.map((chunk) => chunks.toSpliced(i, 0, chunk)),
        ...[0, 1, 2, 3].filter((j) => j !== i).map((j) => chunks.with(i, chunks[j] as Uint8Array)),
      ]
      for (const changed of changes) {
        isRefused(concat(header, ...changed), `chunk ${i}`)
        refused++
      }
    }
    isRefused(concat(other.subarray(0, HEADER), ...chunks), "another header")
    isRefused(concat(other.subarray(0, SALT), message.subarray(SALT)), "another salt")
    isRefused(concat(header.subarray(0, SALT), other.subarray(SALT)), "another commitment")
    refused += 3
  }
  assert.equal(refused, 2 * (4 * 9 + 3))
})

test("openMessage() says undefined when a message is not committed to the key or the context", () => {
  const message = sealMessage(dek, context, Uint8Array.of(7))
  assert.deepEqual(openMessage(dek, context, message), Uint8Array.of(7))
  assert.equal(openMessage(randomBytes(32), context, message), undefined)
  for (const other of [NONE, context.subarray(1), concat(context, Uint8Array.of(0)), randomBytes(40)]) {
    assert.equal(openMessage(dek, other, message), undefined)
    assert.equal(isCommittedTo(dek, other, message), false)
  }
})

test("isCommittedTo() looks at the commitment alone when chunks were changed", () => {
  const message = sealMessage(dek, context, Uint8Array.of(7))
  assert.equal(isCommittedTo(dek, context, message), true)
  assert.equal(isCommittedTo(dek, context, message.with(-1, (message.at(-1) as number) ^ 1)), true)
  assert.equal(isCommittedTo(dek, context, message.with(30, (message[30] as number) ^ 1)), false)
  assert.equal(isCommittedTo(randomBytes(32), context, message), false)
  assert.equal(isCommittedTo(dek, context, message.subarray(0, 71)), false)
})

// --- Nonces ---

test("chunkNonce() is the base XOR the number in 96 bits when it is compared with a BigInt model", () => {
  const indexes = [0, 1, 255, 256, 2 ** 16, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 38 - 1]
  for (const base of [new Uint8Array(12), new Uint8Array(12).fill(255), randomBytes(12), randomBytes(12)]) {
    for (const index of indexes) {
      const model = (BigInt(`0x${hex(base)}`) ^ BigInt(index)).toString(16).padStart(24, "0")
      assert.equal(hex(chunkNonce(base, index)), model, `${index}`)
    }
  }
})

test("chunkNonce() throws LimitExceeded when a message has more than 2^38 chunks", () => {
  const base = randomBytes(12)
  assert.equal(chunkNonce(base, 2 ** 38 - 1).length, 12)
  for (const index of [2 ** 38, 2 ** 38 + 1, 2 ** 50]) assert.throws(() => chunkNonce(base, index), LimitExceeded)
})
