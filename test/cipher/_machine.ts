/** The machines below the streams, driven without a stream. */
import { concat } from "../../core/bytes.ts"
import type { Blocks, Work } from "../../core/cipher/duplex.ts"

/** What came of something, and what it failed with, if it did. */
export interface Outcome {
  readonly delivered: Uint8Array
  readonly error: unknown
}

/** What comes of pieces and their end, where nothing of it takes time. */
export function run(work: Work, pieces: Iterable<Uint8Array>): Outcome {
  const out: Uint8Array[] = []
  let error: unknown
  const take = (blocks: Blocks): void => {
    for (let step = blocks.next(); ; step = blocks.next()) {
      if (step instanceof Promise) throw new TypeError("It takes time")
      if (step.done) return
      if (step.value instanceof Promise) throw new TypeError("It takes time")
      out.push(step.value)
    }
  }
  try {
    for (const piece of pieces) take(work.push(piece))
    take(work.flush())
  } catch (thrown) {
    error = thrown
  }
  return { delivered: concat(...out), error }
}

/** The same, where some of it may take time. */
export async function runLater(work: Work, pieces: Iterable<Uint8Array>): Promise<Outcome> {
  const out: Uint8Array[] = []
  const take = async (blocks: Blocks): Promise<void> => {
    for await (const block of blocks) out.push(block)
  }
  try {
    for (const piece of pieces) await take(work.push(piece))
    await take(work.flush())
  } catch (error) {
    return { delivered: concat(...out), error }
  }
  return { delivered: concat(...out), error: undefined }
}
