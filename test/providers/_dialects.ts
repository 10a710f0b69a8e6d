/** Databases as the tests open them, beside the programs that they test. */
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  Kysely,
  MysqlDialect,
  PostgresDialect,
  SqliteDialect,
} from "kysely"
import { openSQLite } from "../../providers/_sqlite.ts"

async function dialectOf(url: string): Promise<Dialect> {
  if (url.startsWith("sqlite:")) return new SqliteDialect({ database: await openSQLite(url.slice("sqlite:".length)) })
  if (url.startsWith("mysql:")) {
    const { createPool } = await import("mysql2")
    return new MysqlDialect({ pool: createPool({ uri: url, connectionLimit: 1 }) })
  }
  const { default: pg } = await import("pg")
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  // A server that ends a connection would end the test's process, too.
  pool.on("connect", (client) => client.on("error", () => undefined))
  pool.on("error", () => undefined)
  return new PostgresDialect({ pool })
}

/** A Kysely of the test's own. */
export async function openKysely<Tables>(url: string): Promise<Kysely<Tables>> {
  return new Kysely({ dialect: await dialectOf(url) })
}

/** Stands around each statement, the beginnings and ends of transactions included. */
export type AroundStatement = <Result>(statement: string, run: () => Promise<Result>) => Promise<Result>

/** A database whose every statement passes `around`. */
export async function watchedDialect(url: string, around: AroundStatement): Promise<Dialect> {
  const dialect = await dialectOf(url)
  const watched = (connection: DatabaseConnection): DatabaseConnection =>
    bound(connection, {
      executeQuery: (query: CompiledQuery) => around(query.sql, () => connection.executeQuery(query)),
    })
  return bound(dialect, {
    createDriver: () => {
      const driver = dialect.createDriver()
      const connections = new WeakMap<DatabaseConnection, DatabaseConnection>()
      return bound(driver, {
        acquireConnection: async () => {
          const connection = await driver.acquireConnection()
          const known = connections.get(connection) ?? watched(connection)
          connections.set(connection, known)
          return known
        },
      })
    },
  })
}

/** An object with some of its methods replaced; the others are called on the object itself, whose private fields they use. */
function bound<Target extends object>(target: Target, replaced: object): Target {
  return new Proxy(target, {
    get: (_, name) => {
      if (Object.hasOwn(replaced, name)) return Reflect.get(replaced, name)
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === "function" ? value.bind(target) : value
    },
  })
}
