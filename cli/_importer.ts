/** Records of a CSV file into a new table, in the transaction of whoever asks. */
import { sql } from "kysely"
import { type AnySchema, type Crypto, EncryptionFailed, InvalidInput } from "../mod.ts"
import type { CSVRecord } from "./_csv.ts"
import type { Database, Row } from "./_database.ts"
import { CommandError } from "./_errors.ts"
import type { IO } from "./_io.ts"
import { define, type Plan } from "./_plan.ts"
import { type Definition, saveDefinition, schemaOf } from "./_tables.ts"

// Hashes take their time: smaller batches let the bar move and Ctrl-C be heard.
const BATCH = { sealing: 500, hashing: 32 } as const

/** What an import did. */
export interface Imported {
  readonly definition: Definition
  readonly rows: number
}

/** One import: first the header, then batches, then the end. */
export class Importer {
  rows = 0
  readonly #io: IO
  readonly #crypto: Crypto
  readonly #plan: Plan
  readonly #db: Database
  #defined: { readonly definition: Definition; readonly schema: AnySchema } | undefined

  constructor(io: IO, crypto: Crypto, plan: Plan, db: Database) {
    this.#io = io
    this.#crypto = crypto
    this.#plan = plan
    this.#db = db
  }

  /** Records that are sealed at once. */
  get batch(): number {
    return this.#plan.hash?.length ? BATCH.hashing : BATCH.sealing
  }

  define(header: readonly string[]): void {
    const definition = define(this.#plan, header)
    this.#defined = { definition, schema: schemaOf(definition) }
  }

  get #definition(): { readonly definition: Definition; readonly schema: AnySchema } {
    if (this.#defined) return this.#defined
    throw new CommandError("INVALID_CSV", "Cannot import: the file is empty")
  }

  async add(batch: readonly CSVRecord[]): Promise<void> {
    const { definition, schema } = this.#definition
    const objects = batch.map(({ values }) => toObject(definition, values))
    const sealed = await this.#seal(schema, objects, batch)
    if (this.rows === 0) await createTable(this.#db, definition, schema, sealed[0] as Row, this.#crypto)
    await insert(this.#db, definition, sealed, batch)
    this.rows += sealed.length
  }

  async #seal(schema: AnySchema, objects: readonly Row[], batch: readonly CSVRecord[]): Promise<Row[]> {
    const records = this.#crypto
    const { signal } = this.#io
    try {
      return await records.sealRecords(schema, objects, { signal })
    } catch (error) {
      if (!isOfRecord(error)) throw error
      for (const [i, object] of objects.entries()) {
        await records.sealRecord(schema, object, { signal }).catch((again: unknown) => {
          throw isOfRecord(again) ? atLine(batch[i] as CSVRecord, again) : again
        })
      }
      throw error
    }
  }

  async finish(file: string): Promise<Imported> {
    const { definition } = this.#definition
    // The columns are those that a record is sealed into, so there is a table only where there is a record.
    if (this.rows === 0) throw new CommandError("INVALID_CSV", `Cannot import "${file}": it has a header and no rows`)
    await saveDefinition(this.#db, this.#crypto, definition, { signal: this.#io.signal })
    return { definition, rows: this.rows }
  }
}

const isOfRecord = (error: unknown): error is Error =>
  error instanceof EncryptionFailed || error instanceof InvalidInput

function atLine({ line }: CSVRecord, error: Error): CommandError {
  return new CommandError("INVALID_CSV", `${error.message} (line ${line})`, { cause: error })
}

function toObject({ columns }: Definition, values: Readonly<Record<string, string>>): Row {
  return Object.fromEntries(
    columns.map(({ name, kind }) => [name, kind === "hashed" && values[name] === "" ? null : values[name]]),
  )
}

// --- Storing ---

async function createTable(
  db: Database,
  { table, row, columns }: Definition,
  schema: AnySchema,
  sample: Row,
  crypto: Crypto,
): Promise<void> {
  let builder = db.schema.createTable(table)
  for (const [name, value] of Object.entries(sample)) {
    builder = builder.addColumn(name, typeOf(value), (column) =>
      name === row ? column.primaryKey().notNull() : column,
    )
  }
  await builder.execute()
  const indexed = columns.filter(({ kind }) => kind === "indexed")
  for (const { name } of indexed) {
    const [column] = Object.keys(crypto.lookup(schema, name, "", schema.tenant === undefined ? {} : { tenant: "any" }))
    await sql`create index ${sql.id(`${table}_${column}`)} on ${sql.table(table)} (${sql.id(column as string)})`.execute(
      db,
    )
  }
}

function typeOf(value: unknown): "blob" | "integer" | "text" {
  if (value instanceof Uint8Array) return "blob"
  return typeof value === "number" ? "integer" : "text"
}

// SQLite's default limit.
const MAX_VARIABLES = 32_766

async function insert(
  db: Database,
  { table, row }: Definition,
  rows: readonly Row[],
  batch: readonly CSVRecord[],
): Promise<void> {
  const perStatement = Math.max(1, Math.floor(MAX_VARIABLES / Object.keys(rows[0] as Row).length))
  for (let start = 0; start < rows.length; start += perStatement) {
    const part = rows.slice(start, start + perStatement)
    const stored = await db
      .insertInto(table)
      .values(part)
      .onConflict((conflict) => conflict.doNothing())
      .returning(sql.id<string>(row).as("row"))
      .execute()
    const fresh = new Set(stored.map((each) => each.row))
    // What was not stored was there already, or stood earlier in the same statement.
    const twice = part.findIndex((each) => !fresh.delete(each[row] as string))
    if (twice >= 0) {
      const { line } = batch[start + twice] as CSVRecord
      throw new CommandError("INVALID_CSV", `Cannot import: line ${line} has the same "${row}" as a row before it`, {
        hint: "--row names the column that tells rows apart",
      })
    }
  }
}
