/** Files that hold keys: nobody else may read or replace them, and a crash leaves the old or the new one. */
import { randomBytes } from "node:crypto"
import * as nodeFS from "node:fs"
import { basename, dirname, join } from "node:path"
import process from "node:process"
import { text } from "../core/bytes.ts"
import { Busy, LimitExceeded, UnsafeFile } from "../core/errors.ts"

/** The calls that are made; tests watch and break them. */
export type FileSystem = Pick<
  typeof nodeFS,
  | "openSync"
  | "closeSync"
  | "fstatSync"
  | "lstatSync"
  | "statSync"
  | "readFileSync"
  | "writeSync"
  | "fsyncSync"
  | "renameSync"
  | "unlinkSync"
  | "mkdirSync"
  | "readdirSync"
>

const { O_CREAT, O_EXCL, O_NOFOLLOW = 0, O_NONBLOCK = 0, O_RDONLY, O_WRONLY } = nodeFS.constants
const FILE_MODE = 0o600
const FOLDER_MODE = 0o700
const MAX_BYTES = 1 << 20
// Windows keeps permissions elsewhere; its modes say nothing.
const POSIX = process.platform !== "win32"

const codeOf = (error: unknown): unknown => (error as NodeJS.ErrnoException | null)?.code

// --- Reading ---

/** What was read, and what tells whether it changed since. */
export interface SafeFile {
  readonly content: () => string
  readonly signature: string
}

/**
 * Looks at a file, through one descriptor, so that what was checked is what is read.
 *
 * @returns `undefined` when there is none
 * @throws {UnsafeFile} when others could read or replace it
 */
export function withSafeFile<Result>(
  path: string,
  use: (file: SafeFile) => Result,
  fs: FileSystem = nodeFS,
): Result | undefined {
  const descriptor = openExisting(path, fs)
  if (descriptor === undefined) return undefined
  try {
    const { ino, size, mtimeNs, ctimeNs } = checkFile(path, fs.fstatSync(descriptor, { bigint: true }))
    checkFolder(dirname(path), fs)
    return use({
      signature: `${ino}/${size}/${mtimeNs}/${ctimeNs}`,
      content: () => text(fs.readFileSync(descriptor), "a key file"),
    })
  } finally {
    fs.closeSync(descriptor)
  }
}

function openExisting(path: string, fs: FileSystem): number | undefined {
  try {
    // Opening a FIFO would wait for its other end.
    return fs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined
    if (codeOf(error) === "ELOOP" || codeOf(error) === "EMLINK")
      throw unsafe(path, "it is a symbolic link", "give the path of the file itself")
    throw error
  }
}

function checkFile(path: string, stat: nodeFS.BigIntStats): nodeFS.BigIntStats {
  if (stat.isSymbolicLink()) throw unsafe(path, "it is a symbolic link", "give the path of the file itself")
  if (!stat.isFile()) throw unsafe(path, "it is not a regular file", "give the path of a file")
  if (stat.size > MAX_BYTES) throw unsafe(path, `it has more than ${MAX_BYTES} bytes`, "give the path of a key file")
  if (!POSIX) return stat
  if (stat.nlink > 1n) throw unsafe(path, "it has more than one name", "remove the other hard links")
  if (stat.uid !== BigInt(process.geteuid?.() ?? stat.uid))
    throw unsafe(path, "it belongs to another user", `chown it to the user that runs this program`)
  if ((stat.mode & 0o077n) !== 0n)
    throw unsafe(path, `others may use it (mode ${(stat.mode & 0o777n).toString(8)})`, `chmod 600 "${path}"`)
  return stat
}

function checkFolder(folder: string, fs: FileSystem): void {
  if (!POSIX) return
  const { mode, uid } = fs.statSync(folder)
  if (uid !== 0 && uid !== (process.geteuid?.() ?? uid)) {
    throw unsafe(folder, "it belongs to another user", "use a folder of the user that runs this program")
  }
  if ((mode & 0o022) !== 0)
    throw unsafe(folder, `others may write to it (mode ${(mode & 0o777).toString(8)})`, `chmod go-w "${folder}"`)
}

function unsafe(path: string, state: string, hint: string): UnsafeFile {
  return new UnsafeFile(`Cannot use "${path}": ${state}`, { hint })
}

// --- Writing ---

/** Replaces a file: temporary file, fsync, rename, fsync of the folder. The folder must be there. */
export function replaceFile(path: string, content: string, fs: FileSystem = nodeFS): void {
  const bytes = new TextEncoder().encode(content)
  // What could not be read again must not take the place of what can.
  if (bytes.length > MAX_BYTES) {
    throw new LimitExceeded(`Cannot write "${path}": it would have ${bytes.length} bytes, more than ${MAX_BYTES}`)
  }
  checkFolder(dirname(path), fs)
  removeLeftovers(path, fs)
  const temporary = `${path}.${randomBytes(8).toString("hex")}.tmp`
  const descriptor = fs.openSync(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, FILE_MODE)
  try {
    try {
      for (let written = 0; written < bytes.length; ) written += fs.writeSync(descriptor, bytes, written)
      bytes.fill(0)
      fs.fsyncSync(descriptor)
    } finally {
      fs.closeSync(descriptor)
    }
    fs.renameSync(temporary, path)
  } catch (error) {
    removeQuietly(temporary, fs)
    throw error
  }
  syncFolder(dirname(path), fs)
}

// The rename is on the disk only when the folder is. Windows cannot open one, and needs no such call.
function syncFolder(folder: string, fs: FileSystem): void {
  if (!POSIX) return
  const descriptor = fs.openSync(folder, O_RDONLY)
  try {
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}

// What a killed writer left behind; the lock is held, so no other writer is at it.
function removeLeftovers(path: string, fs: FileSystem): void {
  const name = basename(path)
  for (const entry of fs.readdirSync(dirname(path))) {
    if (entry.startsWith(`${name}.`) && /^[0-9a-f]{16}\.tmp$/.test(entry.slice(name.length + 1)))
      removeQuietly(join(dirname(path), entry), fs)
  }
}

function removeQuietly(path: string, fs: FileSystem): void {
  try {
    fs.unlinkSync(path)
  } catch {
    // It is a temporary file: what matters is the error that led here.
  }
}

/** Makes a folder, 0700, with those above it. */
export function makeFolder(folder: string, fs: FileSystem = nodeFS): void {
  fs.mkdirSync(folder, { recursive: true, mode: FOLDER_MODE })
}

// --- One writer at a time ---

const LOCK_POLL_MS = 10

/**
 * Runs while no other process, and nobody else in this one, holds the lock beside the file. The kernel frees it when a process
 * dies. The lock file stays; it is empty.
 *
 * @throws {Busy} when others held it for too long
 */
export async function withLock<Result>(
  path: string,
  run: () => Result | Promise<Result>,
  {
    signal,
    timeoutMs = 10_000,
    fs = nodeFS,
  }: { signal?: AbortSignal | undefined; timeoutMs?: number; fs?: FileSystem } = {},
): Promise<Result> {
  const lockPath = `${path}.lock`
  prepareLock(lockPath, fs)
  // SQLite's lock is the one that all three runtimes have; it is loaded by the first write.
  const { DatabaseSync } = await import("node:sqlite")
  const lock = new DatabaseSync(lockPath)
  try {
    const deadline = performance.now() + timeoutMs
    lock.exec("PRAGMA busy_timeout = 0")
    while (!tryLock(lock)) {
      signal?.throwIfAborted()
      if (performance.now() >= deadline)
        throw new Busy(`Cannot change "${path}": others have held its lock for ${timeoutMs} ms`)
      await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS))
    }
    return await run()
  } finally {
    lock.close()
  }
}

// POSIX frees every lock that a process has on a file when the process closes any descriptor of it. So a lock that is there is
// looked at by its name and never opened, and the descriptor that makes one stays open.
function prepareLock(lockPath: string, fs: FileSystem): void {
  checkFolder(dirname(lockPath), fs)
  if (checkLock(lockPath, fs)) return
  try {
    const descriptor = fs.openSync(lockPath, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, FILE_MODE)
    if (!POSIX) fs.closeSync(descriptor)
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error
    checkLock(lockPath, fs)
  }
}

function checkLock(lockPath: string, fs: FileSystem): boolean {
  const stat = fs.lstatSync(lockPath, { bigint: true, throwIfNoEntry: false })
  if (stat) checkFile(lockPath, stat)
  return stat !== undefined
}

function tryLock(lock: { exec(sql: string): void }): boolean {
  try {
    lock.exec("BEGIN EXCLUSIVE")
    return true
  } catch (error) {
    if (error instanceof Error && /locked|busy/i.test(error.message)) return false
    throw error
  }
}
