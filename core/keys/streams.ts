/**
 * Envelopes that go by in pieces: the two sides of a stream. What is done in between is loaded with the first of them.
 *
 * @module
 */
import { openedSize, sealedSize } from "../cipher/chunks.ts"
import { encodeContext } from "../cipher/context.ts"
import { duplex, type Work } from "../cipher/duplex.ts"
import { parseHeader } from "../cipher/envelope.ts"
import type { CallOptions, Context } from "../contracts.ts"
import { InvalidFormat, InvalidInput } from "../errors.ts"
import type { Operations } from "../operations.ts"
import type { StreamTools } from "../stream-methods.ts"
import type { ByteTransform, SealStreamOptions } from "../stream-types.ts"
import type { DataKeys } from "./data-keys.ts"
import type { SealingKey } from "./dek.ts"
import type { SealOptions } from "./envelopes.ts"

/** Seals a stream. @internal */
export function sealStream(
  operations: Operations<StreamTools>,
  context: Context | undefined,
  options: SealStreamOptions,
): ByteTransform {
  const { size } = options
  if (size !== undefined) checkSize(size, "seal a stream: its size")
  const encoded = encodeContext(context)
  return stream(operations, "encryptStream", options, async (dataKeys) => {
    const { beginSealing } = await import("./stream-work.ts")
    return await beginSealing(dataKeys, encoded, options)
  })
}

/** Opens a stream. @internal */
export function openStream(
  operations: Operations<StreamTools>,
  context: Context | undefined,
  options: SealOptions,
): ByteTransform {
  const encoded = encodeContext(context)
  return stream(operations, "decryptStream", options, async (dataKeys) => {
    const { beginOpening } = await import("./stream-work.ts")
    return beginOpening(dataKeys, encoded, options)
  })
}

// One operation, from the call until the end of both sides.
function stream(
  operations: Operations<StreamTools>,
  operation: string,
  { signal }: CallOptions,
  begin: (dataKeys: DataKeys) => Promise<Work>,
): ByteTransform {
  const { dataKeys } = operations.tools
  const end = Promise.withResolvers<void>()
  // The two sides tell of a failure.
  operations.run(operation, () => end.promise).catch(() => undefined)
  return duplex(() => begin(dataKeys), {
    signal,
    settled: (failure) => (failure ? end.reject(failure.reason) : end.resolve()),
  })
}

// --- Sizes ---

function checkSize(size: number, what: string): void {
  if (Number.isSafeInteger(size) && size >= 0) return
  throw new InvalidInput(`Cannot ${what} is not a whole number from 0`)
}

/** How many bytes something of `length` plain bytes has when it is sealed now. @internal */
export async function sealedSizeOf(dataKeys: DataKeys, length: number, options: CallOptions): Promise<number> {
  checkSize(length, "tell a sealed size: the length")
  const header = (key: SealingKey): number => key.header(false).length
  return (await dataKeys.seal("envelope", { messages: 0, bytes: 0 }, options, header)) + sealedSize(length)
}

/** How many plain bytes something sealed has. @internal */
export function openedSizeOf(sealedBytes: number, head: Uint8Array): number {
  checkSize(sealedBytes, "tell an opened size: the length")
  const { body } = parseHeader(head)
  const size = openedSize(sealedBytes - (head.length - body.length))
  if (size === undefined) throw new InvalidFormat("Cannot read an envelope: its body is cut short")
  return size
}
