/**
 * Envelopes into files.
 *
 * @module
 */
import type { Context } from "../contracts.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import type { FileOptions, FileResult } from "../stream-types.ts"
import { convert } from "./convert.ts"
import { beginningOf } from "./sealed-reader.ts"
import { rangeOf } from "./source.ts"

const NOTHING = new Uint8Array(0)

/** Opens a file. @internal */
export async function openFile(
  dataKeys: DataKeys,
  source: string | URL,
  target: string | URL,
  context: Context | undefined,
  options: FileOptions,
): Promise<FileResult> {
  return await convert(source, target, options, async (file) => {
    const { keys, ...places } = await beginningOf(dataKeys, rangeOf(file), context, options)
    return { job: { verb: "open", ...places }, keys, head: NOTHING }
  })
}
