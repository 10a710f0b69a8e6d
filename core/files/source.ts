/**
 * Files that are read: opened once, and told apart from all others.
 *
 * @module
 */
import type { BigIntStats } from "node:fs"
import { constants, type FileHandle, open, stat } from "node:fs/promises"
import { FileError, InvalidInput } from "../errors.ts"
import type { RangeSource } from "../stream-types.ts"
import { absent } from "./replace.ts"
import { withFile } from "./system-errors.ts"

/** A regular file that is open for reading. */
export interface SourceFile {
  readonly path: string
  readonly handle: FileHandle
  readonly size: number
  /** What tells it from other files, and from itself when it was changed. */
  readonly identity: Identity
}

/** What tells a file from other files. It goes to worker threads as it is. */
export interface Identity {
  readonly dev: bigint
  readonly ino: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
}

/**
 * Opens a file.
 *
 * @throws {InvalidInput} when it is no regular file: what has no size and no places comes as a stream
 */
export async function openSource(path: string): Promise<SourceFile> {
  return await withFile("read", path, async () => {
    // Opening a FIFO would wait for its other end.
    const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    try {
      const found = await handle.stat({ bigint: true })
      if (!found.isFile()) throw irregular(path, found)
      return { path, handle, size: Number(found.size), identity: identityOf(found) }
    } catch (error) {
      await handle.close()
      throw error
    }
  })
}

function irregular(path: string, found: BigIntStats): InvalidInput {
  if (found.isDirectory()) return new InvalidInput(`Cannot read "${path}": it is a folder`)
  return new InvalidInput(`Cannot read "${path}": it is not a regular file`, {
    hint: "what comes through a pipe or from a device is a stream: encryptStream, decryptStream",
  })
}

/** What tells it from other files. */
export function identityOf({ dev, ino, size, mtimeNs }: BigIntStats): Identity {
  return { dev, ino, size, mtimeNs }
}

/** Refuses a target that is the source, by whatever name. */
export async function checkApart({ path, identity }: SourceFile, target: string): Promise<void> {
  const found = await withFile("write", target, async () => await stat(target, { bigint: true }).catch(absent))
  if (found && found.dev === identity.dev && found.ino === identity.ino)
    throw new InvalidInput(`Cannot write "${target}": it is the source "${path}" itself`, {
      hint: "name another target",
    })
}

/** @throws {FileError} when the file is not what it was when it was opened, or has more bytes than it says, as files of `/proc` have */
export async function checkUnchanged({ path, handle, size, identity }: SourceFile): Promise<void> {
  await withFile("read", path, async () => {
    const found = await handle.stat({ bigint: true })
    if (found.size !== identity.size || found.mtimeNs !== identity.mtimeNs) throw changed(path)
    const { bytesRead } = await handle.read(new Uint8Array(1), 0, 1, size)
    if (bytesRead > 0) throw changed(path)
  })
}

/** It grew, shrank or was written to: which of its bytes belong together is not known. */
export function changed(path: string): FileError {
  return new FileError(`Cannot read "${path}": it was changed while it was read`, {
    hint: "take a copy or a snapshot of it, or wait until it is written",
    retryable: true,
  })
}

/**
 * Fills `into`.
 *
 * @throws {FileError} when there are not so many bytes
 */
export async function readAt(
  { path, handle }: Pick<SourceFile, "path" | "handle">,
  into: Uint8Array,
  offset: number,
): Promise<void> {
  await withFile("read", path, async () => {
    for (let done = 0; done < into.length; ) {
      const { bytesRead } = await handle.read(into, done, into.length - done, offset + done)
      if (bytesRead === 0) throw changed(path)
      done += bytesRead
    }
  })
}

/** Any part of an open file. */
export function rangeOf(file: SourceFile): RangeSource {
  return {
    size: async () => file.size,
    read: async (offset, length) => {
      const bytes = new Uint8Array(length)
      await readAt(file, bytes, offset)
      return bytes
    },
  }
}
