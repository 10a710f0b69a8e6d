/**
 * Records: objects whose fields are sealed, hashed and indexed by a schema. FORMATS §4.
 *
 * @module
 */
import { equal, wipe } from "../bytes.ts"
import { encodeHeader, parseRowKey } from "../cipher/envelope.ts"
import type { CallOptions } from "../contracts.ts"
import { EncryptionFailed, type EncxError, InvalidFormat, InvalidInput, UninitializedPepper } from "../errors.ts"
import type { IndexRoot } from "../hash/blind-index.ts"
import type { PasswordHasher } from "../hash/password.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import type { DataKey } from "../keys/dek.ts"
import { checkColumn, isColumnOf, openColumn, sealColumn } from "./column.ts"
import type { IndexOptions } from "./field.ts"
import { boundName, canonicalRow, columnContext, type RowIdentity, uuidv7 } from "./identity.ts"
import {
  DEK_COLUMN,
  encryptedColumn,
  hashColumn,
  indexColumn,
  indexName,
  indexProblem,
  inOrder,
  plainFields,
  RECORD_ID,
  type SealedFieldSpec,
  sealedFields,
  VERSION_COLUMN,
} from "./schema.ts"
import type { AnySchema } from "./types.ts"
import { decodeValue, encodeForIndex, encodeValue, SEALED_NULL, type ValueType } from "./value.ts"

/** What records need of a program. */
export interface RecordTools {
  readonly dataKeys: DataKeys
  readonly hasher: PasswordHasher
  readonly indexRoot: IndexRoot | undefined
}

/** An object, or a row: names and values, of whatever type. */
export type Values = Readonly<Record<string, unknown>>
type Row = Record<string, unknown>

// --- Sealing ---

/** Seals an object into a row. */
export async function sealRecord(
  tools: RecordTools,
  schema: AnySchema,
  object: Values,
  options: CallOptions = {},
): Promise<Row> {
  refuseUnknown(schema, object)
  const identity = identityOf(schema, object, schema.row === "generated" ? uuidv7() : undefined)
  const fields = sealedFields(schema)
  const row: Row = Object.fromEntries(plainFields(schema).map((name) => [name, required(schema, object, name)]))
  if (schema.row === "generated") row[RECORD_ID] = identity.row
  // Everything that can be refused is, before a hash is computed or a KMS called.
  const encoded = encodeFields(tools, identity, fields, object)
  Object.assign(row, encoded.indexes, await hashFields(tools, identity, fields, object, options))
  if (fields.some(({ encrypted }) => encrypted)) {
    const use = { messages: 1, bytes: encoded.size }
    await tools.dataKeys.seal(identity.tenant ?? "", use, options, (key) => {
      Object.assign(row, sealFields(key.dek, identity, encoded))
      row[DEK_COLUMN] = encodeHeader({ dekID: key.dek.id, hasContext: false, keys: key.keys })
      row[VERSION_COLUMN] = key.kekVersion
    })
  }
  return inOrder(schema, row)
}

/** How many records are sealed at once: enough to keep the cores busy with hashes, few enough for their queue. */
const BATCH = 16

/** Seals objects into rows, in their order. */
export async function sealRecords(
  tools: RecordTools,
  schema: AnySchema,
  objects: readonly Values[],
  options: CallOptions = {},
): Promise<Row[]> {
  const rows: Row[] = []
  for (let start = 0; start < objects.length; start += BATCH) {
    const batch = objects.slice(start, start + BATCH)
    const sealed = await Promise.allSettled(batch.map((object) => sealRecord(tools, schema, object, options)))
    for (const result of sealed) {
      if (result.status === "rejected") throw result.reason
      rows.push(result.value)
    }
  }
  return rows
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
  const identity = identityOf(schema, row, row[RECORD_ID])
  const changed = sealedFields(schema).filter(({ name }) => Object.hasOwn(patch, name))
  const columns: Row = Object.fromEntries(
    plainFields(schema)
      .filter((name) => Object.hasOwn(patch, name))
      .map((name) => [name, patch[name]]),
  )
  const encoded = encodeFields(tools, identity, changed, patch)
  const hashes = await hashFields(tools, identity, changed, patch, options)
  const sealed = changed.some(({ encrypted }) => encrypted)
    ? await withRowKey(tools, schema, row, identity, options, (dek) => sealFields(dek, identity, encoded))
    : {}
  return inOrder(schema, { ...columns, ...encoded.indexes, ...hashes, ...sealed })
}

interface Encoded {
  readonly values: readonly { readonly name: string; readonly bytes: Uint8Array | null }[]
  readonly indexes: Row
  readonly size: number
}

function encodeFields(
  tools: RecordTools,
  identity: RowIdentity,
  fields: readonly SealedFieldSpec[],
  object: Values,
): Encoded {
  const indexes: Row = {}
  const values = fields
    .filter(({ encrypted }) => encrypted)
    .map((field) => {
      const { name, type, sealNull } = field
      return sealing(name, () => {
        const value = fieldValue(field, object)
        for (const index of field.indexes) {
          indexes[indexColumn(name, index)] =
            value === null ? null : blindIndex(tools.indexRoot, identity, name, type, index, value)
        }
        const bytes = value !== null ? encodeValue(type, value) : sealNull ? SEALED_NULL.slice() : null
        return { name, bytes }
      })
    })
  return { values, indexes, size: values.reduce((size, { bytes }) => size + (bytes?.length ?? 0), 0) }
}

function sealFields(dek: DataKey, identity: RowIdentity, { values }: Encoded): Row {
  return Object.fromEntries(
    values.map(({ name, bytes }) => [
      encryptedColumn(name),
      bytes && sealColumn(dek, columnContext(identity, name), bytes),
    ]),
  )
}

async function hashFields(
  tools: RecordTools,
  identity: RowIdentity,
  fields: readonly SealedFieldSpec[],
  object: Values,
  options: CallOptions,
): Promise<Row> {
  const hashed = fields.filter((field) => field.hashed)
  const hashes: Row = {}
  for (const field of hashed) {
    const value = await sealingAsync(field.name, async () => {
      const plain = fieldValue(field, object) as string | Uint8Array | null
      return plain === null ? null : await tools.hasher.hash(plain, columnContext(identity, field.name), options)
    })
    hashes[hashColumn(field.name)] = value
  }
  return hashes
}

// --- Opening ---

/** Opens a row into an object. Nothing is returned unless every field opened. */
export async function openRecord(
  tools: RecordTools,
  schema: AnySchema,
  row: Values,
  options: CallOptions = {},
): Promise<Row> {
  const identity = identityOf(schema, row, row[RECORD_ID])
  const fields = sealedFields(schema).filter(({ encrypted }) => encrypted)
  const plain = Object.fromEntries(plainFields(schema).map((name) => [name, storedColumn(row, name)]))
  if (fields.length === 0) return plain
  const stored = fields.map((field) => ({ field, column: storedField(field, row) }))
  const opened = await tools.dataKeys.open(parseRowKey(rowKeyOf(row)), options, (dek) => {
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
  return { ...plain, ...opened }
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
  const identity = identityOf(schema, row, row[RECORD_ID])
  const stored = storedColumn(row, hashColumn(name))
  if (stored === null && field.nullable) return false
  return await tools.hasher.verify(value, stored as string, columnContext(identity, name), options)
}

/** Wraps a row's data key anew; the columns stay as they are. */
export async function rewrapRecord(
  tools: RecordTools,
  schema: AnySchema,
  row: Values,
  options: CallOptions = {},
): Promise<Row> {
  const identity = identityOf(schema, row, row[RECORD_ID])
  const header = parseRowKey(rowKeyOf(row))
  const { keys, kekVersion } = await tools.dataKeys.rewrap(header, options, fitsRow(schema, row, identity))
  return { [DEK_COLUMN]: encodeHeader({ ...header, keys }), [VERSION_COLUMN]: kekVersion }
}

function withRowKey<Result>(
  tools: RecordTools,
  schema: AnySchema,
  row: Values,
  identity: RowIdentity,
  options: CallOptions,
  use: (dek: DataKey) => Result | undefined,
): Promise<Result> {
  const fits = fitsRow(schema, row, identity)
  return tools.dataKeys.open(parseRowKey(rowKeyOf(row)), options, (dek) => (fits(dek) ? use(dek) : undefined))
}

// A key is the row's when every sealed column that is there is committed to it: a wrap that was planted opens none of them.
function fitsRow(schema: AnySchema, row: Values, identity: RowIdentity): (dek: DataKey) => boolean {
  const sealed = sealedFields(schema).flatMap((field) => {
    const column = field.encrypted ? row[encryptedColumn(field.name)] : undefined
    if (column === undefined || column === null) return []
    checkColumn(column, encryptedColumn(field.name))
    return [{ name: field.name, column }]
  })
  return (dek) => sealed.every(({ name, column }) => isColumnOf(dek, columnContext(identity, name), column))
}

// --- Finding ---

/** The columns and values of a look-up. */
export function lookup(
  tools: RecordTools,
  schema: AnySchema,
  name: string,
  value: unknown,
  { index, tenant }: LookupOptions = {},
): Row {
  const { field, options } = indexOf(schema, name, index)
  const identity = { table: schema.table, tenant: tenantOf(schema, tenant) }
  return { [indexColumn(name, options)]: blindIndex(tools.indexRoot, identity, name, field.type, options, value) }
}

/** Which index a look-up uses, and for whom. */
export interface LookupOptions {
  /** The index's name. @default {"index"} */
  readonly index?: string | undefined
  /** The tenant, where the schema has one. */
  readonly tenant?: string | undefined
}

/** Opens the rows that a look-up found and keeps those whose value is the one looked for: an index may be shared by chance. */
export async function openMatches(
  tools: RecordTools,
  schema: AnySchema,
  rows: readonly Values[],
  name: string,
  value: unknown,
  { index, signal }: LookupOptions & CallOptions = {},
): Promise<Row[]> {
  const { field, options } = indexOf(schema, name, index)
  const wanted = encodeForIndex(field.type, normalised(options, value))
  const objects = await Promise.all(rows.map((row) => openRecord(tools, schema, row, { signal })))
  return objects.filter(
    (object) => object[name] !== null && equal(encodeForIndex(field.type, normalised(options, object[name])), wanted),
  )
}

function indexOf(schema: AnySchema, name: string, index = "index"): { field: SealedFieldSpec; options: IndexOptions } {
  const field = sealedFields(schema).find((each) => each.name === name)
  const options = field?.indexes.find((each) => indexName(each) === index)
  if (field && options) return { field, options }
  throw new InvalidInput(`Cannot look up "${name}": the schema "${schema.table}" has no index "${index}" for it`)
}

function tenantOf(schema: AnySchema, tenant: string | undefined): string | undefined {
  if (schema.tenant !== undefined) return boundName(tenant, "tenant")
  if (tenant !== undefined) throw new InvalidInput(`Cannot use a tenant: the schema "${schema.table}" has none`)
  return undefined
}

/** The blind index of a value in its place. FORMATS §5. */
export function blindIndex(
  root: IndexRoot | undefined,
  { table, tenant }: Omit<RowIdentity, "row">,
  column: string,
  type: ValueType,
  options: IndexOptions,
  value: unknown,
): Uint8Array {
  if (!root) {
    throw new UninitializedPepper("Cannot index a value: this program has no index root", {
      hint: "give newCrypto one: withIndexRoot(secretStore, alias)",
    })
  }
  if (Number.isNaN(value)) throw new InvalidInput("Cannot index a value: NaN equals nothing")
  const { version = 1, bits = 256, normalize = [] } = options
  const key = {
    version,
    bits,
    tenant: tenant ?? "",
    table,
    column,
    name: indexName(options),
    normalisers: normalize.map((each) => each.name),
  }
  return root.index(key, encodeForIndex(type, normalised(options, value)))
}

/** The blind index of a value that is in no record; the width is checked as a schema's is. */
export function blindIndexAt(
  root: IndexRoot | undefined,
  { table, column, tenant }: { readonly table: string; readonly column: string; readonly tenant: string | undefined },
  type: ValueType,
  options: IndexOptions,
  value: unknown,
): Uint8Array {
  const problem = indexProblem(type, options)
  if (problem) throw new InvalidInput(`Cannot index a value: ${problem}`)
  const identity = {
    table: boundName(table, "table"),
    tenant: tenant === undefined ? undefined : boundName(tenant, "tenant"),
  }
  return blindIndex(root, identity, boundName(column, "column"), type, options, value)
}

function normalised({ normalize = [] }: IndexOptions, value: unknown): unknown {
  if (typeof value !== "string") return value
  return normalize.reduce((text, each) => each.apply(text), value)
}

// --- Objects and rows ---

function identityOf(schema: AnySchema, values: Values, recordID: unknown): RowIdentity {
  const row =
    schema.row === "unbound" ? undefined : canonicalRow(schema.row === "generated" ? recordID : values[schema.row])
  const tenant = schema.tenant === undefined ? undefined : boundName(values[schema.tenant], "tenant")
  return { table: schema.table, row, tenant }
}

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

function fieldValue({ name, nullable }: SealedFieldSpec, object: Values): unknown {
  const value = object[name]
  if (value === undefined) throw new InvalidInput("Cannot seal a value: it is missing")
  if (value === null && !nullable)
    throw new InvalidInput("Cannot seal a value: it is null, and the field is not nullable")
  return value
}

function storedColumn(row: Values, column: string): unknown {
  if (row[column] === undefined) throw new InvalidFormat(`Cannot read a row: the column "${column}" is missing`)
  return row[column]
}

function storedField({ name, nullable, sealNull }: SealedFieldSpec, row: Values): Uint8Array | null {
  const column = storedColumn(row, encryptedColumn(name))
  if (column === null) {
    if (nullable && !sealNull) return null
    throw new InvalidFormat(
      `Cannot read a row: the column "${encryptedColumn(name)}" is NULL, and the schema says it cannot be`,
    )
  }
  checkColumn(column, encryptedColumn(name))
  return column
}

function rowKeyOf(row: Values): Uint8Array {
  const stored = storedColumn(row, DEK_COLUMN)
  if (stored instanceof Uint8Array) return stored
  throw new InvalidFormat(`Cannot read a row: the column "${DEK_COLUMN}" is not bytes`)
}

// --- Errors that name the field ---

function naming<Result>(field: string, read: () => Result): Result {
  try {
    return read()
  } catch (error) {
    throw error instanceof InvalidFormat ? new InvalidFormat(`Cannot open "${field}": ${stateOf(error)}`) : error
  }
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

const stateOf = (error: EncxError): string => error.message.slice(error.message.indexOf(": ") + 2)
