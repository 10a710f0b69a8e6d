/** Where the table is: a URL, a `Kysely` or a `pg.Pool` of the program's, as a `Kysely` that queries it. */
import { resolve } from "node:path"
import type { Kysely } from "kysely"
import { InvalidConfiguration, MissingDependency } from "../core/errors.ts"
import type { KyselyDatabase, PostgresPool } from "../core/options.ts"
import { DIALECTS, type SQLDialect } from "./_sql-dialect.ts"
import { MYSQL2_PARAMETERS, PG_PARAMETERS, parameterProblem, type URLParameters } from "./_sql-parameters.ts"
import { IN_MEMORY, openSQLite } from "./_sqlite.ts"

/** The columns of the table. */
export interface KEKVersionsTable {
  readonly kek_versions: {
    readonly alias: string
    readonly version: number
    readonly kms_key_id: string
    readonly is_deprecated: unknown
    readonly created_at: unknown
    readonly updated_at: unknown
  }
}

/** A database that is open. */
export interface OpenDatabase {
  readonly db: Kysely<KEKVersionsTable>
  /** Ends its connections, at once where they do nothing and soon where they do. */
  close(): Promise<void>
}

/** A database that can be opened. */
export interface Source {
  readonly dialect: SQLDialect
  /** Of its URL, to keep them out of what is shown. */
  readonly passwords?: readonly string[]
  /** Whether its connections may be given up for others: those to a server, where they are ours. */
  readonly replaceable: boolean
  /** @param timeoutMs how long a connection, and one of its statements, may take */
  open(timeoutMs: number): Promise<OpenDatabase>
}

const CONNECTIONS = 4
const CLOSE_MS = 2_000

const SCHEMES: Readonly<Record<string, (url: string) => Source>> = Object.assign(
  Object.create(null) as Record<string, (url: string) => Source>,
  { sqlite: sqliteFile, postgres, postgresql: postgres, mysql, mariadb: mysql },
)

/**
 * Finds out what was given.
 *
 * @throws {InvalidConfiguration} when it is none of those; nothing of a URL is quoted
 */
export function sourceOf(given: unknown): Source {
  if (typeof given === "string") return ofURL(given)
  if (isKysely(given)) return ofKysely(given)
  if (isPool(given)) return ofPool(given)
  throw new InvalidConfiguration(
    "Cannot use the database: it is no URL, no Kysely, no pg.Pool and no KEKVersionStore",
    {
      hint: 'write withDatabase("postgres://…"), "mysql://…" or "sqlite:.encx/keys.db"',
    },
  )
}

// --- URLs ---

function ofURL(url: string): Source {
  const [, scheme = ""] = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(url) ?? []
  const opener = SCHEMES[scheme.toLowerCase()]
  if (opener) return opener(url)
  throw new InvalidConfiguration(
    `Cannot use the database's URL: it ${scheme === "" ? "has no scheme" : "has another scheme"}`,
    { hint: "known are postgres:, postgresql:, mysql:, mariadb: and sqlite:" },
  )
}

function sqliteFile(url: string): Source {
  const text = url.slice("sqlite:".length).replace(/^\/\/(?=\/)/, "")
  let path: string
  try {
    path = decodeURIComponent(text)
  } catch {
    throw unreadable("it has a broken percent encoding")
  }
  if (/[?#]/.test(text)) throw unreadable("it has a query or a fragment")
  if (path === "" || path.includes("\0")) throw unreadable("it names no file")
  if (text.startsWith("//"))
    throw unreadable("it has two slashes", "write sqlite:///srv/app/keys.db, or sqlite:.encx/keys.db")
  return {
    dialect: DIALECTS.sqlite,
    // Whoever waits too long for a file waits for its writer; and what is in memory would be lost.
    replaceable: false,
    open: async () => {
      const { Kysely, SqliteDialect } = await load("kysely", () => import("kysely"), ["kysely"])
      const database = path === IN_MEMORY ? path : resolve(path)
      const db = new Kysely<KEKVersionsTable>({ dialect: new SqliteDialect({ database: await openSQLite(database) }) })
      return { db, close: () => db.destroy() }
    },
  }
}

function server(given: string, known: URLParameters): Pick<Source, "passwords"> {
  if (!URL.canParse(given)) throw unreadable("percent-encode what is special in its user name and its password")
  const url = new URL(given)
  if (url.hash !== "") throw unreadable("it has a fragment", "write %23 for #")
  const problem = parameterProblem(url.searchParams, known)
  if (problem) throw unreadable(problem.state, problem.hint)
  const others = [...url.searchParams].flatMap(([name, value]) => (name.startsWith("password") ? [value] : []))
  try {
    return { passwords: [decodeURIComponent(url.password), ...others].filter((each) => each !== "") }
  } catch {
    throw unreadable("it has a broken percent encoding")
  }
}

function postgres(url: string): Source {
  return {
    ...server(url, PG_PARAMETERS),
    dialect: DIALECTS.postgresql,
    replaceable: true,
    open: async (timeoutMs) => {
      const needed = ["kysely", "pg"]
      const { Kysely, PostgresDialect } = await load("kysely", () => import("kysely"), needed)
      const { default: pg } = await load("pg", () => import("pg"), needed)
      const pool = new pg.Pool({
        connectionString: url,
        max: CONNECTIONS,
        connectionTimeoutMillis: timeoutMs,
        query_timeout: timeoutMs,
        keepAlive: true,
        allowExitOnIdle: true,
      })
      const clients = new Set<{ end(): Promise<void> }>()
      pool.on("connect", (client) => {
        clients.add(client)
        // Who uses it is told by the statement that fails.
        client.on("error", () => undefined)
      })
      pool.on("remove", (client) => void clients.delete(client))
      // A connection that breaks while nobody uses it is replaced by the next use; unheard, it would end the program.
      pool.on("error", () => undefined)
      const db = new Kysely<KEKVersionsTable>({ dialect: new PostgresDialect({ pool }) })
      return { db, close: () => closeOrCut(db, () => [...clients].map((client) => client.end())) }
    },
  }
}

function mysql(url: string): Source {
  return {
    ...server(url, MYSQL2_PARAMETERS),
    dialect: DIALECTS.mysql,
    replaceable: true,
    open: async (timeoutMs) => {
      const needed = ["kysely", "mysql2"]
      const { Kysely, MysqlDialect } = await load("kysely", () => import("kysely"), needed)
      const { createPool } = await load("mysql2", () => import("mysql2"), needed)
      const pool = readingParameters(() =>
        createPool({
          uri: url.replace(/^[^:]*:/, "mysql:"),
          connectionLimit: CONNECTIONS,
          connectTimeout: timeoutMs,
          enableKeepAlive: true,
        }),
      )
      const connections = new Set<{ destroy(): void }>()
      pool.on("connection", (connection) => void connections.add(connection as unknown as { destroy(): void }))
      const db = new Kysely<KEKVersionsTable>({ dialect: new MysqlDialect({ pool }) })
      return {
        db,
        close: () => closeOrCut(db, () => [...connections].map(async (connection) => connection.destroy())),
      }
    },
  }
}

/** What the driver says of a parameter may quote the URL: it is not passed on. */
function readingParameters<Result>(read: () => Result): Result {
  try {
    return read()
  } catch {
    throw unreadable("its driver refuses a parameter", 'TLS is ?ssl={"verifyIdentity":true}')
  }
}

function unreadable(state: string, hint?: string): InvalidConfiguration {
  return new InvalidConfiguration(`Cannot use the database's URL: ${state}`, hint === undefined ? {} : { hint })
}

/** Lets statements that are under way end, for a while. */
async function closeOrCut(db: Kysely<KEKVersionsTable>, cut: () => Promise<unknown>[]): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), CLOSE_MS)
  })
  const ended = db.destroy()
  try {
    if ((await Promise.race([ended, late])) === "late") await Promise.race([Promise.allSettled(cut()), late])
  } finally {
    clearTimeout(timer)
  }
}

/** Imports an optional peer. */
async function load<Module>(
  name: string,
  importing: () => Promise<Module>,
  needed: readonly string[],
): Promise<Module> {
  try {
    return await importing()
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code !== "ERR_MODULE_NOT_FOUND") throw error
    throw new MissingDependency(`Cannot use the database of key versions: the package "${name}" is not installed`, {
      hint: `npm install ${needed.join(" ")}`,
      cause: error,
    })
  }
}

// --- Objects of the program's ---

const hasMethods = (value: unknown, names: readonly string[]): boolean =>
  typeof value === "object" &&
  value !== null &&
  names.every((name) => typeof (value as Readonly<Record<string, unknown>>)[name] === "function")

const isKysely = (value: unknown): value is KyselyDatabase =>
  hasMethods(value, ["selectFrom", "transaction", "getExecutor"])
const isPool = (value: unknown): value is PostgresPool =>
  hasMethods(value, ["connect", "query"]) && "totalCount" in (value as object)

function ofKysely(given: KyselyDatabase): Source {
  const db = given as unknown as Kysely<KEKVersionsTable>
  if (db.isTransaction) throw new InvalidConfiguration("Cannot use the database: this Kysely is a transaction")
  // By what it can do: the class may be another package's, or another copy of Kysely's.
  const { supportsReturning, supportsTransactionalDdl, supportsOutput } = db.getExecutor().adapter
  if (supportsOutput) throw new InvalidConfiguration("Cannot use the database: this Kysely is of SQL Server")
  const dialect = !supportsReturning ? DIALECTS.mysql : supportsTransactionalDdl ? DIALECTS.postgresql : DIALECTS.sqlite
  return { dialect, replaceable: false, open: async () => ({ db, close: async () => undefined }) }
}

function ofPool(pool: PostgresPool): Source {
  return {
    dialect: DIALECTS.postgresql,
    replaceable: false,
    open: async () => {
      const { Kysely, PostgresDialect } = await load("kysely", () => import("kysely"), ["kysely"])
      const db = new Kysely<KEKVersionsTable>({ dialect: new PostgresDialect({ pool: pool as never }) })
      return { db, close: async () => undefined }
    },
  }
}
