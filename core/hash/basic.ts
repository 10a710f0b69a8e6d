/**
 * The Go library's look-up hash, of any value.
 *
 * @module
 */
import { wipe } from "../bytes.ts"
import { compareBasic, hashBasic } from "../go-encx/basic-hash.ts"
import type { GoType } from "../go-encx/codec.ts"
import { serializeText } from "../go-encx/strings.ts"

/** The Go library's look-up hash of a value. @internal */
export function hashBasicOf(value: unknown, type: GoType<unknown> | undefined): string {
  return useSerialised(value, type, hashBasic)
}

/** Whether a look-up hash is that of a value. @internal */
export function isBasicHashOf(value: unknown, stored: string, type: GoType<unknown> | undefined): boolean {
  return useSerialised(value, type, (serialised) => compareBasic(serialised, stored))
}

/** A value as Go serialises it: as the type says, else as text or bytes; the caller wipes it. @internal */
export const serialise = (value: unknown, type: GoType<unknown> | undefined): Uint8Array =>
  type ? type.encode(value) : serializeText(value)

function useSerialised<Result>(
  value: unknown,
  type: GoType<unknown> | undefined,
  use: (serialised: Uint8Array) => Result,
): Result {
  const serialised = serialise(value, type)
  try {
    return use(serialised)
  } finally {
    wipe(serialised)
  }
}
