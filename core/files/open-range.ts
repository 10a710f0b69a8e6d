/**
 * Parts of envelopes.
 *
 * @module
 */
import { InvalidInput } from "../errors.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import type { ByteRange, RangeSource } from "../stream-types.ts"
import type { Sealed } from "./given.ts"
import { beginningOf, SealedReader } from "./sealed-reader.ts"
import { openSource, rangeOf } from "./source.ts"

/** Opens a part of something sealed. @internal */
export async function openRange(dataKeys: DataKeys, sealed: Sealed, range: ByteRange): Promise<Uint8Array> {
  const { offset = 0, length } = checked(range)
  const { options } = sealed
  return await withSealed(dataKeys, sealed, async (reader) => {
    const from = offset < 0 ? Math.max((await reader.size(options)) + offset, 0) : offset
    return await reader.read(from, length ?? Number.POSITIVE_INFINITY, options)
  })
}

/** Reads parts of something sealed, with one look at its header and one data key. @internal */
export async function withSealed<Result>(
  dataKeys: DataKeys,
  sealed: Sealed,
  use: (reader: SealedReader) => Promise<Result>,
): Promise<Result> {
  const { source, context, options } = sealed
  options.signal?.throwIfAborted()
  const readerOf = async (from: RangeSource): Promise<SealedReader> =>
    new SealedReader(from, await beginningOf(dataKeys, from, context, options))
  if (typeof source !== "string") return await use(await readerOf(source))
  const file = await openSource(source)
  try {
    return await use(await readerOf(rangeOf(file)))
  } finally {
    await file.handle.close()
  }
}

function checked(range: ByteRange): ByteRange {
  const { offset = 0, length = 0 } = range
  if (!Number.isSafeInteger(offset)) throw new InvalidInput(`Cannot read a range: its offset is no whole number`)
  if (!Number.isSafeInteger(length) || length < 0)
    throw new InvalidInput(`Cannot read a range: its length is no whole number from 0`)
  return range
}
