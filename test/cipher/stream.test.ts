import assert from "node:assert/strict"
import { createHash, randomInt } from "node:crypto"
import { describe, it, test } from "node:test"
import { inflateSync } from "node:zlib"
import { concat, equal, fromHex, hex, randomBytes } from "../../core/bytes.ts"
import { openChunksLater, sealChunksLater } from "../../core/cipher/bulk.ts"
import {
  CHUNK,
  chunkNonce,
  HEADER,
  MAX_CHUNKS,
  type MessageKeys,
  openChunks,
  openedSize,
  SEALED_CHUNK,
  sealChunks,
  sealedSize,
} from "../../core/cipher/chunks.ts"
import { beginMessage, keysOfMessage, openMessage, sealMessage } from "../../core/cipher/cobblestone.ts"
import type { Work } from "../../core/cipher/duplex.ts"
import { AfterHead, Opening, Sealing } from "../../core/cipher/stream.ts"
import { DecryptionFailed, LimitExceeded } from "../../core/errors.ts"
import { piecesOf } from "../go-encx/_streams.ts"
import { needsVectors, readWycheproof } from "../vectors.ts"
import { type Outcome, run, runLater } from "./_machine.ts"

const NONE = new Uint8Array(0)
const DEK = randomBytes(32)
const keysFor = (dek: Uint8Array = DEK): MessageKeys => beginMessage(dek, NONE).keys

// --- The counter ---

describe("chunkNonce()", () => {
  it("is the base nonce XOR the index as 96 bits, whatever the index", () => {
    const indexes = [0, 1, 255, 256, 2 ** 16, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 38 - 1]
    for (let i = 0; i < 1000; i++) indexes.push(Math.floor((randomInt(2 ** 38 / 1024) + randomInt(1024) / 1024) * 1024))
    for (const index of indexes) {
      const base = randomBytes(12)
      const expected = (BigInt(`0x${hex(base)}`) ^ BigInt(index)).toString(16).padStart(24, "0")
      assert.equal(hex(chunkNonce(base, index)), expected, `${index}`)
    }
  })

  it("refuses an index that no chunk has", () => {
    for (const index of [2 ** 38, 2 ** 38 + 1, 2 ** 53])
      assert.throws(() => chunkNonce(new Uint8Array(12), index), LimitExceeded)
  })
})

describe("the chunk counter near its limit", () => {
  const first = MAX_CHUNKS - 2
  const plaintext = randomBytes(3 * CHUNK)
  const chunk = (i: number): Uint8Array => plaintext.subarray(i * CHUNK, (i + 1) * CHUNK)

  it("lets a message have 2^38 chunks and refuses one more before any of it is sealed", () => {
    const keys = keysFor()
    const outcome = run(new Sealing(keys, first), [chunk(0), chunk(1), chunk(2)])
    assert.ok(outcome.error instanceof LimitExceeded)
    assert.equal(outcome.delivered.length, 2 * SEALED_CHUNK)
    const opened = openChunks(keys, first, outcome.delivered, false)
    assert.ok(opened.isWhole && equal(opened.plaintext, plaintext.subarray(0, 2 * CHUNK)))
    assert.ok(
      run(new Sealing(keys, first), [chunk(0), chunk(1)]).error instanceof LimitExceeded,
      "the short one is one, too",
    )
    assert.equal(run(new Sealing(keys, first), [chunk(0)]).error, undefined)
    // A cipher that is asked would say that the key is none.
    const none = { baseNonce: keys.baseNonce, key: new Uint8Array(1) } as unknown as MessageKeys
    assert.throws(() => sealChunks(none, MAX_CHUNKS, chunk(0), false, new Uint8Array(SEALED_CHUNK), 0), LimitExceeded)
    assert.throws(() => openChunks(none, MAX_CHUNKS, new Uint8Array(SEALED_CHUNK), false), LimitExceeded)
  })

  it("refuses one more when it opens, too", () => {
    const keys = keysFor()
    const sealed = new Uint8Array(2 * SEALED_CHUNK)
    sealChunks(keys, first, plaintext.subarray(0, 2 * CHUNK), false, sealed, 0)
    const pieces = [...piecesOf(sealed, SEALED_CHUNK), new Uint8Array(SEALED_CHUNK)]
    const { delivered, error } = run(new Opening(keys, first), pieces)
    assert.ok(error instanceof LimitExceeded)
    assert.ok(equal(delivered, plaintext.subarray(0, 2 * CHUNK)))
  })

  it("is the same where chunks are sealed and opened later", async () => {
    const keys = keysFor()
    const out = new Uint8Array(3 * SEALED_CHUNK)
    await assert.rejects(() => sealChunksLater(keys, first, plaintext, false, out, 0), LimitExceeded)
    assert.ok(equal(out, new Uint8Array(out.length)), "nothing was sealed")
    await assert.rejects(() => openChunksLater(keys, first, new Uint8Array(3 * SEALED_CHUNK), false), LimitExceeded)
  })
})

// --- By either cipher ---

describe("chunks that are sealed and opened later", () => {
  it("are those that are sealed and opened at once", async () => {
    for (const length of [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 70 * CHUNK + 9]) {
      const keys = keysFor()
      const plaintext = randomBytes(length)
      const [now, later] = [new Uint8Array(sealedSize(length)), new Uint8Array(sealedSize(length))]
      assert.equal(sealChunks(keys, 7, plaintext, true, now, HEADER), now.length)
      assert.equal(await sealChunksLater(keys, 7, plaintext, true, later, HEADER), now.length)
      assert.ok(equal(now, later))
      const { plaintext: opened, isWhole } = await openChunksLater(keys, 7, later.subarray(HEADER), true)
      assert.ok(isWhole && equal(opened, plaintext))
      for (const at of [HEADER, HEADER + 3 * SEALED_CHUNK, later.length - 1].filter((at) => at < later.length)) {
        const changed = Uint8Array.from(now)
        changed[at] = (changed[at] as number) ^ 1
        const expected = openChunks(keys, 7, changed.subarray(HEADER), true)
        assert.equal(expected.isWhole, false)
        assert.deepEqual(await openChunksLater(keys, 7, changed.subarray(HEADER), true), expected)
      }
    }
  })
})

// --- The machine and messages in one piece ---

/** Opens a message that stands alone, as it comes. */
function openingOf(dek: Uint8Array, context: Uint8Array): Work {
  return new AfterHead(
    () => HEADER,
    async (head) => {
      if (head.length < HEADER) throw new DecryptionFailed()
      const keys = keysOfMessage(dek, context, head)
      if (!keys) throw new DecryptionFailed()
      return new Opening(keys)
    },
  )
}

describe("a message that goes by in pieces", () => {
  it("is the same message as in one piece, 1,000 times both ways", async () => {
    for (let i = 0; i < 1000; i++) {
      const near = randomInt(0, 4) * CHUNK + randomInt(-2, 3)
      const plaintext = randomBytes(Math.max(0, i % 2 === 0 ? near : randomInt(0, 100_000)))
      const [dek, context] = [randomBytes(32), randomBytes(randomInt(0, 40))]
      const size = (): number => (i % 3 === 0 ? randomInt(1, 100_000) : randomInt(1, 20_000))
      const { head, keys } = beginMessage(dek, context)
      const { delivered, error } = await runLater(new Sealing(keys), piecesOf(plaintext, size))
      assert.equal(error, undefined)
      const message = concat(head, delivered)
      assert.equal(message.length, sealedSize(plaintext.length))
      assert.equal(openedSize(message.length), plaintext.length)
      assert.ok(equal(openMessage(dek, context, message) as Uint8Array, plaintext))
      assert.ok(equal(sealMessage(dek, context, plaintext, undefined, head.slice(0, 24)), message))
      const opened = await runLater(openingOf(dek, context), piecesOf(message, size))
      assert.equal(opened.error, undefined)
      assert.ok(equal(opened.delivered, plaintext))
    }
  })

  it("leaves pieces as they are, and looks at none again", async () => {
    const plaintext = randomBytes(3 * CHUNK + 100)
    const { head, keys } = beginMessage(DEK, NONE)
    const reused = new Uint8Array(CHUNK + 1000)
    const pieces = function* (bytes: Uint8Array): Generator<Uint8Array> {
      for (const piece of piecesOf(bytes, reused.length)) {
        reused.set(piece)
        yield reused.subarray(0, piece.length)
        assert.ok(equal(reused.subarray(0, piece.length), piece))
      }
    }
    const sealed = await runLater(new Sealing(keys), pieces(plaintext))
    const opened = await runLater(openingOf(DEK, NONE), pieces(concat(head, sealed.delivered)))
    assert.ok(equal(opened.delivered, plaintext))
  })

  it("fails for ever once it has failed, and delivers nothing more", async () => {
    const message = sealMessage(DEK, NONE, randomBytes(3 * CHUNK))
    message[HEADER + SEALED_CHUNK] = (message[HEADER + SEALED_CHUNK] as number) ^ 1
    const work = openingOf(DEK, NONE)
    const { delivered, error } = await runLater(work, [message])
    assert.ok(error instanceof DecryptionFailed)
    assert.equal(delivered.length, CHUNK)
    for (const pieces of [
      [message],
      [message.subarray(HEADER)],
      [message.subarray(HEADER + SEALED_CHUNK)],
      [NONE],
      [],
    ]) {
      const again = await runLater(work, pieces)
      assert.ok(again.error instanceof DecryptionFailed)
      assert.equal(again.delivered.length, 0)
    }
  })

  it("shows nothing of the memory around what it delivers", async () => {
    const message = sealMessage(DEK, NONE, randomBytes(4 * CHUNK))
    message[message.length - SEALED_CHUNK] = (message[message.length - SEALED_CHUNK] as number) ^ 1
    const opening = new Opening(keysOfMessage(DEK, NONE, message.subarray(0, HEADER)) as MessageKeys)
    const [first] = [...opening.push(message.subarray(HEADER, HEADER + 3 * SEALED_CHUNK))]
    assert.equal(((await first) as Uint8Array).buffer.byteLength, 3 * CHUNK)
  })
})

// --- Wycheproof ---

const COBBLESTONE = "c2sp_chunked_encryption_aes_256_gcm_test.json"

interface CobblestoneVector {
  readonly key: string
  readonly ctx: string
  readonly ct: string
  readonly msgLength?: number
  readonly msgSha512?: string
}

const bytes = (encoded: string): Uint8Array => fromHex(encoded, "a vector")
const digestOf = (...parts: readonly Uint8Array[]): string => {
  const hash = createHash("sha512")
  for (const part of parts) hash.update(part)
  return hash.digest("hex")
}
const MiB = 2 ** 20
/** A byte at a time costs a microsecond each; the few vectors of megabytes get pieces of a prime length that no chunk begins with. */
const smallest = (length: number): number => (length < MiB / 4 ? 1 : 8191)

test(
  "a message that goes by in pieces does what Wycheproof says when it gets its 35 messages, whole and byte by byte",
  needsVectors(`wycheproof/${COBBLESTONE}`),
  async () => {
    const vectors = readWycheproof<CobblestoneVector>(COBBLESTONE)
    assert.equal(vectors.length, 35)
    const counts: Record<string, number> = { valid: 0, invalid: 0, partial: 0, counter: 0 }
    for (const { tcId, key, ctx, ct, msgLength, msgSha512, result, flags } of vectors) {
      const message = new Uint8Array(inflateSync(bytes(ct)))
      const outcomes: Outcome[] = []
      for (const size of [message.length || 1, smallest(message.length), 1021, 16_400, 65_536]) {
        const work = openingOf(bytes(key), bytes(ctx))
        const outcome = await runLater(work, piecesOf(message, size))
        outcomes.push(outcome)
        if (result === "valid") continue
        const again = await runLater(work, piecesOf(message, message.length || 1))
        assert.ok(again.error && again.delivered.length === 0, `tcId ${tcId} fails for ever`)
      }
      counts[result] = (counts[result] ?? 0) + 1
      if (flags.includes("CounterRollover")) counts["counter"] = (counts["counter"] ?? 0) + 1
      for (const { delivered, error } of outcomes) {
        if (result === "valid") {
          assert.equal(error, undefined, `tcId ${tcId}`)
          assert.equal(delivered.length, msgLength, `tcId ${tcId}`)
          assert.equal(digestOf(delivered), msgSha512, `tcId ${tcId}`)
          continue
        }
        assert.ok(
          error instanceof DecryptionFailed || (error instanceof RangeError && key.length !== 64),
          `tcId ${tcId}`,
        )
        if (!flags.includes("PartialPlaintext")) continue
        assert.ok(delivered.length <= (msgLength ?? 0), `tcId ${tcId}: more than what is authentic`)
      }
      if (flags.includes("PartialPlaintext")) {
        counts["partial"] = (counts["partial"] ?? 0) + 1
        // However it was cut into pieces, the same chunks are authentic, and what of them came is the same.
        assert.equal(digestOf((outcomes[0] as Outcome).delivered), msgSha512, `tcId ${tcId}`)
      }
      for (const { delivered } of outcomes)
        assert.ok(equal(delivered, (outcomes[0] as Outcome).delivered), `tcId ${tcId}`)
      if (result === "valid") {
        const plaintext = (outcomes[0] as Outcome).delivered
        const { head, keys } = beginMessage(bytes(key), bytes(ctx), message.slice(0, 24))
        for (const size of [plaintext.length || 1, smallest(plaintext.length)]) {
          const sealed = await runLater(new Sealing(keys), piecesOf(plaintext, size))
          assert.equal(sealed.error, undefined)
          assert.ok(equal(concat(head, sealed.delivered), message), `tcId ${tcId} sealed again`)
        }
      }
    }
    assert.deepEqual(counts, { valid: 10, invalid: 25, partial: 9, counter: 2 })
  },
)
