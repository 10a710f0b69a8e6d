/** A folder for files of one test file, and the sizes that matter. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after } from "node:test"

/** A folder that is gone when the tests are. */
export function folderForTests(): { at(name: string): string; leftovers(): string[] } {
  const folder = mkdtempSync(join(tmpdir(), "encx-files-"))
  after(() => rmSync(folder, { recursive: true, force: true }))
  return {
    at: (name) => join(folder, name),
    leftovers: () => readdirSync(folder).filter((name) => name.endsWith(".tmp")),
  }
}

const CHUNK = 16_384
const BLOCK = 64 * CHUNK

/** Around the borders of chunks and of blocks of chunks. */
export const SIZES: readonly number[] = [
  ...[0, 1, 15, 16, 17, 4096],
  ...[CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK + 77],
  ...[BLOCK - CHUNK, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + CHUNK, 2 * BLOCK, 3 * BLOCK + 12_345],
]
