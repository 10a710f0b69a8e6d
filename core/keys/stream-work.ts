/**
 * What is done with an envelope that goes by in pieces. FORMATS §1, §3.
 *
 * @module
 */
import { concat } from "../bytes.ts"
import { HEADER } from "../cipher/chunks.ts"
import { beginMessage, keysOfMessage } from "../cipher/cobblestone.ts"
import type { Blocks, Steps, Work } from "../cipher/duplex.ts"
import { bodyContext, headerLength, parseHeader } from "../cipher/envelope.ts"
import { AfterHead, Opening, Sealing } from "../cipher/stream.ts"
import { DecryptionFailed, InvalidFormat, InvalidInput } from "../errors.ts"
import type { SealStreamOptions } from "../stream-types.ts"
import type { DataKeys } from "./data-keys.ts"
import type { SealingKey } from "./dek.ts"
import type { SealOptions } from "./envelopes.ts"

const NO_PAIRS = 2

// --- Sealing ---

/** Asks for a data key and begins an envelope. @internal */
export async function beginSealing(
  dataKeys: DataKeys,
  encodedContext: Uint8Array,
  { size, ...options }: SealStreamOptions,
): Promise<Work> {
  const hasContext = encodedContext.length > NO_PAIRS
  const begin = (key: SealingKey): EnvelopeSealing => {
    const binding = bodyContext({ dekID: key.dek.id, hasContext }, encodedContext)
    const { head, keys } = beginMessage(key.dek.messages, binding)
    return new EnvelopeSealing(concat(key.header(hasContext), head), new Sealing(keys), size)
  }
  if (size !== undefined) return await dataKeys.seal("envelope", { messages: 1, bytes: size }, options, begin)
  const key = await dataKeys.keyring.generate(options)
  try {
    return begin(key)
  } finally {
    key.destroy()
  }
}

class EnvelopeSealing implements Work {
  // What stands before the first chunk, until it was handed on.
  #head: Uint8Array | undefined
  readonly #sealing: Sealing
  readonly #size: number | undefined
  #taken = 0

  constructor(head: Uint8Array, sealing: Sealing, size: number | undefined) {
    this.#head = head
    this.#sealing = sealing
    this.#size = size
  }

  push(piece: Uint8Array): Blocks {
    this.#taken += piece.length
    if (this.#size !== undefined && this.#taken > this.#size)
      throw new InvalidInput(`Cannot seal a stream: it has more than the ${this.#size} bytes that were said to come`)
    return this.#head ? this.#begun(this.#sealing.push(piece)) : this.#sealing.push(piece)
  }

  flush(): Blocks {
    if (this.#size !== undefined && this.#taken < this.#size)
      throw new InvalidInput(`Cannot seal a stream: it has ${this.#taken} bytes, and ${this.#size} were said to come`)
    return this.#head ? this.#begun(this.#sealing.flush()) : this.#sealing.flush()
  }

  *#begun(blocks: Steps): Steps {
    yield this.#head as Uint8Array
    this.#head = undefined
    yield* blocks
  }

  end(): void {
    this.#sealing.end()
  }
}

// --- Opening ---

/** Opens an envelope: the data key is asked for when all that stands before the first chunk has come. @internal */
export function beginOpening(dataKeys: DataKeys, encodedContext: Uint8Array, options: SealOptions): Work {
  return new AfterHead(lengthBeforeChunks, async (bytes) => {
    const { body, ...header } = parseHeader(bytes)
    if (body.length < HEADER) throw new InvalidFormat("Cannot read an envelope: its body is cut short")
    if (header.hasContext !== encodedContext.length > NO_PAIRS) throw new DecryptionFailed()
    const binding = bodyContext(header, encodedContext)
    return new Opening(await dataKeys.open(header, options, (dek) => keysOfMessage(dek.messages, binding, body)))
  })
}

// As far as what has come tells.
function lengthBeforeChunks(bytes: Uint8Array): number {
  const length = headerLength(bytes)
  return length > bytes.length ? length : length + HEADER
}
