/**
 * The Go library's rows into objects, under newer keys, and by the value of a field. FORMATS §9.
 *
 * @module
 */
import { equal, latin1, wipe } from "../bytes.ts"
import type { CallOptions } from "../contracts.ts"
import { InvalidFormat, InvalidInput } from "../errors.ts"
import type { DataKey } from "../keys/dek.ts"
import { inBatches, type RecordTools, type Row, stateOf, type Values } from "../records/row.ts"
import { compareBasic, hashBasic } from "./basic-hash.ts"
import { type GoRowKey, openColumn, opensAll, rowKeyOf, sealedColumns, storedColumn, withRowKey } from "./row.ts"
import { DEK_COLUMN, type GoSealedField, openedFields, plainFields, sealedFields, VERSION_COLUMN } from "./schema.ts"
import type { AnyGoSchema } from "./types.ts"

/** Opens a row into an object. Nothing is returned unless every field opened. */
export async function openRecord(
  tools: RecordTools,
  schema: AnyGoSchema,
  row: Values,
  options: CallOptions = {},
): Promise<Row> {
  // What there is to open, in the order of the schema; a value is put in its place.
  const object: Row = {}
  for (const name of openedFields(schema)) object[name] = undefined
  for (const { name, column } of plainFields(schema)) object[name] = storedColumn(row, column)
  const key = rowKeyOf(row)
  const columns = sealedColumns(schema, row)
  if (columns.size === 0) return object
  await withRowKey(tools, key, options, (dek) => {
    for (const [field, column] of columns) object[field.name] = column && openField(dek, field, column)
  })
  return object
}

function openField(dek: DataKey, { name, type }: GoSealedField, column: Uint8Array): unknown {
  const serialised = openColumn(dek, column)
  try {
    return type.decode(serialised)
  } catch (error) {
    throw error instanceof InvalidFormat ? new InvalidFormat(`Cannot open "${name}": ${stateOf(error)}`) : error
  } finally {
    wipe(serialised)
  }
}

/**
 * Wraps the data keys of rows anew, in their order, under the current version. Rows of a program that gave several one data key
 * go on sharing it.
 */
export async function rewrapRecords(
  tools: RecordTools,
  schema: AnyGoSchema,
  rows: readonly Values[],
  options: CallOptions = {},
): Promise<Row[]> {
  const each = rows.map((row) => ({ key: rowKeyOf(row), columns: [...sealedColumns(schema, row).values()] }))
  const nameOf = ({ version, wrapped }: GoRowKey): string => `${version}/${latin1(wrapped)}`
  const groups = [...Map.groupBy(each, ({ key }) => nameOf(key))]
  const wraps = await inBatches(groups, async ([name, [first, ...others]]) => {
    const { key, columns } = first as (typeof each)[number]
    const all = [...columns, ...others.flatMap((other) => other.columns)]
    const fresh = await tools.dataKeys.rewrapBare(key.wrapped, key.version, options, (dek) => opensAll(dek, all))
    return [name, fresh] as const
  })
  const byName = new Map(wraps)
  return each.map(({ key }) => {
    const { wrapped, version } = byName.get(nameOf(key)) as GoRowKey
    return { [DEK_COLUMN]: wrapped, [VERSION_COLUMN]: version }
  })
}

// --- Hashes ---

/** Compares a value with the hash of a row's field. A field that was skipped has none, and equals nothing. */
export async function compareRecordHash(
  tools: RecordTools,
  schema: AnyGoSchema,
  row: Values,
  name: string,
  value: unknown,
  options: CallOptions = {},
): Promise<boolean> {
  const field = sealedFields(schema).find((each) => each.name === name && (each.hashedBasic || each.hashedSecure))
  if (!field) throw new InvalidInput(`Cannot compare "${name}": the schema "${schema.table}" has no such hash`)
  const column = field.hashedBasic ? field.columns.basic : field.columns.secure
  const stored = storedColumn(row, column)
  if (stored === null || stored === "") return false
  if (typeof stored !== "string") throw new InvalidFormat(`Cannot read the column "${column}": it is not text`)
  const serialised = present(field, value, "compare")
  try {
    return field.hashedBasic
      ? compareBasic(serialised, stored)
      : await tools.hasher.verifyGo(serialised, stored, options)
  } finally {
    wipe(serialised)
  }
}

/** The column and the hash of a look-up. */
export function lookup(schema: AnyGoSchema, name: string, value: unknown, options: object = {}): Row {
  refusePlace(schema, options)
  const field = indexedField(schema, name)
  const serialised = present(field, value, "look up")
  const hash = hashBasic(serialised)
  wipe(serialised)
  return { [field.columns.basic]: hash }
}

/** Opens the rows that a look-up found and keeps those whose value is the one looked for: a hash is bound to no value. */
export async function openMatches(
  tools: RecordTools,
  schema: AnyGoSchema,
  rows: readonly Values[],
  name: string,
  value: unknown,
  options: CallOptions = {},
): Promise<Row[]> {
  refusePlace(schema, options)
  const field = indexedField(schema, name)
  const wanted = present(field, value, "look up")
  try {
    const objects = await inBatches(rows, (row) => openRecord(tools, schema, row, options))
    return objects.filter((object, i) => {
      if (!field.encrypted) return isHashOf(wanted, storedColumn(rows[i] as Values, field.columns.basic))
      if (object[name] === null) return false
      const serialised = field.type.encode(object[name])
      const isEqual = equal(serialised, wanted)
      wipe(serialised)
      return isEqual
    })
  } finally {
    wipe(wanted)
  }
}

// The hashes of two tenants are the same, and a field has one: who asks for another would be misled.
function refusePlace({ table }: AnyGoSchema, options: object): void {
  for (const name of ["index", "tenant"]) {
    if (Object.hasOwn(options, name) && options[name as keyof typeof options] !== undefined)
      throw new InvalidInput(`Cannot look up by the ${name}: the layout of "${table}" has none`)
  }
}

function indexedField(schema: AnyGoSchema, name: string): GoSealedField {
  const field = sealedFields(schema).find((each) => each.name === name && each.hashedBasic)
  if (field) return field
  throw new InvalidInput(`Cannot look up "${name}": the schema "${schema.table}" has no unkeyed hash for it`)
}

// What was skipped has no hash of its own: the empty string stands in all of their columns.
function present({ name, type }: GoSealedField, value: unknown, verb: string): Uint8Array {
  if (value === undefined || type.isAbsent?.(value))
    throw new InvalidInput(`Cannot ${verb} "${name}": there is no value`)
  return type.encode(value)
}

const isHashOf = (serialised: Uint8Array, stored: unknown): boolean =>
  typeof stored === "string" && stored !== "" && compareBasic(serialised, stored)
