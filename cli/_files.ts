/** Where bytes come from and where they go: files, pipes, standard input and output. None is held whole. */
import { constants, openSync } from "node:fs"
import { lstat, open, stat } from "node:fs/promises"
import { Socket } from "node:net"
import { absent, checkTarget, replacingFile, writeAt } from "../core/files/replace.ts"
import { isNode } from "../core/runtime.ts"
import { FileError, FileExists, type OnProgress } from "../mod.ts"
import { CommandError, codeOf, withFile } from "./_errors.ts"
import { type IO, write } from "./_io.ts"
import { messageOf } from "./_output.ts"

/** Standard input, or output. */
export const STDIO = "-"

/** Takes bytes, and answers when they are where they belong. */
export type Put = (bytes: Uint8Array) => Promise<void>

// --- Reading ---

/**
 * Whether it is a regular file: what has a size, and any part of which can be read. Pipes and devices are read as they come.
 *
 * @throws {FileError} when it is a folder
 */
export async function isRegular(path: string): Promise<boolean> {
  if (path === STDIO) return false
  const found = await withFile("read", path, () => stat(path))
  if (found.isDirectory()) throw new FileError(`Cannot read "${path}": it is a folder`)
  return found.isFile()
}

/** What a file, a pipe or standard input has, piece by piece. A piece is overwritten when the next one is asked for. */
export async function* reading(io: IO, path: string, onProgress: OnProgress): AsyncGenerator<Uint8Array> {
  const found = path === STDIO ? undefined : await withFile("read", path, () => stat(path))
  const pieces = found === undefined ? io.stdin : found.isFIFO() && isNode ? piecesOfPipe(path) : piecesOfFile(path)
  const total = found?.isFile() ? found.size : 0
  let done = 0
  for await (const piece of pieces) {
    yield piece
    done += piece.length
    onProgress(done, total)
  }
}

// Node does not end while a thread of it waits for a pipe: a socket waits without one. The other runtimes know sockets of addresses alone.
async function* piecesOfPipe(path: string): AsyncGenerator<Uint8Array> {
  const flags = constants.O_RDONLY | constants.O_NONBLOCK
  yield* new Socket({ fd: await withFile("read", path, async () => openSync(path, flags)), writable: false })
}

const PIECE_BYTES = 2 ** 20

async function* piecesOfFile(path: string): AsyncGenerator<Uint8Array> {
  const file = await withFile("read", path, () => open(path, "r"))
  const piece = new Uint8Array(PIECE_BYTES)
  try {
    for (;;) {
      const { bytesRead } = await withFile("read", path, () => file.read(piece))
      if (bytesRead === 0) return
      yield piece.subarray(0, bytesRead)
    }
  } finally {
    piece.fill(0)
    await file.close()
  }
}

// --- Writing ---

/** What is to be told when standard output got a part, and the rest does not come. */
export interface Writing {
  readonly force: boolean
  readonly incomplete: string
}

/**
 * Writes a file, 0600, that is there whole or not at all; or standard output, which has what it was given.
 *
 * @returns how many bytes
 */
export async function writing(
  io: IO,
  path: string,
  { force, incomplete }: Writing,
  use: (put: Put) => Promise<void>,
): Promise<number> {
  let written = 0
  let isBegun = false
  try {
    const to = path === STDIO ? toStdout : toFile
    await to(io, path, force, (put) =>
      use(async (bytes) => {
        isBegun = true
        await put(bytes)
        written += bytes.length
      }),
    )
    return written
  } catch (error) {
    if (path !== STDIO || !isBegun || codeOf(error) === "EPIPE") throw error
    throw new CommandError("INCOMPLETE", messageOf(error), { hint: incomplete, cause: error })
  }
}

async function toFile(io: IO, path: string, force: boolean, use: (put: Put) => Promise<void>): Promise<void> {
  await replacingFile(path, force, io.signal, async (file) => {
    let end = 0
    await use(async (bytes) => {
      await writeAt(file, bytes, end)
      end += bytes.length
    })
  })
}

async function toStdout(io: IO, _: string, __: boolean, use: (put: Put) => Promise<void>): Promise<void> {
  await use((bytes) => untilAborted(write(io.stdout, bytes), io.signal))
}

/** Waits for what may never come to an end, such as a reader of standard output. */
export async function untilAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const { promise, resolve, reject } = Promise.withResolvers<Value>()
  const abort = (): void => reject(signal.reason)
  if (signal.aborted) abort()
  signal.addEventListener("abort", abort, { once: true })
  work.then(resolve, reject)
  try {
    return await promise
  } finally {
    signal.removeEventListener("abort", abort)
  }
}

/**
 * Says early, before keys are asked for, that an output cannot be written.
 *
 * @throws {CommandError} when the file is there and may not be replaced
 */
export async function checkOutput(path: string, force: boolean): Promise<void> {
  if (path === STDIO) return
  try {
    await checkTarget(path, force)
  } catch (error) {
    if (!(error instanceof FileExists)) throw error
    throw new CommandError("FILE_EXISTS", error.message, {
      hint: "replace it with --force, or name another: -o FILE",
    })
  }
}

/** Whether there is anything under this name. */
export async function exists(path: string): Promise<boolean> {
  return (await withFile("read", path, async () => await lstat(path).catch(absent))) !== undefined
}
