/** `encx rewrap`: after a rotation, the rows' data keys are wrapped under the new version. */
import type { Command } from "commander"
import { sql } from "kysely"
import {
  type AnySchema,
  type Crypto,
  DecryptionFailed,
  InvalidFormat,
  InvalidInput,
  KeyNotAllowed,
  type RowKey,
} from "../mod.ts"
import { verb, withServices } from "./_command.ts"
import { type Database, type Row, withDatabase } from "./_database.ts"
import { CommandError } from "./_errors.ts"
import { breathe, type IO } from "./_io.ts"
import { count, type OutputOptions, printResult } from "./_output.ts"
import { progress } from "./_progress.ts"
import { type ServiceOptions, withCrypto } from "./_services.ts"
import { type Definition, loadDefinition, rewrapDefinition, schemaOf } from "./_tables.ts"

const BATCH = 500

interface RewrapOptions extends ServiceOptions, OutputOptions {
  readonly table: string
}

/** What re-wrapping did. */
export interface Rewrapped {
  readonly rewrapped: number
  /** Rows that somebody else changed meanwhile; the next run sees to them. */
  readonly skipped: number
}

/** The verb. */
export function rewrapVerb(io: IO): Command {
  const command = verb(
    "rewrap",
    "Wrap the data keys of a table under the key's current version. The data itself is not touched.",
    ["encx rewrap people.sqlite --table people"],
  )
  return withServices(command)
    .argument("<DB.sqlite>", "a database that encx import made")
    .requiredOption("--table <T>", "the table")
    .action((path: string, options: RewrapOptions) => rewrap(io, path, options))
}

async function rewrap(io: IO, path: string, options: RewrapOptions): Promise<void> {
  await withDatabase(path, async (db) => {
    await withCrypto(io, options, "keys", async (crypto) => {
      const definition = await loadDefinition(db, crypto, options.table, { signal: io.signal })
      const { rewrapped, skipped } = await rewrapTable(io, crypto, db, definition)
      await printResult(io, options, { table: options.table, rewrapped, skipped }, () => {
        const rest = skipped === 0 ? "" : ` ${count(skipped, "row")} changed meanwhile: run it again.`
        return `Re-wrapped ${count(rewrapped, "row")} of "${options.table}".${rest}`
      })
    })
  })
}

/**
 * Re-wraps every row whose version is not the current one, in transactions of 500. It can be stopped and run again.
 *
 * @throws {CommandError} when rows do not fit their keys; all others are re-wrapped by then
 */
export async function rewrapTable(io: IO, crypto: Crypto, db: Database, definition: Definition): Promise<Rewrapped> {
  const { signal } = io
  const schema = schemaOf(definition)
  if (!definition.columns.some(({ kind }) => kind === "encrypted" || kind === "indexed"))
    return { rewrapped: 0, skipped: 0 }
  const version = await crypto.getCurrentKEKVersion({ signal })
  await rewrapDefinition(db, crypto, definition.table, { signal })
  const bar = progress(io, `Re-wrapping ${definition.table}`, await outdated(db, definition, version))
  let done = 0
  let rewrapped = 0
  const damaged: unknown[] = []
  try {
    for (
      let rows = await next(db, definition, version);
      rows.length > 0;
      rows = await next(db, definition, version, rows.at(-1))
    ) {
      const wraps = await wrapsOf(crypto, schema, rows, signal)
      rewrapped += await storeWraps(db, definition, rows, wraps)
      damaged.push(...rows.filter((_, i) => wraps[i] === undefined).map((each) => each[definition.row]))
      done += rows.length
      bar.update(done, rewrapped)
      await breathe(signal)
    }
  } finally {
    bar.stop()
  }
  if (damaged.length === 0) return { rewrapped, skipped: done - rewrapped }
  throw new CommandError(
    "ROWS_DAMAGED",
    `Cannot re-wrap ${count(damaged.length, "row")} of "${definition.table}": what is stored does not fit its key; the first is "${damaged[0]}"`,
    { hint: `${count(rewrapped, "other")} re-wrapped; restore what was changed from a backup` },
  )
}

async function outdated(db: Database, { table }: Definition, version: number): Promise<number> {
  const { rows } = await db
    .selectFrom(table)
    .select((count) => count.fn.countAll<number>().as("rows"))
    .where("key_version", "!=", version)
    .executeTakeFirstOrThrow()
  return rows
}

async function next(db: Database, { table, row }: Definition, version: number, after?: Row): Promise<Row[]> {
  const rows = db.selectFrom(table).selectAll().where("key_version", "!=", version).orderBy(sql.id(row)).limit(BATCH)
  return await (after ? rows.where(sql.id(row), ">", after[row]) : rows).execute()
}

/** The wraps of rows, in their order; none for a row that does not fit its key. */
async function wrapsOf(
  crypto: Crypto,
  schema: AnySchema,
  rows: readonly Row[],
  signal: AbortSignal,
): Promise<(RowKey | undefined)[]> {
  try {
    return await crypto.rewrapRecords(schema, rows, { signal })
  } catch (error) {
    if (!isOfRow(error)) throw error
    if (rows.length === 1) return [undefined]
    const half = Math.ceil(rows.length / 2)
    const first = await wrapsOf(crypto, schema, rows.slice(0, half), signal)
    return [...first, ...(await wrapsOf(crypto, schema, rows.slice(half), signal))]
  }
}

const isOfRow = (error: unknown): boolean =>
  [DecryptionFailed, InvalidFormat, InvalidInput, KeyNotAllowed].some((each) => error instanceof each)

// The KMS was asked before the transaction, so that the database is not locked while it answers.
async function storeWraps(
  db: Database,
  { table, row }: Definition,
  rows: readonly Row[],
  wraps: readonly (RowKey | undefined)[],
): Promise<number> {
  return await db.transaction().execute(async (transaction) => {
    let changed = 0
    for (const [i, before] of rows.entries()) {
      const wrap = wraps[i]
      if (wrap === undefined) continue
      const stored = await transaction
        .updateTable(table)
        .set({ ...wrap })
        .where(sql.id(row), "=", before[row])
        .where("dek_encrypted", "=", before.dek_encrypted)
        .returning("key_version")
        .execute()
      changed += stored.length
    }
    return changed
  })
}
