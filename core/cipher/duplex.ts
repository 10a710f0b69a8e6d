/**
 * A writable and a readable side with work in between, which is done as far as it is read: it holds one piece of the writer's at
 * a time and one block of what comes of it. `TransformStream` would hold all that comes of one large piece.
 *
 * @module
 */

/** The work in between. @internal */
export interface Work {
  /** What comes of a piece, block by block; when it has ended, the piece is not looked at again. */
  push(piece: Uint8Array): Iterator<Uint8Array, void, void>
  /** What is left at the end, if anything. */
  flush(): Uint8Array | undefined
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

/** The two sides. Whatever fails on either fails on both. @internal */
export function duplex(work: Work, { signal, settled }: Ends): Duplex {
  let arrival = Promise.withResolvers<Uint8Array | undefined>()
  // Answers the write, or the close, that waits until its piece was worked on.
  let answer: { resolve(): void; reject(reason: unknown): void } | undefined
  let reader: ReadableStreamDefaultController<Uint8Array>
  let writer: WritableStreamDefaultController
  let blocks: Iterator<Uint8Array, void, void> | undefined
  let next: IteratorResult<Uint8Array, void>
  let isOver = false

  const finish = (failure?: { readonly reason: unknown }): void => {
    isOver = true
    signal?.removeEventListener("abort", abort)
    work.end()
    settled(failure)
  }
  const fail = (reason: unknown): void => {
    if (!isOver) writer.error(reason)
    failReader(reason)
  }
  const failReader = (reason: unknown): void => {
    if (isOver) return
    finish({ reason })
    answer?.reject(reason)
    reader.error(reason)
    // Where nobody waits for a piece, the two sides have told it.
    arrival.promise.catch(() => undefined)
    arrival.reject(reason)
  }
  const abort = (): void => fail(signal?.reason)

  const deliver = (piece: Uint8Array | undefined): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    answer = { resolve, reject }
    arrival.resolve(piece)
    return promise
  }
  // One block ahead of what is read: so that a write is answered with the last block that comes of it, and not with the read after it.
  const advance = (): void => {
    next = (blocks as Iterator<Uint8Array, void, void>).next()
    if (!next.done) return
    blocks = undefined
    answer?.resolve()
  }
  const close = (): void => {
    const last = work.flush()
    if (last) reader.enqueue(last)
    finish()
    answer?.resolve()
    reader.close()
  }
  // Until one block was handed on, or all was.
  const handOn = async (): Promise<void> => {
    while (!blocks) {
      const piece = await arrival.promise
      // It ended in between, and what the work held was wiped: nothing is put there again.
      if (isOver) return
      arrival = Promise.withResolvers()
      if (piece === undefined) return close()
      blocks = work.push(piece)
      advance()
    }
    reader.enqueue(next.value as Uint8Array)
    advance()
  }

  const writable = new WritableStream<Uint8Array>({
    start(controller) {
      writer = controller
      // `abort()` waits for the write that is under way, which waits for a reader that may never come.
      const { signal: aborted } = controller as { readonly signal?: AbortSignal }
      aborted?.addEventListener("abort", () => failReader(aborted.reason), { once: true })
    },
    write(piece) {
      if (piece instanceof Uint8Array) return deliver(piece)
      const problem = new TypeError('Cannot use "a piece of a stream": it is not a Uint8Array')
      fail(problem)
      throw problem
    },
    close: () => deliver(undefined),
    abort: failReader,
  })
  const readable = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        reader = controller
      },
      pull: () => handOn().catch(fail),
      cancel: fail,
    },
    // Nothing is worked on before it is read.
    { highWaterMark: 0 },
  )
  if (signal?.aborted) abort()
  else signal?.addEventListener("abort", abort, { once: true })
  return { readable, writable }
}
