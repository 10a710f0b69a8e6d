/**
 * What a program does with streams, files and ranges: the part of `Crypto` that never holds a message whole.
 *
 * @module
 */
import type { CallOptions, Context } from "./contracts.ts"
import type { DataKeys } from "./keys/data-keys.ts"
import { openedSizeOf, openStream, sealedSizeOf, sealStream } from "./keys/streams.ts"
import type { Operations } from "./operations.ts"
import type {
  ByteRange,
  ByteTransform,
  FileOptions,
  FileResult,
  RangeSource,
  SealStreamOptions,
} from "./stream-types.ts"

/** What these operations need. @internal */
export interface StreamTools {
  readonly dataKeys: DataKeys
}

/** Seals and opens streams, files and ranges. All of them are envelopes: what one method sealed, each other opens. */
export class StreamMethods {
  readonly #operations: Operations<StreamTools>

  /** @internal */
  constructor(operations: Operations<StreamTools>) {
    this.#operations = operations
  }

  /**
   * Seals a stream, in constant memory: `source.pipeThrough(crypto.encryptStream(context)).pipeTo(target)`.
   *
   * @param context pairs that must be given again to open; bound, not stored
   * @throws {InvalidInput} when the context does not fit
   */
  encryptStream(context?: Context, options: SealStreamOptions = {}): ByteTransform {
    return sealStream(this.#operations, context, options)
  }

  /**
   * Opens a stream that was sealed. A chunk comes out when it is authentic; that nothing was cut off the end is known only when the
   * stream ends without an error. A reader that acts on the beginning must be able to take it back.
   */
  decryptStream(context?: Context, options: CallOptions = {}): ByteTransform {
    return openStream(this.#operations, context, options)
  }

  /** How many bytes something of `length` plain bytes has when it is sealed now, however that is done. */
  async sealedSize(length: number, options: CallOptions = {}): Promise<number> {
    return await this.#operations.run("sealedSize", ({ dataKeys }) => sealedSizeOf(dataKeys, length, options))
  }

  /**
   * How many plain bytes something sealed has that is `sealedBytes` long and begins with `head`: nothing of it is authenticated.
   *
   * @param head its beginning, header and all: 33 KiB are always enough
   * @throws {InvalidFormat} when nothing sealed has that length, or begins so
   */
  openedSize(sealedBytes: number, head: Uint8Array): number {
    return openedSizeOf(sealedBytes, head)
  }

  /**
   * Seals a file. The target appears under its name when all of it is on the disk, and not before; it is readable by its owner alone.
   *
   * @param source a path, or a `file:` URL
   */
  async sealFile(
    source: string | URL,
    target: string | URL,
    context?: Context,
    options: FileOptions = {},
  ): Promise<FileResult> {
    return await this.#operations.run("sealFile", async ({ dataKeys }) => {
      const { sealFile } = await import("./files/seal-file.ts")
      return await sealFile(dataKeys, source, target, context, options)
    })
  }

  /** Opens a file that was sealed. The target appears under its name only when all of it is authentic and on the disk. */
  async openFile(
    source: string | URL,
    target: string | URL,
    context?: Context,
    options: FileOptions = {},
  ): Promise<FileResult> {
    return await this.#operations.run("openFile", async ({ dataKeys }) => {
      const { openFile } = await import("./files/open-file.ts")
      return await openFile(dataKeys, source, target, context, options)
    })
  }

  /**
   * Opens a part of something sealed and reads no more of it than that needs. Each chunk of the part is authentic; a part that reaches
   * the end, or counts from it, says also that the end is the real one.
   *
   * @param source a path, a `file:` URL, or what any part of can be read, like {@link httpRange}
   */
  async openRange(
    source: string | URL | RangeSource,
    range: ByteRange,
    context?: Context,
    options: CallOptions = {},
  ): Promise<Uint8Array> {
    return await this.#operations.run("openRange", async ({ dataKeys }) => {
      const { openRange } = await import("./files/open-range.ts")
      return await openRange(dataKeys, source, range, context, options)
    })
  }
}
