/** What databases and their drivers answer when they refuse, and what that means here. */
import { DatabaseUnavailable, EncxError } from "../core/errors.ts"
import type { SQLDialect } from "./_sql-dialect.ts"

/** What was asked, for errors. */
export interface SQLRequest {
  /** The method of the contract. */
  readonly operation: string
  readonly dialect: SQLDialect
  /** Those of the URL: whatever bears one is not shown. */
  readonly passwords: readonly string[]
  /** Whether the table was missing, and was to be made. */
  readonly makesTable?: boolean
}

/** What an answer means, beside that it failed. */
type Meaning = "conflict" | "no table" | "refused" | "crowded" | "unavailable"

const VERBS: Readonly<Record<string, string>> = {
  listVersions: "read the key versions",
  ensureVersion: "record a key version",
  addVersion: "record a key version",
  close: "close the database of key versions",
}

/** SQLSTATEs, whole or by class. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const STATES: readonly (readonly [RegExp, Meaning, string?])[] = [
  [/^(40001|40P01|23505|55P03|42P07|42710)$/, "conflict"],
  [/^(42P01|3F000)$/, "no table"],
  [/^53300$/, "crowded"],
  [/^28/, "refused", "check the user name and the password of the database's URL"],
  [/^42501$/, "refused", "let its user SELECT, INSERT and UPDATE the table kek_versions"],
  [/^(3D000|25006|42)/, "refused"],
]

/** Codes of MySQL and MariaDB. https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html */
const NUMBERS: Readonly<Record<number, readonly [Meaning, string?]>> = {
  1020: ["conflict"],
  1050: ["conflict"],
  1062: ["conflict"],
  1205: ["conflict"],
  1213: ["conflict"],
  1146: ["no table"],
  1040: ["crowded"],
  1203: ["crowded"],
  1044: ["refused", "check the user name and its rights to the database"],
  1045: ["refused", "check the user name and the password of the database's URL"],
  1049: ["refused", "create the database, or name another in its URL"],
  1142: ["refused", "let its user SELECT, INSERT and UPDATE the table kek_versions"],
  1290: ["refused"],
  1792: ["refused"],
  1836: ["refused"],
}

/** What SQLite says, by its code and, where a runtime gives none, by its text. https://www.sqlite.org/rescode.html */
const SQLITE: readonly (readonly [name: string, code: number, text: RegExp, Meaning, string?])[] = [
  ["BUSY", 5, /database is locked/i, "conflict", "another program has it open and writes; try again"],
  ["LOCKED", 6, /table is locked/i, "conflict"],
  ["CONSTRAINT", 19, /UNIQUE constraint failed/i, "conflict"],
  ["READONLY", 8, /readonly database/i, "refused", "let this program write to the file and to its folder"],
  ["CORRUPT", 11, /malformed/i, "refused", "bring the file back from a backup"],
  ["FULL", 13, /disk is full/i, "unavailable"],
  ["CANTOPEN", 14, /unable to open/i, "refused", "let this program write to the file and to its folder"],
  ["NOTADB", 26, /not a database/i, "refused", "give the path of an SQLite database"],
]

interface Found {
  readonly meaning: Meaning
  /** How it is named in the message. */
  readonly state: string
  readonly hint?: string | undefined
}

interface DriverError {
  readonly code?: unknown
  readonly errno?: unknown
  readonly errcode?: unknown
  readonly sqlState?: unknown
  readonly message?: unknown
  readonly errors?: readonly unknown[]
}

const UNREACHABLE =
  /^(E[A-Z]{3,}|PROTOCOL_CONNECTION_LOST|PROTOCOL_SEQUENCE_TIMEOUT|POOL_CLOSED|CERT_\w+|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_\w+|UNABLE_TO_\w+|ERR_TLS_\w+)$/

function findOut(error: unknown, { name }: SQLDialect): Found {
  const failed = (error ?? {}) as DriverError
  // Node tries each address of a name, and lists how each ended.
  const first = failed.errors?.[0]
  if (first !== undefined) return findOut(first, { name } as SQLDialect)
  const { code } = failed
  if (name === "sqlite") return ofSQLite(failed)
  if (name === "mysql" && typeof failed.errno === "number" && failed.sqlState !== undefined) {
    const [meaning, hint] = NUMBERS[failed.errno] ?? (["unavailable"] as const)
    return { meaning, hint, state: `the database answered ${failed.errno} (SQLSTATE ${String(failed.sqlState)})` }
  }
  if (name === "postgresql" && typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code)) {
    const [, meaning, hint] = STATES.find(([pattern]) => pattern.test(code)) ?? ([/./, "unavailable"] as const)
    return { meaning, hint, state: `the database answered with SQLSTATE ${code}` }
  }
  const reason = typeof code === "string" && UNREACHABLE.test(code) ? ` (${code})` : ""
  return { meaning: "unavailable", state: `it cannot be reached${reason}`, hint: "check that it runs, and its address" }
}

function ofSQLite({ errcode, errno, code, message }: DriverError): Found {
  const text = typeof message === "string" ? message : ""
  if (/no such table/i.test(text)) return { meaning: "no table", state: "it has no table kek_versions" }
  const number = typeof errcode === "number" ? errcode : typeof errno === "number" ? errno : -1
  const found = SQLITE.find(
    ([name, value, pattern]) =>
      (number > 0 && (number & 0xff) === value) ||
      (typeof code === "string" && code.startsWith(`SQLITE_${name}`)) ||
      pattern.test(text),
  )
  if (found) {
    const [name, , , meaning, hint] = found
    return { meaning, hint, state: `the database answered SQLITE_${name}` }
  }
  const shown = typeof code === "string" && /^(E[A-Z]+|SQLITE_[A-Z_]+)$/.test(code) ? ` (${code})` : ""
  return { meaning: "unavailable", state: `it cannot be used${shown}` }
}

/** Whether another transaction came between: this one changed nothing, and may be begun again. */
export function isConflict(error: unknown, dialect: SQLDialect): boolean {
  return findOut(error, dialect).meaning === "conflict"
}

/** Whether the table is not there. */
export function isTableMissing(error: unknown, dialect: SQLDialect): boolean {
  return findOut(error, dialect).meaning === "no table"
}

const crowded = new WeakSet<object>()

/** Whether the server refused before it did anything, for want of connections. */
export const isCrowded = (error: unknown): boolean => typeof error === "object" && error !== null && crowded.has(error)

/** A failure as an error of the library. The driver's own goes with it, unless it bears the password. */
export function databaseError(
  error: unknown,
  { operation, dialect, passwords, makesTable = false }: SQLRequest,
  inspect: (value: unknown) => string,
): unknown {
  if (error instanceof EncxError) return error
  const { meaning, state, hint } = findOut(error, dialect)
  const wantsTable = meaning === "no table" || (makesTable && meaning === "refused")
  const told = new DatabaseUnavailable(`Cannot ${VERBS[operation] ?? operation}: ${state}`, {
    provider: dialect.name,
    operation,
    hint: wantsTable ? ddlHint(dialect) : hint,
    retryable: meaning !== "refused" && meaning !== "no table",
    ...(isShowable(error, passwords, inspect) ? { cause: error } : {}),
  })
  if (meaning === "crowded") crowded.add(told)
  return told
}

/** What to do where a program may not make the table. */
function ddlHint({ ddl }: SQLDialect): string {
  return `make the table as a user who may: ${ddl.join("; ").replace(/\s+/g, " ")}`
}

function isShowable(error: unknown, passwords: readonly string[], inspect: (value: unknown) => string): boolean {
  if (passwords.length === 0) return true
  const text = inspect(error)
  return !passwords.some((each) => text.includes(each) || text.includes(encodeURIComponent(each)))
}
