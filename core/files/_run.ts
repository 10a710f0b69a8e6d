/** The blocks of a job, one after the other on this thread: while one is computed, the one before it is written and the one after it is read. */
import { wipe } from "../bytes.ts"
import type { MessageKeys } from "../cipher/chunks.ts"
import { BLOCK_BYTES, converter, type Job, sourceSpan, targetOffset } from "./job.ts"
import { type NewFile, writeAt } from "./replace.ts"
import { type Identity, readAt, type SourceFile } from "./source.ts"
import type { Next } from "./turns.ts"

/** What is converted, from where to where. */
export interface Run {
  readonly job: Job
  readonly keys: MessageKeys
  readonly from: SourceFile
  readonly to: TargetFile
  readonly signal: AbortSignal | undefined
}

/** The file that is written, and what tells it from others. */
export interface TargetFile extends NewFile {
  readonly identity: Identity
}

interface Block {
  readonly index: number
  readonly bytes: Uint8Array
}

/** Converts the blocks that `next` gives. */
export async function run(
  { job, keys, from, to, signal }: Run,
  next: Next,
  onDone: (bytes: number) => void,
): Promise<void> {
  const convert = converter(job, keys)
  const sources = pair()
  const targets = pair()
  const read = async (): Promise<Block | undefined> => {
    const index = next()
    if (index === undefined) return undefined
    const { offset, length } = sourceSpan(job, index)
    const bytes = sources.next().subarray(0, length)
    await readAt(from, bytes, offset)
    return { index, bytes }
  }
  const write = async (index: number, bytes: Uint8Array, length: number): Promise<void> => {
    await writeAt(to, bytes, targetOffset(job, index))
    onDone(length)
  }
  let reading = handled(read())
  let writing = handled(Promise.resolve())
  try {
    for (;;) {
      const block = await reading
      signal?.throwIfAborted()
      if (!block) break
      reading = handled(read())
      const bytes = await convert(block.index, block.bytes, targets.next())
      await writing
      writing = handled(write(block.index, bytes, block.bytes.length))
    }
    await writing
  } finally {
    // Nobody closes a file, or wipes memory, that is still read or written.
    await Promise.allSettled([reading, writing])
    wipe(...sources.both, ...targets.both)
  }
}

/** Two buffers that take turns. */
function pair(): { readonly both: readonly Uint8Array[]; next(): Uint8Array } {
  const both = [new Uint8Array(BLOCK_BYTES), new Uint8Array(BLOCK_BYTES)] as const
  let turn = 0
  return { both, next: () => both[turn++ % 2] as Uint8Array }
}

/** A promise that is awaited later: until then its failure is nobody's. */
export function handled<Value>(promise: Promise<Value>): Promise<Value> {
  promise.catch(() => undefined)
  return promise
}
