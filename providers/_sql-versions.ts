/** The statements over the table of key versions. */
import type { Kysely, SelectQueryNode, sql as SQL, TableNode } from "kysely"
import type { KEKVersion } from "../core/contracts.ts"
import { DatabaseUnavailable } from "../core/errors.ts"
import type { SQLDialect } from "./_sql-dialect.ts"
import type { KEKVersionsTable } from "./_sql-source.ts"

/** What the statements are made with. */
export interface Statements {
  readonly db: Kysely<KEKVersionsTable>
  readonly sql: typeof SQL
  readonly dialect: SQLDialect
}

const TABLE = "kek_versions"
/** What an INTEGER holds. */
const MAX_VERSION = 2 ** 31 - 1

/** Reads the versions of an alias, oldest first. */
export async function selectVersions({ db, sql, dialect }: Statements, alias: string): Promise<KEKVersion[]> {
  // Names without an underscore: a Kysely may be told to write those another way.
  const rows = await db
    .selectFrom(TABLE)
    .select([
      "alias as owner",
      "version",
      "kms_key_id as keyid",
      "is_deprecated as deprecated",
      sql<unknown>`${sql.raw(dialect.created)}`.as("created"),
    ])
    .where("alias", "=", alias)
    .orderBy("version")
    .execute()
  // Where the collation ignores spaces at the end, another alias answers, too.
  return rows.filter(({ owner }) => owner === alias).map((row) => versionOf(row, dialect))
}

interface StoredVersion {
  readonly version: unknown
  readonly keyid: unknown
  readonly deprecated: unknown
  readonly created: unknown
}

// Drivers give numbers as numbers, bigints or texts, and truth as they like.
function versionOf({ version, keyid, deprecated, created }: StoredVersion, dialect: SQLDialect): KEKVersion {
  const number = Number(version)
  const seconds = created === null ? Number.NaN : Number(created)
  if (typeof keyid !== "string" || keyid === "" || !Number.isInteger(number) || number < 1 || number > MAX_VERSION)
    throw senseless(dialect, "listVersions")
  return {
    version: number,
    keyID: keyid,
    // What is NULL wraps nothing for the Go library either.
    deprecated: deprecated === null || String(deprecated) === "true" || !["0", "false"].includes(String(deprecated)),
    ...(Number.isFinite(seconds) ? { createdAt: new Date(seconds * 1000) } : {}),
  }
}

function senseless({ name }: SQLDialect, operation: string): DatabaseUnavailable {
  return new DatabaseUnavailable("Cannot use the key versions: a row of the table kek_versions makes no sense", {
    provider: name,
    operation,
    hint: "each has a version from 1 and the id of a key",
    retryable: false,
  })
}

/** Makes the table. */
export async function createTable({ db, sql, dialect }: Statements): Promise<void> {
  const schema = schemaOf(db)
  const make = async (executor: Kysely<KEKVersionsTable>): Promise<void> => {
    for (const statement of dialect.ddl) {
      const [before = "", after = ""] = statement.split(/\bkek_versions\b(?=\s*\()/)
      const table = schema === undefined ? sql.raw(TABLE) : sql.id(schema, TABLE)
      await sql`${sql.raw(before)}${table}${sql.raw(after)}`.execute(executor)
    }
  }
  // MySQL ends a transaction with every such statement, and needs one alone.
  if (dialect.ddl.length === 1) await make(db)
  else await db.transaction().execute(make)
}

/** The schema that a Kysely was told of. */
function schemaOf(db: Kysely<KEKVersionsTable>): string | undefined {
  const { from } = db.selectFrom(TABLE).select("version").compile().query as SelectQueryNode
  const [table] = (from?.froms ?? []) as readonly Partial<TableNode>[]
  return table?.table?.schema?.name
}

/** Records a key as version 1. It fails as a conflict where there is one. */
export async function insertFirst(statements: Statements, alias: string, keyID: string): Promise<void> {
  await insert(statements, alias, keyID, 1)
}

/** Records a key as the next version, and deprecates those before: in one transaction. */
export async function insertNext(
  { db, sql, dialect }: Statements,
  alias: string,
  keyID: string,
  signal: AbortSignal | undefined,
): Promise<KEKVersion> {
  const begin = db.transaction()
  const transaction = dialect.isolation ? begin.setIsolationLevel(dialect.isolation) : begin
  return await transaction.execute(async (db) => {
    const statements = { db, sql, dialect }
    // The row that never goes is what all who rotate queue for; the one that is current is another for each of them.
    const isFirst = dialect.locksRows && !(await lockFirst(statements, alias))
    signal?.throwIfAborted()
    // Who locked nothing waits for nobody, and might not deprecate what others record meanwhile: the primary key lets one of them in.
    if (isFirst) {
      await insert(statements, alias, keyID, 1)
      signal?.throwIfAborted()
      return { version: 1, keyID, deprecated: false }
    }
    await db
      .updateTable(TABLE)
      .set({ is_deprecated: sql`TRUE`, updated_at: sql`CURRENT_TIMESTAMP` })
      .where("alias", "=", alias)
      .where("is_deprecated", "=", sql`FALSE`)
      .execute()
    signal?.throwIfAborted()
    const { last } = await db
      .selectFrom(TABLE)
      .select(sql<unknown>`max(version)`.as("last"))
      .where("alias", "=", alias)
      .executeTakeFirstOrThrow()
    const version = Number(last ?? 0) + 1
    // Not every database refuses what could not be read again.
    if (!(version >= 1 && version <= MAX_VERSION)) throw senseless(dialect, "addVersion")
    signal?.throwIfAborted()
    await insert(statements, alias, keyID, version)
    signal?.throwIfAborted()
    return { version, keyID, deprecated: false }
  })
}

async function lockFirst({ db }: Statements, alias: string): Promise<boolean> {
  const rows = await db
    .selectFrom(TABLE)
    .select("version")
    .where("alias", "=", alias)
    .orderBy("version")
    .limit(1)
    .forUpdate()
    .execute()
  return rows.length > 0
}

async function insert({ db, sql }: Statements, alias: string, keyID: string, version: number): Promise<void> {
  const values = {
    alias,
    version,
    kms_key_id: keyID,
    is_deprecated: sql`FALSE`,
    created_at: sql`CURRENT_TIMESTAMP`,
    updated_at: sql`CURRENT_TIMESTAMP`,
  }
  await db.insertInto(TABLE).values(values).execute()
}
