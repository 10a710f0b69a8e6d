import { existsSync } from "node:fs"
import { join } from "node:path"

export type RuntimeName = "node22" | "node22.13" | "node24" | "node26" | "deno" | "bun"

const { arch, execPath, platform, versions } = process
const suffix = platform === "win32" ? ".exe" : ""

const executables: Readonly<Record<RuntimeName, string>> = {
  node22: nodePackage("node22"),
  "node22.13": nodePackage("node2213"),
  node24: nodePackage("node24"),
  node26: nodePackage("node26"),
  deno: `@deno/${platform}-${arch}${platform === "linux" ? "-glibc" : ""}/deno${suffix}`,
  bun: `@oven/bun-${platform === "win32" ? "windows" : platform}-${arch === "arm64" ? "aarch64" : arch}/bin/bun${suffix}`,
}

/**
 * Path of a runtime's executable, or `undefined` where it is not installed.
 *
 * Not every platform has a package with Node: there, the Node that runs this stands in for the release line it belongs to.
 */
export function runtimePath(name: RuntimeName): string | undefined {
  const path = join(import.meta.dirname, "node_modules", executables[name])
  if (existsSync(path)) return path
  return name === runningNode() ? execPath : undefined
}

function nodePackage(alias: string): string {
  return `${alias}-${platform === "win32" ? "win" : platform}-${arch}/bin/node${suffix}`
}

function runningNode(): string | undefined {
  if (versions.deno || versions.bun) return undefined
  return `node${versions.node.split(".", 1)}`
}
