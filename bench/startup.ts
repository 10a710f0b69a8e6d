/** Programs that are started anew each time: what an import costs, what it takes to a first sealed value, how much memory a file takes. */
import { spawn, spawnSync } from "node:child_process"
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { commandOf, type Runtime } from "./_peer.ts"
import { sourceFile } from "./cases.ts"
import { CONTENDERS, type ContenderName, versionOf } from "./contenders.ts"
import { median, type Peak, type Started } from "./results.ts"

const ROOT = fileURLToPath(new URL("..", import.meta.url))

interface Program {
  readonly title: string
  readonly code: string
}

const NEW_CRYPTO = `import { newCrypto, withKEKAlias, withKMSService } from "./encx/mod.js"
import { memory } from "./encx/providers/memory.js"
const keys = memory()
await keys.createKey("app")
const crypto = await newCrypto(withKMSService(keys), withKEKAlias("app"))`
// The kernel's own figure where there is one: getrusage's may be that of the process it was forked from.
const PEAK = `import { readFileSync } from "node:fs"
import { resourceUsage } from "node:process"
const peak = () => {
  try {
    return Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024
  } catch {
    return resourceUsage().maxRSS * 1024
  }
}
const say = () => console.log(peak())`

/** Started for their time. */
const STARTED: Readonly<Record<string, Program>> = {
  empty: { title: "an empty program", code: "" },
  import: { title: 'import "encx"', code: 'import "./encx/mod.js"' },
  encx: {
    title: "encx: import and seal 64 B",
    code: `${NEW_CRYPTO}\nawait crypto.seal(new Uint8Array(64))`,
  },
  raw: {
    title: "raw AES-256-GCM: import and seal 64 B",
    code: `import { createCipheriv, createSecretKey, randomBytes } from "node:crypto"
const cipher = createCipheriv("aes-256-gcm", createSecretKey(randomBytes(32)), randomBytes(12), { authTagLength: 16 })
cipher.update(new Uint8Array(64))
cipher.final()
cipher.getAuthTag()`,
  },
  cloak: {
    title: "@47ng/cloak: import and seal 64 B",
    code: `import { encryptStringSync, generateKey } from "@47ng/cloak"
encryptStringSync("a".repeat(64), generateKey())`,
  },
  "aws-unsigned": {
    title: "AWS Encryption SDK, unsigned: import and seal 64 B",
    code: `import { AlgorithmSuiteIdentifier, buildClient, CommitmentPolicy, RawAesKeyringNode, RawAesWrappingSuiteIdentifier } from "@aws-crypto/client-node"
const { encrypt } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
const keyring = new RawAesKeyringNode({
  keyName: "app",
  keyNamespace: "bench",
  unencryptedMasterKey: new Uint8Array(32).fill(7),
  wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
})
await encrypt(keyring, new Uint8Array(64), { suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY })`,
  },
}

const OURS = ["empty", "import", "encx"]

/** Started for their memory: arguments are a source, two targets, and how many bytes a stream has. */
const MEASURED: Readonly<Record<string, Program>> = {
  empty: { title: "an empty program", code: `${PEAK}\nsay()` },
  stream: {
    title: "encryptStream()",
    code: `${PEAK}\n${NEW_CRYPTO}
const size = Number(process.argv[5])
const block = new Uint8Array(65_536)
let left = size
const source = new ReadableStream({
  pull: (controller) => {
    if (left > 0) controller.enqueue(block.subarray(0, left))
    else controller.close()
    left -= block.length
  },
})
await source.pipeThrough(crypto.encryptStream(undefined, { size })).pipeTo(new WritableStream())
say()`,
  },
  seal: {
    title: "sealFile()",
    code: `${PEAK}\n${NEW_CRYPTO}
await crypto.sealFile(process.argv[2], process.argv[3], undefined, { overwrite: true })
say()`,
  },
  both: {
    title: "sealFile(), then openFile()",
    code: `${PEAK}\n${NEW_CRYPTO}
await crypto.sealFile(process.argv[2], process.argv[3], undefined, { overwrite: true })
await crypto.openFile(process.argv[3], process.argv[4], undefined, { overwrite: true })
say()`,
  },
}

/** Builds the library as npm gets it, beside the packages of the contenders. */
export function buildPrograms(folder: string): void {
  mkdirSync(folder, { recursive: true })
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc")
  const out = join(folder, "encx")
  const built = spawnSync(
    process.execPath,
    [tsc, "-p", "tsconfig.build.json", "--outDir", out, "--declaration", "false", "--isolatedDeclarations", "false"],
    {
      cwd: ROOT,
      encoding: "utf8",
    },
  )
  if (built.status !== 0) process.stderr.write(`The build says:\n${built.stdout}${built.stderr}\n`)
  symlinkSync(join(ROOT, "node_modules"), join(out, "node_modules"), "junction")
  symlinkSync(join(ROOT, "bench/node_modules"), join(folder, "node_modules"), "junction")
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n')
  for (const [prefix, programs] of Object.entries({ start: STARTED, peak: MEASURED })) {
    for (const [name, { code }] of Object.entries(programs)) writeFileSync(join(folder, `${prefix}-${name}.js`), code)
  }
}

interface Run {
  readonly ms: number
  readonly stdout: string
}

/** Runs one to its end, from where it lies. */
async function run(runtime: Runtime, folder: string, file: string, args: readonly string[] = []): Promise<Run> {
  const [path, ...flags] = commandOf(runtime, { checkout: false }) as [string, ...string[]]
  const start = performance.now()
  const child = spawn(path, [...flags, join(folder, file), ...args], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] })
  const kill = (): void => void child.kill("SIGKILL")
  process.prependOnceListener("exit", kill)
  const output = { stdout: "", stderr: "" }
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text
    })
  }
  const code = await new Promise<number | string | null>((resolve) => {
    child.once("error", (error) => resolve(error.message))
    child.once("close", (status, signal) => resolve(status ?? signal))
  })
  process.off("exit", kill)
  const ms = performance.now() - start
  if (code !== 0) throw new Error(`Cannot run ${file} on ${runtime}: ${code}\n${output.stderr}`)
  return { ms, stdout: output.stdout }
}

/** Starts each program in every round: ours, and those of the contenders that are asked for and installed. */
export async function startup(
  runtime: Runtime,
  folder: string,
  contenders: readonly ContenderName[],
  rounds: number,
): Promise<Started[]> {
  const wanted = contenders.filter((name) => versionOf(CONTENDERS[name])) as readonly string[]
  const names = Object.keys(STARTED).filter((name) => OURS.includes(name) || wanted.includes(name))
  const times = new Map<string, number[]>(names.map((name) => [name, []]))
  // The first round fills the caches of the disk and is not counted.
  for (let round = -1; round < rounds; round++) {
    for (const name of names) {
      const { ms } = await run(runtime, folder, `start-${name}.js`)
      if (round >= 0) times.get(name)?.push(ms)
    }
  }
  const empty = times.get("empty") as number[]
  return names.map((program) => {
    const own = times.get(program) as number[]
    const over = own.map((ms, i) => ms - (empty[i] as number))
    const title = (STARTED[program] as Program).title
    return { program, title, runtime, ms: median(own), overEmptyMs: median(over) }
  })
}

/** The most memory that a process holds that seals a stream, or seals and opens a file. */
export async function peakMemory(runtime: Runtime, folder: string, bytes: number): Promise<Peak[]> {
  const args = [sourceFile(folder, bytes), join(folder, "peak.encx"), join(folder, "peak.opened"), String(bytes)]
  const peaks: [string, number][] = []
  for (const name of Object.keys(MEASURED)) {
    const { stdout } = await run(runtime, folder, `peak-${name}.js`, args)
    peaks.push([name, Number(stdout)])
  }
  const empty = peaks[0]?.[1] ?? 0
  return peaks.map(([program, peak]) => {
    const title = (MEASURED[program] as Program).title
    return { program, title, runtime, bytes: peak, overEmptyBytes: peak - empty }
  })
}
