/** Runs the command in processes of its own, as a shell does. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdirSync, readFileSync } from "node:fs"
import process from "node:process"
import { fileURLToPath } from "node:url"
import type { Home } from "./_encx.ts"

/** Whether there are signals, modes and a shell as POSIX has them. */
export const POSIX: boolean = process.platform !== "win32"

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const MAIN = path("cli/main.ts")
const RUNTIME: readonly string[] =
  "Deno" in globalThis
    ? ["run", "-A", "--no-check", "--quiet", "--config", path("deno.json")]
    : "Bun" in globalThis
      ? []
      : /^v22\./.test(process.version)
        ? ["--experimental-strip-types"]
        : []

/** How a process ended. */
export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

type Variables = Readonly<Record<string, string>>

/** This process's environment, with the home and nothing that names keys. */
function environment(home: Home, variables: Variables = {}): NodeJS.ProcessEnv {
  const unset = { ENCX_KMS: "", ENCX_KEK_ALIAS: "", ENCX_SECRETS: "", ENCX_PEPPER_ALIAS: "", ENCX_DEBUG: "" }
  return { ...process.env, ...unset, HOME: home.folder, TMPDIR: home.folder, ...variables }
}

/** Starts the command; its output may go to a file that is open. */
export function encx(
  home: Home,
  argv: readonly string[],
  { stdout = "pipe" }: { readonly stdout?: "pipe" | number } = {},
): ChildProcess {
  return spawn(process.execPath, [...RUNTIME, MAIN, ...argv], {
    env: environment(home),
    stdio: ["pipe", stdout, "pipe"],
  })
}

/** Runs a line in the home, by a shell that knows `encx`. */
export async function shell(home: Home, line: string, variables: Variables = {}): Promise<Outcome> {
  const bin = home.path(".bin")
  mkdirSync(bin, { recursive: true })
  const words = [process.execPath, ...RUNTIME, MAIN].map((word) => `'${word.replaceAll("'", `'\\''`)}'`)
  chmodSync(home.write(".bin/encx", `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`), 0o700)
  const env = environment(home, { PATH: `${bin}:${process.env["PATH"]}`, ...variables })
  return await outcome(spawn("/bin/sh", ["-c", line], { cwd: home.folder, env, stdio: ["ignore", "pipe", "pipe"] }))
}

/** Waits for the end. */
export async function outcome(child: ChildProcess): Promise<Outcome> {
  let stdout = ""
  let stderr = ""
  child.stdout?.on("data", (chunk) => (stdout += chunk))
  child.stderr?.on("data", (chunk) => (stderr += chunk))
  const [code] = (await once(child, "close")) as [number | null]
  return { code, stdout, stderr }
}

/** The most memory, in MiB, that a process has had; asked again and again until it ends. Linux alone tells. */
export async function peakMiB(child: ChildProcess): Promise<number> {
  let peak = 0
  const look = (): void => {
    try {
      const [, kiB] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8")) ?? []
      peak = Math.max(peak, Number(kiB ?? 0) / 1024)
    } catch {
      // It has ended.
    }
  }
  const timer = setInterval(look, 20)
  await once(child, "close")
  clearInterval(timer)
  return peak
}
