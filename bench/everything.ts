/** All that is measured, in one run: contenders against each other, programs that are started anew, sizes, targets. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { commandOf, RUNTIMES, type Runtime } from "./_peer.ts"
import type { Group } from "./cases.ts"
import { compare, type Effort, FULL, QUICK } from "./compare.ts"
import { CONTENDERS, type ContenderName, NAMES, versionOf } from "./contenders.ts"
import { load, machine, versionsOf } from "./machine.ts"
import type { Failure, Peak, Results, Started } from "./results.ts"
import { sizes } from "./sizes.ts"
import { buildPrograms, peakMemory, startup } from "./startup.ts"
import { type Measured, targets } from "./targets.ts"

/** What is measured, and how thoroughly. */
export interface Options {
  readonly groups: readonly Group[]
  /** @default {Node, Deno and Bun, as far as they are installed} */
  readonly runtimes?: readonly Runtime[]
  /** @default {all that are installed} */
  readonly contenders?: readonly ContenderName[]
  /** @default {false} */
  readonly quick?: boolean
  /** Instead of what `quick` says. */
  readonly effort?: Effort
  /** Where files are written: a folder of its own is made in it. @default {the system's folder for such} */
  readonly folder?: string
  /** Told what comes next. */
  readonly onStep?: (step: string) => void
}

/** Runs it. Whatever it started has ended, and whatever it wrote is gone, when it returns. */
export async function everything({
  groups,
  runtimes = RUNTIMES,
  contenders = NAMES,
  quick = false,
  effort = quick ? QUICK : FULL,
  onStep = () => undefined,
  ...options
}: Options): Promise<Results> {
  const before = load()
  const there = runtimes.filter((runtime) => commandOf(runtime))
  const folder = mkdtempSync(join(options.folder ?? tmpdir(), "encx-bench-"))
  const clean = (): void => rmSync(folder, { recursive: true, force: true })
  process.once("exit", clean)
  try {
    const compared = await compare({ groups, runtimes: there, contenders, effort, folder, onStep })
    const started: Started[] = []
    const memory: Peak[] = []
    const failures: Failure[] = [...compared.failures]
    if (groups.includes("startup") || groups.includes("files")) {
      onStep("building the programs")
      const programs = join(folder, "programs")
      buildPrograms(programs)
      for (const runtime of there) {
        onStep(`${runtime}: programs started anew`)
        try {
          if (groups.includes("startup"))
            started.push(...(await startup(runtime, programs, contenders, effort.startups)))
          if (groups.includes("files")) memory.push(...(await peakMemory(runtime, programs, effort.streamBytes)))
        } catch (error) {
          // What took half an hour until here is not lost.
          failures.push({ what: "programs", runtime, contender: "encx", message: (error as Error).message })
        }
      }
    }
    const measured: Measured = {
      date: new Date().toISOString(),
      quick,
      machine: machine(folder, before),
      runtimes: versionsOf(there),
      contenders: Object.fromEntries(contenders.map((name) => [name, describe(name)])),
      ...compared,
      failures,
      startup: started,
      memory,
      sizes: groups.includes("size") ? await sizes(contenders) : [],
    }
    return { ...measured, targets: targets(measured) }
  } finally {
    process.off("exit", clean)
    clean()
  }
}

function describe(name: ContenderName): Results["contenders"][string] {
  const { title, setup } = CONTENDERS[name]
  const version = versionOf(CONTENDERS[name])
  return { title, setup, ...(version === undefined ? {} : { version }) }
}
