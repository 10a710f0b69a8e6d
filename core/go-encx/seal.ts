/**
 * Objects into the Go library's rows. FORMATS §9.
 *
 * @module
 */
import { wipe } from "../bytes.ts"
import type { CallOptions } from "../contracts.ts"
import { DecryptionFailed, EncryptionFailed, InvalidInput } from "../errors.ts"
import type { DataKey } from "../keys/dek.ts"
import { inBatches, type RecordTools, type Row, stateOf, type Values } from "../records/row.ts"
import { hashBasic } from "./basic-hash.ts"
import { checkGoHashable } from "./hash.ts"
import { formatMetadata } from "./metadata.ts"
import { columnNonces, opensAll, rowKeyOf, sealColumn, sealedColumns, withRowKey } from "./row.ts"
import {
  DEK_COLUMN,
  type GoPlainField,
  type GoSealedField,
  inOrder,
  METADATA_COLUMN,
  plainFields,
  sealedFields,
  VERSION_COLUMN,
} from "./schema.ts"
import type { AnyGoSchema } from "./types.ts"

/** Seals an object into a row, with a data key of its own. */
export async function sealRecord(
  tools: RecordTools,
  schema: AnyGoSchema,
  object: Values,
  options: CallOptions = {},
): Promise<Row> {
  return await sealPrepared(tools, schema, prepare(schema, object), options)
}

/** What is left of an object when nothing of it is looked at again. */
interface Prepared {
  readonly row: Row
  readonly values: readonly Serialised[]
}

// Everything that can be refused is, before a hash is computed or a KMS called.
function prepare(schema: AnyGoSchema, object: Values): Prepared {
  refuseUnknown(schema, object)
  const row = plainColumns(schema, object, plainFields(schema))
  return { row, values: serialiseFields(sealedFields(schema), object) }
}

async function sealPrepared(
  tools: RecordTools,
  schema: AnyGoSchema,
  { row, values }: Prepared,
  options: CallOptions,
): Promise<Row> {
  try {
    Object.assign(row, await hashFields(tools, values, options))
    await tools.dataKeys.sealBare(options, (dek, wrapped, version) => {
      Object.assign(row, sealFields(dek, values))
      row[DEK_COLUMN] = wrapped
      row[VERSION_COLUMN] = version
    })
    row[METADATA_COLUMN] = formatMetadata({ alias: tools.alias, at: new Date() })
    return inOrder(schema, row)
  } finally {
    wipeAll(values)
  }
}

/** Seals objects into rows, in their order: each has a data key of its own, and costs a KMS call. */
export async function sealRecords(
  tools: RecordTools,
  schema: AnyGoSchema,
  objects: readonly Values[],
  options: CallOptions = {},
): Promise<Row[]> {
  const hashes = sealedFields(schema).some(({ hashedSecure }) => hashedSecure)
  const limit = hashes ? tools.hasher.concurrency : undefined
  const prepared: Prepared[] = []
  try {
    // All of them at once: what the caller does with an object that waits for its turn changes nothing.
    for (const object of objects) prepared.push(prepare(schema, object))
    return await inBatches(prepared, (each) => sealPrepared(tools, schema, each, options), limit)
  } finally {
    for (const { values } of prepared) wipeAll(values)
  }
}

/** Seals the fields that changed, with the row's own data key; only their columns are returned. */
export async function updateRecord(
  tools: RecordTools,
  schema: AnyGoSchema,
  row: Values,
  patch: Values,
  options: CallOptions = {},
): Promise<Row> {
  refuseUnknown(schema, patch)
  const isChanged = (name: string): boolean => Object.hasOwn(patch, name)
  const columns = plainColumns(
    schema,
    patch,
    plainFields(schema).filter(({ name }) => isChanged(name)),
  )
  const changed = sealedFields(schema).filter(({ name }) => isChanged(name))
  const key = rowKeyOf(row)
  const before = sealedColumns(schema, row)
  const values = serialiseFields(changed, patch)
  try {
    Object.assign(columns, await hashFields(tools, values, options))
    if (changed.some(({ encrypted }) => encrypted)) {
      const sealed = await withRowKey(tools, key, options, (dek) => {
        // A column under a key that is not the row's would be lost.
        if (!opensAll(dek, before.values())) throw new DecryptionFailed()
        return sealFields(dek, values)
      })
      Object.assign(columns, sealed)
    }
    return inOrder(schema, columns)
  } finally {
    wipeAll(values)
  }
}

// --- Fields of an object ---

interface Serialised {
  readonly field: GoSealedField
  /** `null` where the generator skips the value: a nil pointer, the zero time, the nil UUID. */
  readonly bytes: Uint8Array | null
}

function serialiseFields(fields: readonly GoSealedField[], object: Values): Serialised[] {
  const values: Serialised[] = []
  try {
    for (const field of fields) values.push({ field, bytes: serialise(field, object) })
    return values
  } catch (error) {
    wipeAll(values)
    throw error
  }
}

function serialise({ name, type, hashedSecure }: GoSealedField, object: Values): Uint8Array | null {
  try {
    const value = ownValue(object, name)
    if (value === undefined) throw new InvalidInput("Cannot seal a value: it is missing")
    if (type.isAbsent?.(value)) return null
    const serialised = type.encode(value)
    return hashedSecure ? checkGoHashable(serialised) : serialised
  } catch (error) {
    throw fieldFailure(name, error)
  }
}

async function hashFields(tools: RecordTools, values: readonly Serialised[], options: CallOptions): Promise<Row> {
  const hashes: Row = {}
  for (const { field, bytes } of values) {
    const { name, hashedBasic, hashedSecure, columns } = field
    if (hashedBasic) hashes[columns.basic] = bytes === null ? "" : hashBasic(bytes)
    if (!hashedSecure) continue
    try {
      hashes[columns.secure] = bytes === null ? "" : await tools.hasher.hashGo(bytes, options)
    } catch (error) {
      throw fieldFailure(name, error)
    }
  }
  return hashes
}

function sealFields(dek: DataKey, values: readonly Serialised[]): Row {
  const nonces = columnNonces(values.length)
  const sealed: Row = {}
  for (const [i, { field, bytes }] of values.entries()) {
    if (!field.encrypted) continue
    sealed[field.columns.encrypted] = bytes && sealColumn(dek, bytes, nonces[i] as Uint8Array)
  }
  return sealed
}

function wipeAll(values: readonly Serialised[]): void {
  for (const { bytes } of values) if (bytes) wipe(bytes)
}

function refuseUnknown(schema: AnyGoSchema, object: Values): void {
  const unknown = Object.keys(object).find((name) => !Object.hasOwn(schema.fields, name))
  if (unknown === undefined) return
  throw new EncryptionFailed(`Cannot seal a record of "${schema.table}": "${unknown}" is not a field of its schema`, {
    field: unknown,
  })
}

function plainColumns(schema: AnyGoSchema, object: Values, fields: readonly GoPlainField[]): Row {
  const columns: Row = {}
  for (const { name, column } of fields) {
    const value = ownValue(object, name)
    if (value === undefined)
      throw new EncryptionFailed(`Cannot seal a record of "${schema.table}": "${name}" is missing`, { field: name })
    columns[column] = value
  }
  return columns
}

const ownValue = (object: Values, name: string): unknown => (Object.hasOwn(object, name) ? object[name] : undefined)

// Only what is wrong with the value is told of the field; a queue that is full or a pepper that is missing stays itself.
function fieldFailure(field: string, error: unknown): unknown {
  if (!(error instanceof InvalidInput)) return error
  return new EncryptionFailed(`Cannot seal "${field}": ${stateOf(error)}`, { field, cause: error })
}
