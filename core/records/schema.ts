/**
 * A schema of records: checked once, and all of it at once.
 *
 * @module
 */

import { InvalidConfiguration } from "../errors.ts"
import { widthProblem } from "../hash/blind-index.ts"
import { Field, type FieldSpec, type IndexOptions } from "./field.ts"
import { NORMALISERS } from "./normalize.ts"
import type { Fields, RowBinding, Schema, TenantKeys } from "./types.ts"
import type { ValueType } from "./value.ts"

/** How rows and tenants are told apart. */
export interface RecordOptions<Row extends string, Tenant extends string> {
  /**
   * The plain field that holds the row's identity; or `generated`, and the library makes one (`record_id`, a UUIDv7), for
   * databases that assign the key; or `unbound`: then values can be moved between the rows of one tenant.
   */
  readonly row: Row
  /** The plain field that holds the tenant. @default {none} */
  readonly tenant?: Tenant
}

/** The columns that a schema makes by itself. */
export const DEK_COLUMN = "dek_encrypted"
export const VERSION_COLUMN = "key_version"
export const RECORD_ID = "record_id"
const DEFAULT_INDEX = "index"

/** A field's name as a column's: `birthDate` → `birth_date`. */
export function snakeCase(name: string): string {
  const letters = [...name]
  return letters
    .map((letter, i) => {
      const before = letters[i - 1] ?? "_"
      const isWord = letter !== letter.toLowerCase() && before !== "_" && before === before.toLowerCase()
      return `${isWord ? "_" : ""}${letter.toLowerCase()}`
    })
    .join("")
}

/** The column that holds the encrypted value. */
export const encryptedColumn = (field: string): string => `${snakeCase(field)}_encrypted`
/** The column that holds the hash. */
export const hashColumn = (field: string): string => `${snakeCase(field)}_hash_secure`
/** The column that holds a blind index. */
export const indexColumn = (field: string, { name = DEFAULT_INDEX }: IndexOptions): string =>
  name === DEFAULT_INDEX ? `${snakeCase(field)}_index` : `${snakeCase(field)}_${name}_index`
/** The name of a blind index. */
export const indexName = ({ name = DEFAULT_INDEX }: IndexOptions): string => name

/** A field that is encrypted, hashed or both. */
export interface SealedFieldSpec extends FieldSpec {
  readonly name: string
  /** The column that holds the encrypted value. */
  readonly column: string
  /** The columns that hold the indexes, in their order. */
  readonly indexColumns: readonly string[]
}

interface Described {
  readonly fields: Fields
}

/** What a schema comes to: found out once, and not with every record. */
interface Shape {
  readonly plain: readonly string[]
  readonly sealed: readonly SealedFieldSpec[]
  /** Every column, in the order of the schema: what says how to read the others comes first and last. */
  readonly columns: readonly string[]
}

const SHAPES = new WeakMap<Fields, Shape>()

function shapeOf({ fields }: Described): Shape {
  const known = SHAPES.get(fields)
  if (known) return known
  const sealed = Object.entries(fields).flatMap(([name, field]) =>
    field instanceof Field ? [specOf(name, field.spec)] : [],
  )
  const names = Object.keys(fields)
  const shape = {
    plain: names.filter((name) => !(fields[name] instanceof Field)),
    sealed,
    columns: [
      RECORD_ID,
      ...names.flatMap((name) => sealed.filter((field) => field.name === name).map(columnsOf)[0] ?? [name]),
      DEK_COLUMN,
      VERSION_COLUMN,
    ],
  }
  SHAPES.set(fields, shape)
  return shape
}

function specOf(name: string, spec: FieldSpec): SealedFieldSpec {
  const indexColumns = spec.indexes.map((index) => indexColumn(name, index))
  return { name, ...spec, column: encryptedColumn(name), indexColumns }
}

/** The plain fields of a schema. */
export function plainFields(schema: Described): readonly string[] {
  return shapeOf(schema).plain
}

/** The sealed fields of a schema. */
export function sealedFields(schema: Described): readonly SealedFieldSpec[] {
  return shapeOf(schema).sealed
}

/** The columns that a field is stored in. */
export function columnsOf({ name, column, indexColumns, encrypted, hashed }: SealedFieldSpec): string[] {
  return [...(encrypted ? [column] : []), ...indexColumns, ...(hashed ? [hashColumn(name)] : [])]
}

/** A row with its columns in the order of the schema. */
export function inOrder(schema: Described, row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const ordered: Record<string, unknown> = {}
  for (const column of shapeOf(schema).columns) if (Object.hasOwn(row, column)) ordered[column] = row[column]
  return ordered
}

/** Describes the records of a table in this library's own layout: see `record`. */
export function nativeSchema<
  const F extends Fields,
  const Row extends RowBinding<F>,
  const Tenant extends TenantKeys<F> = never,
>(table: string, options: RecordOptions<Row, Tenant>, fields: F): Schema<F, Row, Tenant> {
  // A field that is added later would be none of its shape, and dropped.
  const own = Object.freeze({ ...fields })
  const schema: Schema<F, Row, Tenant> = { table, row: options.row, tenant: options.tenant, fields: own }
  const problems = [...tableProblems(schema), ...sealedFields(schema).flatMap(fieldProblems), ...columnProblems(schema)]
  if (problems.length > 0)
    throw new InvalidConfiguration(problems.map((problem) => `Cannot use the schema "${table}": ${problem}`))
  return Object.freeze(schema)
}

function tableProblems({ table, row, tenant, fields }: Schema<Fields, string, string>): string[] {
  const problems: string[] = []
  const isPlain = (name: string): boolean => Object.hasOwn(fields, name) && !(fields[name] instanceof Field)
  if (typeof table !== "string" || table === "" || !table.isWellFormed()) problems.push("its table has no name")
  for (const [name, field] of Object.entries(fields)) {
    // What is no field would be taken for a plain one, and stored as it is.
    if (!(field instanceof Field) && field?.kind !== "plain") problems.push(`"${name}" is no field of this layout`)
    if (name === "" || !name.isWellFormed()) problems.push("a field has no name")
    if (name === "__proto__") problems.push("a field cannot be called __proto__: objects take it for something else")
    if (name === "generated" || name === "unbound")
      problems.push(`a field cannot be called "${name}": it says how rows are bound`)
  }
  if (row !== "generated" && row !== "unbound" && !isPlain(row)) problems.push(`its row "${row}" is not a plain field`)
  if (tenant !== undefined && !isPlain(tenant)) problems.push(`its tenant "${tenant}" is not a plain field`)
  return problems
}

function fieldProblems(field: SealedFieldSpec): string[] {
  const { name, type, encrypted, hashed, indexes, sealNull } = field
  const problems: string[] = []
  if (!encrypted && !hashed) problems.push(`"${name}" is neither plain, encrypted nor hashed`)
  if (hashed && !["text", "padded", "bytes"].includes(type))
    problems.push(`"${name}" is hashed: only text and bytes can be`)
  if (hashed && sealNull) problems.push(`"${name}" is hashed: the hash of a sealed NULL would show that there is none`)
  if (indexes.length > 0 && sealNull) problems.push(`"${name}" has an index: a sealed NULL cannot`)
  for (const index of indexes) {
    const problem = indexProblem(type, index)
    if (problem) problems.push(`the index "${indexName(index)}" of "${name}": ${problem}`)
  }
  return problems
}

/** Why a value of this type cannot have this index, or `undefined`. FORMATS §5. */
export function indexProblem(
  type: ValueType,
  { bits = 256, unique = false, distinct, normalize = [], version = 1, name }: IndexOptions,
): string | undefined {
  if (type === "json") return "JSON has no index"
  if (name === "") return "its name is empty"
  if (!Number.isInteger(version) || version < 1 || version > 255) return `its version is ${version}, not 1 to 255`
  if (normalize.length > 0 && type !== "text" && type !== "padded") return "it normalises, and only text can be"
  const unknown = normalize.find((each) => NORMALISERS[each.name] !== each)
  if (unknown) return `its normaliser "${unknown.name}" is unknown`
  return widthProblem({ bits, unique, distinct })
}

function columnProblems(schema: Schema<Fields, string, string>): string[] {
  const columns = [
    ...plainFields(schema),
    ...sealedFields(schema).flatMap(columnsOf),
    DEK_COLUMN,
    VERSION_COLUMN,
    RECORD_ID,
  ]
  const twice = columns.filter((column, i) => columns.indexOf(column) !== i)
  return [...new Set(twice)].map((column) => `two of its columns are called "${column}"`)
}
