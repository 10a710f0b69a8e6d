/** Whole files: read within a limit, written whole or not at all. */
import { randomBytes } from "node:crypto"
import { type FileHandle, link, lstat, open, rename, unlink } from "node:fs/promises"
import { dirname } from "node:path"
import process from "node:process"
import { LimitExceeded } from "../mod.ts"
import { CommandError, codeOf, withFile } from "./_errors.ts"
import { type IO, write } from "./_io.ts"

/** A whole file is in memory twice, sealed and opened. */
export const MAX_FILE_BYTES: number = 64 * 2 ** 20
/** What sealing adds at most: a header with its keys, and a tag each 16 KiB. */
export const MAX_SEALED_BYTES: number = MAX_FILE_BYTES + 128 * 2 ** 10

/** Standard input, or output. */
export const STDIO = "-"

/**
 * Reads a file, or standard input.
 *
 * @throws {LimitExceeded} when it has more than `limit` bytes; a file's size is looked at before it is read
 */
export async function readInput(io: IO, path: string, limit: number): Promise<Uint8Array> {
  if (path === STDIO) return await collect(io.stdin, "standard input", limit, io.signal)
  return await withFile("read", path, async () => {
    const file = await open(path, "r")
    try {
      const { size } = await file.stat()
      if (size > limit) throw tooLarge(`"${path}"`, limit)
      // A pipe has no size, and a file may grow.
      return await collect(chunksOf(file), `"${path}"`, limit, io.signal)
    } finally {
      await file.close()
    }
  })
}

const CHUNK_BYTES = 2 ** 20

async function* chunksOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  for (;;) {
    const { bytesRead, buffer } = await file.read(new Uint8Array(CHUNK_BYTES))
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
  }
}

async function collect(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
  limit: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const chunk of untilAborted(chunks, signal)) {
    size += chunk.length
    if (size > limit) throw tooLarge(name, limit)
    parts.push(chunk)
  }
  const bytes = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

// A read from a terminal or a pipe may never end, and not every runtime can cancel it: it is left behind.
async function* untilAborted(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  aborted.catch(() => undefined)
  const abort = (): void => reject(signal.reason)
  signal.addEventListener("abort", abort, { once: true })
  const iterator = chunks[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), aborted])
      if (next.done) return
      yield next.value
    }
  } finally {
    signal.removeEventListener("abort", abort)
  }
}

function tooLarge(name: string, limit: number): LimitExceeded {
  return new LimitExceeded(`Cannot read ${name}: it has more than ${Math.floor(limit / 2 ** 20)} MiB`, {
    hint: "the command keeps whole files in memory; split the file",
  })
}

// --- Writing ---

/** Writes a file, 0600, or standard output. Nothing is left behind when it fails. */
export async function writeOutput(io: IO, path: string, bytes: Uint8Array, force: boolean): Promise<void> {
  if (path === STDIO) return await write(io.stdout, bytes)
  await replacing(path, force, async (temporary) => {
    const file = await open(temporary, "wx", 0o600)
    try {
      await file.writeFile(bytes, { signal: io.signal })
      await file.sync()
    } finally {
      await file.close()
    }
  })
}

/** Lets `make` write a temporary file beside the target, and puts it in its place. */
export async function replacing(
  path: string,
  force: boolean,
  make: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.${randomBytes(8).toString("hex")}.tmp`
  await withFile("write", path, async () => {
    try {
      await make(temporary)
      await (force ? put : putNew)(temporary, path)
    } catch (error) {
      await unlinkQuietly(temporary)
      throw error
    }
    await syncFolder(dirname(path))
  })
}

async function put(temporary: string, path: string): Promise<void> {
  await checkTarget(path, true)
  await rename(temporary, path)
}

// A rename would replace what another process put there since the last look; a link is refused.
async function putNew(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path)
  } catch (error) {
    if (!NO_LINKS.includes(codeOf(error))) throw error
    await checkTarget(path, false)
    return await rename(temporary, path)
  }
  await unlinkQuietly(temporary)
}

/** What file systems without hard links say; FAT is one. */
const NO_LINKS: readonly (string | undefined)[] = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]

/**
 * Says early, before keys are asked for, that an output cannot be written.
 *
 * @throws {CommandError} when the file is there and may not be replaced
 */
export async function checkTarget(path: string, force: boolean): Promise<void> {
  if (path === STDIO) return
  const found = await withFile("write", path, async () => await lstat(path).catch(absent))
  if (!found) return
  if (!force)
    throw new CommandError("FILE_EXISTS", `Cannot write "${path}": it exists already`, {
      hint: "replace it with --force, or name another: -o FILE",
    })
  // To rename over /dev/null would take it away.
  if (!found.isFile() && !found.isSymbolicLink())
    throw new CommandError("FILE_ERROR", `Cannot replace "${path}": it is not a regular file`)
}

/** Whether there is anything under this name. */
export async function exists(path: string): Promise<boolean> {
  return (await withFile("read", path, async () => await lstat(path).catch(absent))) !== undefined
}

function absent(error: unknown): undefined {
  if (codeOf(error) !== "ENOENT") throw error
}

async function unlinkQuietly(path: string): Promise<void> {
  // It is a temporary file: what matters is the error that led here.
  await unlink(path).catch(() => undefined)
}

// The rename is on the disk only when the folder is. Windows cannot open one, and needs no such call.
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return
  const handle = await open(folder, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
