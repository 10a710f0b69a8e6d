import { spawnSync } from "node:child_process"
import process from "node:process"
import { run, type Say } from "./_install-run.ts"
import type { PackagedServer } from "./_installation.ts"

// MariaDB's server alone: nothing that starts one, and no client.
const DEBIAN = { postgres: "postgresql", mariadb: "mariadb-server-core" } as const
const HOMEBREW = { postgres: "postgresql", mariadb: "mariadb" } as const

/** Installs the machine's own packages, where that is ours to do: as root of a Debian. */
export async function installPackages(names: readonly PackagedServer[], say: Say): Promise<void> {
  const packages = names.map((name) => DEBIAN[name])
  const install = ["install", "-y", "--no-install-recommends", ...packages]
  const isDebian = spawnSync("apt-get", ["--version"]).status === 0
  if (!isDebian)
    throw new Error(
      `install ${names.join(" and ")} (macOS: brew install ${names.map((name) => HOMEBREW[name]).join(" ")})`,
    )
  if (process.getuid?.() !== 0) throw new Error(`type: sudo apt-get ${install.join(" ")}`)
  say(packages.join(", "))
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  // Another apt-get may be at work.
  const patient = ["-o", "DPkg::Lock::Timeout=300", "-qq"]
  await run("apt-get", [...patient, "update"], { env })
  await run("apt-get", [...patient, ...install], { env })
}
