/** The process of a contender, seen from the one that asks. */
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import process from "node:process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { runtimePath } from "../test/runtimes/paths.ts"
import type { CountedAnswer, Prepared, Question, Ran } from "./_child.ts"

/** Where it runs. */
export const RUNTIMES = ["node", "deno", "bun"] as const
export type Runtime = (typeof RUNTIMES)[number]

const CHILD = fileURLToPath(new URL("./_child.ts", import.meta.url))
const CONFIG = fileURLToPath(new URL("../deno.json", import.meta.url))

/**
 * How a script is run on a runtime: the Node of this process, or one that is installed for the tests.
 *
 * @param options.checkout whether it is a source of this project, or something that is built
 */
export function commandOf(
  runtime: Runtime,
  { checkout = true }: { readonly checkout?: boolean } = {},
): [command: string, ...args: string[]] | undefined {
  const path = runtime === "node" ? process.execPath : runtimePath(runtime)
  if (!path) return undefined
  // Node 22 warns that it strips types.
  if (runtime === "node") return [path, ...(checkout ? ["--disable-warning=ExperimentalWarning"] : [])]
  if (runtime === "bun") return [path]
  return [
    path,
    "run",
    "-A",
    "--quiet",
    ...(checkout ? ["--no-check", "--config", CONFIG] : ["--node-modules-dir=manual"]),
  ]
}

/** A contender in a process of its own. */
export interface Peer {
  /** Whether it still answers. */
  readonly alive: boolean
  prepare(question: Omit<Question & { do: "prepare" }, "do">): Promise<Prepared>
  run(times: number): Promise<Ran>
  /** What was prepared for the case must not weigh on the next one. */
  drop(): Promise<void>
  count(question: Omit<Question & { do: "count" }, "do">): Promise<CountedAnswer>
  /** Lets it end; nothing of it is left. */
  end(): Promise<void>
}

/** Starts a contender on a runtime; `module` is the path of its file, `folder` is for its files. */
export async function startPeer(runtime: Runtime, module: string, folder: string): Promise<Peer> {
  const command = commandOf(runtime)
  if (!command) throw new Error(`Cannot start ${runtime}: it is not installed`)
  const [path, ...args] = command
  const child = spawn(path, [...args, CHILD, module, folder], { stdio: ["pipe", "pipe", "pipe"] })
  const ended = end(child)
  const forget = killedWithThis(child)
  void ended.then(forget)
  let complaint = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-4000)
  })
  // A child that is gone has said why on stderr, not here.
  child.stdin.on("error", () => undefined)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()

  const answer = async <Answer>(): Promise<Answer> => {
    const { done, value } = await lines.next()
    if (done) throw new Error(`${join(module)} on ${runtime} ended: ${await ended}${complaint}`)
    const said = JSON.parse(value) as { answer?: Answer; error?: string }
    if (said.error !== undefined) throw new Error(`${module} on ${runtime}: ${said.error}`)
    return said.answer as Answer
  }
  const ask = async <Answer>(question: Question): Promise<Answer> => {
    child.stdin.write(`${JSON.stringify(question)}\n`)
    return await answer()
  }

  await answer()
  let alive = true
  void ended.then(() => {
    alive = false
  })
  return {
    get alive() {
      return alive
    },
    prepare: (question) => ask({ do: "prepare", ...question }),
    run: (times) => ask({ do: "run", times }),
    drop: () => ask({ do: "drop" }),
    count: (question) => ask({ do: "count", ...question }),
    end: async () => {
      child.stdin.end()
      await ended
    },
  }
}

function end(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(`${error.message}\n`))
    child.once("close", (code, signal) => resolve(`exit ${code ?? signal}\n`))
  })
}

/** It does not outlive this process, and ends before its files are taken away. */
function killedWithThis(child: ChildProcess): () => void {
  const kill = (): void => void child.kill("SIGKILL")
  process.prependOnceListener("exit", kill)
  return () => void process.off("exit", kill)
}
