/**
 * Envelopes into files.
 *
 * @module
 */
import type { DataKeys } from "../keys/data-keys.ts"
import type { FileResult } from "../stream-types.ts"
import { convert } from "./convert.ts"
import type { Files } from "./given.ts"
import { beginningOf } from "./sealed-reader.ts"
import { rangeOf } from "./source.ts"

const NOTHING = new Uint8Array(0)

/** Opens a file. @internal */
export async function openFile(dataKeys: DataKeys, files: Files): Promise<FileResult> {
  return await convert(files, async (file) => {
    const { keys, ...places } = await beginningOf(dataKeys, rangeOf(file), files.context, files)
    return { job: { verb: "open", ...places }, keys, head: NOTHING }
  })
}
