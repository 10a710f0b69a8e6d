/** Streams in tests: bytes in, in pieces of some size, and bytes out. */
import { concat } from "../../core/bytes.ts"
import type { GoStream } from "../../core/go-encx/mod.ts"

/** The pieces of bytes; `size` tells how long the next one is. */
export function* piecesOf(bytes: Uint8Array, size: number | (() => number)): Generator<Uint8Array, void, void> {
  for (let start = 0; start < bytes.length; ) {
    const end = start + (typeof size === "number" ? size : size())
    yield bytes.slice(start, end)
    start = end
  }
}

/** All that comes out of a stream into which these bytes go. What fails it is thrown. */
export async function through(
  { readable, writable }: Pick<GoStream, "readable" | "writable">,
  bytes: Uint8Array,
  size: number | (() => number) = Math.max(1, bytes.length),
): Promise<Uint8Array> {
  const pieces = piecesOf(bytes, size)
  const source = new ReadableStream<Uint8Array>({
    pull(controller) {
      const { value, done } = pieces.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
  })
  const out: Uint8Array[] = []
  for await (const piece of source.pipeThrough({ readable, writable })) out.push(piece)
  return concat(...out)
}

/** The plaintext of the golden streams. */
export const patterned = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (31 * i + 17 * Math.floor(i / 256) + 7) % 256)
