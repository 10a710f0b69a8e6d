/**
 * What a program does with streams, files and ranges: the part of `Crypto` that never holds a message whole.
 *
 * @module
 */
import type { CallOptions, Context } from "./contracts.ts"
import type { SealedReader } from "./files/sealed-reader.ts"
import type { DataKeys } from "./keys/data-keys.ts"
import type { SealOptions } from "./keys/envelopes.ts"
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
import type * as work from "./work.ts"

/** What these operations need. @internal */
export interface StreamTools {
  readonly dataKeys: DataKeys
  readonly work: typeof work
}

/** Seals and opens streams, files and ranges. All of them are envelopes: what one method sealed, each other opens. */
export class StreamMethods {
  readonly #operations: Operations<StreamTools>

  /** @internal */
  constructor(operations: Operations<StreamTools>) {
    this.#operations = operations
  }

  /**
   * Seals a stream of any length, in constant memory: `source.pipeThrough(crypto.encryptStream(context)).pipeTo(target)`. Nothing is
   * computed before it is read; what fails on one side fails on both. One call is one message. A piece is not copied: leave it as it is
   * until its write is answered.
   *
   * @param context pairs that must be given again to open; bound, not stored
   * @param options.size plain bytes that will come, exactly: with it the data key is one of the cache's, without it a new one of the KMS
   * @param options.signal ends both sides, with its reason
   * @returns both sides; they fail as `seal` does, and with {@link InvalidInput} when other than `size` bytes come
   * @throws {InvalidInput} when the context does not fit (64 pairs, 8 KiB, well-formed text), or `size` is no whole number from 0
   *
   * @example Through and back
   * ```ts
   * const crypto = await newCrypto(withKMSService("memory"), withKEKAlias("app"), withBootstrap({ createKEK: true }))
   * const sealed = new Blob(["as long as it takes"]).stream().pipeThrough(crypto.encryptStream({ tenant: "acme" }))
   * const opened = sealed.pipeThrough(crypto.decryptStream({ tenant: "acme" }))
   * assertEquals(await new Response(opened).text(), "as long as it takes")
   * ```
   */
  encryptStream(context?: Context, options: SealStreamOptions = {}): ByteTransform {
    return sealStream(this.#operations, context, { ...options })
  }

  /**
   * Opens what was sealed, by whichever method, in constant memory. Each chunk of 16 KiB comes out when its tag was checked: what was
   * read is the true beginning. That it is all, and nothing was cut off the end, is known only when the stream ends without an error. A
   * reader that acts on the beginning must be able to take it back.
   *
   * @param context the pairs that it was sealed with
   * @param options.signal ends both sides, with its reason
   * @returns both sides; they fail as `open` does, and with {@link DecryptionFailed} when the end is missing
   * @throws {InvalidInput} when the context does not fit
   */
  decryptStream(context?: Context, options: SealOptions = {}): ByteTransform {
    return openStream(this.#operations, context, { ...options })
  }

  /**
   * How many bytes something of `length` plain bytes has when it is sealed now, to the byte and by whichever method: the length of an
   * upload. The data key that tells it is asked for where the cache has none, and is there for what is sealed next.
   */
  async sealedSize(length: number, options: SealOptions = {}): Promise<number> {
    return await this.#operations.run("sealedSize", ({ dataKeys }) => sealedSizeOf(dataKeys, length, options))
  }

  /**
   * How many plain bytes something sealed has that is `sealedBytes` long and begins with `head`: no key is needed, and nothing of it is
   * authenticated.
   *
   * @param head its beginning, header and all: the first 33 KiB are always enough, or all of it where it has fewer
   * @throws {InvalidFormat} when nothing sealed has that length, or begins so
   */
  openedSize(sealedBytes: number, head: Uint8Array): number {
    return openedSizeOf(sealedBytes, head)
  }

  /**
   * Seals a file, in constant memory. The target appears under its name when all of it is on the disk, and not before; it is readable by
   * its owner alone. A failure or an abort leaves nothing behind; a process that is killed may leave the temporary file,
   * `<target>.<16 hex digits>.tmp`.
   *
   * @param source the path, or a `URL` of `file:`, of a regular file that is not written to meanwhile
   * @param target likewise; another file than the source
   * @param context pairs that must be given again to open; bound, not stored
   * @throws {FileExists} when the target is there, without `overwrite`
   * @throws {FileNotFound} when there is no such file or folder
   * @throws {FileError} when the system refuses, or the source was changed while it was read
   * @throws {InvalidInput} when the source is a folder, a pipe or a device, or the target is the source
   */
  async sealFile(
    source: string | URL,
    target: string | URL,
    context?: Context,
    options: FileOptions = {},
  ): Promise<FileResult> {
    return await this.#operations.run("sealFile", async ({ dataKeys, work }) => {
      const files = work.filesOf(source, target, context, options)
      const { sealFile } = await import("./files/seal-file.ts")
      return await sealFile(dataKeys, files)
    })
  }

  /**
   * Opens a file that was sealed, by whichever method, in constant memory. The target appears under its name only when all of it is
   * authentic and on the disk; it is readable by its owner alone. A process that is killed may leave the temporary file, with plaintext.
   *
   * @param source the path, or a `URL` of `file:`, of a regular file that is not written to meanwhile
   * @param target likewise; another file than the source
   * @param context the pairs that it was sealed with
   * @throws {DecryptionFailed} when the context is another, or one bit is, or the end is missing; there is no target then
   * @throws {InvalidFormat} when it is no envelope
   * @throws {FileExists | FileNotFound | FileError | InvalidInput} as {@link StreamMethods.sealFile} does
   */
  async openFile(
    source: string | URL,
    target: string | URL,
    context?: Context,
    options: FileOptions = {},
  ): Promise<FileResult> {
    return await this.#operations.run("openFile", async ({ dataKeys, work }) => {
      const files = work.filesOf(source, target, context, options)
      const { openFile } = await import("./files/open-file.ts")
      return await openFile(dataKeys, files)
    })
  }

  /**
   * Opens a part of something sealed and reads no more of it than that needs: the header and the chunks of 16 KiB that the part lies in.
   * Every byte is authentic and from that place. A part that reaches the end, or counts from it, says also that the end is the real one;
   * any other says nothing about the rest.
   *
   * @param source a path, a `URL` of `file:`, or what any part of can be read, like {@link httpRange}
   * @param range which plain bytes, all where it is not given; they are in memory at once
   * @param context the pairs that it was sealed with
   * @throws {InvalidInput} when the range begins past the end
   * @throws {LimitExceeded} when there is no memory for so many bytes
   * @throws {DecryptionFailed} when the context is another, or what was read was changed
   * @throws {InvalidFormat} when it is no envelope, or has a length that none has
   * @throws {FileNotFound | FileError} when it cannot be read
   */
  async openRange(
    source: string | URL | RangeSource,
    range: ByteRange = {},
    context?: Context,
    options: SealOptions = {},
  ): Promise<Uint8Array> {
    return await this.#operations.run("openRange", async ({ dataKeys, work }) => {
      const sealed = work.sealedOf(source, context, options)
      const part = { ...range }
      const { openRange } = await import("./files/open-range.ts")
      return await openRange(dataKeys, sealed, part)
    })
  }

  /** Reads parts of something sealed, one after the other: its key is asked for once. @internal */
  async readSealed<Result>(
    source: string | URL | RangeSource,
    context: Context | undefined,
    options: CallOptions,
    use: (reader: SealedReader) => Promise<Result>,
  ): Promise<Result> {
    return await this.#operations.run("openRange", async ({ dataKeys, work }) => {
      const sealed = work.sealedOf(source, context, options)
      const { withSealed } = await import("./files/open-range.ts")
      return await withSealed(dataKeys, sealed, use)
    })
  }
}
