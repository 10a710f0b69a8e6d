/**
 * Who takes which block: several threads count with the same number.
 *
 * @module
 */

/** The number of a block that nobody else has, or `undefined` when there are no more. */
export type Next = () => number | undefined

const NEXT = 0
const BLOCKS = 1

/** The next block and how many there are, in memory that threads share. */
export function newTurns(blocks: number): Int32Array {
  const turns = new Int32Array(new SharedArrayBuffer(8))
  turns[BLOCKS] = blocks
  return turns
}

/** Takes turns. */
export function turnsOf(turns: Int32Array): Next {
  return () => {
    if (Atomics.load(turns, NEXT) >= Atomics.load(turns, BLOCKS)) return undefined
    const block = Atomics.add(turns, NEXT, 1)
    return block < Atomics.load(turns, BLOCKS) ? block : undefined
  }
}

/** Nobody gets another block. */
export function endTurns(turns: Int32Array): void {
  Atomics.store(turns, BLOCKS, 0)
}
