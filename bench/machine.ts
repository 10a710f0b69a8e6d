/** Where a run was made. */
import { spawnSync } from "node:child_process"
import { statfsSync } from "node:fs"
import { availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os"
import process from "node:process"
import { commandOf, type Runtime } from "./_peer.ts"
import type { Results } from "./results.ts"

const TMPFS = 0x01021994

/** The machine, as far as it changes figures. */
export function machine(folder: string, loadBefore: number): Results["machine"] {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    system: `${type()} ${release()}`,
    files: statfsSync(folder).type === TMPFS ? "memory" : "a disk",
    load: [loadBefore, load()],
  }
}

/** Of the last minute. */
export function load(): number {
  return loadavg()[0] ?? 0
}

/** The versions of the runtimes that are there. */
export function versionsOf(runtimes: readonly Runtime[]): Results["runtimes"] {
  const found: Partial<Record<Runtime, string>> = {}
  for (const runtime of runtimes) {
    const command = commandOf(runtime)
    if (!command) continue
    const { stdout } = spawnSync(command[0], ["--version"], { encoding: "utf8" })
    const version = /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? "?"
    found[runtime] = runtime === "node" ? `${version} (OpenSSL ${process.versions.openssl})` : version
  }
  return found
}
