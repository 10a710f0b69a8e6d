/**
 * Which layout a schema has, and who seals and opens its rows.
 *
 * @module
 */
import type { CallOptions } from "./contracts.ts"
import * as goOpen from "./go-encx/open.ts"
import * as goSeal from "./go-encx/seal.ts"
import type { AnyGoSchema } from "./go-encx/types.ts"
import type { AnyLayout } from "./layout-types.ts"
import * as find from "./records/find.ts"
import * as open from "./records/open.ts"
import type { RecordTools, Row, Values } from "./records/row.ts"
import * as seal from "./records/seal.ts"

/** What a query that found nothing gives is met here, and not in the middle of the work. */
function checkObject(value: unknown, name: string): void {
  if (typeof value !== "object" || value === null)
    throw new TypeError(`Cannot use "${name}": it is ${value == null ? String(value) : "not an object"}`)
}

const isGo = (schema: AnyLayout): schema is AnyGoSchema => "layout" in schema

/** @internal */
export function sealRecord(tools: RecordTools, schema: AnyLayout, object: Values, options?: CallOptions): Promise<Row> {
  checkObject(object, "object")
  return isGo(schema)
    ? goSeal.sealRecord(tools, schema, object, options)
    : seal.sealRecord(tools, schema, object, options)
}

/** @internal */
export function sealRecords(
  tools: RecordTools,
  schema: AnyLayout,
  objects: readonly Values[],
  options?: CallOptions,
): Promise<Row[]> {
  for (const object of objects) checkObject(object, "object")
  return isGo(schema)
    ? goSeal.sealRecords(tools, schema, objects, options)
    : seal.sealRecords(tools, schema, objects, options)
}

/** @internal */
export function openRecord(tools: RecordTools, schema: AnyLayout, row: Values, options?: CallOptions): Promise<Row> {
  checkObject(row, "row")
  return isGo(schema) ? goOpen.openRecord(tools, schema, row, options) : open.openRecord(tools, schema, row, options)
}

/** @internal */
export function updateRecord(
  tools: RecordTools,
  schema: AnyLayout,
  row: Values,
  patch: Values,
  options?: CallOptions,
): Promise<Row> {
  checkObject(row, "row")
  checkObject(patch, "patch")
  return isGo(schema)
    ? goSeal.updateRecord(tools, schema, row, patch, options)
    : seal.updateRecord(tools, schema, row, patch, options)
}

/** @internal */
export function rewrapRecords(
  tools: RecordTools,
  schema: AnyLayout,
  rows: readonly Values[],
  options?: CallOptions,
): Promise<Row[]> {
  for (const row of rows) checkObject(row, "row")
  return isGo(schema)
    ? goOpen.rewrapRecords(tools, schema, rows, options)
    : open.rewrapRecords(tools, schema, rows, options)
}

/** @internal */
export function compareRecordHash(
  tools: RecordTools,
  schema: AnyLayout,
  row: Values,
  field: string,
  value: unknown,
  options?: CallOptions,
): Promise<boolean> {
  checkObject(row, "row")
  return isGo(schema)
    ? goOpen.compareRecordHash(tools, schema, row, field, value, options)
    : open.compareRecordHash(tools, schema, row, field, value as string | Uint8Array, options)
}

/** @internal */
export function lookup(
  tools: RecordTools,
  schema: AnyLayout,
  field: string,
  value: unknown,
  options?: find.LookupOptions,
): Row {
  return isGo(schema) ? goOpen.lookup(schema, field, value, options) : find.lookup(tools, schema, field, value, options)
}

/** @internal */
export function openMatches(
  tools: RecordTools,
  schema: AnyLayout,
  rows: readonly Values[],
  field: string,
  value: unknown,
  options?: find.LookupOptions & CallOptions,
): Promise<Row[]> {
  for (const row of rows) checkObject(row, "row")
  return isGo(schema)
    ? goOpen.openMatches(tools, schema, rows, field, value, options)
    : find.openMatches(tools, schema, rows, field, value, options)
}
