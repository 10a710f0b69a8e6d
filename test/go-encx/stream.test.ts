import assert from "node:assert/strict"
import { randomInt } from "node:crypto"
import { describe, it } from "node:test"
import { setImmediate as turn } from "node:timers/promises"
import { concat, equal, randomBytes, u32 } from "../../core/bytes.ts"
import { decryptData, encryptData } from "../../core/cipher/aes-gcm.ts"
import { DecryptionFailed, InvalidFormat } from "../../core/errors.ts"
import { decryptGoStream, encryptGoStream, type GoStream } from "../../core/go-encx/mod.ts"
import { within } from "../_within.ts"
import { patterned, through } from "./_streams.ts"

const DEK = randomBytes(32)
const CHUNK = 4096
const encrypt = (plaintext: Uint8Array, size?: number | (() => number)): Promise<Uint8Array> =>
  through(encryptGoStream(DEK), plaintext, size)
const decrypt = (sealed: Uint8Array, size?: number | (() => number)): Promise<Uint8Array> =>
  through(decryptGoStream(DEK), sealed, size)
/** A chunk of any length, which the writer here would not make. */
const chunk = (plaintext: Uint8Array): Uint8Array => concat(u32(plaintext.length + 28), encryptData(plaintext, DEK))

/** The chunks of a stream, each with its header. */
function chunksOf(stream: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = []
  const view = new DataView(stream.buffer, stream.byteOffset)
  for (let at = 0; at < stream.length; ) {
    const next = at + 4 + view.getUint32(at)
    chunks.push(stream.subarray(at, next))
    at = next
  }
  return chunks
}

const fails =
  (Class: typeof InvalidFormat | typeof DecryptionFailed, message = /./) =>
  (error: unknown): boolean =>
    error instanceof Class && message.test(error.message)

describe("encryptGoStream()", () => {
  it("defect 4: fills its chunks with 4,096 bytes, whatever the pieces are that it is written in", async () => {
    for (const length of [0, 1, 4095, 4096, 4097, 8191, 8192, 20_000, 200_000]) {
      const plaintext = patterned(length)
      for (const size of [length + 1, 4096, 4095, 1, 777, () => randomInt(1, 9000)]) {
        if (size === 1 && length > 8192) continue
        const stream = encryptGoStream(DEK)
        const chunks = chunksOf(await through(stream, plaintext, size))
        const opened = chunks.map((each) => decryptData(each.subarray(4), DEK))
        assert.ok(equal(concat(...opened), plaintext))
        assert.equal(chunks.length, Math.ceil(length / CHUNK))
        for (const each of opened.slice(0, -1)) assert.equal(each.length, CHUNK)
        assert.deepEqual(await stream.result, { integrity: "per-chunk", bytes: length, chunks: chunks.length })
      }
    }
  })

  it("takes pieces that are empty, or part of something larger", async () => {
    const { readable, writable } = encryptGoStream(DEK)
    const writer = writable.getWriter()
    const large = patterned(10_000)
    const writing = (async () => {
      await writer.write(new Uint8Array(0))
      await writer.write(large.subarray(100, 200))
      await writer.write(Buffer.from(large.subarray(200, 9000)))
      await writer.write(new Uint8Array(0))
      await writer.close()
    })()
    const out: Uint8Array[] = []
    for await (const piece of readable) out.push(piece)
    await writing
    assert.ok(equal(await decrypt(concat(...out)), large.subarray(100, 9000)))
  })

  it("does not look at a piece again once its write is answered", async () => {
    const { readable, writable } = encryptGoStream(DEK)
    const writer = writable.getWriter()
    const writing = (async () => {
      const piece = new Uint8Array(3000)
      for (let i = 1; i <= 4; i++) {
        piece.fill(i)
        await writer.write(piece)
      }
      piece.fill(0xff)
      await writer.close()
    })()
    const out: Uint8Array[] = []
    for await (const each of readable) out.push(each)
    await writing
    const expected = concat(...[1, 2, 3, 4].map((i) => new Uint8Array(3000).fill(i)))
    assert.ok(equal(await decrypt(concat(...out)), expected))
  })

  it("never uses a nonce again", async () => {
    const chunks = chunksOf(await encrypt(new Uint8Array(100 * CHUNK)))
    assert.equal(new Set(chunks.map((each) => String(each.subarray(4, 16)))).size, 100)
  })

  it("refuses a key that has not 32 bytes, at once", () => {
    for (const length of [0, 16, 24, 31, 33]) {
      assert.throws(() => encryptGoStream(new Uint8Array(length)), RangeError)
      assert.throws(() => decryptGoStream(new Uint8Array(length)), RangeError)
    }
    assert.throws(() => encryptGoStream("key" as unknown as Uint8Array), TypeError)
  })

  it("keeps the key, whatever becomes of the caller's bytes", async () => {
    const dek = Uint8Array.from(DEK)
    const stream = encryptGoStream(dek)
    dek.fill(0)
    assert.ok(equal(await decrypt(await through(stream, patterned(5000))), patterned(5000)))
  })
})

describe("decryptGoStream()", () => {
  it("gives back what was encrypted, whatever the pieces are that it is read in", async () => {
    for (const length of [0, 1, 4095, 4096, 4097, 8192, 30_000, 150_000]) {
      const plaintext = patterned(length)
      const sealed = await encrypt(plaintext)
      for (const size of [sealed.length + 1, 1, 3, 4, 5, 4128, 4129, () => randomInt(1, 12_000)]) {
        if (typeof size === "number" && size < 5 && length > 8192) continue
        const stream = decryptGoStream(DEK)
        assert.ok(equal(await through(stream, sealed, size), plaintext), `${length} bytes by ${size}`)
        const chunks = Math.ceil(length / CHUNK)
        assert.deepEqual(await stream.result, { integrity: "per-chunk", bytes: length, chunks })
      }
    }
  })

  it("reads chunks of every length that the Go library reads, and empty ones", async () => {
    const lengths = [0, 1, 0, 5000, 3, 100_000, 10 * 2 ** 20 - 28, 0]
    const plaintexts = lengths.map(patterned)
    const sealed = concat(...plaintexts.map(chunk))
    for (const size of [sealed.length, 65_536, 50_000]) {
      const stream = decryptGoStream(DEK)
      assert.ok(equal(await through(stream, sealed, size), concat(...plaintexts)))
      assert.equal((await stream.result).chunks, lengths.length)
    }
    const empty = decryptGoStream(DEK)
    assert.equal(
      (await through(empty, concat(...Array.from({ length: 50 }, () => chunk(new Uint8Array(0)))), 7)).length,
      0,
    )
    assert.equal((await empty.result).chunks, 50)
  })

  it("refuses a header that says 0, less than a nonce and a tag, or more than 10 MiB", async () => {
    const good = await encrypt(patterned(100))
    for (const length of [0, 1, 12, 27, 10 * 2 ** 20 + 1, 2 ** 31, 2 ** 32 - 1]) {
      for (const before of [new Uint8Array(0), good]) {
        const sealed = concat(before, u32(length), new Uint8Array(40))
        for (const size of [sealed.length, 1])
          await assert.rejects(() => decrypt(sealed, size), fails(InvalidFormat, /of \d+ bytes/))
      }
    }
  })

  it("makes nothing of a header that says 10 MiB before the bytes are there", async () => {
    const before = process.memoryUsage().arrayBuffers
    const streams = Array.from({ length: 40 }, () => decryptGoStream(DEK))
    const readers = streams.map(({ readable }) => readable.getReader())
    const reads = readers.map((reader) => reader.read())
    const writers = streams.map(({ writable }) => writable.getWriter())
    for (const writer of writers) await writer.write(concat(u32(10 * 2 ** 20), new Uint8Array(100)))
    assert.ok(process.memoryUsage().arrayBuffers - before < 40 * 2 ** 20)
    for (const [i, reader] of readers.entries()) {
      await reader.cancel()
      assert.equal((await reads[i])?.done, true)
    }
  })

  it("defect 3: refuses an end within a chunk, and one within a header, which the Go library takes for the end", async () => {
    const sealed = await encrypt(patterned(5000))
    const [first = 0] = chunksOf(sealed).map(({ length }) => length)
    for (const cut of [1, 2, 3, 4, 5, 16, 27, 31, first - 1, first + 1, first + 2, first + 3, sealed.length - 1]) {
      for (const size of [sealed.length, 1])
        await assert.rejects(
          () => decrypt(sealed.subarray(0, cut), size),
          fails(InvalidFormat, /ends within/),
          `${cut}`,
        )
    }
    for (const more of [1, 2, 3])
      await assert.rejects(() => decrypt(concat(sealed, new Uint8Array(more))), fails(InvalidFormat, /ends within/))
  })

  it("refuses every change of a bit, another key, and a chunk that was joined to another", async () => {
    const sealed = await encrypt(patterned(60))
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Uint8Array.from(sealed)
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      await assert.rejects(
        () => decrypt(changed),
        // The header's bits make the chunk another length; those of the rest do not authenticate.
        (error) =>
          (bit >= 32 && error instanceof DecryptionFailed) ||
          (bit < 32 && (error instanceof InvalidFormat || error instanceof DecryptionFailed)),
        `bit ${bit}`,
      )
    }
    await assert.rejects(() => through(decryptGoStream(randomBytes(32)), sealed), fails(DecryptionFailed))
    const [a, b] = [chunk(patterned(10)), chunk(patterned(20))]
    const joined = concat(u32(a.length + b.length - 8), a.subarray(4), b.subarray(4))
    await assert.rejects(() => decrypt(joined), fails(DecryptionFailed))
  })

  it("lets out what came before a chunk that fails, and nothing of it or after it", async () => {
    const chunks = chunksOf(await encrypt(patterned(3 * CHUNK)))
    const bad = Uint8Array.from(chunks[1] as Uint8Array)
    bad[bad.length - 1] = (bad[bad.length - 1] as number) ^ 1
    const { readable, writable, result } = decryptGoStream(DEK)
    const reader = readable.getReader()
    const writer = writable.getWriter()
    const writes = [chunks[0], bad, chunks[2]].map((each) =>
      writer.write(each as Uint8Array).then(
        () => "written",
        () => "failed",
      ),
    )
    assert.ok(equal((await reader.read()).value as Uint8Array, patterned(CHUNK)))
    for (const call of [() => reader.read(), () => reader.closed, () => writer.closed, () => result])
      await assert.rejects(call, fails(DecryptionFailed))
    assert.deepEqual(await Promise.all(writes), ["written", "failed", "failed"])
  })

  it("defect 3: does not notice chunks that are missing, twice, in another order or another stream's: its result says so", async () => {
    const [a, b] = (await Promise.all([encrypt(patterned(2 * CHUNK)), encrypt(patterned(CHUNK))])).flatMap(chunksOf)
    for (const sealed of [[a], [b, a], [a, a], [b, b, a]] as Uint8Array[][]) {
      const stream = decryptGoStream(DEK)
      await through(stream, concat(...sealed))
      assert.equal((await stream.result).integrity, "per-chunk")
    }
  })
})

for (const [name, make] of [
  ["encryptGoStream()", encryptGoStream],
  ["decryptGoStream()", decryptGoStream],
] as const) {
  describe(`${name}, at its ends`, () => {
    /** A stream that waits for more, within a chunk. */
    const waiting = async (signal?: AbortSignal) => {
      const stream = make(DEK, signal ? { signal } : {})
      const writer = stream.writable.getWriter()
      const reader = stream.readable.getReader()
      const read = reader.read().then(
        (it) => it,
        (error: unknown) => error,
      )
      await writer.write(name.startsWith("encrypt") ? new Uint8Array(10) : concat(u32(100), new Uint8Array(10)))
      return { ...stream, writer, reader, read }
    }

    it("does nothing before it is read", async () => {
      const { writable, readable } = make(DEK)
      const writer = writable.getWriter()
      let answered = 0
      const piece = name.startsWith("encrypt") ? new Uint8Array(CHUNK) : chunk(new Uint8Array(CHUNK))
      const writes = [1, 2, 3].map(() => writer.write(piece).then(() => answered++))
      for (let i = 0; i < 20; i++) await turn()
      assert.equal(answered, 0)
      assert.ok((writer.desiredSize as number) <= 0)
      const reader = readable.getReader()
      await reader.read()
      for (let i = 0; i < 20; i++) await turn()
      assert.ok(answered <= 1, `${answered}`)
      await reader.read()
      await reader.read()
      // With the last block that comes of a piece, its write is answered.
      await Promise.all(writes)
      await reader.cancel()
    })

    it("works on one large piece block by block, as it is read", async () => {
      const plain = new Uint8Array(2 * 2 ** 20)
      const input = name.startsWith("encrypt") ? plain : await encrypt(plain)
      const { readable, writable, result } = make(DEK)
      const writer = writable.getWriter()
      const writing = (async () => {
        await writer.write(input)
        await writer.close()
      })()
      const reader = readable.getReader()
      const blocks = [(await reader.read()).value as Uint8Array]
      // It has not come that far yet, so it sees the change.
      input[input.length - 1] = (input.at(-1) as number) ^ 7
      const readOn = async (): Promise<void> => {
        for (;;) {
          const { value, done } = await reader.read()
          if (done) return
          blocks.push(value)
        }
      }
      if (name.startsWith("decrypt")) {
        await assert.rejects(readOn, fails(DecryptionFailed))
        await assert.rejects(() => writing, fails(DecryptionFailed))
        await assert.rejects(() => result, fails(DecryptionFailed))
      } else {
        await readOn()
        await writing
        assert.equal((await decrypt(concat(...blocks))).at(-1), 7)
        assert.equal((await result).bytes, plain.length)
      }
      assert.ok(blocks.length >= 30 && blocks.every(({ length }) => length <= 70_000))
    })

    it("ends both sides with the signal's reason, at any time", async () => {
      const reason = new Error("enough")
      const aborted = make(DEK, { signal: AbortSignal.abort(reason) })
      for (const call of [
        () => aborted.readable.getReader().read(),
        () => aborted.writable.getWriter().write(new Uint8Array(1)),
        () => aborted.result,
      ])
        await assert.rejects(call, (error) => error === reason)
      const controller = new AbortController()
      const { writer, read, result } = await waiting(controller.signal)
      controller.abort(reason)
      assert.equal(await read, reason)
      for (const call of [() => writer.closed, () => writer.write(new Uint8Array(1)), () => result])
        await assert.rejects(call, (error) => error === reason)
    })

    it("forgets the signal once it has ended", async () => {
      const { signal } = new AbortController()
      let listeners = 0
      const add = signal.addEventListener.bind(signal)
      const remove = signal.removeEventListener.bind(signal)
      signal.addEventListener = ((...args: Parameters<typeof add>) => {
        listeners++
        add(...args)
      }) as typeof add
      signal.removeEventListener = ((...args: Parameters<typeof remove>) => {
        listeners--
        remove(...args)
      }) as typeof remove
      await through(make(DEK, { signal }), new Uint8Array(0))
      assert.equal(listeners, 0)
    })

    it("fails its writer when the reader cancels", async () => {
      const reason = new Error("not wanted")
      const { writer, reader, result } = await waiting()
      await reader.cancel(reason)
      for (const call of [() => writer.write(new Uint8Array(1)), () => writer.closed, () => result])
        await assert.rejects(call, (error) => error === reason)
    })

    it("fails its reader when the writer aborts, even where a write waits for a reader", async () => {
      const reason = new Error("no more")
      const { writer, read, result } = await waiting()
      await writer.abort(reason)
      assert.equal(await read, reason)
      await assert.rejects(
        () => result,
        (error) => error === reason,
      )

      const idle = make(DEK)
      const idleWriter = idle.writable.getWriter()
      const write = idleWriter.write(new Uint8Array(100)).catch((error: unknown) => error)
      await turn()
      await within(2000, () => idleWriter.abort(reason))
      assert.equal(await write, reason)
      await assert.rejects(
        () => idle.readable.getReader().read(),
        (error) => error === reason,
      )
    })

    it("refuses a piece that is no bytes", async () => {
      for (const wrong of ["text", [1], null, new ArrayBuffer(4)]) {
        const { readable, writable, result } = make(DEK)
        const writer = writable.getWriter()
        await assert.rejects(() => writer.write(wrong as unknown as Uint8Array), TypeError)
        await assert.rejects(() => readable.getReader().read(), TypeError)
        await assert.rejects(() => result, TypeError)
      }
    })

    it("leaves no rejection behind when nobody looks at its result", async () => {
      const stream: GoStream = make(DEK)
      await stream.readable.cancel(new Error("gone"))
      await turn()
    })
  })
}
