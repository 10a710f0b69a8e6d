/** What is known of a table that the command made: how each column is kept. It is stored sealed, beside the table. */
import {
  type AnySchema,
  type CallOptions,
  type Crypto,
  DecryptionFailed,
  digits,
  type Field,
  InvalidFormat,
  lowercase,
  type Normaliser,
  nfc,
  nfkc,
  type PlainField,
  plain,
  record,
  text,
  trim,
} from "../mod.ts"
import type { Database } from "./_database.ts"
import { CommandError, didYouMean, usage } from "./_errors.ts"

// --- Definition ---

/** How a column is kept. */
export type Kind = "plain" | "encrypted" | "indexed" | "hashed"

/** A column of the CSV, and how it is kept. */
export interface Column {
  readonly name: string
  readonly kind: Kind
}

/** A table, as `encx import` was told. */
export interface Definition {
  readonly version: 1
  readonly table: string
  readonly row: string
  readonly tenant?: string
  /** Of every index. */
  readonly normalize: readonly string[]
  readonly columns: readonly Column[]
}

/** The normalisers, by name. */
export const NORMALISERS: ReadonlyMap<string, Normaliser> = new Map(
  [trim, lowercase, nfc, nfkc, digits].map((each) => [each.name, each]),
)

const FIELDS: Readonly<
  Record<
    Kind,
    (normalize: readonly Normaliser[]) => PlainField<string> | Field<string, true> | Field<string, boolean, true>
  >
> = Object.assign(Object.create(null), {
  plain: () => plain<string>(),
  encrypted: () => text().encrypt(),
  indexed: (normalize: readonly Normaliser[]) => text().encrypt().index({ normalize }),
  hashed: () => text().nullable().hashSecure(),
})

/** The library's schema of a table. */
export function schemaOf({ table, row, tenant, normalize, columns }: Definition): AnySchema {
  const steps = normalize.map((name) => {
    const step = NORMALISERS.get(name)
    if (step) return step
    throw usage(`Cannot normalise: there is no "${name}"`, `known are ${[...NORMALISERS.keys()].join(", ")}`)
  })
  const fields = Object.fromEntries(columns.map(({ name, kind }) => [name, FIELDS[kind](steps)]))
  return record(
    table,
    { row: row as never, ...(tenant === undefined ? {} : { tenant: tenant as never }) },
    fields,
  ) as AnySchema
}

// --- Names ---

const TABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/

/**
 * Checks a table's name, so that it needs no quoting in the tools that will read it.
 *
 * @throws {CommandError} when it is none
 */
export function checkTableName(table: string): void {
  if (TABLE_NAME.test(table) && !/^(sqlite|encx)_/i.test(table)) return
  throw usage(
    `Cannot use the table name "${table}": it is not 1 to 63 letters, digits and "_"`,
    `it begins with a letter, and not with "sqlite_" or "encx_"`,
  )
}

// --- Storage ---

const DEFINITIONS = "encx_tables"
const contextOf = (table: string): Record<string, string> => ({ purpose: "encx.cli.table", table })

/** Seals a definition into the database. */
export async function saveDefinition(
  db: Database,
  crypto: Crypto,
  definition: Definition,
  options: CallOptions,
): Promise<void> {
  const { table } = definition
  const envelope = await crypto.seal(new TextEncoder().encode(JSON.stringify(definition)), contextOf(table), options)
  // The table is new: a definition that is there is of one that somebody dropped.
  const values = { name: table, definition: envelope }
  await db
    .insertInto(DEFINITIONS)
    .values(values)
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ definition: envelope }))
    .execute()
}

/** Makes the table of definitions. */
export async function createDefinitions(db: Database): Promise<void> {
  await db.schema
    .createTable(DEFINITIONS)
    .ifNotExists()
    .addColumn("name", "text", (column) => column.primaryKey().notNull())
    .addColumn("definition", "blob", (column) => column.notNull())
    .execute()
}

/** Whether the database has this table, whoever made it; SQLite knows no case. */
export async function hasTable(db: Database, table: string): Promise<boolean> {
  const names = await db.selectFrom("sqlite_master").select("name").where("type", "in", ["table", "view"]).execute()
  return names.some(({ name }) => String(name).toLowerCase() === table.toLowerCase())
}

/**
 * Opens the definition of a table.
 *
 * @throws {KeyNotAllowed} when the database belongs to another key
 * @throws {CommandError} when there is none, or it was changed
 */
export async function loadDefinition(
  db: Database,
  crypto: Crypto,
  table: string,
  options: CallOptions,
): Promise<Definition> {
  const sealed = await sealedDefinition(db, table)
  try {
    return parseDefinition(await crypto.open(sealed, contextOf(table), options), table)
  } catch (error) {
    if (!(error instanceof DecryptionFailed) && !(error instanceof InvalidFormat)) throw error
    throw new CommandError(
      "DEFINITION_CHANGED",
      `Cannot trust the definition of "${table}": it was changed after the import`,
      {
        hint: "restore the database from a backup",
        cause: error,
      },
    )
  }
}

/** Wraps the data key of a definition anew. */
export async function rewrapDefinition(
  db: Database,
  crypto: Crypto,
  table: string,
  options: CallOptions,
): Promise<void> {
  const sealed = await sealedDefinition(db, table)
  const definition = await crypto.rewrap(sealed, contextOf(table), options)
  await db
    .updateTable(DEFINITIONS)
    .set({ definition })
    .where("name", "=", table)
    .where("definition", "=", sealed)
    .execute()
}

async function sealedDefinition(db: Database, table: string): Promise<Uint8Array> {
  const rows = (await hasTable(db, DEFINITIONS)) ? await db.selectFrom(DEFINITIONS).selectAll().execute() : []
  const found = rows.find(({ name }) => name === table)?.definition
  if (found instanceof Uint8Array) return found
  const known = rows.map(({ name }) => String(name))
  const hint =
    didYouMean(table, known) ??
    (known.length > 0 ? `it has ${known.join(", ")}` : "make one: encx import FILE.csv --to DB.sqlite --table T …")
  throw new CommandError(
    "TABLE_NOT_FOUND",
    `Cannot find the table "${table}": encx import made none of this name here`,
    { hint },
  )
}

// It was authenticated: what does not fit is of a later version of this command.
function parseDefinition(bytes: Uint8Array, table: string): Definition {
  const definition = JSON.parse(new TextDecoder().decode(bytes)) as Definition
  const kinds =
    definition.version === 1 && definition.table === table && definition.columns.every(({ kind }) => kind in FIELDS)
  if (kinds) return definition
  throw new InvalidFormat(`Cannot read the definition of "${table}": its version is unknown`)
}
