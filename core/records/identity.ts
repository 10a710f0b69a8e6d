/**
 * Where a value belongs: the table, column, row and tenant that are bound into it. FORMATS §4.
 *
 * @module
 */
import { randomBytes, u32, utf8 } from "../bytes.ts"
import { type Context, encodeContext } from "../cipher/context.ts"
import { labelled } from "../cipher/derive.ts"
import { SUITE } from "../cipher/envelope.ts"
import { InvalidInput } from "../errors.ts"

/** A row: its table, and what tells it from the others. */
export interface RowIdentity {
  readonly table: string
  /** Canonical text: see {@link canonicalRow}; absent where rows are not bound. */
  readonly row?: string | undefined
  /** Absent where the schema has no tenant. */
  readonly tenant?: string | undefined
}

const LABEL = labelled("encx.v2.row", Uint8Array.of(SUITE))
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/**
 * A row's identity as text: decimal for an integer, lower case for a UUID, any other text as it is.
 *
 * @throws {InvalidInput} when it is empty, no safe integer, or of another type
 */
export function canonicalRow(row: unknown): string {
  if (typeof row === "bigint" || Number.isSafeInteger(row)) return String(row)
  if (typeof row !== "string")
    throw new InvalidInput("Cannot bind a row: its identity is neither text nor a safe integer")
  if (row === "") throw new InvalidInput("Cannot bind a row: its identity is empty")
  utf8(row, "a row's identity")
  return UUID.test(row) ? row.toLowerCase() : row
}

/**
 * A name that is bound as it is: a table, a column, a tenant.
 *
 * @throws {InvalidInput} when it is no text, or empty
 */
export function boundName(name: unknown, what: string): string {
  if (typeof name !== "string" || name === "")
    throw new InvalidInput(`Cannot bind a ${what}: it is ${name === "" ? "empty" : "not text"}`)
  return name
}

/** The context of a value: exactly the keys table, column, row and tenant, of those that are there. */
export function columnContext({ table, row, tenant }: RowIdentity, column: string): Context {
  const context: Record<string, string> = {
    column: boundName(column, "column"),
    table: boundName(table, "table"),
  }
  if (row !== undefined) context.row = canonicalRow(row)
  if (tenant !== undefined) context.tenant = boundName(tenant, "tenant")
  return context
}

/** The Cobblestone context of a column's bytes, in parts. */
export function columnBinding(dekID: Uint8Array, context: Context): Uint8Array[] {
  const encoded = encodeContext(context)
  return [LABEL, dekID, u32(encoded.length), encoded]
}

/** A UUIDv7 (RFC 9562 §5.7): milliseconds, then random bits. */
export function uuidv7(): string {
  const bytes = randomBytes(16)
  new DataView(bytes.buffer).setBigUint64(
    0,
    (BigInt(Date.now()) << 16n) | BigInt(((bytes[6] as number) << 8) | (bytes[7] as number)),
  )
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x70
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join(
    "-",
  )
}
