/**
 * Files that appear under their name whole, or not at all.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { type FileHandle, link, lstat, open, rename, unlink } from "node:fs/promises"
import { dirname } from "node:path"
import process from "node:process"
import { FileError, FileExists } from "../errors.ts"
import { systemCode, withFile } from "./system-errors.ts"

/**
 * Lets `make` write a temporary file beside the target, and puts it in its place. When it fails before that, the temporary file is
 * removed and the target is as it was.
 *
 * @param make creates the temporary file, exclusively and for its owner alone, and has it on the disk when it returns; what it throws is
 * thrown as it is
 * @throws {FileExists} when the target is there, or appears meanwhile, and may not be replaced
 * @throws {FileError} when the system refuses
 */
export async function replacing<Result>(
  path: string,
  overwrite: boolean,
  make: (temporary: string) => Promise<Result>,
): Promise<Result> {
  await checkTarget(path, overwrite)
  const temporary = `${path}.${randomBytes(8).toString("hex")}.tmp`
  try {
    const result = await make(temporary)
    await withFile("write", path, async () => {
      await (overwrite ? put : putNew)(temporary, path)
      await syncFolder(dirname(path))
    })
    return result
  } catch (error) {
    await unlinkQuietly(temporary)
    throw error
  }
}

/** A file that is written before it has its name. */
export interface NewFile {
  /** What it is called meanwhile. */
  readonly path: string
  /** What it will be called, and is called in errors. */
  readonly name: string
  readonly handle: FileHandle
}

/** The same, for a file that is written through its handle, and whose caller may want no more of it. */
export async function replacingFile(
  name: string,
  overwrite: boolean,
  signal: AbortSignal | undefined,
  fill: (file: NewFile) => Promise<void>,
): Promise<void> {
  await replacing(name, overwrite, async (path) => {
    const handle = await withFile("write", name, async () => await open(path, "wx", 0o600))
    try {
      await fill({ path, name, handle })
      await withFile("write", name, async () => await handle.sync())
      signal?.throwIfAborted()
    } finally {
      await withFile("write", name, async () => await handle.close())
    }
  })
}

/** Writes all of `bytes`. */
export async function writeAt(
  { name, handle }: Pick<NewFile, "name" | "handle">,
  bytes: Uint8Array,
  offset: number,
): Promise<void> {
  await withFile("write", name, async () => {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done)
      done += bytesWritten
    }
  })
}

/**
 * Says early, before keys are asked for, that a file cannot be written.
 *
 * @throws {FileExists} when it is there and may not be replaced
 * @throws {FileError} when it is a folder, a device or anything else that is no regular file
 */
export async function checkTarget(path: string, overwrite: boolean): Promise<void> {
  const found = await withFile("write", path, async () => await lstat(path).catch(absent))
  if (!found) return
  if (!overwrite)
    throw new FileExists(`Cannot write "${path}": it exists already`, { hint: "replace it, or name another" })
  // To rename over /dev/null would take it away.
  if (!found.isFile() && !found.isSymbolicLink())
    throw new FileError(`Cannot replace "${path}": it is not a regular file`)
}

/** For a `catch`: there is no such file, which is no failure. */
export function absent(error: unknown): undefined {
  if (systemCode(error) !== "ENOENT") throw error
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
    if (!NO_LINKS.includes(systemCode(error))) throw error
    await checkTarget(path, false)
    return await rename(temporary, path)
  }
  await unlinkQuietly(temporary)
}

/** What file systems without hard links say; FAT is one. */
const NO_LINKS: readonly (string | undefined)[] = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]

async function unlinkQuietly(path: string): Promise<void> {
  // It is a temporary file: what matters is the error that led here.
  await unlink(path).catch(() => undefined)
}

// The rename is on the disk only when the folder is. Windows cannot open one, and needs no such call; others cannot open one that they
// may write to and not read. The file is in its place: that nobody can ask for more is no failure.
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return
  const handle = await open(folder, "r").catch(unreadable)
  try {
    await handle?.sync()
  } finally {
    await handle?.close()
  }
}

function unreadable(error: unknown): undefined {
  if (systemCode(error) !== "EACCES") throw error
}
