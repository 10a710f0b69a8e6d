/**
 * Files into envelopes.
 *
 * @module
 */
import type { Context } from "../contracts.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import type { FileOptions, FileResult } from "../stream-types.ts"

/** Seals a file. @internal */
export async function sealFile(
  _dataKeys: DataKeys,
  _source: string | URL,
  _target: string | URL,
  _context: Context | undefined,
  _options: FileOptions,
): Promise<FileResult> {
  throw new Error("to come")
}
