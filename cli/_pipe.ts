/** What goes through a stream of the library, and what is read of something sealed: each piece waits until the one before it is written. */
import type { ByteRange, ByteTransform, CallOptions, Context, Crypto, OnProgress, RangeSource } from "../mod.ts"
import type { Put } from "./_files.ts"

/** Gives what comes of the pieces to `put`, one after the other. */
export async function pipe(
  pieces: AsyncIterable<Uint8Array>,
  { readable, writable }: ByteTransform,
  put: Put,
): Promise<void> {
  // Not waited for: a read of a terminal or a pipe may never end, and what fails there fails here.
  feed(pieces, writable.getWriter())
  const reader = readable.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      await put(value)
      value.fill(0)
    }
  } catch (error) {
    await reader.cancel(error).catch(() => undefined)
    throw error
  }
}

function feed(pieces: AsyncIterable<Uint8Array>, writer: WritableStreamDefaultWriter<Uint8Array>): void {
  const fed = async (): Promise<void> => {
    for await (const piece of pieces) await writer.write(piece)
    await writer.close()
  }
  fed().catch((error) => writer.abort(error).catch(() => undefined))
}

/** Plain bytes that are in memory at once, at most; sealed ones are as many. */
const BLOCK_BYTES = 2 ** 20

/** What a part is taken of, and how. */
export interface PartOptions extends CallOptions {
  readonly context: Context
  readonly onProgress: OnProgress
}

/** Gives a part of something sealed to `put`. Where the part ends with the whole, the end is looked at first. */
export async function putPart(
  crypto: Crypto,
  source: string | RangeSource,
  { offset = 0, length }: ByteRange,
  { context, onProgress, ...call }: PartOptions,
  put: Put,
): Promise<void> {
  await crypto.readSealed(source, context, call, async (reader) => {
    const end = offset < 0 || length === undefined ? await reader.size(call) : Number.POSITIVE_INFINITY
    const from = offset < 0 ? Math.max(end + offset, 0) : offset
    const to = Math.min(from + (length ?? Number.POSITIVE_INFINITY), end)
    for (let at = from; ; ) {
      const bytes = await reader.read(at, Math.max(Math.min(BLOCK_BYTES - (at % BLOCK_BYTES), to - at), 0), call)
      if (bytes.length === 0) return
      await put(bytes)
      at += bytes.length
      bytes.fill(0)
      onProgress(at - from, to - from)
      if (at === to) return
    }
  })
}

// --- What is said of it ---

/** What a reader of a pipe must know beforehand. */
export const PIPES = `
Standard output gets each part when it is authentic, before the end is known.
When what follows was changed or cut off, the exit code is 1, and what was
written before is authentic but incomplete. Where that must not be used, write a
file: it gets its name when all of it is authentic.`

/** And afterwards. */
export const INCOMPLETE = "what was written before is authentic but incomplete: do not use it as the whole"
