/**
 * Something sealed, of which parts are opened. FORMATS §1, §3.
 *
 * @module
 */
import { abytes, copyOf, wipe } from "../bytes.ts"
import { openRun } from "../cipher/bulk.ts"
import { CHUNK, HEADER, type MessageKeys, openedSize, SEALED_CHUNK } from "../cipher/chunks.ts"
import type { CallOptions } from "../contracts.ts"
import { DecryptionFailed, FileError, InvalidFormat, InvalidInput, LimitExceeded } from "../errors.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import { keysOfEnvelope, lengthBeforeChunks } from "../keys/envelope-body.ts"
import type { SealOptions } from "../keys/envelopes.ts"
import type { RangeSource } from "../stream-types.ts"

/** What is asked for first; a header with one or two keys and the beginning of the message fit. */
const FIRST = 4096
/** Sealed chunks that are asked for at once. */
const CHUNKS = 256

/** The beginning of an envelope, and the keys of its message. */
export interface Beginning {
  readonly keys: MessageKeys
  /** Where its chunks begin. */
  readonly chunksAt: number
  /** Bytes of the whole. */
  readonly sealedBytes: number
  /** Bytes of the plaintext, as the length says: only the last chunk tells that nothing was cut off. */
  readonly plainBytes: number
}

/**
 * Reads the header and asks for the data key.
 *
 * @throws {InvalidFormat} when it is no envelope, or has a length that none has
 */
export async function beginningOf(
  dataKeys: DataKeys,
  source: RangeSource,
  encodedContext: Uint8Array,
  options: SealOptions,
): Promise<Beginning> {
  const sealedBytes = await source.size(options)
  if (!Number.isSafeInteger(sealedBytes) || sealedBytes < 0)
    throw new InvalidInput("Cannot read a source: its size is no whole number")
  const first = await exactly(source, 0, Math.min(FIRST, sealedBytes), options)
  const chunksAt = lengthBeforeChunks(first)
  const plainBytes = openedSize(sealedBytes - chunksAt + HEADER)
  if (plainBytes === undefined) throw new InvalidFormat("Cannot read an envelope: its body is cut short")
  const head = chunksAt <= first.length ? first.subarray(0, chunksAt) : await exactly(source, 0, chunksAt, options)
  // A copy: the source may use its memory again.
  const keys = await keysOfEnvelope(dataKeys, copyOf(head), encodedContext, options)
  return { keys, chunksAt, sealedBytes, plainBytes }
}

async function exactly(
  source: Pick<RangeSource, "read">,
  offset: number,
  length: number,
  options: CallOptions,
): Promise<Uint8Array> {
  const bytes = await source.read(offset, length, options)
  abytes(bytes, undefined, "what a source gives")
  if (bytes.length === length) return bytes
  throw new FileError(`Cannot read a source: it gives ${bytes.length} bytes where ${length} were asked for`)
}

function room(length: number): Uint8Array {
  try {
    return new Uint8Array(length)
  } catch (cause) {
    throw new LimitExceeded(`Cannot read a range: there is no memory for ${length} bytes`, {
      hint: "read it in parts, or open it into a file: openFile",
      cause,
    })
  }
}

/** Reads parts of one plaintext; its key was asked for once. */
export class SealedReader {
  readonly #source: Pick<RangeSource, "read">
  readonly #beginning: Beginning
  #isEndKnown = false

  /** @internal */
  constructor(source: Pick<RangeSource, "read">, beginning: Beginning) {
    this.#source = source
    this.#beginning = beginning
  }

  /**
   * Bytes of the plaintext. The last chunk says that they are all, and is asked for it.
   *
   * @throws {DecryptionFailed} when it is not the last chunk
   */
  async size(options: CallOptions = {}): Promise<number> {
    const { plainBytes } = this.#beginning
    if (!this.#isEndKnown) wipe(await this.#open(Math.floor(plainBytes / CHUNK), options))
    return plainBytes
  }

  /**
   * The plain bytes from `offset` on, as many as asked for or as there are. A part that reaches the end tells that it is the end.
   *
   * @throws {InvalidInput} when it begins behind the end
   * @throws {DecryptionFailed} when a chunk of it does not authenticate
   * @throws {LimitExceeded} when there is no memory for so many bytes
   */
  async read(offset: number, length: number, options: CallOptions = {}): Promise<Uint8Array> {
    const { plainBytes } = this.#beginning
    const reachesEnd = offset + length >= plainBytes
    if (offset > plainBytes)
      throw new InvalidInput(`Cannot read from ${offset} on: there are ${await this.size(options)} bytes`)
    const end = Math.min(offset + length, plainBytes)
    // Memory is not asked for on the word of a length that nobody vouches for.
    if (reachesEnd && end - offset > CHUNKS * CHUNK) await this.size(options)
    const out = room(end - offset)
    try {
      const last = reachesEnd ? Math.floor(plainBytes / CHUNK) : Math.floor((end - 1) / CHUNK)
      if (out.length === 0 && !reachesEnd) return out
      for (let first = Math.floor(offset / CHUNK); first <= last; first += CHUNKS) {
        const plaintext = await this.#open(first, options, Math.min(first + CHUNKS - 1, last))
        const start = Math.max(offset - first * CHUNK, 0)
        const at = first * CHUNK + start - offset
        out.set(plaintext.subarray(start, start + out.length - at), at)
        wipe(plaintext)
      }
      return out
    } catch (error) {
      wipe(out)
      throw error
    }
  }

  async #open(first: number, options: CallOptions, last: number = first): Promise<Uint8Array> {
    const { keys, chunksAt, sealedBytes, plainBytes } = this.#beginning
    options.signal?.throwIfAborted()
    const from = chunksAt + first * SEALED_CHUNK
    const isLast = last === Math.floor(plainBytes / CHUNK)
    const to = isLast ? sealedBytes : chunksAt + (last + 1) * SEALED_CHUNK
    const sealed = await exactly(this.#source, from, to - from, options)
    const { plaintext, isWhole } = await openRun(keys, first, sealed, isLast)
    if (!isWhole) {
      wipe(plaintext)
      throw new DecryptionFailed()
    }
    if (isLast) this.#isEndKnown = true
    return plaintext
  }
}
