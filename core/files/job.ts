/**
 * A file that is sealed or opened, as the threads that do it see it: blocks of many chunks, each at a place of its own.
 *
 * @module
 */
import { openRun, sealRun } from "../cipher/bulk.ts"
import { CHUNK, type MessageKeys, SEALED_CHUNK } from "../cipher/chunks.ts"
import { DecryptionFailed } from "../errors.ts"

/** Chunks of a block: 1 MiB is read, computed and written at a time. */
const CHUNKS = 64
const PLAIN = CHUNKS * CHUNK
const SEALED = CHUNKS * SEALED_CHUNK
/** Bytes that a block has at most, sealed or not. */
export const BLOCK_BYTES: number = SEALED

/** What is done to a file. It goes to worker threads as it is. */
export interface Job {
  readonly verb: "seal" | "open"
  /** Bytes of the plaintext. */
  readonly plainBytes: number
  /** Bytes of the file that is sealed. */
  readonly sealedBytes: number
  /** Where its chunks begin. */
  readonly chunksAt: number
}

/** Bytes of a file. */
export interface Span {
  readonly offset: number
  readonly length: number
}

/** How many blocks there are. The last one is shorter than the others and may be empty, as the last chunk may be. */
export function blocksOf({ plainBytes }: Job): number {
  return Math.floor(plainBytes / PLAIN) + 1
}

/** Where a block stands in the file that is read. */
export function sourceSpan(job: Job, block: number): Span {
  return job.verb === "seal" ? plainSpan(job, block) : sealedSpan(job, block)
}

/** Where a block goes in the file that is written. */
export function targetOffset(job: Job, block: number): number {
  return (job.verb === "seal" ? sealedSpan(job, block) : plainSpan(job, block)).offset
}

function plainSpan({ plainBytes }: Job, block: number): Span {
  const offset = block * PLAIN
  return { offset, length: Math.min(PLAIN, plainBytes - offset) }
}

function sealedSpan({ sealedBytes, chunksAt }: Job, block: number): Span {
  const offset = chunksAt + block * SEALED
  return { offset, length: Math.min(SEALED, sealedBytes - offset) }
}

/** Seals or opens one block into the memory that it is given, of {@link BLOCK_BYTES}, and says which part of that it took. */
export type Convert = (block: number, bytes: Uint8Array, out: Uint8Array) => Promise<Uint8Array>

/** @throws {DecryptionFailed} when one chunk of a block does not authenticate */
export function converter(job: Job, keys: MessageKeys): Convert {
  const last = blocksOf(job) - 1
  return job.verb === "seal"
    ? async (block, bytes, out) => out.subarray(0, await sealRun(keys, block * CHUNKS, bytes, block === last, out, 0))
    : async (block, bytes, out) => {
        const { plaintext, isWhole } = await openRun(keys, block * CHUNKS, bytes, block === last, out)
        if (!isWhole) throw new DecryptionFailed()
        return plaintext
      }
}
