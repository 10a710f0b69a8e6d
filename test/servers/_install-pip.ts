import { spawnSync } from "node:child_process"
import { join } from "node:path"
import process from "node:process"
import { makeWhole, run, type Say } from "./_install-run.ts"
import { installation, isInstalled, PIP_SERVERS, type PipServer, pins, python } from "./_installation.ts"

const OLDEST = [3, 10] as const

/** Installs the servers of Python, in one folder. */
export async function installWithPip(say: Say): Promise<void> {
  const machine = findPython()
  const left = new Set<PipServer>(PIP_SERVERS)
  const env = environment()
  const one = async (into: string, name: PipServer): Promise<void> => {
    const hint = "it may lack the modules venv and ensurepip (Debian: apt-get install python3-venv)"
    await run(machine, ["-m", "venv", join(into, name)], { env, hint })
    const pip = ["-m", "pip", "install", "--progress-bar=off", "--no-input", "-r", pins(name)]
    await run(join(python(name, into)), pip, { env })
    left.delete(name)
    say([...left].join(", "))
  }
  say([...left].join(", "))
  await makeWhole(
    installation(),
    () => isInstalled(PIP_SERVERS),
    async (into) => {
      await Promise.all(PIP_SERVERS.map((name) => one(into, name)))
    },
  )
}

/** The machine's newest right one is not looked for: `ENCX_PYTHON`, or the first that will do. */
function findPython(): string {
  const { ENCX_PYTHON } = process.env
  const names = ENCX_PYTHON ? [ENCX_PYTHON] : ["python3", "python", "/usr/bin/python3"]
  const seen: string[] = []
  for (const name of names) {
    const { stdout, status } = spawnSync(name, ["-c", "import sys; print(*sys.version_info[:2])"], { encoding: "utf8" })
    const [major = 0, minor = 0] = status === 0 ? stdout.trim().split(" ").map(Number) : []
    if (major === OLDEST[0] && minor >= OLDEST[1]) return name
    if (major > 0) seen.push(`${name} is ${major}.${minor}`)
  }
  const found = seen.length > 0 ? seen.join(", ") : `there is no ${names.join(" and no ")}`
  throw new Error(`Python ${OLDEST.join(".")} or newer is needed, and ${found} (ENCX_PYTHON names another)`)
}

/** The machine's index and proxies hold; what would put the packages elsewhere does not. */
function environment(): NodeJS.ProcessEnv {
  const { PYTHONHOME: _, PYTHONPATH: __, PIP_TARGET: ___, PIP_PREFIX: ____, ...rest } = process.env
  return { ...rest, PIP_USER: "0", PIP_DISABLE_PIP_VERSION_CHECK: "1", PYTHONNOUSERSITE: "1" }
}
