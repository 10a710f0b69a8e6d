/**
 * What streams, files and ranges take and give.
 *
 * @module
 */
import type { CallOptions } from "./contracts.ts"
import type { SealOptions } from "./keys/envelopes.ts"

/** What a stream that seals takes beside the context. */
export interface SealStreamOptions extends SealOptions {
  /**
   * How many plain bytes will come, where that is known: they are reserved of a cached data key, and no other number is taken. Without
   * it the stream has a data key of its own, which costs a KMS call.
   */
  readonly size?: number
}

/** Both sides of a stream, as `pipeThrough` takes them: Web streams on every runtime. */
export interface ByteTransform {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
}

/** How far a file is: bytes of the source that are done, and all there are. */
export type OnProgress = (done: number, total: number) => void

/** What sealing or opening a file takes beside the context. */
export interface FileOptions extends SealOptions {
  /** Replace a target that is there, once the new one is whole. @default {false} */
  readonly overwrite?: boolean
  /** Told at the beginning and with each block that was written. */
  readonly onProgress?: OnProgress
  /** Worker threads beside this one; 0 is none. @default {measured for the runtime and the file's size} */
  readonly workers?: number
}

/** What became of a file. */
export interface FileResult {
  /** Bytes of the source. */
  readonly bytesRead: number
  /** Bytes of the target. */
  readonly bytesWritten: number
}

/** Which plain bytes. */
export interface ByteRange {
  /** From which on; a negative one counts from the end, and from the beginning where there are fewer. @default {0} */
  readonly offset?: number
  /** How many; fewer come where the end is nearer. @default {all to the end} */
  readonly length?: number
}

/** Something sealed that any part of can be read: a file on a server, an object in a bucket. */
export interface RangeSource {
  /** Sealed bytes of the whole. */
  size(options?: CallOptions): Promise<number>
  /** Exactly these sealed bytes; it rejects when it cannot give all of them. */
  read(offset: number, length: number, options?: CallOptions): Promise<Uint8Array>
}
