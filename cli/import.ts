/** `encx import`: a CSV file becomes a table of sealed columns, whole or not at all. */
import { stat, writeFile } from "node:fs/promises"
import type { Command } from "commander"
import { replacing } from "../core/files/replace.ts"
import type { Crypto } from "../mod.ts"
import { delimiter, names, verb, withSecrets } from "./_command.ts"
import { readCSV } from "./_csv.ts"
import { type Database, withDatabase } from "./_database.ts"
import { CommandError, withFile } from "./_errors.ts"
import { exists } from "./_files.ts"
import { type Imported, Importer } from "./_importer.ts"
import type { IO } from "./_io.ts"
import { count, type OutputOptions, printResult } from "./_output.ts"
import { checkPlan, type Plan } from "./_plan.ts"
import { progress } from "./_progress.ts"
import { type ServiceOptions, withCrypto } from "./_services.ts"
import { createDefinitions, hasTable } from "./_tables.ts"

/** What an import takes beside keys. */
export interface Import extends Plan {
  readonly to: string
  readonly delimiter?: string
}

/** The verb. */
export function importVerb(io: IO): Command {
  const command = verb(
    "import",
    "Import a CSV file into a new table of an SQLite database, with its columns sealed. All of it or nothing.",
    [
      "encx import people.csv --to people.sqlite --table people --row id \\",
      "      --encrypt name,phone,birth_date,diagnosis --index email --hash password --plain city",
    ],
  )
  return withSecrets(command)
    .argument("<FILE.csv>", "UTF-8, with a header line")
    .requiredOption("--to <DB.sqlite>", "the database; made if there is none")
    .requiredOption("--table <T>", "the table; it must be new")
    .requiredOption("--row <column>", "the column that tells rows apart, such as an id; stored as it is")
    .option("--encrypt <columns>", "columns to encrypt, such as name,phone", names)
    .option("--index <columns>", "columns to encrypt and find by value", names)
    .option("--hash <columns>", "columns of passwords: compared, never read; an empty cell is NULL", names)
    .option("--plain <columns>", "columns to store as they are, for anyone to read", names)
    .option(
      "--normalize <steps>",
      "what makes two spellings one for --index: trim, lowercase, nfc, nfkc, digits",
      names,
    )
    .option("--tenant <column>", "the column that tells tenants apart; stored as it is")
    .option("--delimiter <sign>", "what stands between cells; \\t is a tab", delimiter, ",")
    .action((file: string, options: Import & ServiceOptions & OutputOptions) => runImport(io, file, options))
}

async function runImport(io: IO, file: string, options: Import & ServiceOptions & OutputOptions): Promise<void> {
  checkPlan(options)
  const secret = [...(options.index ?? []), ...(options.hash ?? [])].length > 0
  await withCrypto(io, options, secret ? "keys and secrets" : "keys", async (crypto) => {
    const { rows, definition } = await importCSV(io, crypto, file, options)
    const columns = Object.fromEntries(definition.columns.map(({ name, kind }) => [name, kind]))
    await printResult(io, options, { database: options.to, table: options.table, rows, columns }, () => {
      return `Imported ${count(rows, "row")} into the table "${options.table}" of ${options.to}.`
    })
  })
}

// --- Importing ---

/** Imports a file into a new table. The database is as it was until all of it is there. */
export async function importCSV(io: IO, crypto: Crypto, file: string, options: Import): Promise<Imported> {
  const into = (path: string): Promise<Imported> =>
    withDatabase(path, (db) => intoDatabase(io, crypto, file, options, db))
  if (await exists(options.to)) return await into(options.to)
  // A new database gets its name when it is whole: even a crash leaves none behind under that name.
  return await replacing(options.to, false, async (temporary) => {
    await withFile("write", options.to, () => writeFile(temporary, "", { flag: "wx", mode: 0o600 }))
    return await into(temporary)
  })
}

async function intoDatabase(io: IO, crypto: Crypto, file: string, options: Import, db: Database): Promise<Imported> {
  const { size } = await withFile("read", file, () => stat(file))
  const bar = progress(io, `Importing ${options.table}`, size)
  try {
    return await db.transaction().execute(async (transaction) => {
      if (await hasTable(transaction, options.table)) {
        throw new CommandError("TABLE_EXISTS", `Cannot import into the table "${options.table}": it exists already`, {
          hint: "give another name: --table",
        })
      }
      await createDefinitions(transaction)
      const table = new Importer(io, crypto, options, transaction)
      await readCSV(
        file,
        {
          delimiter: options.delimiter,
          signal: io.signal,
          batch: () => table.batch,
          header: (header) => table.define(header),
        },
        async (batch, bytes) => {
          await table.add(batch)
          bar.update(bytes, table.rows)
        },
      )
      return await table.finish(file)
    })
  } finally {
    bar.stop()
  }
}
