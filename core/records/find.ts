/**
 * Rows by the value of a field: blind indexes and look-ups. FORMATS §5.
 *
 * @module
 */
import { equal } from "../bytes.ts"
import type { CallOptions } from "../contracts.ts"
import { InvalidInput, UninitializedPepper } from "../errors.ts"
import type { IndexRoot } from "../hash/blind-index.ts"
import type { IndexOptions } from "./field.ts"
import { boundName, type RowIdentity } from "./identity.ts"
import { openRecord } from "./open.ts"
import type { RecordTools, Row, Values } from "./row.ts"
import { indexColumn, indexName, indexProblem, type SealedFieldSpec, sealedFields } from "./schema.ts"
import type { AnySchema } from "./types.ts"
import { encodeForIndex, type ValueType } from "./value.ts"

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
  { index, tenant, signal }: LookupOptions & CallOptions = {},
): Promise<Row[]> {
  const { field, options } = indexOf(schema, name, index)
  const ours = tenantOf(schema, tenant)
  const wanted = encodeForIndex(field.type, normalised(options, value))
  const objects: Row[] = []
  for (const row of rows) objects.push(await openRecord(tools, schema, row, { signal }))
  return objects.filter(
    (object) =>
      (schema.tenant === undefined || object[schema.tenant] === ours) &&
      object[name] !== null &&
      equal(encodeForIndex(field.type, normalised(options, object[name])), wanted),
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
