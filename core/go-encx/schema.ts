/**
 * A schema of the Go library's rows: checked once, and all of it at once.
 *
 * @module
 */
import { InvalidConfiguration } from "../errors.ts"
import type { GoType } from "./codec.ts"
import { GoField, type GoFieldSpec } from "./field.ts"
import type { AnyGoSchema, GoFields, GoSchema } from "./types.ts"

/** How rows are written. */
export interface GoRecordOptions {
  /** As the Go library's generator writes them: nothing ties a value to its row or its column. */
  readonly layout: "go-encx"
}

/** The columns that every row has. */
export const DEK_COLUMN = "dek_encrypted"
export const VERSION_COLUMN = "key_version"
export const METADATA_COLUMN = "metadata"
const OWN_COLUMNS = [DEK_COLUMN, VERSION_COLUMN, METADATA_COLUMN]

/** A field that is encrypted, hashed or both. */
export interface GoSealedField extends GoFieldSpec {
  readonly name: string
  readonly type: GoType<unknown>
  readonly columns: { readonly encrypted: string; readonly basic: string; readonly secure: string }
}

/** A field that is stored as it is. */
export interface GoPlainField {
  readonly name: string
  readonly column: string
}

interface Listed {
  readonly sealed: readonly GoSealedField[]
  readonly plain: readonly GoPlainField[]
  /** The fields of an opened record, in their order. */
  readonly opened: readonly string[]
  /** Every column, in the order of the fields. */
  readonly columns: readonly string[]
}

// Every record asks for them.
const listed = new WeakMap<GoFields, Listed>()

function list({ fields }: AnyGoSchema): Listed {
  const known = listed.get(fields)
  if (known) return known
  const sealed: GoSealedField[] = []
  const plain: GoPlainField[] = []
  const opened: string[] = []
  const columns: string[] = []
  for (const [name, field] of Object.entries(fields)) {
    const lower = name.toLowerCase()
    if (!(field instanceof GoField)) {
      plain.push({ name, column: lower })
      opened.push(name)
      columns.push(lower)
      continue
    }
    // The generator writes the whole name in lower case: FirstName → firstname_encrypted.
    const own = { encrypted: `${lower}_encrypted`, basic: `${lower}_hash`, secure: `${lower}_hash_secure` }
    const { encrypted, hashedBasic, hashedSecure } = field.spec
    sealed.push({ name, type: field.type as GoType<unknown>, ...field.spec, columns: own })
    if (encrypted) {
      columns.push(own.encrypted)
      opened.push(name)
    }
    if (hashedBasic) columns.push(own.basic)
    if (hashedSecure) columns.push(own.secure)
  }
  const all = { sealed, plain, opened, columns: [...columns, ...OWN_COLUMNS] }
  listed.set(fields, all)
  return all
}

/** The sealed fields of a schema. */
export function sealedFields(schema: AnyGoSchema): readonly GoSealedField[] {
  return list(schema).sealed
}

/** The plain fields of a schema. */
export function plainFields(schema: AnyGoSchema): readonly GoPlainField[] {
  return list(schema).plain
}

/** The fields of an opened record: those that are plain or encrypted, in the order of the schema. */
export function openedFields(schema: AnyGoSchema): readonly string[] {
  return list(schema).opened
}

/** A row with its columns in the order of the schema; what says how to read the others comes last. */
export function inOrder(schema: AnyGoSchema, row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const ordered: Record<string, unknown> = {}
  for (const column of list(schema).columns) if (Object.hasOwn(row, column)) ordered[column] = row[column]
  return ordered
}

/** Describes the rows of a Go struct. */
export function goSchema<const F extends GoFields>(table: string, options: GoRecordOptions, fields: F): GoSchema<F> {
  const schema: GoSchema<F> = { table, layout: options.layout, fields: Object.freeze({ ...fields }) }
  const problems = [
    ...optionProblems(options),
    ...nameProblems(schema),
    ...fieldProblems(schema),
    ...columnProblems(schema),
  ]
  if (problems.length > 0)
    throw new InvalidConfiguration(problems.map((problem) => `Cannot use the schema "${table}": ${problem}`))
  return Object.freeze(schema)
}

function optionProblems(options: object): string[] {
  return ["row", "tenant"]
    .filter((name) => Object.hasOwn(options, name))
    .map((name) => `it has a "${name}", and the layout "go-encx" binds values to none`)
}

// The whole name, letter by letter, as Go lower-cases it: where JavaScript does otherwise (a dotted İ, a final Σ) the columns would differ.
const isGoName = (name: string): boolean =>
  /^[\p{L}_][\p{L}\p{Nd}_]*$/u.test(name) &&
  [...name].every((letter) => [...letter.toLowerCase()].length === 1) &&
  [...name].map((letter) => letter.toLowerCase()).join("") === name.toLowerCase()

function nameProblems({ table, fields }: AnyGoSchema): string[] {
  const problems: string[] = []
  if (typeof table !== "string" || table === "" || !table.isWellFormed()) problems.push("its table has no name")
  for (const name of Object.keys(fields)) {
    // A column is called as its field in lower case.
    if (name.toLowerCase() === "__proto__")
      problems.push(`a field cannot be called ${name}: objects take its column for something else`)
    else if (!isGoName(name)) problems.push(`"${name}" is no name of a Go field`)
  }
  return problems
}

function fieldProblems(schema: AnyGoSchema): string[] {
  const problems: string[] = []
  for (const [name, field] of Object.entries(schema.fields)) {
    if (!(field instanceof GoField)) {
      // A field of the other layout is no Go field: it would be stored as it is.
      if (field?.kind !== "plain") problems.push(`"${name}" is no field of this layout: use those of encx/go-encx`)
      continue
    }
    const { encrypted, hashedBasic, hashedSecure } = field.spec
    if (!encrypted && !hashedBasic && !hashedSecure) problems.push(`"${name}" is neither plain, encrypted nor hashed`)
    if (hashedBasic && hashedSecure)
      problems.push(`"${name}" has both hashes: guessing by the quick one would get round the slow one`)
  }
  if (sealedFields(schema).length === 0)
    problems.push("none of its fields is encrypted or hashed, and the generator makes no row of it")
  return problems
}

function columnProblems(schema: AnyGoSchema): string[] {
  const { columns } = list(schema)
  const twice = columns.filter((column, i) => columns.indexOf(column) !== i)
  return [...new Set(twice)].map((column) => `two of its columns are called "${column}"`)
}
