/** Runs a script in a process of its own, on the runtime that runs this. */
import { spawn } from "node:child_process"
import process from "node:process"
import { fileURLToPath } from "node:url"

/** How a script ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

/** Options of {@link runScript}. */
export interface ScriptOptions {
  readonly args?: readonly string[]
  /** Set beside those of this process; one that is undefined is taken away. */
  readonly variables?: Readonly<Record<string, string | undefined>>
  /** Where it runs. @default {where this process does} */
  readonly cwd?: string
  /** After it, the process is killed and the call rejects. @default {60_000} */
  readonly timeoutMs?: number
}

// A script may lie outside of the project, where Deno would not find what the project's imports mean.
const CONFIG = fileURLToPath(new URL("../deno.json", import.meta.url))
// Node strips types by itself from 22.18; Bun always did.
const RUN: readonly string[] =
  process.versions["deno"] === undefined ? [] : ["run", "-A", "--no-check", "--quiet", "--config", CONFIG]

function defined(variables: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const set = Object.entries(variables).filter((each): each is [string, string] => each[1] !== undefined)
  return Object.fromEntries(set)
}

/** How a .ts file is run here: the arguments of this runtime. */
export function argumentsOf(script: URL): string[] {
  return [...RUN, fileURLToPath(script)]
}

/** Runs a .ts file to its end. A process that is killed, also by itself, is an end like any other. */
export async function runScript(script: URL, { args = [], ...options }: ScriptOptions = {}): Promise<Ended> {
  return await runCommand(process.execPath, { ...options, args: [...RUN, script.pathname, ...args] })
}

/** Runs a command to its end. */
export async function runCommand(
  command: string,
  { args = [], variables = {}, cwd = process.cwd(), timeoutMs = 60_000 }: ScriptOptions = {},
): Promise<Ended> {
  const child = spawn(command, args, {
    cwd,
    env: defined({ ...process.env, NO_COLOR: "1", ...variables }),
    stdio: ["ignore", "pipe", "pipe"],
  })
  const output = { stdout: "", stderr: "" }
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text
    })
  }
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(child.pid, "SIGKILL")
      reject(
        new Error(`${[command, ...args].join(" ")} took more than ${timeoutMs} ms: ${output.stdout}${output.stderr}`),
      )
    }, timeoutMs)
    child.once("error", reject)
    child.once("close", (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, ...output })
    })
  })
}
