import { spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"

interface LockedPackage {
  readonly version: string
  readonly os?: string | readonly string[]
  readonly cpu?: string | readonly string[]
}

const here = import.meta.dirname

/**
 * Installs the runtimes of the lock file, unless they are there already.
 *
 * @throws {Error} when npm cannot install one that exists for this platform
 */
export function installRuntimes(): void {
  if (missing().length === 0) return
  // Not --prefix, which also takes the machine's own npm settings away; a shell, because npm is a .cmd file on Windows.
  spawnSync("npm ci", { cwd: here, stdio: ["ignore", "inherit", "inherit"], shell: true })
  const left = missing()
  if (left.length > 0) throw new Error(`Cannot install the runtimes: npm left out ${left.join(", ")}`)
}

/** npm takes an optional package that it could not fetch for one that is not wanted, and reports success. */
function missing(): string[] {
  const { packages } = readJSON("package-lock.json") as { packages: Record<string, LockedPackage> }
  const wanted = Object.entries(packages).filter(([path, { os, cpu }]) => {
    return path !== "" && (os ?? "").includes(process.platform) && (cpu ?? "").includes(process.arch)
  })
  return wanted.filter(([path, { version }]) => installedVersion(path) !== version).map(([path]) => path)
}

function installedVersion(path: string): string | undefined {
  const manifest = join(path, "package.json")
  if (!existsSync(join(here, manifest))) return undefined
  // Some of the packages with a Node write «v22.13.0».
  return (readJSON(manifest) as LockedPackage).version.replace(/^v/, "")
}

function readJSON(path: string): unknown {
  return JSON.parse(readFileSync(join(here, path), "utf8"))
}
