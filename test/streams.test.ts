import assert from "node:assert/strict"
import { randomInt } from "node:crypto"
import { after, describe, it } from "node:test"
import { setImmediate as turn } from "node:timers/promises"
import { concat, equal, randomBytes } from "../core/bytes.ts"
import { CHUNK, HEADER, SEALED_CHUNK } from "../core/cipher/chunks.ts"
import {
  type ByteTransform,
  Closed,
  type Crypto,
  DecryptionFailed,
  EncxError,
  InvalidFormat,
  InvalidInput,
  KeyNotAllowed,
  newCrypto,
  type Option,
  withBootstrap,
  withDEKCache,
  withKEKAlias,
  withKMSService,
  withObservabilityHook,
} from "../mod.ts"
import { memory } from "../providers/memory.ts"
import { within } from "./_within.ts"
import { piecesOf, through } from "./go-encx/_streams.ts"

const CONTEXT = { tenant: "acme" }
const services = memory()
const open = (...options: Option[]): Promise<Crypto> =>
  newCrypto(withKMSService(services), withKEKAlias("app"), withBootstrap({ createKEK: true }), ...options)
const crypto = await open()
after(() => crypto.close())

const seal = (plaintext: Uint8Array, size?: number | (() => number)): Promise<Uint8Array> =>
  through(crypto.encryptStream(CONTEXT), plaintext, size)
const unseal = (sealed: Uint8Array, size?: number | (() => number)): Promise<Uint8Array> =>
  through(crypto.decryptStream(CONTEXT), sealed, size)
/** Where the first chunk begins. */
const begin = (sealed: Uint8Array): number => sealed.length - crypto.inspect(sealed).bodyBytes + HEADER

/** What came out before it failed, if it did. */
async function outcome(
  sides: ByteTransform,
  pieces: Iterable<Uint8Array>,
): Promise<{ delivered: Uint8Array; error: unknown; again: unknown; writing: unknown }> {
  const caught = (error: unknown): unknown => error
  const writer = sides.writable.getWriter()
  const write = async (): Promise<void> => {
    for (const piece of pieces) await writer.write(piece)
    await writer.close()
  }
  const reader = sides.readable.getReader()
  const out: Uint8Array[] = []
  const read = async (): Promise<void> => {
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      out.push(value)
    }
  }
  const [error, writing] = await Promise.all([
    read().then(() => undefined, caught),
    write().then(() => undefined, caught),
  ])
  const again = await reader.read().then(({ done }) => done, caught)
  return { delivered: concat(...out), error, again, writing }
}

describe("encryptStream() and decryptStream()", () => {
  it("give what seal() gives, and take what it gave, whatever the pieces are", async () => {
    for (const length of [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 600_000]) {
      const plaintext = randomBytes(length)
      const inOne = await crypto.seal(plaintext, CONTEXT)
      for (const size of [length + 1, 1, 4096, CHUNK, SEALED_CHUNK, 65_536, () => randomInt(1, 40_000)]) {
        if (size === 1 && length > 20_000) continue
        const sealed = await seal(plaintext, size)
        assert.equal(sealed.length, await crypto.sealedSize(length))
        assert.equal(crypto.openedSize(sealed.length, sealed.subarray(0, 1000)), length)
        assert.ok(equal(await crypto.open(sealed, CONTEXT), plaintext))
        assert.ok(equal(await unseal(inOne, size), plaintext))
      }
      assert.ok(equal(await unseal(await seal(plaintext)), plaintext))
    }
  })

  it("work without a context, and with empty pieces in between", async () => {
    const plaintext = randomBytes(50_000)
    const gaps = function* (bytes: Uint8Array): Generator<Uint8Array> {
      for (const piece of piecesOf(bytes, 7000)) {
        yield new Uint8Array(0)
        yield Buffer.from(piece)
        yield new Uint8Array(0)
      }
    }
    const sealed = await outcome(crypto.encryptStream(), gaps(plaintext))
    assert.ok(equal(await crypto.open(sealed.delivered), plaintext))
    const opened = await outcome(crypto.decryptStream({}), gaps(sealed.delivered))
    assert.ok(opened.error === undefined && equal(opened.delivered, plaintext))
  })

  it("give blocks of which each has memory of its own, and no empty one", async () => {
    const sealed = await seal(randomBytes(300_000))
    const source = new Blob([sealed as Uint8Array<ArrayBuffer>]).stream()
    const buffers = new Set<ArrayBufferLike>()
    let count = 0
    for await (const block of source.pipeThrough(crypto.decryptStream(CONTEXT))) {
      assert.ok(block.length > 0)
      buffers.add(block.buffer)
      count++
    }
    assert.equal(buffers.size, count)
  })

  it("ask the KMS for a data key of its own, or with a size use one of the cache's", async () => {
    const mine = await open()
    await through(mine.encryptStream(), randomBytes(100))
    await through(mine.encryptStream(), randomBytes(100))
    const before = mine.stats().kms.generateDEK + mine.stats().kms.encryptDEK
    const dekIDs = new Set<string>()
    for (let i = 0; i < 3; i++) {
      const sealed = await through(mine.encryptStream(CONTEXT, { size: 100 }), randomBytes(100), 30)
      dekIDs.add(mine.inspect(sealed).dekID)
      dekIDs.add(mine.inspect(await mine.seal(randomBytes(10))).dekID)
    }
    assert.equal(dekIDs.size, 1)
    assert.equal(before, 2)
    assert.equal(mine.stats().kms.generateDEK + mine.stats().kms.encryptDEK, 3)
    const other = await through(mine.encryptStream(CONTEXT, { size: 5, partition: "b" }), randomBytes(5))
    assert.ok(!dekIDs.has(mine.inspect(other).dekID))
    assert.equal((await through(mine.decryptStream(CONTEXT, { partition: "b" }), other)).length, 5)
    await mine.close()
  })

  it("reserve the bytes of a size, so that one more than a key may seal has a key of its own", async () => {
    const mine = await open(withDEKCache({ maxBytes: 1000 }))
    const dekOf = async (size: number): Promise<string> =>
      mine.inspect(await through(mine.encryptStream({}, { size }), randomBytes(size))).dekID
    const [a, b, c, d] = [await dekOf(600), await dekOf(400), await dekOf(1), await dekOf(1001)]
    assert.equal(a, b)
    assert.notEqual(b, c)
    assert.notEqual(c, d)
    await mine.close()
  })

  it("take their options as they are at the call", async () => {
    const options: { size?: number } = { size: 3 }
    const sides = crypto.encryptStream(CONTEXT, options)
    options.size = Number.NaN
    assert.equal((await crypto.open(await through(sides, new Uint8Array(3)), CONTEXT)).length, 3)
  })

  it("take exactly as many bytes as the size says, and fail on both sides otherwise", async () => {
    for (const size of [0, 1, CHUNK, 50_000]) {
      for (const length of [size, size + 1, size - 1].filter((each) => each >= 0)) {
        for (const step of [1000, length + 1]) {
          const sides = crypto.encryptStream(CONTEXT, { size })
          const { delivered, error, again, writing } = await outcome(sides, piecesOf(randomBytes(length), step))
          if (length === size) {
            assert.equal(error, undefined)
            assert.equal((await crypto.open(delivered, CONTEXT)).length, size)
            continue
          }
          for (const each of [error, again, writing])
            assert.ok(each instanceof InvalidInput, `${size} ${length}: ${each}`)
          await assert.rejects(() => crypto.open(delivered, CONTEXT))
        }
      }
    }
    for (const size of [-1, 0.5, Number.NaN, 2 ** 53, "5" as unknown as number])
      assert.throws(() => crypto.encryptStream(CONTEXT, { size }), InvalidInput)
  })

  it("refuse a context that does not fit at once, and one that is another before any call", async () => {
    for (const method of ["encryptStream", "decryptStream"] as const)
      assert.throws(() => crypto[method]({ "": "x" }), InvalidInput)
    const sealed = await seal(randomBytes(100))
    const { decryptDEK } = crypto.stats().kms
    for (const context of [undefined, {}]) {
      const { error } = await outcome(crypto.decryptStream(context), [sealed])
      assert.ok(error instanceof DecryptionFailed)
    }
    assert.equal(crypto.stats().kms.decryptDEK, decryptDEK)
    const { delivered, error } = await outcome(crypto.decryptStream({ tenant: "other" }), [sealed])
    assert.ok(error instanceof DecryptionFailed && delivered.length === 0)
  })

  it("refuse what is no envelope as soon as it shows, and without a call", async () => {
    const sealed = await seal(randomBytes(100))
    const { decryptDEK } = crypto.stats().kms
    const changed = (at: number, value: number): Uint8Array => sealed.with(at, value)
    for (const [bytes, first] of [
      [changed(0, 0), 24],
      [changed(4, 3), 24],
      [changed(5, 9), 24],
      [changed(6, 0xff), 24],
      [changed(7, 1), 24],
      [concat(sealed.subarray(0, 24), new Uint8Array(2)), 26],
      [concat(sealed.subarray(0, 24), Uint8Array.of(0xff, 0xff)), 26],
    ] as const) {
      const { readable, writable } = crypto.decryptStream(CONTEXT)
      const writer = writable.getWriter()
      const reader = readable.getReader()
      const read = reader.read().catch((error: unknown) => error)
      // No more than that is needed to see it.
      const write = writer.write(bytes.subarray(0, first)).catch((error: unknown) => error)
      assert.ok((await within(2000, () => read)) instanceof InvalidFormat)
      assert.ok((await write) instanceof InvalidFormat)
    }
    const stranger = await newCrypto(withKMSService(memory()), withKEKAlias("app"), withBootstrap({ createKEK: true }))
    assert.ok((await outcome(stranger.decryptStream(CONTEXT), [sealed])).error instanceof KeyNotAllowed)
    await stranger.close()
    assert.equal(crypto.stats().kms.decryptDEK, decryptDEK)
  })

  it("are one operation each, from the call to the end, however that comes", async () => {
    const events: string[] = []
    const mine = await open(
      withObservabilityHook({
        onProcessStart: (name) => void events.push(`${name} begins`),
        onProcessComplete: (name, _, error) => void events.push(`${name} ${error === undefined ? "ends" : "fails"}`),
      }),
    )
    events.length = 0
    const sealed = await through(mine.encryptStream(), randomBytes(10))
    await through(mine.decryptStream(), sealed)
    await outcome(mine.decryptStream({ a: "b" }), [sealed])
    await mine.encryptStream().readable.cancel()
    await turn()
    const one = (name: string, end: string): string[] => [`${name} begins`, `${name} ${end}`]
    assert.deepEqual(events, [
      ...one("encryptStream", "ends"),
      ...one("decryptStream", "ends"),
      ...one("decryptStream", "fails"),
      ...one("encryptStream", "fails"),
    ])
    await mine.close()
  })

  it("refuse to begin after close(), and go on where they have begun", async () => {
    const mine = await open()
    const { readable, writable } = mine.encryptStream()
    const sealing = readable.getReader()
    const writer = writable.getWriter()
    const writing = (async () => {
      await writer.write(new Uint8Array(10))
      await writer.close()
    })()
    const out = [(await sealing.read()).value as Uint8Array]
    await mine.close()
    for (let next = await sealing.read(); !next.done; next = await sealing.read()) out.push(next.value)
    await writing
    assert.equal((await crypto.open(concat(...out))).length, 10)
    assert.throws(() => mine.encryptStream(), Closed)
    assert.throws(() => mine.decryptStream(), Closed)
  })
})

describe("a stream that was changed", () => {
  it("fails on both sides and for ever, and delivers an authentic beginning, some thousand times", async () => {
    const plaintext = randomBytes(2 * CHUNK + 500)
    const sealed = await seal(plaintext)
    const first = begin(sealed)
    const mutations: [string, Uint8Array][] = []
    for (let at = 0; at < first; at++) {
      mutations.push([`cut off after ${at}`, sealed.subarray(0, at)])
      mutations.push([`byte ${at} changed`, sealed.with(at, (sealed[at] as number) ^ (1 << (at & 7)))])
    }
    const ends = [first, first + SEALED_CHUNK, first + 2 * SEALED_CHUNK, sealed.length]
    for (const end of ends) {
      for (let at = end - 40; at < end + 40 && at < sealed.length; at++) {
        mutations.push([`cut off after ${at}`, sealed.subarray(0, at)])
        mutations.push([`byte ${at} changed`, sealed.with(at, (sealed[at] as number) ^ (1 << (at & 7)))])
      }
    }
    for (let more = 1; more <= 40; more++) mutations.push([`${more} more`, concat(sealed, randomBytes(more))])
    for (let i = 0; i < 200; i++) {
      const at = randomInt(first, sealed.length)
      mutations.push([`cut off after ${at}`, sealed.subarray(0, at)])
      mutations.push([`byte ${at} changed`, sealed.with(at, (sealed[at] as number) ^ (1 << (at & 7)))])
    }
    const sizes = [sealed.length, 16_000]
    for (const [what, bytes] of mutations) {
      for (const size of sizes) {
        const { delivered, error, again, writing } = await outcome(crypto.decryptStream(CONTEXT), piecesOf(bytes, size))
        // A header that names another version of a key is that of one that the KMS does not know.
        assert.ok(error instanceof EncxError, `${what}: ${error}`)
        assert.equal(again, error, what)
        // Where all was written before it showed, only the end of the writing tells.
        assert.equal(writing, error, what)
        assert.ok(
          equal(delivered, plaintext.subarray(0, delivered.length)) && delivered.length < plaintext.length,
          what,
        )
      }
    }
    assert.ok(mutations.length * sizes.length > 2000, `${mutations.length}`)
  })
})
