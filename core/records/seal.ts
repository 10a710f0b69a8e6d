/**
 * Objects into rows. FORMATS §4.
 *
 * @module
 */
import { copyOf, wipe } from "../bytes.ts"
import type { CallOptions } from "../contracts.ts"
import { EncryptionFailed, InvalidInput } from "../errors.ts"
import { hashable } from "../hash/hashable.ts"
import type { DataKey } from "../keys/dek.ts"
import { sealColumn } from "./column.ts"
import { blindIndex } from "./find.ts"
import { columnContext, type RowIdentity, uuidv7 } from "./identity.ts"
import { identityOf, inBatches, type RecordTools, type Row, stateOf, type Values, withRowKey } from "./row.ts"
import {
  DEK_COLUMN,
  hashColumn,
  inOrder,
  plainFields,
  RECORD_ID,
  type SealedFieldSpec,
  sealedFields,
  VERSION_COLUMN,
} from "./schema.ts"
import type { AnySchema } from "./types.ts"
import { encodeValue, SEALED_NULL } from "./value.ts"

/** Seals an object into a row. */
export async function sealRecord(
  tools: RecordTools,
  schema: AnySchema,
  object: Values,
  options: CallOptions = {},
): Promise<Row> {
  return await sealPrepared(tools, schema, prepare(tools, schema, object), options)
}

/** What is left of an object when nothing of it is looked at again. */
interface Prepared {
  readonly identity: RowIdentity
  readonly row: Row
  readonly encoded: Encoded
}

// Everything that can be refused is, before a hash is computed or a KMS called.
function prepare(tools: RecordTools, schema: AnySchema, object: Values): Prepared {
  refuseUnknown(schema, object)
  const identity = identityOf(schema, object, schema.row === "generated" ? uuidv7() : undefined)
  const row: Row = Object.fromEntries(plainFields(schema).map((name) => [name, required(schema, object, name)]))
  if (schema.row === "generated") row[RECORD_ID] = identity.row
  return { identity, row, encoded: encodeFields(tools, identity, sealedFields(schema), object) }
}

async function sealPrepared(
  tools: RecordTools,
  schema: AnySchema,
  { identity, row, encoded }: Prepared,
  options: CallOptions,
): Promise<Row> {
  try {
    Object.assign(row, encoded.indexes)
    if (encoded.hashables.length > 0) Object.assign(row, await hashFields(tools, identity, encoded, options))
    if (sealedFields(schema).some(({ encrypted }) => encrypted)) {
      const use = { messages: 1, bytes: encoded.size }
      await tools.dataKeys.seal("row", use, { ...options, partition: identity.tenant }, (key) => {
        Object.assign(row, sealFields(key.dek, identity, encoded))
        row[DEK_COLUMN] = copyOf(key.header(false))
        row[VERSION_COLUMN] = key.kekVersion
      })
    }
    return inOrder(schema, row)
  } finally {
    wipeAll(encoded)
  }
}

/** Seals objects into rows, in their order. */
export async function sealRecords(
  tools: RecordTools,
  schema: AnySchema,
  objects: readonly Values[],
  options: CallOptions = {},
): Promise<Row[]> {
  const hashes = sealedFields(schema).some(({ hashed }) => hashed)
  const limit = hashes ? tools.hasher.concurrency : undefined
  const prepared: Prepared[] = []
  try {
    // All of them at once: what the caller does with an object that waits for its turn changes nothing.
    for (const object of objects) prepared.push(prepare(tools, schema, object))
    return await inBatches(prepared, (each) => sealPrepared(tools, schema, each, options), limit)
  } finally {
    for (const { encoded } of prepared) wipeAll(encoded)
  }
}

/** Seals the fields that changed, with the row's own data key; only their columns are returned. */
export async function updateRecord(
  tools: RecordTools,
  schema: AnySchema,
  row: Values,
  patch: Values,
  options: CallOptions = {},
): Promise<Row> {
  refuseUnknown(schema, patch)
  for (const name of [schema.row, schema.tenant]) {
    if (name !== undefined && Object.hasOwn(patch, name))
      throw new InvalidInput(`Cannot update "${name}": every value of the row is bound to it`)
  }
  const identity = identityOf(schema, row)
  const changed = sealedFields(schema).filter(({ name }) => Object.hasOwn(patch, name))
  const columns: Row = Object.fromEntries(
    plainFields(schema)
      .filter((name) => Object.hasOwn(patch, name))
      .map((name) => [name, patch[name]]),
  )
  const encoded = encodeFields(tools, identity, changed, patch)
  try {
    const hashes = await hashFields(tools, identity, encoded, options)
    const sealed = changed.some(({ encrypted }) => encrypted)
      ? await withRowKey(tools, schema, row, identity, options, (dek) => sealFields(dek, identity, encoded))
      : {}
    return inOrder(schema, { ...columns, ...encoded.indexes, ...hashes, ...sealed })
  } finally {
    wipeAll(encoded)
  }
}

interface Encoded {
  readonly values: readonly { readonly name: string; readonly column: string; readonly bytes: Uint8Array | null }[]
  /** What is hashed; bytes are copies. */
  readonly hashables: readonly { readonly name: string; readonly value: string | Uint8Array | null }[]
  readonly indexes: Row
  readonly size: number
}

function encodeFields(
  tools: RecordTools,
  identity: RowIdentity,
  fields: readonly SealedFieldSpec[],
  object: Values,
): Encoded {
  const hashables = fields
    .filter(({ hashed }) => hashed)
    .map((field) => sealing(field.name, () => ({ name: field.name, value: hashable(fieldValue(field, object)) })))
  const indexes: Row = {}
  const values = fields
    .filter(({ encrypted }) => encrypted)
    .map((field) => {
      const { name, column, type, nullable, sealNull } = field
      return sealing(name, () => {
        const value = fieldValue(field, object)
        field.indexes.forEach((index, i) => {
          indexes[field.indexColumns[i] as string] =
            value === null ? null : blindIndex(tools.indexRoot, identity, name, type, index, value)
        })
        if (value !== null || !nullable) return { name, column, bytes: encodeValue(type, value) }
        return { name, column, bytes: sealNull ? SEALED_NULL.slice() : null }
      })
    })
  return { values, hashables, indexes, size: values.reduce((size, { bytes }) => size + (bytes?.length ?? 0), 0) }
}

function sealFields(dek: DataKey, identity: RowIdentity, { values }: Encoded): Row {
  const columns: Row = {}
  for (const { name, column, bytes } of values)
    columns[column] = bytes && sealColumn(dek, columnContext(identity, name), bytes)
  return columns
}

async function hashFields(
  tools: RecordTools,
  identity: RowIdentity,
  { hashables }: Encoded,
  options: CallOptions,
): Promise<Row> {
  const hashes: Row = {}
  for (const { name, value } of hashables) {
    hashes[hashColumn(name)] = await sealingAsync(name, async () =>
      value === null ? null : await tools.hasher.hash(value, columnContext(identity, name), options),
    )
  }
  return hashes
}

function wipeAll({ values, hashables }: Encoded): void {
  for (const { bytes } of values) if (bytes) wipe(bytes)
  for (const { value } of hashables) if (value instanceof Uint8Array) wipe(value)
}

// --- Fields of an object ---

function refuseUnknown(schema: AnySchema, object: Values): void {
  const unknown = Object.keys(object).find((name) => !Object.hasOwn(schema.fields, name))
  if (unknown === undefined) return
  throw new EncryptionFailed(`Cannot seal a record of "${schema.table}": "${unknown}" is not a field of its schema`, {
    field: unknown,
  })
}

function required(schema: AnySchema, object: Values, name: string): unknown {
  const value = object[name]
  if (value === undefined)
    throw new EncryptionFailed(`Cannot seal a record of "${schema.table}": "${name}" is missing`, { field: name })
  return value
}

// A JSON field that is not nullable takes null for the JSON value that it is.
function fieldValue({ name, type, nullable }: SealedFieldSpec, object: Values): unknown {
  const value = object[name]
  if (value === undefined) throw new InvalidInput("Cannot seal a value: it is missing")
  if (value === null && !nullable && type !== "json")
    throw new InvalidInput("Cannot seal a value: it is null, and the field is not nullable")
  return value
}

function sealing<Result>(field: string, seal: () => Result): Result {
  try {
    return seal()
  } catch (error) {
    throw fieldFailure(field, error)
  }
}

async function sealingAsync<Result>(field: string, seal: () => Promise<Result>): Promise<Result> {
  try {
    return await seal()
  } catch (error) {
    throw fieldFailure(field, error)
  }
}

// Only what is wrong with the value is told of the field; a queue that is full or a pepper that is missing stays itself.
function fieldFailure(field: string, error: unknown): unknown {
  if (!(error instanceof InvalidInput)) return error
  return new EncryptionFailed(`Cannot seal "${field}": ${stateOf(error)}`, { field, cause: error })
}
