/** What tests of the key file share. */

import * as nodeFS from "node:fs"
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { FileSystem } from "../../providers/_safe-file.ts"

/** A new folder, 0700, and what takes it away. */
export function newFolder(): { folder: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), "encx-test-"))
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}

/** Runs with a new folder and takes it away. */
export async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const { folder, remove } = newFolder()
  try {
    await run(folder)
  } finally {
    remove()
  }
}

/** Every name in a folder, with its kind, its mode and its bytes. */
export function snapshot(folder: string): string[] {
  return readdirSync(folder)
    .sort()
    .map((name) => {
      const stat = lstatSync(join(folder, name))
      const bytes = stat.isFile() ? readFileSync(join(folder, name)).toString("hex") : ""
      return `${name} ${stat.mode.toString(8)} ${stat.nlink} ${bytes}`
    })
}

/** Stands around each call of a file system: makes it, with other arguments even, breaks it, or never comes back. */
export type Around = (name: string, call: (...instead: unknown[]) => unknown, args: readonly unknown[]) => unknown

/** A file system whose every call passes `around`. */
export function watchedFileSystem(around: Around): FileSystem {
  return new Proxy(nodeFS, {
    get(fs, name) {
      const member: unknown = Reflect.get(fs, name)
      if (typeof member !== "function") return member
      return (...args: unknown[]): unknown =>
        around(String(name), (...instead) => Reflect.apply(member, fs, instead.length > 0 ? instead : args), args)
    },
  })
}
