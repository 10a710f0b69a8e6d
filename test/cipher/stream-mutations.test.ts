import assert from "node:assert/strict"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import { concat, equal, randomBytes } from "../../core/bytes.ts"
import { CHUNK, HEADER, type MessageKeys, SEALED_CHUNK } from "../../core/cipher/chunks.ts"
import { keysOfMessage, sealMessage } from "../../core/cipher/cobblestone.ts"
import { Opening } from "../../core/cipher/stream.ts"
import { DecryptionFailed } from "../../core/errors.ts"
import { run } from "./_machine.ts"

const DEK = randomBytes(32)
const CONTEXT = randomBytes(20)
const LENGTHS = [0, 1, 16_383, 16_384, 16_385, 32_768, 49_152 + 5]
/** All of it on Node 24; elsewhere, where a cipher costs up to twenty times as much, every so-many-th place, counted from the ends of chunks. */
const STEP = process.versions["bun"] || process.versions["deno"] || !process.version.startsWith("v24.") ? 12 : 1

interface Sample {
  readonly plaintext: Uint8Array
  readonly message: Uint8Array
  readonly keys: MessageKeys
  /** Its chunks, sealed. */
  readonly chunks: readonly Uint8Array[]
}

function sample(length: number): Sample {
  const plaintext = randomBytes(length)
  const message = sealMessage(DEK, CONTEXT, plaintext)
  const keys = keysOfMessage(DEK, CONTEXT, message.subarray(0, HEADER)) as MessageKeys
  const chunks: Uint8Array[] = []
  for (let at = HEADER; at <= message.length; at += SEALED_CHUNK) chunks.push(message.subarray(at, at + SEALED_CHUNK))
  return { plaintext, message, keys, chunks }
}

let tried = 0

/** That what begins like a sample and goes on in another way fails, having delivered no more than the sample's own beginning. */
function fails({ plaintext, keys }: Sample, first: number, pieces: readonly Uint8Array[], what: string): void {
  const { delivered, error } = run(new Opening(keys, first), pieces)
  tried++
  // By hand: the message of an assertion costs more than the rest.
  const expected = plaintext.subarray(first * CHUNK, first * CHUNK + delivered.length)
  if (!(error instanceof DecryptionFailed) || !equal(delivered, expected)) assert.fail(`${what}: ${String(error)}`)
}

/** Places in so many bytes: all of them, or some and those next to both ends. Several may share them: each takes its turn, and the ends. */
function* places(length: number, turn = 0, turns = 1): Generator<number, void, void> {
  for (let at = 0; at < length; at++) if (at % (STEP * turns) === STEP * turn || at < 20 || at >= length - 20) yield at
}

/** Every place in a chunk, in one of the whole chunks of each sample, and every place of its last one. */
function* placesOf({ chunks }: Sample): Generator<{ first: number; chunk: Uint8Array; at: number }, void, void> {
  const whole = chunks.length - 1
  for (const [first, chunk] of chunks.entries()) {
    const isLast = first === whole
    for (const at of isLast ? places(chunk.length) : places(chunk.length, first, whole)) yield { first, chunk, at }
  }
}

const permutations = <Item>(items: readonly Item[]): Item[][] =>
  items.length <= 1
    ? [[...items]]
    : items.flatMap((item, i) => permutations(items.toSpliced(i, 1)).map((rest) => [item, ...rest]))

describe("a sealed stream", () => {
  // Hundreds of thousands of errors: where each was thrown takes longer to find out than to throw it.
  const { stackTraceLimit } = Error
  before(() => {
    Error.stackTraceLimit = 0
  })
  after(() => {
    Error.stackTraceLimit = stackTraceLimit
  })

  const samples = LENGTHS.map(sample)

  it("opens when nothing of it was changed, also from each of its chunks on", () => {
    for (const { plaintext, keys, chunks } of samples) {
      for (const [first] of chunks.entries()) {
        const { delivered, error } = run(new Opening(keys, first), chunks.slice(first))
        assert.equal(error, undefined)
        assert.ok(equal(delivered, plaintext.subarray(first * CHUNK)))
      }
    }
  })

  // A chunk that comes after others opens as it does alone, which the test above shows: so what is before it is left out.
  it("fails when it is cut off at any byte", () => {
    for (const each of samples)
      for (const { first, chunk, at } of placesOf(each)) fails(each, first, [chunk.subarray(0, at)], `${at} bytes`)
  })

  it("fails when any byte of it has another bit", () => {
    for (const each of samples) {
      for (const { first, chunk, at } of placesOf(each)) {
        const byte = chunk[at] as number
        chunk[at] = byte ^ (1 << (at & 7))
        fails(each, first, [chunk], `byte ${at}`)
        chunk[at] = byte
      }
      for (let at = 0; at < HEADER; at++) {
        const head = each.message.slice(0, HEADER)
        head[at] = (head[at] as number) ^ (1 << (at & 7))
        assert.equal(keysOfMessage(DEK, CONTEXT, head), undefined)
        tried++
      }
    }
  })

  it("fails when 1 to 16,401 bytes follow it", () => {
    const more = randomBytes(SEALED_CHUNK + 1)
    const some = [samples[1], samples[3], samples[6]] as Sample[]
    for (const [i, each] of some.entries()) {
      const first = each.chunks.length - 1
      const last = each.chunks[first] as Uint8Array
      for (const length of places(more.length + 1, i, some.length))
        if (length > 0) fails(each, first, [last, more.subarray(0, length)], `${length} bytes more`)
    }
  })

  it("fails when its chunks are in any other order, one is missing, twice, or another's", () => {
    const other = sample(5 * CHUNK - 7)
    for (const length of [CHUNK, 2 * CHUNK + 1, 3 * CHUNK + 1, 5 * CHUNK - 7]) {
      const each = sample(length)
      const { chunks } = each
      const [, ...orders] = permutations(chunks)
      if (chunks.length === 5) assert.equal(orders.length, 119)
      for (const order of orders) fails(each, 0, order, "another order")
      for (const [i, chunk] of chunks.entries()) {
        fails(each, 0, chunks.toSpliced(i, 1), `without chunk ${i}`)
        for (let at = 0; at <= chunks.length; at++) {
          const isSame = chunks.toSpliced(at, 0, chunk).every((it, k) => it === chunks[k])
          if (!isSame) fails(each, 0, chunks.toSpliced(at, 0, chunk), `chunk ${i} again at ${at}`)
        }
        for (const foreign of other.chunks) {
          fails(each, 0, chunks.toSpliced(i, 1, foreign), `another's in place of ${i}`)
          fails(each, 0, chunks.toSpliced(i, 0, foreign), `another's before ${i}`)
        }
      }
    }
  })

  it("fails when it is joined from two of one data key, in every way", () => {
    const [a, b] = [sample(5 * CHUNK - 7), sample(5 * CHUNK - 7)] as const
    for (let mask = 1; mask < 31; mask++) {
      const mixed = a.chunks.map((chunk, i) => ((mask >> i) & 1 ? (b.chunks[i] as Uint8Array) : chunk))
      fails(a, 0, mixed, `of both: ${mask}`)
      fails(b, 0, mixed, `of both: ${mask}`)
    }
    const other = concat(b.message.subarray(0, HEADER), ...a.chunks)
    const keys = keysOfMessage(DEK, CONTEXT, other.subarray(0, HEADER)) as MessageKeys
    fails({ ...b, keys }, 0, a.chunks, "the head of the other")
    const mixedHead = concat(a.message.subarray(0, 24), b.message.subarray(24, HEADER))
    assert.equal(keysOfMessage(DEK, CONTEXT, mixedHead), undefined)
  })

  it("was changed often enough", () => {
    assert.ok(tried > (STEP === 1 ? 180_000 : 14_000), `${tried}`)
  })
})
