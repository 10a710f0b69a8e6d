/**
 * A writable and a readable side with work in between, which is done as far as it is read: it holds one piece of the writer's at
 * a time, one block of what comes of it and the one after that. `TransformStream` would hold all that comes of one large piece.
 *
 * @module
 */
import { wipe } from "../bytes.ts"

/** Blocks, one by one; one that takes time is a promise, and the next is not asked for before it is there. @internal */
export type Steps = Generator<Uint8Array | Promise<Uint8Array>, void, void>
/** The same, where what comes before the first takes time. @internal */
export type Blocks = Steps | AsyncGenerator<Uint8Array, void, void>

/** The work in between. @internal */
export interface Work {
  /** What comes of a piece, block by block; when it has ended, the piece is not looked at again. */
  push(piece: Uint8Array): Blocks
  /** What is left at the end, if anything. */
  flush(): Blocks
  /** Wipes what it holds. */
  end(): void
}

/** Both sides. @internal */
export interface Duplex {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
}

/** Ways to end a {@link Duplex} before its time. @internal */
export interface Ends {
  readonly signal: AbortSignal | undefined
  /** Called once, at whichever end: with what failed, or with nothing when all was read. */
  settled(failure?: { readonly reason: unknown }): void
}

/**
 * The two sides. Whatever fails on either fails on both.
 *
 * @param begin the work in between, asked for with the first read
 * @internal
 */
export function duplex(begin: () => Work | Promise<Work>, { signal, settled }: Ends): Duplex {
  let reader: ReadableStreamDefaultController<Uint8Array>
  let writer: WritableStreamDefaultController
  let work: Work | undefined
  // The piece that was written, or the end, until it was worked on; and who waits for that.
  let offered: { readonly piece: Uint8Array | undefined } | undefined
  let answer: PromiseWithResolvers<void> | undefined
  let blocks: Blocks | undefined
  let block: Uint8Array | undefined
  let failure: { readonly reason: unknown } | undefined
  let isWanted = false
  let isBusy = false
  let isOver = false

  // --- Ends ---

  const finish = (): void => {
    isOver = true
    if (block) wipe(block)
    signal?.removeEventListener("abort", abort)
    work?.end()
    settled(failure)
  }
  const fail = (reason: unknown): void => {
    if (!isOver) writer.error(reason)
    failReader(reason)
  }
  const failReader = (reason: unknown): void => {
    if (isOver) return
    failure = { reason }
    finish()
    answer?.reject(reason)
    reader.error(reason)
  }
  const abort = (): void => fail(signal?.reason)

  // --- Work ---

  // Goes on as far as what is read, what is written and what takes time allow. Nothing of it is a promise where nothing takes time:
  // each costs as much as to seal a kilobyte.
  const goOn = (): void => {
    if (isBusy || isOver) return
    isBusy = true
    try {
      while (step());
    } catch (error) {
      fail(error)
    }
  }
  // Whether another step may follow at once. One block ahead of what is read: so that a write is answered with the last block that
  // comes of it, and not with the read after it.
  const step = (): boolean => {
    if (block) {
      if (!isWanted) return rest()
      isWanted = false
      const read = block
      block = undefined
      reader.enqueue(read)
    }
    if (!blocks) {
      if (!isWanted) return rest()
      if (!work) return later(begin(), began)
      if (!offered) return rest()
      blocks = offered.piece ? work.push(offered.piece) : work.flush()
    }
    const result = blocks.next()
    if (result instanceof Promise || result.done) return later(result as IteratorResult<Uint8Array, void>, arrived)
    return later(result.value, received)
  }
  const rest = (): boolean => {
    isBusy = false
    return false
  }
  const later = <Value>(value: Value | Promise<Value>, take: (value: Value) => void): boolean => {
    if (!(value instanceof Promise)) {
      take(value)
      return !isOver
    }
    value
      .then((it) => {
        isBusy = false
        take(it)
        goOn()
      })
      .catch(fail)
    return false
  }
  // What comes after the end goes to nobody.
  const began = (begun: Work): void => {
    if (isOver) begun.end()
    else work = begun
  }
  const received = (value: Uint8Array): void => {
    if (isOver) wipe(value)
    else if (value.length > 0) block = value
  }
  const arrived = ({ done, value }: IteratorResult<Uint8Array, void>): void => {
    if (!done) received(value)
    else if (!isOver) worked()
  }
  const worked = (): void => {
    const isEnd = offered?.piece === undefined
    blocks = offered = undefined
    if (isEnd) finish()
    answer?.resolve()
    answer = undefined
    if (isEnd) reader.close()
  }

  // --- Sides ---

  const offer = (piece: Uint8Array | undefined): Promise<void> | undefined => {
    const mine = { piece }
    offered = mine
    goOn()
    if (offered !== mine) return undefined
    if (failure) throw failure.reason
    answer = Promise.withResolvers()
    return answer.promise
  }
  const writable = new WritableStream<Uint8Array>({
    start(controller) {
      writer = controller
      // `abort()` waits for the write that is under way, which waits for a reader that may never come.
      const { signal: aborted } = controller as { readonly signal?: AbortSignal }
      aborted?.addEventListener("abort", () => failReader(aborted.reason), { once: true })
    },
    write(piece) {
      if (piece instanceof Uint8Array) return offer(piece)
      const problem = new TypeError('Cannot use "a piece of a stream": it is not a Uint8Array')
      fail(problem)
      throw problem
    },
    close: () => offer(undefined),
    abort: failReader,
  })
  const readable = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        reader = controller
      },
      pull() {
        isWanted = true
        goOn()
      },
      cancel: fail,
    },
    // Nothing is worked on before it is read.
    { highWaterMark: 0 },
  )
  if (signal?.aborted) abort()
  else signal?.addEventListener("abort", abort, { once: true })
  return { readable, writable }
}
