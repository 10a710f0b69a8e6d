/** SQLite by Kysely, over the driver that Node, Deno and Bun bring. */
import { stat } from "node:fs/promises"
import { resolve } from "node:path"
import type { DatabaseSync } from "node:sqlite"
import { Kysely, SqliteDialect } from "kysely"
import { EncxError } from "../mod.ts"
import { adapter } from "../providers/_sqlite.ts"
import { CommandError, codeOf, withFile } from "./_errors.ts"

/** A stored row: names and values. */
export type Row = Readonly<Record<string, unknown>>
/** Tables that are known at run time alone. */
export type Database = Kysely<Record<string, Row>>

/** Milliseconds that another writer may take. */
const BUSY_TIMEOUT_MS = 5000

/**
 * Lends an existing database. It is opened for writing even to be read: after a crash, SQLite has to bring it back first.
 *
 * @throws {CommandError} when there is none, or it is no database
 */
export async function withDatabase<Result>(path: string, use: (db: Database) => Promise<Result>): Promise<Result> {
  // SQLite would make what is not there, behind a symbolic link, too.
  await withFile("open", path, () => stat(path))
  // Loaded here, after the command has silenced the warning that Node 22 prints at its first use.
  const sqlite = await import("node:sqlite")
  let connection: DatabaseSync | undefined
  try {
    connection = new sqlite.DatabaseSync(resolve(path))
    connection.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`)
    return await use(new Kysely({ dialect: new SqliteDialect({ database: adapter(connection) }) }))
  } catch (error) {
    throw explained(path, error)
  } finally {
    connection?.close()
  }
}

function explained(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof EncxError || !isSQLite(error)) return error
  const hint = /locked|busy/i.test(error.message) ? "another program writes to it; try again" : undefined
  return new CommandError("DATABASE_ERROR", `Cannot use the database "${path}": ${error.message}`, {
    hint,
    cause: error,
  })
}

const isSQLite = (error: Error): boolean => "errcode" in error || /sqlite/i.test(`${error.name} ${codeOf(error)}`)
