/**
 * Rows into objects, and rows under newer keys. FORMATS §4.
 *
 * @module
 */
import { copyOf, latin1, wipe } from "../bytes.ts"
import { encodeHeader } from "../cipher/envelope.ts"
import type { CallOptions } from "../contracts.ts"
import { InvalidFormat, InvalidInput } from "../errors.ts"
import { checkColumn, openColumn } from "./column.ts"
import { columnContext } from "./identity.ts"
import {
  dekOf,
  fitsRow,
  identityOf,
  type RecordTools,
  type Row,
  rowKeyOf,
  stateOf,
  storedColumn,
  type Values,
} from "./row.ts"
import { DEK_COLUMN, hashColumn, plainFields, type SealedFieldSpec, sealedFields, VERSION_COLUMN } from "./schema.ts"
import type { AnySchema } from "./types.ts"
import { decodeValue } from "./value.ts"

/** Opens a row into an object. Nothing is returned unless every field opened. */
export async function openRecord(
  tools: RecordTools,
  schema: AnySchema,
  row: Values,
  options: CallOptions = {},
): Promise<Row> {
  const identity = identityOf(schema, row)
  const fields = sealedFields(schema).filter(({ encrypted }) => encrypted)
  const plain = Object.fromEntries(plainFields(schema).map((name) => [name, storedColumn(row, name)]))
  if (fields.length === 0) return plain
  const header = rowKeyOf(row)
  let stored = fields.map((field) => ({ field, column: storedField(field, row) }))
  const opening = tools.dataKeys.open(header, { ...options, partition: identity.tenant }, (dek) => {
    const values: Row = {}
    for (const { field, column } of stored) {
      if (column === null) {
        values[field.name] = null
        continue
      }
      const encoded = openColumn(dek, columnContext(identity, field.name), column)
      if (encoded === undefined) return undefined // not this row's key, or another row's column
      values[field.name] = naming(field.name, () => decodeValue(field.type, encoded, field.sealNull))
      wipe(encoded)
    }
    return values
  })
  // The caller may change its bytes while the KMS is asked.
  if (opening instanceof Promise)
    stored = stored.map(({ field, column }) => ({ field, column: column && copyOf(column) }))
  return { ...plain, ...(await opening) }
}

/** Compares a value with the hash of a row's field. */
export async function compareRecordHash(
  tools: RecordTools,
  schema: AnySchema,
  row: Values,
  name: string,
  value: string | Uint8Array,
  options: CallOptions = {},
): Promise<boolean> {
  const field = sealedFields(schema).find((each) => each.name === name && each.hashed)
  if (!field) throw new InvalidInput(`Cannot compare "${name}": the schema "${schema.table}" has no such hash`)
  const identity = identityOf(schema, row)
  const stored = storedColumn(row, hashColumn(name))
  if (stored === null && field.nullable) return false
  return await tools.hasher.verify(value, stored as string, columnContext(identity, name), options)
}

/**
 * Wraps the data keys of rows anew, in their order. Rows that share a data key go on sharing it: the KMS is asked once for all
 * of them, now and whenever they are opened.
 */
export async function rewrapRecords(
  tools: RecordTools,
  schema: AnySchema,
  rows: readonly Values[],
  options: CallOptions = {},
): Promise<Row[]> {
  const wraps = new Map<string, Row>()
  const names = rows.map((row) => latin1(dekOf(row)))
  for (const [name, group] of Map.groupBy(rows, (_, i) => names[i] as string)) {
    const header = rowKeyOf(group[0] as Values)
    const fits = group.map((row) => fitsRow(schema, row, identityOf(schema, row)))
    const { keys, kekVersion } = await tools.dataKeys.rewrap(header, options, (dek) => fits.every((each) => each(dek)))
    wraps.set(name, { [DEK_COLUMN]: encodeHeader({ ...header, keys }), [VERSION_COLUMN]: kekVersion })
  }
  return names.map((name) => ({ ...wraps.get(name) }))
}

function storedField({ column: name, nullable, sealNull }: SealedFieldSpec, row: Values): Uint8Array | null {
  const column = storedColumn(row, name)
  if (column === null) {
    if (nullable && !sealNull) return null
    throw new InvalidFormat(`Cannot read a row: the column "${name}" is NULL, and the schema says it cannot be`)
  }
  checkColumn(column, name)
  return column
}

function naming<Result>(field: string, read: () => Result): Result {
  try {
    return read()
  } catch (error) {
    throw error instanceof InvalidFormat ? new InvalidFormat(`Cannot open "${field}": ${stateOf(error)}`) : error
  }
}
