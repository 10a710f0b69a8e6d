/**
 * One sealed column: `E2 ‖ suite ‖ Cobblestone-256 body of (type byte ‖ value)`. FORMATS §4.
 *
 * @module
 */
import { wipe } from "../bytes.ts"
import { MIN_MESSAGE, openedSize } from "../cipher/chunks.ts"
import { isCommittedTo, openMessage, sealMessage } from "../cipher/cobblestone.ts"
import type { Context } from "../cipher/context.ts"
import { SUITE } from "../cipher/envelope.ts"
import { InvalidFormat } from "../errors.ts"
import type { DataKey } from "../keys/dek.ts"
import { columnBinding } from "./identity.ts"

const PREFIX = Uint8Array.of(0xe2, SUITE)

/** Seals an encoded value in its place. The salt is new random bytes; anything else is for known-answer tests. */
export function sealColumn(dek: DataKey, context: Context, encoded: Uint8Array, salt?: Uint8Array): Uint8Array {
  const sealed = sealMessage(dek.messages, columnBinding(dek.id, context), encoded, PREFIX, salt)
  wipe(encoded)
  return sealed
}

/**
 * Opens a column to its encoded value.
 *
 * @returns `undefined` when it is not committed to this key and place
 * @throws {DecryptionFailed} when it is, and was changed
 */
export function openColumn(dek: DataKey, context: Context, sealed: Uint8Array): Uint8Array | undefined {
  return openMessage(dek.messages, columnBinding(dek.id, context), sealed.subarray(PREFIX.length))
}

/** Whether a column is committed to this key and place; the value is not opened. */
export function isColumnOf(dek: DataKey, context: Context, sealed: Uint8Array): boolean {
  return isCommittedTo(dek.messages, columnBinding(dek.id, context), sealed.subarray(PREFIX.length))
}

/**
 * Checks the form of a column, before any KMS call.
 *
 * @throws {InvalidFormat} when it is none
 */
export function checkColumn(sealed: unknown, name: string): asserts sealed is Uint8Array {
  if (!(sealed instanceof Uint8Array)) throw new InvalidFormat(`Cannot read the column "${name}": it is not bytes`)
  if (sealed.length < PREFIX.length + MIN_MESSAGE + 1)
    throw new InvalidFormat(`Cannot read the column "${name}": it is cut short`)
  if (sealed[0] !== PREFIX[0]) throw new InvalidFormat(`Cannot read the column "${name}": it is not sealed`)
  if (sealed[1] !== PREFIX[1])
    throw new InvalidFormat(`Cannot read the column "${name}": its suite ${sealed[1]} is unknown`)
  if (openedSize(sealed.length - PREFIX.length) === undefined)
    throw new InvalidFormat(`Cannot read the column "${name}": it is cut short`)
}
