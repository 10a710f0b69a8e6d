/**
 * Envelopes that go by in pieces. FORMATS §1, §3.
 *
 * @module
 */
import type { CallOptions, Context } from "../contracts.ts"
import type { Operations } from "../operations.ts"
import type { StreamTools } from "../stream-methods.ts"
import type { ByteTransform, SealStreamOptions } from "../stream-types.ts"
import type { DataKeys } from "./data-keys.ts"

/** Seals a stream. @internal */
export function sealStream(
  _operations: Operations<StreamTools>,
  _context: Context | undefined,
  _options: SealStreamOptions,
): ByteTransform {
  throw new Error("to come")
}

/** Opens a stream. @internal */
export function openStream(
  _operations: Operations<StreamTools>,
  _context: Context | undefined,
  _options: CallOptions,
): ByteTransform {
  throw new Error("to come")
}

/** @internal */
export async function sealedSizeOf(_dataKeys: DataKeys, _length: number, _options: CallOptions): Promise<number> {
  throw new Error("to come")
}

/** @internal */
export function openedSizeOf(_sealedBytes: number, _head: Uint8Array): number {
  throw new Error("to come")
}
