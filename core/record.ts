/**
 * A schema of records, in one of two layouts.
 *
 * @module
 */
import { InvalidConfiguration } from "./errors.ts"
import { type GoRecordOptions, goSchema } from "./go-encx/schema.ts"
import type { GoFields, GoSchema } from "./go-encx/types.ts"
import { nativeSchema, type RecordOptions } from "./records/schema.ts"
import type { Fields, RowBinding, Schema, TenantKeys } from "./records/types.ts"

/**
 * Describes the records of a table. `table` and the names of the fields are bound into every value: they are the schema's, and
 * stay when a database or an ORM calls them otherwise.
 *
 * @throws {InvalidConfiguration} when the schema contradicts itself; it lists every problem
 *
 * @example A table of people
 * ```ts
 * const people = record("people", { row: "id" }, {
 *   id: plain<number>(),
 *   email: text().encrypt().index({ normalize: [trim, lowercase] }),
 *   password: text().hashSecure(),
 * })
 * assertEquals(people.table, "people")
 * ```
 */
export function record<
  const F extends Fields,
  const Row extends RowBinding<F>,
  const Tenant extends TenantKeys<F> = never,
>(table: string, options: RecordOptions<Row, Tenant>, fields: F): Schema<F, Row, Tenant>
/**
 * Describes the rows of a struct of the Go library, as its generator writes them, to share a table with Go programs. The fields
 * are those of `encx/go-encx`, called as the struct's. This format binds a value neither to its row nor to its column: whoever can
 * write to the table can swap them unnoticed. For a table of your own, leave out the layout.
 *
 * @throws {InvalidConfiguration} when the schema contradicts itself; it lists every problem
 *
 * @example A table that Go programs share
 * ```ts
 * const users = record("users", { layout: "go-encx" }, {
 *   ID: plain<number>(),
 *   Email: goString().encrypt().hashBasic(),
 *   Password: goString().hashSecure(),
 * })
 * assertEquals(users.layout, "go-encx")
 * ```
 */
export function record<const F extends GoFields>(table: string, options: GoRecordOptions, fields: F): GoSchema<F>
export function record(
  table: string,
  options: RecordOptions<string, string> | GoRecordOptions,
  fields: Fields | GoFields,
): Schema<Fields, string, string> | GoSchema<GoFields> {
  if (!("layout" in options)) return nativeSchema(table, options as RecordOptions<never, never>, fields as Fields)
  if (options.layout === "go-encx") return goSchema(table, options, fields as GoFields)
  throw new InvalidConfiguration(`Cannot use the schema "${table}": its layout "${String(options.layout)}" is unknown`)
}
