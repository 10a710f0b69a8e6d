/** `encx find`: rows by a value that the database cannot read. */
import type { Command } from "commander"
import { sql } from "kysely"
import type { AnySchema, Crypto } from "../mod.ts"
import { positive, verb, withSecrets } from "./_command.ts"
import { type Database, type Row, withDatabase } from "./_database.ts"
import { didYouMean, usage } from "./_errors.ts"
import type { IO } from "./_io.ts"
import { count, type OutputOptions, printResult, table } from "./_output.ts"
import { type ServiceOptions, withCrypto } from "./_services.ts"
import { type Definition, loadDefinition, schemaOf } from "./_tables.ts"

interface FindOptions extends ServiceOptions, OutputOptions {
  readonly table: string
  readonly tenant?: string
  readonly limit: number
}

/** What is looked for. */
export interface Query {
  readonly column: string
  readonly value: string
  readonly tenant?: string | undefined
  /** Rows that are opened at most. */
  readonly limit: number
}

/** The verb. */
export function findVerb(io: IO): Command {
  const command = verb("find", "Find rows by the value of an indexed column, and show them opened.", [
    "encx find people.sqlite --table people email=ada@example.org",
    "encx find people.sqlite --table people email=ada@example.org --json",
  ])
  return withSecrets(command)
    .argument("<DB.sqlite>", "a database that encx import made")
    .argument("<column=value>", "what to look for")
    .requiredOption("--table <T>", "the table")
    .option("--tenant <tenant>", "whose rows, where the table has tenants")
    .option("--limit <n>", "how many rows are shown at most", positive, 100)
    .action((path: string, wanted: string, options: FindOptions) => find(io, path, wanted, options))
}

async function find(io: IO, path: string, wanted: string, options: FindOptions): Promise<void> {
  const at = wanted.indexOf("=")
  if (at < 1) throw usage(`Cannot look up "${wanted}": it is not column=value`)
  const query = {
    column: wanted.slice(0, at),
    value: wanted.slice(at + 1),
    tenant: options.tenant,
    limit: options.limit,
  }
  await withDatabase(path, async (db) => {
    await withCrypto(io, options, "keys and secrets", async (crypto) => {
      const definition = await loadDefinition(db, crypto, options.table, { signal: io.signal })
      const rows = await findRows(io, crypto, db, definition, query)
      await printResult(io, options, { table: options.table, rows }, () => show(definition, rows, options.limit))
    })
  })
}

/** Looks up by blind index, opens what it found and keeps what is equal indeed. */
export async function findRows(
  io: IO,
  crypto: Crypto,
  db: Database,
  definition: Definition,
  { column, value, tenant, limit }: Query,
): Promise<Row[]> {
  checkColumn(definition, column)
  checkTenant(definition, tenant)
  const schema: AnySchema = schemaOf(definition)
  const forTenant = tenant === undefined ? {} : { tenant }
  let matches = db.selectFrom(definition.table).selectAll().limit(limit)
  for (const [name, index] of Object.entries(crypto.lookup(schema, column, value, forTenant))) {
    matches = matches.where(sql.id(name), "=", index)
  }
  return await crypto.openMatches(schema, await matches.execute(), column, value, { signal: io.signal, ...forTenant })
}

function checkColumn({ table, columns }: Definition, name: string): void {
  const found = columns.find((column) => column.name === name)
  const indexed = columns.filter(({ kind }) => kind === "indexed").map((column) => column.name)
  const hint =
    indexed.length > 0 ? `indexed are ${indexed.join(", ")}` : "none of its columns was imported with --index"
  if (!found)
    throw usage(`Cannot look up "${name}": the table "${table}" has no such column`, didYouMean(name, indexed) ?? hint)
  if (found.kind === "hashed")
    throw usage(`Cannot look up "${name}": it is hashed, for comparing and never for finding`, hint)
  if (found.kind !== "indexed") throw usage(`Cannot look up "${name}": it has no index`, hint)
}

function checkTenant({ table, tenant }: Definition, given: string | undefined): void {
  if (tenant !== undefined && given === undefined)
    throw usage(`Cannot look up in "${table}": it has tenants`, `say whose rows: --tenant, a value of "${tenant}"`)
  if (tenant === undefined && given !== undefined) throw usage(`Cannot look up in "${table}" by tenant: it has none`)
}

function show({ columns }: Definition, rows: readonly Row[], limit: number): string {
  const shown = columns.filter(({ kind }) => kind !== "hashed").map(({ name }) => name)
  const found = `${count(rows.length, "row")}${rows.length === limit ? "; there may be more: --limit" : ""}`
  return rows.length === 0
    ? found
    : `${table(
        shown,
        rows.map((row) => shown.map((name) => String(row[name]))),
      )}\n\n${found}`
}
