/** The steps of the demo, each timed and its KMS calls counted. */
import { sql } from "kysely"
import type { Crypto } from "../mod.ts"
import { readCSV } from "./_csv.ts"
import { type Database, type Row, withDatabase } from "./_database.ts"
import { CommandError } from "./_errors.ts"
import { breathe, type IO } from "./_io.ts"
import { count, printable, table } from "./_output.ts"
import type { Plan } from "./_plan.ts"
import { type Definition, schemaOf } from "./_tables.ts"
import { findRows } from "./find.ts"
import { importCSV } from "./import.ts"
import { rewrapTable } from "./rewrap.ts"

/** Where the demo works. */
export interface DemoFiles {
  readonly csv: string
  readonly database: string
  readonly keys: string
}

/** One step that was done. */
export interface Step {
  readonly step: string
  readonly rows: number
  readonly kmsCalls: number
  readonly ms: number
}

type CSVRow = Readonly<Record<string, string>>
type Say = (text: string) => Promise<void>

/** A run of the demo. */
export class Demo {
  readonly #io: IO
  readonly #crypto: Crypto
  readonly #files: DemoFiles
  readonly #plan: Plan
  readonly #say: Say
  readonly #steps: Step[] = []

  constructor(io: IO, crypto: Crypto, files: DemoFiles, plan: Plan, say: Say) {
    this.#io = io
    this.#crypto = crypto
    this.#files = files
    this.#plan = plan
    this.#say = say
  }

  /** Notes a step. */
  record(step: string, rows: number, ms: number, kmsBefore: number): void {
    this.#steps.push({ step, rows, kmsCalls: this.#kmsCalls() - kmsBefore, ms: Math.round(ms) })
  }

  /** Does all of it. */
  async run(): Promise<readonly Step[]> {
    const { csv, database } = this.#files
    const { definition, rows } = await this.#step(
      "seal and import the CSV",
      () => importCSV(this.#io, this.#crypto, csv, { ...this.#plan, to: database }),
      (done) => done.rows,
    )
    await this.#say(`Imported ${count(rows, "row")} of ${csv}; the database holds:\n`)
    await withDatabase(database, async (db) => {
      const first = (await this.#firstRow(() => true)) as CSVRow
      await this.#show(db, definition, first)
      await this.#find(db, definition, first)
      await this.#passwords(db, definition)
      const changed = await this.#update(db, definition, first)
      await this.#step("rotate the key", () => this.#crypto.rotateKEK({ signal: this.#io.signal }))
      await this.#step(
        "re-wrap every row",
        () => rewrapTable(this.#io, this.#crypto, db, definition),
        ({ rewrapped }) => rewrapped,
      )
      const compared = await this.#step(
        "open all, compare with the CSV",
        () => this.#compare(db, definition, changed),
        (done) => done,
      )
      await this.#say(
        `Rotated the key, re-wrapped and opened again: ${compared} of ${count(rows, "row")} as in the CSV${changed ? ", and the one change" : ""}.`,
      )
    })
    return this.#steps
  }

  #kmsCalls(): number {
    return Object.values(this.#crypto.stats().kms).reduce((sum, calls) => sum + calls, 0)
  }

  async #step<Result>(
    step: string,
    run: () => Promise<Result>,
    rows: (result: Result) => number = () => 0,
  ): Promise<Result> {
    await breathe(this.#io.signal)
    const before = this.#kmsCalls()
    const started = performance.now()
    const result = await run()
    this.record(step, rows(result), performance.now() - started, before)
    return result
  }

  // --- Reading ---

  async #eachBatch(take: (rows: readonly CSVRow[]) => Promise<void>): Promise<void> {
    const options = { signal: this.#io.signal, batch: () => 500, header: () => undefined }
    await readCSV(this.#files.csv, options, (batch) => take(batch.map(({ values }) => values)))
  }

  async #firstRow(fits: (row: CSVRow) => boolean): Promise<CSVRow | undefined> {
    const found: CSVRow[] = []
    await this.#eachBatch(async (rows) => {
      if (found.length === 0) found.push(...rows.filter(fits).slice(0, 1))
    })
    return found[0]
  }

  async #stored(
    db: Database,
    { table: name, row }: Definition,
    ids: readonly (string | undefined)[],
  ): Promise<Map<string, Row>> {
    const rows = await db.selectFrom(name).selectAll().where(sql.id(row), "in", ids).execute()
    return new Map(rows.map((each) => [String(each[row]), each]))
  }

  async #storedRow(db: Database, definition: Definition, csv: CSVRow): Promise<Row> {
    return [...(await this.#stored(db, definition, [csv[definition.row]])).values()][0] as Row
  }

  // --- Steps ---

  async #show(db: Database, definition: Definition, csv: CSVRow): Promise<void> {
    const stored = await this.#storedRow(db, definition, csv)
    const opened = await this.#crypto.openRecord(schemaOf(definition), stored, { signal: this.#io.signal })
    const shown = Object.entries(stored).map(([name, value]) => [name, shorten(value)])
    const read = Object.entries(opened).map(([name, value]) => [name, String(value)])
    await this.#say(
      `${table(["column", "as stored"], shown)}\n\nand with the key it opens to:\n\n${table(["field", "opened"], read)}\n`,
    )
  }

  async #find(db: Database, definition: Definition, csv: CSVRow): Promise<void> {
    const column = definition.columns.find(({ kind }) => kind === "indexed")?.name
    if (column === undefined) return
    const value = csv[column] as string
    const found = await this.#step(
      "find by blind index",
      () => findRows(this.#io, this.#crypto, db, definition, { column, value, limit: 100 }),
      (rows) => rows.length,
    )
    await this.#say(
      `Found ${count(found.length, "row")} by ${column}=${printable(value)}, which the database has never seen.`,
    )
    check(
      found.some((row) => row[definition.row] === csv[definition.row]),
      "the look-up found another row",
    )
  }

  async #passwords(db: Database, definition: Definition): Promise<void> {
    const column = definition.columns.find(({ kind }) => kind === "hashed")?.name
    if (column === undefined) return
    const owner = await this.#firstRow((row) => row[column] !== "")
    if (owner === undefined) return
    const stored = await this.#storedRow(db, definition, owner)
    const password = owner[column] as string
    const compare = (guess: string): Promise<boolean> =>
      this.#crypto.compareRecordHash(schemaOf(definition), stored, column, guess, {
        signal: this.#io.signal,
      })
    const [right, wrong] = await this.#step("check a password, right and wrong", async () => [
      await compare(password),
      await compare(`${password}!`),
    ])
    await this.#say(
      `The right ${column} is ${right ? "accepted" : "refused"}, a wrong one is ${wrong ? "accepted" : "refused"}.`,
    )
    check(right === true && wrong === false, "a password was not told from another")
  }

  async #update(db: Database, definition: Definition, csv: CSVRow): Promise<CSVRow | undefined> {
    const column = definition.columns.find(({ kind }) => kind === "encrypted")?.name
    if (column === undefined) return undefined
    const patch = { [column]: `${csv[column]} (changed)` }
    await this.#step(
      "update one field",
      async () => {
        const stored = await this.#storedRow(db, definition, csv)
        const sealed = await this.#crypto.updateRecord(schemaOf(definition), stored, patch, {
          signal: this.#io.signal,
        })
        await db
          .updateTable(definition.table)
          .set(sealed)
          .where(sql.id(definition.row), "=", csv[definition.row])
          .execute()
        return 1
      },
      (rows) => rows,
    )
    await this.#say(`Updated ${column} of one row: one column was sealed anew, with the row's own key.`)
    return { ...csv, ...patch }
  }

  async #compare(db: Database, definition: Definition, changed: CSVRow | undefined): Promise<number> {
    const { row, columns } = definition
    const readable = columns.filter(({ kind }) => kind !== "hashed").map(({ name }) => name)
    const schema = schemaOf(definition)
    // Cached data keys would prove nothing of the new wraps.
    this.#crypto.invalidate()
    let same = 0
    await this.#eachBatch(async (batch) => {
      const stored = await this.#stored(
        db,
        definition,
        batch.map((each) => each[row]),
      )
      for (const csv of batch) {
        const expected = changed && csv[row] === changed[row] ? changed : csv
        const opened = await this.#crypto.openRecord(schema, stored.get(csv[row] as string) ?? {}, {
          signal: this.#io.signal,
        })
        check(
          readable.every((name) => opened[name] === expected[name]),
          `the row "${csv[row]}" is not as in the CSV`,
        )
        same++
      }
    })
    return same
  }
}

function check(holds: boolean, state: string): void {
  if (!holds)
    throw new CommandError("CHECK_FAILED", `Cannot finish the demo: ${state}`, {
      hint: "this is a defect of encx: please report it",
    })
}

const SHOWN_BYTES = 12

function shorten(value: unknown): string {
  if (!(value instanceof Uint8Array)) return value === null ? "NULL" : String(value)
  const digits = Array.from(value.subarray(0, SHOWN_BYTES), (byte) => byte.toString(16).padStart(2, "0")).join("")
  return value.length <= SHOWN_BYTES ? digits : `${digits}… (${count(value.length, "byte")})`
}
