/**
 * Parts of envelopes.
 *
 * @module
 */
import type { Context } from "../contracts.ts"
import { InvalidInput } from "../errors.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import type { SealOptions } from "../keys/envelopes.ts"
import type { ByteRange, RangeSource } from "../stream-types.ts"
import { pathOf } from "./path.ts"
import { beginningOf, SealedReader } from "./sealed-reader.ts"
import { openSource, rangeOf } from "./source.ts"

/** Opens a part of something sealed. @internal */
export async function openRange(
  dataKeys: DataKeys,
  source: string | URL | RangeSource,
  range: ByteRange,
  context: Context | undefined,
  options: SealOptions,
): Promise<Uint8Array> {
  const { offset = 0, length } = checked(range)
  return await withSealed(dataKeys, source, context, options, async (reader) => {
    const from = offset < 0 ? Math.max((await reader.size(options)) + offset, 0) : offset
    return await reader.read(from, length ?? Number.POSITIVE_INFINITY, options)
  })
}

/** Reads parts of something sealed, with one look at its header and one data key. @internal */
export async function withSealed<Result>(
  dataKeys: DataKeys,
  source: string | URL | RangeSource,
  context: Context | undefined,
  options: SealOptions,
  use: (reader: SealedReader) => Promise<Result>,
): Promise<Result> {
  options.signal?.throwIfAborted()
  if (isRangeSource(source))
    return await use(new SealedReader(source, await beginningOf(dataKeys, source, context, options)))
  const file = await openSource(pathOf(source, "the source"))
  try {
    const from = rangeOf(file)
    return await use(new SealedReader(from, await beginningOf(dataKeys, from, context, options)))
  } finally {
    await file.handle.close()
  }
}

function isRangeSource(source: string | URL | RangeSource): source is RangeSource {
  return typeof source === "object" && source !== null && "read" in source && "size" in source
}

function checked(range: ByteRange): ByteRange {
  const { offset = 0, length = 0 } = range
  if (!Number.isSafeInteger(offset)) throw new InvalidInput(`Cannot read a range: its offset is no whole number`)
  if (!Number.isSafeInteger(length) || length < 0)
    throw new InvalidInput(`Cannot read a range: its length is no whole number from 0`)
  return range
}
