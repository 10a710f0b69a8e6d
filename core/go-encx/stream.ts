/**
 * The Go library's streams: `u32 BE length ‖ nonce ‖ ciphertext ‖ tag`, again and again. FORMATS §9.
 *
 * Each chunk authenticates and nothing ties one to another: chunks that were left out, repeated, put in another order or cut off
 * at the end are not noticed. Read them where a Go program wrote them; for what is new, `seal` is the better choice.
 *
 * @module
 */
import { createSecretKey, type KeyObject } from "node:crypto"
import { abytes, randomBytes, wipe } from "../bytes.ts"
import { NONCE, openInto, sealInto, TAG } from "../cipher/aes-gcm.ts"
import { duplex, type Work } from "../cipher/duplex.ts"
import type { CallOptions } from "../contracts.ts"
import { InvalidFormat } from "../errors.ts"

const KEY = 32
const HEADER = 4
const OVERHEAD = NONCE + TAG
/** Plain bytes of a chunk, as written. */
const CHUNK = 4096
/** What a header may say. */
const MAX_CHUNK = 10 * 1024 * 1024
/** About how many bytes are handed on at once: one at a time, small chunks would cost more to pass on than to open. */
const BLOCK = 64 * 1024

/** How a stream ended. */
export interface GoStreamResult {
  /** Each chunk is authentic; that they are all, and in their order, nobody knows. */
  readonly integrity: "per-chunk"
  /** Plain bytes. */
  readonly bytes: number
  readonly chunks: number
}

/** The two sides of a stream, as `pipeThrough` takes them, and how it ended. */
export interface GoStream {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
  /** Once all was read; rejects with what failed. Nobody has to await it. */
  readonly result: Promise<GoStreamResult>
}

interface Counts {
  bytes: number
  chunks: number
}

// --- Both directions ---

/**
 * Encrypts a stream as the Go library does, in chunks of 4,096 plain bytes, however it is written. A piece is not copied: leave it
 * as it is until its write is answered.
 *
 * @param dek 32 bytes; they are copied. One key may encrypt 2³² chunks, 16 TiB (SP 800-38D §8.3)
 * @param options.signal ends both sides with its reason
 * @throws {TypeError} when the key is not a `Uint8Array`
 * @throws {RangeError} when it has not 32 bytes
 * @example
 * await file.readable.pipeThrough(encryptGoStream(dek)).pipeTo(target)
 */
export function encryptGoStream(dek: Uint8Array, options: CallOptions = {}): GoStream {
  return stream(dek, options, (key, counts) => new Sealing(key, counts))
}

/**
 * Decrypts a stream of the Go library's. Only chunks that authenticate come out, as soon as they are whole; those before one that
 * does not may be held back, where they come in the same piece.
 *
 * Its readable side fails with `DecryptionFailed` where a chunk does not authenticate, and with `InvalidFormat` where a header says
 * 0, less than 28 or more than 10 MiB, or the stream ends within a chunk or a header; the Go library takes 1 to 3 bytes of a
 * header for the end.
 *
 * @param dek 32 bytes; they are copied
 * @param options.signal ends both sides with its reason
 * @throws {TypeError} when the key is not a `Uint8Array`
 * @throws {RangeError} when it has not 32 bytes
 */
export function decryptGoStream(dek: Uint8Array, options: CallOptions = {}): GoStream {
  return stream(dek, options, (key, counts) => new Opening(key, counts))
}

function stream(dek: Uint8Array, { signal }: CallOptions, workOf: (key: KeyObject, counts: Counts) => Work): GoStream {
  abytes(dek, KEY, "dek")
  const key = createSecretKey(dek)
  const counts: Counts = { bytes: 0, chunks: 0 }
  const { promise, resolve, reject } = Promise.withResolvers<GoStreamResult>()
  // Both sides tell of a failure, too: nobody has to await the result.
  promise.catch(() => undefined)
  const sides = duplex(() => workOf(key, counts), {
    signal,
    settled: (failure) => (failure ? reject(failure.reason) : resolve({ integrity: "per-chunk", ...counts })),
  })
  return { ...sides, result: promise }
}

// --- Encrypting ---

class Sealing implements Work {
  readonly #key: KeyObject
  readonly #counts: Counts
  // The beginning of a chunk.
  readonly #kept = new Uint8Array(CHUNK)
  #length = 0

  constructor(key: KeyObject, counts: Counts) {
    this.#key = key
    this.#counts = counts
  }

  *push(piece: Uint8Array): Generator<Uint8Array, void, void> {
    let left = this.#length > 0 ? this.#keep(piece) : piece
    if (this.#length === CHUNK) {
      this.#length = 0
      yield sealChunks(this.#key, this.#kept, this.#counts)
    }
    while (left.length >= CHUNK) {
      const block = left.subarray(0, Math.min(BLOCK, left.length - (left.length % CHUNK)))
      left = left.subarray(block.length)
      yield sealChunks(this.#key, block, this.#counts)
    }
    this.#keep(left)
  }

  // Takes what the chunk lacks, and gives back what follows it.
  #keep(piece: Uint8Array): Uint8Array {
    const taken = piece.subarray(0, CHUNK - this.#length)
    this.#kept.set(taken, this.#length)
    this.#length += taken.length
    return piece.subarray(taken.length)
  }

  *flush(): Generator<Uint8Array, void, void> {
    if (this.#length > 0) yield sealChunks(this.#key, this.#kept.subarray(0, this.#length), this.#counts)
  }

  end(): void {
    wipe(this.#kept)
  }
}

function sealChunks(key: KeyObject, plaintext: Uint8Array, counts: Counts): Uint8Array {
  const chunks = Math.ceil(plaintext.length / CHUNK)
  const sealed = new Uint8Array(plaintext.length + chunks * (HEADER + OVERHEAD))
  const view = new DataView(sealed.buffer)
  // Drawn at once: for one chunk at a time that would be a quarter of the work.
  const nonces = randomBytes(chunks * NONCE)
  let offset = 0
  for (let start = 0; start < plaintext.length; start += CHUNK) {
    const chunk = plaintext.subarray(start, start + CHUNK)
    const nonce = nonces.subarray((start / CHUNK) * NONCE, (start / CHUNK + 1) * NONCE)
    view.setUint32(offset, chunk.length + OVERHEAD)
    sealed.set(nonce, offset + HEADER)
    sealInto(sealed, offset + HEADER + NONCE, key, nonce, chunk)
    offset += HEADER + OVERHEAD + chunk.length
  }
  counts.chunks += chunks
  counts.bytes += plaintext.length
  return sealed
}

// --- Decrypting ---

class Opening implements Work {
  readonly #key: KeyObject
  readonly #counts: Counts
  readonly #kept = new Unfinished()

  constructor(key: KeyObject, counts: Counts) {
    this.#key = key
    this.#counts = counts
  }

  *push(piece: Uint8Array): Generator<Uint8Array, void, void> {
    let left = piece
    if (this.#kept.length > 0) {
      left = this.#kept.fill(left)
      const whole = this.#kept.whole()
      if (whole === undefined) return
      yield* this.#open(whole)
    }
    for (;;) {
      const { length, isMore } = wholeChunks(left)
      const block = left.subarray(0, length)
      left = left.subarray(length)
      yield* this.#open(block)
      if (!isMore) break
    }
    this.#kept.fill(left)
  }

  *#open(sealed: Uint8Array): Generator<Uint8Array, void, void> {
    const plaintext = openChunks(this.#key, sealed, this.#counts)
    if (plaintext.length > 0) yield plaintext
  }

  *flush(): Generator<Uint8Array, void, void> {
    if (this.#kept.length > 0) throw malformed("it ends within a chunk, or within the header of one")
    yield* []
  }

  // What it holds is sealed.
  end(): void {}
}

/** A chunk of which the rest is still to come. Its memory grows with what has come, not with what its header says. */
class Unfinished {
  #bytes = new Uint8Array(HEADER + OVERHEAD + CHUNK)
  length = 0

  /** Takes what the chunk lacks, and gives back what follows it. */
  fill(piece: Uint8Array): Uint8Array {
    const rest = this.length < HEADER ? this.#take(piece, HEADER) : piece
    return this.length < HEADER ? rest : this.#take(rest, HEADER + chunkLength(this.#bytes))
  }

  #take(piece: Uint8Array, until: number): Uint8Array {
    const taken = piece.subarray(0, until - this.length)
    const needed = this.length + taken.length
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.min(until, Math.max(needed, 2 * this.#bytes.length)))
      larger.set(this.#bytes.subarray(0, this.length))
      this.#bytes = larger
    }
    this.#bytes.set(taken, this.length)
    this.length = needed
    return piece.subarray(taken.length)
  }

  /** The chunk with its header, once it is whole; it is valid until the next one is filled. */
  whole(): Uint8Array | undefined {
    if (this.length < HEADER || this.length < HEADER + chunkLength(this.#bytes)) return undefined
    const whole = this.#bytes.subarray(0, this.length)
    this.length = 0
    return whole
  }
}

/**
 * How many bytes from here are whole chunks, about as many as are handed on at once, and whether more may follow.
 *
 * @throws {InvalidFormat} when a header says what none may say
 */
function wholeChunks(bytes: Uint8Array): { length: number; isMore: boolean } {
  let length = 0
  while (bytes.length - length >= HEADER) {
    const next = length + HEADER + chunkLength(bytes.subarray(length))
    if (next > bytes.length) return { length, isMore: false }
    if (length > 0 && next > BLOCK) return { length, isMore: true }
    length = next
  }
  return { length, isMore: false }
}

function chunkLength(bytes: Uint8Array): number {
  const length = new DataView(bytes.buffer, bytes.byteOffset, HEADER).getUint32(0)
  if (length < OVERHEAD) throw malformed(`a chunk of ${length} bytes is shorter than its nonce and its tag`)
  if (length > MAX_CHUNK) throw malformed(`a chunk of ${length} bytes is longer than ${MAX_CHUNK}`)
  return length
}

// Nothing of a block comes out unless all of it authenticates.
function openChunks(key: KeyObject, sealed: Uint8Array, counts: Counts): Uint8Array {
  let chunks = 0
  for (let offset = 0; offset < sealed.length; offset += HEADER + chunkLength(sealed.subarray(offset))) chunks++
  const plaintext = new Uint8Array(sealed.length - chunks * (HEADER + OVERHEAD))
  let [from, to] = [0, 0]
  while (from < sealed.length) {
    const length = chunkLength(sealed.subarray(from))
    const nonce = sealed.subarray(from + HEADER, from + HEADER + NONCE)
    openInto(plaintext, to, key, nonce, sealed.subarray(from + HEADER + NONCE, from + HEADER + length))
    from += HEADER + length
    to += length - OVERHEAD
  }
  counts.chunks += chunks
  counts.bytes += plaintext.length
  return plaintext
}

function malformed(state: string): InvalidFormat {
  return new InvalidFormat(`Cannot read a stream: ${state}`)
}
