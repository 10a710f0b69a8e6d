/**
 * Files that appear under their name whole, or not at all.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { link, lstat, open, rename, unlink } from "node:fs/promises"
import { dirname } from "node:path"
import process from "node:process"
import { FileError, FileExists } from "../errors.ts"
import { systemCode, withFile } from "./system-errors.ts"

/**
 * Lets `make` write a temporary file beside the target, and puts it in its place. When it fails, the temporary file is removed and the
 * target is as it was.
 *
 * @param make creates the temporary file, exclusively and for its owner alone, and has it on the disk when it returns
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
  return await withFile("write", path, async () => {
    try {
      const result = await make(temporary)
      await (overwrite ? put : putNew)(temporary, path)
      await syncFolder(dirname(path))
      return result
    } catch (error) {
      await unlinkQuietly(temporary)
      throw error
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
