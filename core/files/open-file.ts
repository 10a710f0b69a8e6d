/**
 * Envelopes into files.
 *
 * @module
 */
import type { Context } from "../contracts.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import type { FileOptions, FileResult } from "../stream-types.ts"

/** Opens a file. @internal */
export async function openFile(
  _dataKeys: DataKeys,
  _source: string | URL,
  _target: string | URL,
  _context: Context | undefined,
  _options: FileOptions,
): Promise<FileResult> {
  throw new Error("to come")
}
