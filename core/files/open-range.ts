/**
 * Parts of envelopes.
 *
 * @module
 */
import type { CallOptions, Context } from "../contracts.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import type { ByteRange, RangeSource } from "../stream-types.ts"

/** Opens a part of something sealed. @internal */
export async function openRange(
  _dataKeys: DataKeys,
  _source: string | URL | RangeSource,
  _range: ByteRange,
  _context: Context | undefined,
  _options: CallOptions,
): Promise<Uint8Array> {
  throw new Error("to come")
}
