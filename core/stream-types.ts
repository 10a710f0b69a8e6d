/**
 * What streams, files and ranges take and give.
 *
 * @module
 */
import type { CallOptions } from "./contracts.ts"

/** What a stream that seals takes beside the context. */
export interface SealStreamOptions extends CallOptions {
  /**
   * How many plain bytes will come, where that is known: they are reserved of a cached data key, and no other number is taken. Without
   * it the stream has a data key of its own, which costs a KMS call.
   */
  readonly size?: number
}

/** Both sides of a stream: a Web `TransformStream`, as `pipeThrough` takes it. */
export interface ByteTransform {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
}

/** How far a file is: bytes read of all there are. */
export type OnProgress = (done: number, total: number) => void

/** What sealing or opening a file takes beside the context. */
export interface FileOptions extends CallOptions {
  /** Replace an existing file. @default {false} */
  readonly overwrite?: boolean
  /** Told as it goes on. */
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
  /** From which on; a negative one counts from the end. @default {0} */
  readonly offset?: number
  /** How many; fewer come where the end is nearer. @default {all to the end} */
  readonly length?: number
}

/** Something sealed that any part of can be read: a file on a server, an object in a bucket. */
export interface RangeSource {
  /** Bytes of the whole. */
  size(options?: CallOptions): Promise<number>
  /** Exactly these bytes. */
  read(offset: number, length: number, options?: CallOptions): Promise<Uint8Array>
  /** Lets go of it. */
  close?(): Promise<void>
}
