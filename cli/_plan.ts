/** From the options of an import and a CSV header to the definition of a table: every column has to be told how it is kept. */
import { CommandError, didYouMean, usage } from "./_errors.ts"
import { type Column, checkTableName, type Definition, type Kind, NORMALISERS } from "./_tables.ts"

/** How an import was told to keep the columns. */
export interface Plan {
  readonly table: string
  readonly row: string
  readonly tenant?: string
  readonly plain?: readonly string[]
  readonly encrypt?: readonly string[]
  readonly index?: readonly string[]
  readonly hash?: readonly string[]
  readonly normalize?: readonly string[]
}

/**
 * Checks what can be checked before the file is read.
 *
 * @throws {CommandError} when the plan contradicts itself
 */
export function checkPlan({
  table,
  row,
  tenant,
  plain = [],
  encrypt = [],
  index = [],
  hash = [],
  normalize = [],
}: Plan): void {
  checkTableName(table)
  const unknown = normalize.find((name) => !NORMALISERS.has(name))
  if (unknown !== undefined) {
    const known = [...NORMALISERS.keys()]
    throw usage(
      `Cannot normalise by "${unknown}": there is no such step`,
      didYouMean(unknown, known) ?? `known are ${known.join(", ")}`,
    )
  }
  const sealed = new Set([...encrypt, ...index])
  for (const name of [row, ...(tenant === undefined ? [] : [tenant])]) {
    if (sealed.has(name) || hash.includes(name))
      throw usage(`Cannot encrypt or hash "${name}": it tells rows or tenants apart, and is stored as it is`)
  }
  const both = plain.find((name) => sealed.has(name) || hash.includes(name)) ?? hash.find((name) => sealed.has(name))
  if (both !== undefined) throw usage(`Cannot keep "${both}" in two ways: a column is plain, encrypted or hashed`)
}

/**
 * The definition of the table.
 *
 * @throws {CommandError} when the file has no such column, or one that the plan does not name
 */
export function define(plan: Plan, header: readonly string[]): Definition {
  const { table, row, tenant, plain = [], encrypt = [], index = [], hash = [], normalize = [] } = plan
  for (const name of [row, ...(tenant === undefined ? [] : [tenant]), ...plain, ...encrypt, ...index, ...hash]) {
    if (header.includes(name)) continue
    throw usage(
      `Cannot import: the file has no column "${name}"`,
      didYouMean(name, header) ?? `it has ${header.join(", ")}`,
    )
  }
  // The later entry wins: an index implies encryption.
  const kinds = new Map<string, Kind>([
    ...plain.map((name) => [name, "plain"] as const),
    ...encrypt.map((name) => [name, "encrypted"] as const),
    ...index.map((name) => [name, "indexed"] as const),
    ...hash.map((name) => [name, "hashed"] as const),
    [row, "plain"],
    ...(tenant === undefined ? [] : [[tenant, "plain"] as const]),
  ])
  const forgotten = header.filter((name) => !kinds.has(name))
  if (forgotten.length > 0) {
    const list = forgotten.map((name) => `"${name}"`).join(", ")
    throw new CommandError("USAGE", `Cannot import: nothing says how to keep ${list}`, {
      hint: `say --encrypt, --index or --hash; --plain ${forgotten.join(",")} only if whoever has the database may read it (nothing is stored in clear by forgetting a flag)`,
    })
  }
  const columns: Column[] = header.map((name) => ({ name, kind: kinds.get(name) as Kind }))
  return { version: 1, table, row, ...(tenant === undefined ? {} : { tenant }), normalize, columns }
}
