/**
 * Something sealed, of which parts are opened. FORMATS §1, §3.
 *
 * @module
 */

import { abytes, wipe } from "../bytes.ts"
import { CHUNK, HEADER, type MessageKeys, openChunks, openedSize, SEALED_CHUNK } from "../cipher/chunks.ts"
import { keysOfMessage } from "../cipher/cobblestone.ts"
import { type Context, encodeContext } from "../cipher/context.ts"
import { bodyContext, headerLength, parseHeader } from "../cipher/envelope.ts"
import type { CallOptions } from "../contracts.ts"
import { DecryptionFailed, FileError, InvalidFormat, InvalidInput } from "../errors.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import type { SealOptions } from "../keys/envelopes.ts"
import type { RangeSource } from "../stream-types.ts"

const NO_PAIRS = 2
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
  context: Context | undefined,
  options: SealOptions,
): Promise<Beginning> {
  const encoded = encodeContext(context)
  const sealedBytes = await source.size(options)
  if (!Number.isSafeInteger(sealedBytes) || sealedBytes < 0)
    throw new InvalidInput("Cannot read a source: its size is no whole number")
  const first = await exactly(source, 0, Math.min(FIRST, sealedBytes), options)
  const length = headerLength(first) + HEADER
  const head = length <= first.length ? first : await exactly(source, 0, Math.min(length, sealedBytes), options)
  const { body, ...header } = parseHeader(head)
  const bodyAt = head.length - body.length
  const plainBytes = openedSize(sealedBytes - bodyAt)
  if (plainBytes === undefined) throw new InvalidFormat("Cannot read an envelope: its body is cut short")
  if (header.hasContext !== encoded.length > NO_PAIRS) throw new DecryptionFailed()
  const binding = bodyContext(header, encoded)
  const message = body.subarray(0, HEADER)
  const keys = await dataKeys.open(header, options, (dek) => keysOfMessage(dek.messages, binding, message))
  return { keys, chunksAt: bodyAt + HEADER, sealedBytes, plainBytes }
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
   */
  async read(offset: number, length: number, options: CallOptions = {}): Promise<Uint8Array> {
    const { plainBytes } = this.#beginning
    const reachesEnd = offset + length >= plainBytes
    if (offset > plainBytes)
      throw new InvalidInput(`Cannot read from ${offset} on: there are ${await this.size(options)} bytes`)
    const end = Math.min(offset + length, plainBytes)
    const out = new Uint8Array(end - offset)
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
    const { plaintext, isWhole } = openChunks(keys, first, sealed, isLast)
    if (!isWhole) {
      wipe(plaintext)
      throw new DecryptionFailed()
    }
    if (isLast) this.#isEndKnown = true
    return plaintext
  }
}
