/** SQLite in a file, over the driver that Node, Deno and Bun bring. */
import * as nodeFS from "node:fs"
import { dirname } from "node:path"
import process from "node:process"
import type { DatabaseSync, SQLInputValue } from "node:sqlite"
import type { SqliteDatabase } from "kysely"
import { UnsafeFile } from "../core/errors.ts"
import { makeFolder } from "./_safe-file.ts"

const { O_CREAT, O_EXCL, O_NOFOLLOW = 0, O_RDWR } = nodeFS.constants
const FILE_MODE = 0o600
const OTHERS_WRITE = 0o002
const GROUP_WRITE = 0o020
const POSIX = process.platform !== "win32"
/** The driver waits without letting anybody else run, the writer that it waits for included; longer waits are ours. */
const BUSY_TIMEOUT_MS = 10

/** SQLite's own name for no file at all. */
export const IN_MEMORY = ":memory:"

/**
 * Opens a file, and makes it where there is none: 0600, in a folder 0700. The versions are no secret; whoever can change them says
 * which keys seal.
 *
 * @throws {UnsafeFile} when somebody else can replace it, everybody can change it, or it is a link
 */
export async function openSQLite(path: string): Promise<SqliteDatabase> {
  const { DatabaseSync } = await import("node:sqlite")
  if (path !== IN_MEMORY && !isThere(path)) {
    makeFolder(dirname(path))
    checkFolder(dirname(path))
    makeFile(path)
  }
  const connection = new DatabaseSync(path)
  connection.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`)
  return adapter(connection)
}

// It is looked at by its name: to close a descriptor of it would free the locks that this process has on it.
function isThere(path: string): boolean {
  const stat = nodeFS.lstatSync(path, { throwIfNoEntry: false })
  if (!stat) return false
  if (stat.isSymbolicLink()) throw unsafe(path, "it is a symbolic link", "give the path of the file itself")
  if (!stat.isFile()) throw unsafe(path, "it is not a regular file", "give the path of a file")
  if (!POSIX) return true
  // SQLite finds what a crash left behind by the name.
  if (stat.nlink > 1) throw unsafe(path, "it has more than one name", "remove the other hard links")
  checkOwner(path, stat)
  // A group may share the file; in its folder it could put another in its place.
  if ((stat.mode & OTHERS_WRITE) !== 0) throw unsafe(path, "everybody may write to it", `chmod o-w "${path}"`)
  checkFolder(dirname(path))
  return true
}

function checkFolder(folder: string): void {
  if (!POSIX) return
  const stat = nodeFS.statSync(folder)
  checkOwner(folder, stat)
  if ((stat.mode & (GROUP_WRITE | OTHERS_WRITE)) !== 0)
    throw unsafe(folder, "others may put files into it", `chmod go-w "${folder}"`)
}

function checkOwner(path: string, { uid }: nodeFS.Stats): void {
  if (uid !== 0 && uid !== (process.geteuid?.() ?? uid))
    throw unsafe(path, "it belongs to another user", `run the program as that user, or chown "${path}"`)
}

function makeFile(path: string): void {
  try {
    nodeFS.closeSync(nodeFS.openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, FILE_MODE))
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code !== "EEXIST") throw error
    isThere(path)
  }
}

function unsafe(path: string, state: string, hint: string): UnsafeFile {
  return new UnsafeFile(`Cannot use "${path}": ${state}`, { hint })
}

/** The driver as Kysely wants it. Every statement is asked for its rows, which all three runtimes answer: what was changed is told by RETURNING. */
export function adapter(connection: DatabaseSync): SqliteDatabase {
  const prepare = (text: string): ReturnType<SqliteDatabase["prepare"]> => {
    // A transaction that reads first and then wants to write is refused at once, however long it was told to wait.
    const statement = connection.prepare(text === "begin" ? "begin immediate" : text)
    const all = (values: readonly unknown[]): unknown[] => {
      try {
        return statement.all(...(values as SQLInputValue[]))
      } catch (error) {
        // SQLite has rolled back by itself, on a full disk for one: to say so would hide why.
        if (text === "rollback" && error instanceof Error && /no transaction is active/.test(error.message)) return []
        throw error
      }
    }
    return {
      reader: true,
      all,
      iterate: (values) => all(values).values(),
      run: () => ({ changes: 0, lastInsertRowid: 0 }),
    }
  }
  let open = true
  const close = (): void => {
    if (open) connection.close()
    open = false
  }
  return { prepare, close }
}
