/**
 * A Cobblestone-256 message that goes by in pieces: its chunks sealed and opened as they come whole. FORMATS §1.
 *
 * @module
 */
import { concat, memory, wipe } from "../bytes.ts"
import { DecryptionFailed } from "../errors.ts"
import { TAG } from "./aes-gcm.ts"
import { openBlock, sealBlock } from "./bulk.ts"
import { CHUNK, type MessageKeys, type Opened, SEALED_CHUNK } from "./chunks.ts"
import type { Blocks, Steps, Work } from "./duplex.ts"

/** How many chunks are worked on at once, and handed on as one block. */
const BLOCK = 32

/** Finds the whole chunks in pieces, and keeps the beginning of the next one. */
class Chunks {
  readonly #kept: Uint8Array
  #length = 0

  /** @param size bytes of a whole chunk */
  constructor(size: number) {
    this.#kept = memory(size)
  }

  /** Whole chunks, a block of them at a time: the one that came in parts, then those that lie in the piece. */
  *of(piece: Uint8Array): Generator<readonly Uint8Array[], void, void> {
    const size = this.#kept.length
    let left = this.#length > 0 ? this.#keep(piece) : piece
    let runs: Uint8Array[] = []
    if (this.#length === size) {
      this.#length = 0
      runs.push(this.#kept)
    }
    while (runs.length > 0 || left.length >= size) {
      const run = left.subarray(0, Math.min((BLOCK - runs.length) * size, left.length - (left.length % size)))
      left = left.subarray(run.length)
      yield run.length > 0 ? [...runs, run] : runs
      runs = []
    }
    this.#keep(left)
  }

  // Takes what the chunk lacks, and gives back what follows it.
  #keep(piece: Uint8Array): Uint8Array {
    const taken = piece.subarray(0, this.#kept.length - this.#length)
    this.#kept.set(taken, this.#length)
    this.#length += taken.length
    return piece.subarray(taken.length)
  }

  /** What is no whole chunk. */
  get rest(): Uint8Array {
    return this.#kept.subarray(0, this.#length)
  }

  wipe(): void {
    wipe(this.#kept)
  }
}

/** Seals the chunks of a message that is begun. @internal */
export class Sealing implements Work {
  readonly #keys: MessageKeys
  readonly #chunks = new Chunks(CHUNK)
  #next: number

  /** @param first the index of the first chunk: anything but 0 is for tests */
  constructor(keys: MessageKeys, first = 0) {
    this.#keys = keys
    this.#next = first
  }

  *push(piece: Uint8Array): Steps {
    for (const runs of this.#chunks.of(piece)) {
      yield sealBlock(this.#keys, this.#next, runs, false)
      this.#next += countOf(runs, CHUNK)
    }
  }

  *flush(): Steps {
    yield sealBlock(this.#keys, this.#next, [this.#chunks.rest], true)
  }

  end(): void {
    this.#chunks.wipe()
  }
}

/** Opens the chunks of a message whose keys are known. What it hands on is authentic; once it has failed, it fails for ever. @internal */
export class Opening implements Work {
  readonly #keys: MessageKeys
  readonly #chunks = new Chunks(SEALED_CHUNK)
  #next: number
  #isBroken = false

  /** @param first the index of the first chunk: anything but 0 is for tests */
  constructor(keys: MessageKeys, first = 0) {
    this.#keys = keys
    this.#next = first
  }

  *push(piece: Uint8Array): Steps {
    if (this.#isBroken) throw new DecryptionFailed()
    for (const runs of this.#chunks.of(piece)) {
      yield* this.#open(runs, false)
      this.#next += countOf(runs, SEALED_CHUNK)
    }
  }

  // The last chunk is shorter than the others, so that a message that was cut off between two of them has none.
  *flush(): Steps {
    const { rest } = this.#chunks
    this.#isBroken ||= rest.length < TAG
    if (this.#isBroken) throw new DecryptionFailed()
    yield* this.#open([rest], true)
  }

  *#open(runs: readonly Uint8Array[], isLast: boolean): Steps {
    const release = ({ plaintext, isWhole }: Opened): Uint8Array => {
      this.#isBroken = !isWhole
      return plaintext
    }
    const opened = openBlock(this.#keys, this.#next, runs, isLast)
    yield opened instanceof Promise ? opened.then(release) : release(opened)
    // What is authentic before it was released.
    if (this.#isBroken) throw new DecryptionFailed()
  }

  // What it keeps is sealed.
  end(): void {}
}

function countOf(runs: readonly Uint8Array[], size: number): number {
  return runs.reduce((sum, run) => sum + run.length / size, 0)
}

/** Work that begins when all that stands before the first chunk has come. @internal */
export class AfterHead implements Work {
  readonly #needed: (head: Uint8Array) => number
  readonly #begin: (head: Uint8Array) => Promise<Work>
  #head: Uint8Array = new Uint8Array(0)
  #beginning: Promise<Work> | undefined
  #work: Work | undefined

  /**
   * @param needed how many bytes that is, as far as what there is of it tells
   * @param begin called once, with all of it; or with what there is, where no more comes, which it refuses
   */
  constructor(needed: (head: Uint8Array) => number, begin: (head: Uint8Array) => Promise<Work>) {
    this.#needed = needed
    this.#begin = begin
  }

  push(piece: Uint8Array): Blocks {
    return this.#work ? this.#work.push(piece) : this.#collect(piece)
  }

  async *#collect(piece: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
    let left = piece
    for (;;) {
      const missing = this.#needed(this.#head) - this.#head.length
      if (missing === 0) break
      if (left.length === 0) return
      this.#head = concat(this.#head, left.subarray(0, missing))
      left = left.subarray(missing)
    }
    yield* (await this.#started()).push(left)
  }

  flush(): Blocks {
    return this.#work ? this.#work.flush() : this.#cutShort()
  }

  async *#cutShort(): AsyncGenerator<Uint8Array, void, void> {
    yield* (await this.#started()).flush()
  }

  async #started(): Promise<Work> {
    this.#beginning ??= this.#begin(this.#head)
    this.#work = await this.#beginning
    return this.#work
  }

  end(): void {
    this.#work?.end()
  }
}
