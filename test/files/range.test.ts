import assert from "node:assert/strict"
import { createHash, randomInt } from "node:crypto"
import { writeFileSync } from "node:fs"
import { describe, it } from "node:test"
import { inflateSync } from "node:zlib"
import { fromHex, randomBytes } from "../../core/bytes.ts"
import { CHUNK, HEADER, openedSize, SEALED_CHUNK, sealedSize } from "../../core/cipher/chunks.ts"
import { keysOfMessage } from "../../core/cipher/cobblestone.ts"
import { SealedReader } from "../../core/files/sealed-reader.ts"
import {
  DecryptionFailed,
  FileError,
  FileNotFound,
  InvalidFormat,
  InvalidInput,
  LimitExceeded,
  newCrypto,
  type RangeSource,
  withBootstrap,
  withKEKAlias,
  withKMSService,
} from "../../mod.ts"
import { memory } from "../../providers/memory.ts"
import { newTestCrypto } from "../../testing.ts"
import { needsVectors, readWycheproof } from "../vectors.ts"
import { folderForTests, SIZES } from "./_folder.ts"

const { at } = folderForTests()
const crypto = await newTestCrypto()
const CONTEXT = { tenant: "acme" }

/** Something sealed in memory, and what was read of it. */
function memorySource(bytes: Uint8Array): RangeSource & { readonly reads: [offset: number, length: number][] } {
  const reads: [number, number][] = []
  return {
    reads,
    size: async () => bytes.length,
    read: async (offset, length) => {
      reads.push([offset, length])
      assert.ok(offset >= 0 && offset + length <= bytes.length, "it reads outside")
      return bytes.slice(offset, offset + length)
    },
  }
}

function flipped(bytes: Uint8Array, offset: number): Uint8Array {
  const changed = Uint8Array.from(bytes)
  changed[offset] = (changed[offset] as number) ^ 1
  return changed
}

describe("openRange()", () => {
  it("gives the slice that it was asked for, of every size and around every border", async () => {
    for (const size of SIZES) {
      const plaintext = randomBytes(size)
      const source = memorySource(await crypto.seal(plaintext, CONTEXT))
      const borders = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, size - CHUNK, size - 1, size, size >> 1]
      const offsets = [...new Set(borders.filter((each) => each >= 0 && each <= size))]
      for (const offset of offsets) {
        for (const length of [0, 1, CHUNK, CHUNK + 1, size, undefined]) {
          const part = await crypto.openRange(source, { offset, ...(length !== undefined && { length }) }, CONTEXT)
          const expected = plaintext.subarray(offset, length === undefined ? undefined : offset + length)
          assert.ok(Buffer.compare(part, expected) === 0, `${size}: ${offset} + ${length}`)
        }
        if (offset === 0) continue
        const tail = await crypto.openRange(source, { offset: -offset, length: 5 }, CONTEXT)
        const expected = plaintext.subarray(size - offset, size - offset + 5)
        assert.ok(Buffer.compare(tail, expected) === 0, `${size}: -${offset}`)
      }
    }
  })

  it("gives all of it where no range is given", async () => {
    const source = memorySource(await crypto.seal(Buffer.from("0123456789")))
    assert.equal(Buffer.from(await crypto.openRange(source)).toString(), "0123456789")
    assert.equal(Buffer.from(await crypto.openRange(source, undefined, {})).toString(), "0123456789")
  })

  it("counts a negative offset from the end, and from the beginning where there are fewer", async () => {
    const source = memorySource(await crypto.seal(Buffer.from("0123456789")))
    const read = async (offset: number, length?: number): Promise<string> =>
      Buffer.from(await crypto.openRange(source, { offset, ...(length !== undefined && { length }) })).toString()
    assert.deepEqual(
      [await read(-3), await read(-3, 2), await read(-99), await read(10), await read(-0)],
      [...["789", "78", "0123456789", "", "0123456789"]],
    )
  })

  it("takes paths and file: URLs", async () => {
    writeFileSync(at("sealed"), await crypto.seal(Buffer.from("0123456789"), CONTEXT))
    const part = await crypto.openRange(at("sealed"), { offset: 2, length: 3 }, CONTEXT)
    assert.equal(Buffer.from(part).toString(), "234")
    await assert.rejects(crypto.openRange(at("absent"), {}), FileNotFound)
    await assert.rejects(crypto.openRange(new URL("https://example.org/"), {}), InvalidInput)
  })

  it("reads the header and the chunks of the range, and no more", async () => {
    const size = 40 * CHUNK
    const sealed = await crypto.seal(randomBytes(size))
    const chunksAt = sealed.length - (sealedSize(size) - HEADER)
    const read = async (range: { offset?: number; length?: number }): Promise<[number, number][]> => {
      const source = memorySource(sealed)
      await crypto.openRange(source, range)
      assert.deepEqual(source.reads.shift(), [0, 4096])
      return source.reads
    }
    const chunks = (first: number, count: number): [number, number] => [
      chunksAt + first * SEALED_CHUNK,
      Math.min(count * SEALED_CHUNK, sealed.length - chunksAt - first * SEALED_CHUNK),
    ]
    assert.deepEqual(await read({ offset: 0, length: 1 }), [chunks(0, 1)])
    assert.deepEqual(await read({ offset: CHUNK - 1, length: 2 }), [chunks(0, 2)])
    assert.deepEqual(await read({ offset: 5 * CHUNK, length: CHUNK }), [chunks(5, 1)])
    assert.deepEqual(await read({ offset: 5, length: 0 }), [])
    // What reaches the end says that it is the end: the last chunk is empty here.
    assert.deepEqual(await read({ offset: 39 * CHUNK, length: CHUNK }), [chunks(39, 2)])
    assert.deepEqual(await read({ offset: 39 * CHUNK, length: CHUNK - 1 }), [chunks(39, 1)])
    assert.deepEqual(await read({ offset: -CHUNK, length: 5 }), [chunks(40, 1), chunks(39, 1)])
  })

  it("reads a long header in two steps", async () => {
    const long = await newTestCrypto()
    const sealed = await long.seal(Buffer.from("text"))
    // Entries of keys that this program does not know may be of any length.
    const { encodeHeader, parseHeader } = await import("../../core/cipher/envelope.ts")
    const { body, ...header } = parseHeader(sealed)
    const strangers = Array.from({ length: 5 }, (_, i) => ({
      ...{ provider: 1, ref: `arn:${i}`, version: 0, wrapped: randomBytes(6000) },
    }))
    const stuffed = Buffer.concat([encodeHeader({ ...header, keys: [...header.keys, ...strangers] }), body])
    const source = memorySource(stuffed)
    assert.equal(Buffer.from(await long.openRange(source, { offset: 1, length: 2 })).toString(), "ex")
    assert.equal(source.reads.length, 3)
    assert.ok(stuffed.length > 30_000)
  })

  it("refuses what lies behind the end when the end is the real one, and numbers that are none", async () => {
    const sealed = await crypto.seal(randomBytes(CHUNK))
    await assert.rejects(crypto.openRange(memorySource(sealed), { offset: CHUNK + 1 }), InvalidInput)
    const cut = sealed.subarray(0, -100)
    await assert.rejects(crypto.openRange(memorySource(cut), { offset: CHUNK + 1 }), DecryptionFailed)
    for (const range of [{ offset: 0.5 }, { offset: Number.NaN }, { length: -1 }, { length: 2 ** 60 }])
      await assert.rejects(crypto.openRange(memorySource(sealed), range), InvalidInput)
  })

  it("tells nobody a byte of a chunk that was changed, and all of those beside it", async () => {
    const plaintext = randomBytes(3 * CHUNK + 9)
    const sealed = await crypto.seal(plaintext)
    const chunksAt = sealed.length - (sealedSize(plaintext.length) - HEADER)
    for (let chunk = 0; chunk < 4; chunk++) {
      const source = memorySource(flipped(sealed, chunksAt + chunk * SEALED_CHUNK + 3))
      for (let other = 0; other < 4; other++) {
        const reading = (): Promise<Uint8Array> => crypto.openRange(source, { offset: other * CHUNK, length: 1 })
        if (other === chunk) await assert.rejects(reading, DecryptionFailed)
        else assert.equal((await reading())[0], plaintext[other * CHUNK])
      }
    }
    for (const offset of [chunksAt - 1, chunksAt - HEADER]) {
      await assert.rejects(crypto.openRange(memorySource(flipped(sealed, offset)), { length: 1 }), DecryptionFailed)
    }
  })

  it("says that the end is missing to those who read up to it or count from it, and to nobody else", async () => {
    const plaintext = randomBytes(3 * CHUNK)
    const sealed = await crypto.seal(plaintext)
    // The second last chunk, cut so that a last one of that length would be possible.
    const cut = memorySource(sealed.subarray(0, -16 - 1000))
    await assert.rejects(crypto.openRange(cut, {}), DecryptionFailed)
    await assert.rejects(crypto.openRange(cut, { offset: -1 }), DecryptionFailed)
    await assert.rejects(crypto.openRange(cut, { offset: 2 * CHUNK, length: CHUNK }), DecryptionFailed)
    const part = await crypto.openRange(cut, { offset: CHUNK, length: CHUNK })
    assert.ok(Buffer.compare(part, plaintext.subarray(CHUNK, 2 * CHUNK)) === 0)
    // Cut after a whole chunk: no message has that length.
    await assert.rejects(crypto.openRange(memorySource(sealed.subarray(0, -16)), { length: 1 }), InvalidFormat)
  })

  it("does not trust a source that gives other bytes than it was asked for", async () => {
    const sealed = await crypto.seal(randomBytes(CHUNK))
    const short: RangeSource = {
      size: async () => sealed.length,
      read: async (from, n) => sealed.slice(from, from + n - 1),
    }
    await assert.rejects(crypto.openRange(short, {}), FileError)
    for (const size of [-1, 0.5, Number.NaN, 2 ** 60, "99" as unknown as number]) {
      const wrong: RangeSource = { ...short, size: async () => size }
      await assert.rejects(crypto.openRange(wrong, {}), InvalidInput)
    }
  })

  it("asks for no memory on the word of a size that nobody vouches for", async () => {
    const sealed = await crypto.seal(randomBytes(3 * CHUNK))
    // The beginning is the true one; what follows it is not.
    const endless: RangeSource = {
      size: async () => sealed.length + 2 ** 37 * SEALED_CHUNK,
      read: async (offset, length) => {
        const bytes = new Uint8Array(length)
        bytes.set(sealed.subarray(offset, offset + length))
        return bytes
      },
    }
    for (const range of [{}, { offset: 5 }, { offset: -1 }, { length: 2 ** 53 - 1 }])
      await assert.rejects(crypto.openRange(endless, range), DecryptionFailed)
    await assert.rejects(crypto.openRange(endless, { length: 2 ** 50 }), LimitExceeded)
    assert.equal((await crypto.openRange(endless, { length: 2 * CHUNK })).length, 2 * CHUNK)
  })

  it("keeps a copy of the header, where a source uses its memory again", async () => {
    let given = new Uint8Array(0)
    const services = memory()
    const kms = {
      ...services,
      decryptDEK: async (...args: Parameters<typeof services.decryptDEK>) => {
        given.fill(0)
        return await services.decryptDEK(...args)
      },
    }
    const fresh = await newCrypto(withKMSService(kms), withKEKAlias("app"), withBootstrap({ createKEK: true }))
    const sealed = await fresh.seal(Buffer.from("text"), CONTEXT)
    const reused: RangeSource = {
      size: async () => sealed.length,
      read: async (offset, length) => {
        given = Uint8Array.from(sealed.subarray(offset, offset + length))
        return given
      },
    }
    assert.equal(Buffer.from(await fresh.openRange(reused, {}, CONTEXT)).toString(), "text")
  })

  it("ends with the caller's signal", async () => {
    const reason = new Error("on purpose")
    const source = memorySource(await crypto.seal(randomBytes(10)))
    await assert.rejects(crypto.openRange(source, {}, {}, { signal: AbortSignal.abort(reason) }), reason)
    assert.deepEqual(source.reads, [])
  })
})

describe("a reader of many parts", () => {
  it("asks for the key once", async () => {
    const plaintext = randomBytes(10 * CHUNK)
    const source = memorySource(await crypto.seal(plaintext, CONTEXT))
    const parts = await crypto.readSealed(source, CONTEXT, {}, async (reader) => {
      const size = await reader.size()
      const read: Uint8Array[] = []
      for (let offset = 0; offset < size; offset += 3 * CHUNK) read.push(await reader.read(offset, 3 * CHUNK))
      return read
    })
    assert.ok(Buffer.compare(Buffer.concat(parts), plaintext) === 0)
    assert.equal(source.reads.filter(([offset]) => offset === 0).length, 1)
  })
})

// --- Sizes ---

describe("sealedSize() and openedSize()", () => {
  it("are each other's way back, to 2^40 and beyond, and nothing lies in between", () => {
    const around = [0, 1, 2 * CHUNK, 1000 * CHUNK, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 50].flatMap((n) => [
      n - CHUNK,
      n,
      n + CHUNK,
    ])
    for (const middle of around) {
      for (let n = Math.max(0, middle - 20); n < middle + 20; n++) {
        assert.equal(openedSize(sealedSize(n)), n)
        const grows = sealedSize(n + 1) - sealedSize(n)
        assert.equal(grows, (n + 1) % CHUNK === 0 ? 17 : 1)
        for (let gap = 1; gap < grows; gap++) assert.equal(openedSize(sealedSize(n) + gap), undefined)
      }
    }
    for (let n = 0; n < HEADER + 16; n++) assert.equal(openedSize(n), undefined)
  })

  it("are those of what seal() makes", async () => {
    for (const size of SIZES) {
      const sealed = await crypto.seal(new Uint8Array(size))
      assert.equal(await crypto.sealedSize(size), sealed.length)
      assert.equal(crypto.openedSize(sealed.length, sealed.subarray(0, 33 * 1024)), size)
    }
  })

  it("refuse what is no number of bytes", async () => {
    const sealed = await crypto.seal(new Uint8Array(1))
    for (const size of [-1, 0.5, Number.NaN, 2 ** 53, "5" as unknown as number]) {
      await assert.rejects(crypto.sealedSize(size), InvalidInput)
      assert.throws(() => crypto.openedSize(size, sealed), InvalidInput)
    }
  })
})

// --- Other people's vectors ---

const COBBLESTONE = "c2sp_chunked_encryption_aes_256_gcm_test.json"

interface Vector {
  readonly key: string
  readonly ctx: string
  readonly ct: string
}

/** A reader of a bare message, or `undefined` where none can be: not committed, or of a length that no message has. */
function readerOf({ key, ctx, ct }: Vector): { reader: SealedReader; claimed: number } | undefined {
  const message = new Uint8Array(inflateSync(fromHex(ct, "a vector")))
  const claimed = openedSize(message.length)
  if (claimed === undefined || key.length !== 64) return undefined
  const keys = keysOfMessage(fromHex(key, "a key"), fromHex(ctx, "a context"), message.subarray(0, HEADER))
  if (!keys) return undefined
  const beginning = { keys, chunksAt: HEADER, sealedBytes: message.length, plainBytes: claimed }
  return { reader: new SealedReader(memorySource(message), beginning), claimed }
}

/** What can be read from the beginning on, chunk by chunk. */
async function longestPrefix(reader: SealedReader, claimed: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  // Up to the end and no further: what reaches it is read with the last chunk.
  for (let offset = 0; offset + CHUNK < claimed; offset += CHUNK) {
    const chunk = await reader.read(offset, CHUNK).catch(() => undefined)
    if (!chunk) break
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

describe("random access", () => {
  it("does what Wycheproof says of its 35 messages", needsVectors(`wycheproof/${COBBLESTONE}`), async (context) => {
    const vectors = readWycheproof<Vector & { flags: string[]; msgLength?: number; msgSha512?: string }>(COBBLESTONE)
    assert.equal(vectors.length, 35)
    let ends = 0
    let parts = 0
    for (const vector of vectors) {
      const opened = readerOf(vector)
      if (!opened) {
        assert.equal(vector.result, "invalid")
        continue
      }
      const { reader, claimed } = opened
      const hasEnd = vector.result === "valid" || vector.flags.includes("ValidFinalChunk")
      const end = await reader.read(claimed, 1).catch((error: unknown) => error)
      assert.equal(end instanceof Uint8Array, hasEnd, `tcId ${vector.tcId} ${vector.comment}: ${end}`)
      if (hasEnd) {
        ends++
        assert.equal(await reader.size(), claimed)
      } else {
        await assert.rejects(reader.size(), DecryptionFailed)
        await assert.rejects(reader.read(claimed + 1, 1), DecryptionFailed)
      }
      if (vector.result === "valid") {
        const whole = await reader.read(0, claimed)
        assert.equal(whole.length, vector.msgLength)
        for (let i = 0; i < 1000; i++, parts++) {
          const offset = randomInt(claimed + 1)
          const length = randomInt(i % 2 === 0 ? 3 * CHUNK : 100)
          const part = await reader.read(offset, length)
          assert.ok(Buffer.compare(part, whole.subarray(offset, offset + length)) === 0)
        }
      } else {
        await assert.rejects(reader.read(0, Number.POSITIVE_INFINITY), DecryptionFailed)
        const prefix = await longestPrefix(reader, claimed)
        const { msgLength = 0, msgSha512 } = vector
        // The chunk before an empty last one is read with it.
        assert.equal(prefix.length, msgLength === claimed && claimed > 0 ? msgLength - CHUNK : msgLength)
        if (prefix.length > 0) assert.equal(createHash("sha512").update(prefix).digest("hex"), msgSha512)
      }
    }
    assert.equal(parts, 10_000)
    context.diagnostic?.(`${ends} ends, ${parts} parts`)
  })
})
