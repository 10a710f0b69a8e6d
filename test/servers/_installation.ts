/** Where the servers are installed, and what a test says that needs them. */
import { createHash } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { homedir, userInfo } from "node:os"
import { isAbsolute, join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { skipIf } from "../vectors.ts"

/** The servers that pip installs; each has a file of pins here. */
export const SERVERS = ["moto", "ministack"] as const
export type ServerName = (typeof SERVERS)[number]

/** A server's file of pins. */
export function pins(name: ServerName): string {
  return fileURLToPath(new URL(`${name}.txt`, import.meta.url))
}

/** Named for what is in it, so that other pins are another folder, and whole: it is put there by a rename. */
export function installation(): string {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}\n`)
  for (const name of SERVERS) hash.update(readFileSync(pins(name)))
  return join(cacheFolder(), "encx", `servers-${hash.digest("hex").slice(0, 12)}`)
}

/** A server's Python, of which a moved folder keeps working; the scripts beside it hold the path that they were made at. */
export function python(name: ServerName, folder: string = installation()): string {
  return join(folder, name, process.platform === "win32" ? "Scripts/python.exe" : "bin/python")
}

/** Whether servers are there; a Python that has been removed since leaves a link to nothing. */
export function isInstalled(names: readonly ServerName[] = SERVERS, folder: string = installation()): boolean {
  return names.every((name) => existsSync(python(name, folder)))
}

/** The options of a test that needs servers; where they are absent and required, starting one fails it. */
export function needsServer(...names: readonly ServerName[]): { skip: string | false } {
  const absent = !isInstalled(names.length > 0 ? names : SERVERS)
  return skipIf(absent, `${installation()} is absent (npm run servers)`)
}

function cacheFolder(): string {
  const { XDG_CACHE_HOME = "", HOME = "" } = process.env
  // «All paths set in these environment variables must be absolute. […] consider the path invalid and ignore it» (XDG 0.8)
  if (isAbsolute(XDG_CACHE_HOME)) return XDG_CACHE_HOME
  return join(HOME || homedir() || userInfo().homedir, ".cache")
}
