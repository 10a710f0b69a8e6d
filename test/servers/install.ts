// Installs the servers of the tests: npm run servers
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import process from "node:process"
import { installation, isInstalled, pins, python, SERVERS, type ServerName } from "./_installation.ts"

const OLDEST = [3, 10] as const
const TIME_LIMIT_MS = 15 * 60_000
const PROGRESS_MS = 10_000
const PARTIAL = ".partial-"
const STALE_MS = 60 * 60_000

const folder = installation()
const running = new Set<ChildProcess>()
let partial: string | undefined

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    discard()
    process.kill(process.pid, signal)
  })
}

if (isInstalled()) {
  console.log(`The servers are in ${folder}`)
} else {
  try {
    await install()
    console.log(`The servers are in ${folder}`)
  } catch (error) {
    console.error(`Cannot install the servers: ${error instanceof Error ? error.message : error}`)
    process.exitCode = 1
  } finally {
    discard()
  }
}

async function install(): Promise<void> {
  const machine = findPython()
  console.log(`Installing ${SERVERS.join(", ")} with ${machine} in ${folder}`)
  partial = prepare()
  const into = partial
  const start = performance.now()
  const seconds = (): string => `${((performance.now() - start) / 1000).toFixed(0)} s`
  const left = new Set<ServerName>(SERVERS)
  const progress = setInterval(() => console.log(`  ${[...left].join(", ")} … ${seconds()}`), PROGRESS_MS)
  const one = async (name: ServerName): Promise<void> => {
    await run(
      machine,
      ["-m", "venv", join(into, name)],
      "it may lack the modules venv and ensurepip (Debian: apt-get install python3-venv)",
    )
    await run(python(name, into), ["-m", "pip", "install", "--progress-bar=off", "--no-input", "-r", pins(name)])
    left.delete(name)
    console.log(`  ${name}: ${seconds()}`)
  }
  try {
    await Promise.all(SERVERS.map(one))
  } finally {
    clearInterval(progress)
  }
  put(into)
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

/** A folder beside the one to be, on the same file system; those that an end by force left behind go. */
function prepare(): string {
  const parent = dirname(folder)
  try {
    mkdirSync(parent, { recursive: true })
    for (const name of readdirSync(parent).filter((each) => each.includes(PARTIAL))) {
      const path = join(parent, name)
      if (Date.now() - statSync(path).mtimeMs > STALE_MS) rmSync(path, { recursive: true, force: true })
    }
    return mkdtempSync(join(parent, `${basename(folder)}${PARTIAL}`))
  } catch (error) {
    throw new Error(`${parent} cannot be written (XDG_CACHE_HOME names another folder): ${(error as Error).message}`)
  }
}

/** Of two installs at once one is first, and the other finds its work done. */
function put(into: string): void {
  if (isInstalled()) return
  // Whole when it was put there, so a Python that it pointed to has gone since.
  rmSync(folder, { recursive: true, force: true })
  try {
    renameSync(into, folder)
  } catch (error) {
    if (!isInstalled()) throw error
  }
}

function run(command: string, args: readonly string[], hint?: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const child = spawn(command, args, { env: environment(), stdio: ["ignore", "pipe", "pipe"], timeout: TIME_LIMIT_MS })
  running.add(child)
  let output = ""
  const add = (chunk: Uint8Array): void => {
    output = (output + new TextDecoder().decode(chunk)).slice(-4_000)
  }
  child.stdout.on("data", add)
  child.stderr.on("data", add)
  child.on("error", reject)
  child.on("close", (code, signal) => {
    running.delete(child)
    if (code === 0) return resolve()
    const end = signal === null ? `exit ${code}` : signal
    reject(new Error(`${command} ${args.join(" ")}: ${end}${hint ? `; ${hint}` : ""}\n${output.trim()}`))
  })
  return promise
}

/** The machine's index and proxies hold; what would put the packages elsewhere does not. */
function environment(): NodeJS.ProcessEnv {
  const { PYTHONHOME: _, PYTHONPATH: __, PIP_TARGET: ___, PIP_PREFIX: ____, ...rest } = process.env
  return { ...rest, PIP_USER: "0", PIP_DISABLE_PIP_VERSION_CHECK: "1", PYTHONNOUSERSITE: "1" }
}

function discard(): void {
  for (const child of running) child.kill("SIGKILL")
  if (partial !== undefined) rmSync(partial, { recursive: true, force: true, maxRetries: 5 })
}
