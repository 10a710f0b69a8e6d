/**
 * A row of the Go library, as a database holds it: its columns, and which key is its own. FORMATS §9.
 *
 * @module
 */
import { compareBytes, copyOf, randomBytes } from "../bytes.ts"
import { NONCE, openInto, sealInto, TAG } from "../cipher/aes-gcm.ts"
import { MAGIC } from "../cipher/envelope.ts"
import type { CallOptions } from "../contracts.ts"
import { DecryptionFailed, InvalidFormat } from "../errors.ts"
import type { DataKey } from "../keys/dek.ts"
import type { RecordTools, Values } from "../records/row.ts"
import { parseMetadata } from "./metadata.ts"
import { DEK_COLUMN, type GoSealedField, METADATA_COLUMN, sealedFields, VERSION_COLUMN } from "./schema.ts"
import type { AnyGoSchema } from "./types.ts"

const MAX_VERSION = 2 ** 31 - 1

// --- Columns ---

/** A column, which must be there; it may be NULL. */
export function storedColumn(row: Values, column: string): unknown {
  const stored = Object.hasOwn(row, column) ? row[column] : undefined
  if (stored === undefined) throw new InvalidFormat(`Cannot read a row: the column "${column}" is missing`)
  return stored
}

/**
 * The sealed columns of a row, `null` where the value was skipped.
 *
 * @throws {InvalidFormat} when one cannot be what its field says, before any call
 */
export function sealedColumns(schema: AnyGoSchema, row: Values): Map<GoSealedField, Uint8Array | null> {
  const encrypted = sealedFields(schema).filter((field) => field.encrypted)
  return new Map(encrypted.map((field) => [field, sealedColumn(field, row)]))
}

function sealedColumn({ type, columns, hashedBasic, hashedSecure }: GoSealedField, row: Values): Uint8Array | null {
  const column = columns.encrypted
  const stored = storedColumn(row, column)
  if (stored !== null && !(stored instanceof Uint8Array))
    throw new InvalidFormat(`Cannot read the column "${column}": it is not bytes`)
  if (stored === null || stored.length === 0) {
    const hashes = [...(hashedBasic ? [columns.basic] : []), ...(hashedSecure ? [columns.secure] : [])]
    const hash = hashes.find((each) => Object.hasOwn(row, each) && row[each])
    if (hash !== undefined)
      throw new InvalidFormat(`Cannot read a row: the column "${column}" holds no value, and "${hash}" the hash of one`)
    if (type.isAbsent) return null
    const state = stored === null ? "NULL" : "empty"
    throw new InvalidFormat(
      `Cannot read a row: the column "${column}" is ${state}, and the Go library leaves out no ${type.name}`,
    )
  }
  if (stored.length < NONCE + TAG) throw new InvalidFormat(`Cannot read the column "${column}": it is cut short`)
  return copyOf(stored)
}

// --- The row's key ---

/** A row's wrapped data key, and which version of the key-encryption key wrapped it. */
export interface GoRowKey {
  readonly wrapped: Uint8Array
  readonly version: number
}

/**
 * What a row keeps its data key in.
 *
 * @throws {InvalidFormat} when it is none, or that of a row of the other layout
 */
export function rowKeyOf(row: Values): GoRowKey {
  const wrapped = storedColumn(row, DEK_COLUMN)
  if (!(wrapped instanceof Uint8Array) || wrapped.length === 0)
    throw new InvalidFormat(`Cannot read a row: the column "${DEK_COLUMN}" is not bytes`)
  if (compareBytes(wrapped.subarray(0, MAGIC.length), MAGIC) === 0) {
    throw new InvalidFormat('Cannot read a row: it was not written in the layout "go-encx"', {
      hint: "open it with the schema that sealed it, one without a layout",
    })
  }
  parseMetadata(storedColumn(row, METADATA_COLUMN))
  return { wrapped: copyOf(wrapped), version: versionOf(storedColumn(row, VERSION_COLUMN)) }
}

// Databases give whole numbers as numbers, as bigints, or as text.
function versionOf(stored: unknown): number {
  const isText = typeof stored === "string" && /^[1-9][0-9]{0,9}$/.test(stored)
  const version = isText || typeof stored === "bigint" ? Number(stored) : stored
  if (typeof version === "number" && Number.isInteger(version) && version >= 1 && version <= MAX_VERSION) return version
  throw new InvalidFormat(`Cannot read a row: the column "${VERSION_COLUMN}" is no version`)
}

/** Uses the data key of a row. */
export function withRowKey<Result>(
  tools: RecordTools,
  { wrapped, version }: GoRowKey,
  options: CallOptions,
  use: (dek: DataKey) => Result,
): Promise<Result> {
  return tools.dataKeys.openBare(wrapped, version, options, use)
}

// --- One column: nonce ‖ ciphertext ‖ tag ---

/** Random nonces for so many columns: asking the platform once is most of what they cost. */
export function columnNonces(count: number): Uint8Array[] {
  const random = randomBytes(NONCE * count)
  return Array.from({ length: count }, (_, i) => random.subarray(i * NONCE, (i + 1) * NONCE))
}

/** Seals a serialised value. The format binds nothing to it: neither its row nor its column. */
export function sealColumn(dek: DataKey, serialised: Uint8Array, nonce: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(NONCE + serialised.length + TAG)
  sealed.set(nonce)
  sealInto(sealed, NONCE, dek.key, nonce, serialised)
  return sealed
}

/**
 * Opens a column to its serialised value; the caller wipes it.
 *
 * @throws {DecryptionFailed} when it does not authenticate
 */
export function openColumn(dek: DataKey, sealed: Uint8Array): Uint8Array {
  const serialised = new Uint8Array(sealed.length - NONCE - TAG)
  openInto(serialised, 0, dek.key, sealed.subarray(0, NONCE), sealed.subarray(NONCE))
  return serialised
}

/** Whether a key opens every column of a row: one that was planted, or is another row's, opens none of them. */
export function opensAll(dek: DataKey, columns: Iterable<Uint8Array | null>): boolean {
  try {
    for (const column of columns) if (column !== null) openColumn(dek, column).fill(0)
    return true
  } catch (error) {
    if (error instanceof DecryptionFailed) return false
    throw error
  }
}
