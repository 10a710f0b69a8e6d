/**
 * What a program gives to work with files, as it is at the call: while anything is waited for, it may change its objects and go to another
 * folder.
 *
 * @module
 */
import { type Context, encodeContext } from "../cipher/context.ts"
import type { SealOptions } from "../keys/envelopes.ts"
import type { FileOptions, RangeSource } from "../stream-types.ts"
import { pathOf } from "./path.ts"

/** Which file becomes which, and how. */
export interface Files extends FileOptions {
  readonly source: string
  readonly target: string
  /** The encoding of the context. */
  readonly context: Uint8Array
}

/** @throws {InvalidInput} when a path or the context cannot be one */
export function filesOf(
  source: string | URL,
  target: string | URL,
  context: Context | undefined,
  options: FileOptions,
): Files {
  return {
    ...options,
    target: pathOf(target, "the target"),
    source: pathOf(source, "the source"),
    context: encodeContext(context),
  }
}

/** Something sealed, and how it is opened. */
export interface Sealed {
  readonly source: string | RangeSource
  /** The encoding of its context. */
  readonly context: Uint8Array
  readonly options: SealOptions
}

/** @throws {InvalidInput} when the path or the context cannot be one */
export function sealedOf(
  source: string | URL | RangeSource,
  context: Context | undefined,
  options: SealOptions,
): Sealed {
  return {
    source: isRangeSource(source) ? source : pathOf(source, "the source"),
    context: encodeContext(context),
    options: { ...options },
  }
}

function isRangeSource(source: string | URL | RangeSource): source is RangeSource {
  return typeof source === "object" && source !== null && "read" in source && "size" in source
}
