/**
 * A row, as a program and a database hold it: who it is, its columns, and which key is its own.
 *
 * @module
 */
import { compareBytes } from "../bytes.ts"
import { encodeContext } from "../cipher/context.ts"
import { type Header, MAGIC, parseRowKey } from "../cipher/envelope.ts"
import type { CallOptions } from "../contracts.ts"
import { type EncxError, InvalidFormat, InvalidInput } from "../errors.ts"
import type { IndexRoot } from "../hash/blind-index.ts"
import type { PasswordHasher } from "../hash/password.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import type { DataKey } from "../keys/dek.ts"
import { checkColumn, isColumnOf } from "./column.ts"
import { boundName, canonicalRow, columnContext, type RowIdentity } from "./identity.ts"
import { DEK_COLUMN, RECORD_ID, sealedFields } from "./schema.ts"
import type { AnySchema } from "./types.ts"

/** What records need of a program. */
export interface RecordTools {
  readonly dataKeys: DataKeys
  readonly hasher: PasswordHasher
  readonly indexRoot: IndexRoot | undefined
  /** The alias of the first key-encryption key. */
  readonly alias: string
}

/** An object, or a row: names and values, of whatever type. */
export type Values = Readonly<Record<string, unknown>>
/** A row that is being made. */
export type Row = Record<string, unknown>

// --- Identity ---

/** Who an object or a row is. A record whose identity the library makes has it in `record_id`. */
export function identityOf(schema: AnySchema, values: Values, recordID: unknown = values[RECORD_ID]): RowIdentity {
  const { row: binding } = schema
  const name = binding === "generated" ? RECORD_ID : binding
  const given = binding === "generated" ? recordID : values[binding]
  if (binding !== "unbound" && given === undefined)
    throw new InvalidInput(`Cannot bind a row: "${name}", which is its identity, is missing`)
  const row = binding === "unbound" ? undefined : canonicalRow(given)
  const tenant = schema.tenant === undefined ? undefined : boundName(values[schema.tenant], "tenant")
  const identity = { table: schema.table, row, tenant }
  // A context that does not fit is refused here, before a hash is computed or a KMS called.
  for (const { name } of sealedFields(schema)) encodeContext(columnContext(identity, name))
  return identity
}

// --- Columns ---

/** A column, which must be there; it may be NULL. */
export function storedColumn(row: Values, column: string): unknown {
  const stored = Object.hasOwn(row, column) ? row[column] : undefined
  if (stored === undefined) throw new InvalidFormat(`Cannot read a row: the column "${column}" is missing`)
  return stored
}

/** What is wrong, of a message that says `Cannot <verb> <object>: <state>`. */
export const stateOf = (error: EncxError): string => error.message.slice(error.message.indexOf(": ") + 2)

// --- The row's key ---

/** The bytes of a row's `dek_encrypted`. */
export function dekOf(row: Values): Uint8Array {
  const stored = storedColumn(row, DEK_COLUMN)
  if (stored instanceof Uint8Array) return stored
  throw new InvalidFormat(`Cannot read a row: the column "${DEK_COLUMN}" is not bytes`)
}

/** The header that a row keeps its wrapped data key in. */
export function rowKeyOf(row: Values): Header {
  const stored = dekOf(row)
  if (compareBytes(stored.subarray(0, MAGIC.length), MAGIC) === 0) return parseRowKey(stored)
  throw new InvalidFormat(`Cannot read a row: its "${DEK_COLUMN}" was not written in this layout`, {
    hint: 'rows of the Go library are opened with a schema of the layout "go-encx"',
  })
}

/** Uses the data key of a row. */
export function withRowKey<Result>(
  tools: RecordTools,
  schema: AnySchema,
  row: Values,
  identity: RowIdentity,
  options: CallOptions,
  use: (dek: DataKey) => Result | undefined,
): Result | Promise<Result> {
  const header = rowKeyOf(row)
  const fits = fitsRow(schema, row, identity)
  return tools.dataKeys.open(header, { ...options, partition: identity.tenant }, (dek) =>
    fits(dek) ? use(dek) : undefined,
  )
}

/** Whether a key is the row's: every sealed column that is there is committed to it: a wrap that was planted opens none of them. */
export function fitsRow(schema: AnySchema, row: Values, identity: RowIdentity): (dek: DataKey) => boolean {
  const sealed = sealedFields(schema).flatMap((field) => {
    const column = field.encrypted ? storedColumn(row, field.column) : null
    if (column === null) return []
    checkColumn(column, field.column)
    return [{ name: field.name, column }]
  })
  return (dek) => sealed.every(({ name, column }) => isColumnOf(dek, columnContext(identity, name), column))
}

// --- Many rows ---

/** How many records are worked on at once: enough to hide the way to a KMS, few enough for its quota. */
const BATCH = 16

/** Does the same to every item, in their order; the first failure ends it, when those beside it have ended. */
export async function inBatches<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
  limit: number = BATCH,
): Promise<Result[]> {
  const results: Result[] = []
  const size = Math.min(BATCH, limit)
  for (let start = 0; start < items.length; start += size) {
    for (const each of await Promise.allSettled(items.slice(start, start + size).map(work))) {
      if (each.status === "rejected") throw each.reason
      results.push(each.value)
    }
  }
  return results
}
