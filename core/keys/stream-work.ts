/**
 * What is done with an envelope that goes by in pieces. FORMATS §1, §3.
 *
 * @module
 */
import type { Blocks, Steps, Work } from "../cipher/duplex.ts"
import { AfterHead, Opening, Sealing } from "../cipher/stream.ts"
import { InvalidInput } from "../errors.ts"
import type { SealStreamOptions } from "../stream-types.ts"
import { ALL, type DataKeys } from "./data-keys.ts"
import { beginEnvelope, keysOfEnvelope, lengthBeforeChunks } from "./envelope-body.ts"
import type { SealOptions } from "./envelopes.ts"

// --- Sealing ---

/** Asks for a data key and begins an envelope. @internal */
export async function beginSealing(
  dataKeys: DataKeys,
  encodedContext: Uint8Array,
  { size, ...options }: SealStreamOptions,
): Promise<Work> {
  const use = size === undefined ? ALL : { messages: 1, bytes: size }
  return await dataKeys.seal("envelope", use, options, (key) => {
    const { head, keys } = beginEnvelope(key, encodedContext)
    return new EnvelopeSealing(head, new Sealing(keys), size)
  })
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
  return new AfterHead(
    lengthBeforeChunks,
    async (head) => new Opening(await keysOfEnvelope(dataKeys, head, encodedContext, options)),
  )
}
