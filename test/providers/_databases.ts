/** The databases of the tests: SQLite in a new folder each time, a database of its own on a server. */
import { join } from "node:path"
import process from "node:process"
import { sql } from "kysely"
import { needsServer, startMariaDB, startPostgres } from "../servers/index.ts"
import { openKysely } from "./_dialects.ts"
import { newFolder } from "./_files.ts"

/** What gives empty databases. */
export interface DatabaseServer {
  /** The URL of a new one. */
  fresh(): Promise<string>
  close(): Promise<void>
}

/** One kind of database. */
export interface DatabaseKind {
  readonly name: "sqlite" | "postgres" | "mariadb"
  /** The options of tests that need it. */
  readonly options: { readonly skip?: string | false }
  start(): Promise<DatabaseServer>
}

let count = 0

/** SQLite needs nobody. */
export const SQLITE: DatabaseKind = {
  name: "sqlite",
  options: {},
  start: async () => {
    const { folder, remove } = newFolder()
    return { fresh: async () => `sqlite:${join(folder, String(++count), "keys.db")}`, close: async () => remove() }
  },
}

const onServer = (name: "postgres" | "mariadb", startServer: typeof startPostgres, create: string): DatabaseKind => ({
  name,
  options: needsServer(name),
  start: async () => {
    const { url, close } = await startServer()
    const fresh = async (): Promise<string> => {
      const database = `encx_${process.pid}_${++count}`
      await query(url, `create database ${database} ${create}`)
      return url.replace(/\/[^/]*$/, `/${database}`)
    }
    return { fresh, close }
  },
})

export const POSTGRES: DatabaseKind = onServer("postgres", startPostgres, "")
export const MARIADB: DatabaseKind = onServer("mariadb", startMariaDB, "character set utf8mb4")
export const DATABASES: readonly DatabaseKind[] = [SQLITE, POSTGRES, MARIADB]

/** Runs statements as somebody else who shares the database; the rows of the last. */
export async function query(url: string, ...statements: readonly string[]): Promise<Record<string, unknown>[]> {
  const db = await openKysely(url)
  try {
    let rows: unknown[] = []
    for (const statement of statements) rows = (await sql.raw(statement).execute(db)).rows
    return rows as Record<string, unknown>[]
  } finally {
    await db.destroy()
  }
}
