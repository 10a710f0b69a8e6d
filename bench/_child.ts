/**
 * One contender on one runtime, in a process of its own: it answers what it is asked, a line of JSON each, and ends with whoever asked.
 * Its arguments are the contender's module and a folder for its files.
 */
import process from "node:process"
import { createInterface } from "node:readline"
import { type Case, type Ready, ready } from "./cases.ts"
import type { Contender, Counted } from "./contender.ts"

/** What it can be asked. */
export type Question =
  | { readonly do: "prepare"; readonly case: Case; readonly warmUpMs?: number }
  | { readonly do: "run"; readonly times: number }
  | { readonly do: "drop" }
  | { readonly do: "count"; readonly what: "misses" | "openMisses" | "hits" | "imports"; readonly count: number }

/** What it says of a case that was prepared: what one time takes at best, when it was warmed up. `absent` when it does not do that. */
export type Prepared =
  | { readonly absent: true }
  | { readonly absent: false; readonly ns?: number; readonly bytes?: number }
/** What it says of a run: what one time took. */
export interface Ran {
  readonly ns: number
}
/** What it says of a count; `undefined` when it does not do that. */
export type CountedAnswer = Counted | undefined

const [, , module = "", folder = ""] = process.argv

async function timed({ once }: Ready, times: number): Promise<number> {
  const start = process.hrtime.bigint()
  for (let i = 0; i < times; i++) {
    const result = once(i)
    if (result instanceof Promise) await result
  }
  return Number(process.hrtime.bigint() - start) / times
}

/** Warms up for as long, and says what one time takes at best: what else the machine did must not make the turns short. */
async function warmUp(work: Ready, ms: number): Promise<number> {
  const start = performance.now()
  let best = Number.POSITIVE_INFINITY
  for (let times = 1; ; times *= 2) {
    best = Math.min(best, await timed(work, times))
    if (performance.now() - start >= ms) return best
  }
}

async function main(): Promise<void> {
  const contender = ((await import(module)) as { default: Contender }).default
  let work: Ready | undefined
  const answers: Readonly<Record<Question["do"], (question: never) => Promise<unknown>>> = {
    drop: async () => {
      work?.end?.()
      work = undefined
      return true
    },
    prepare: async (question: Question & { do: "prepare" }): Promise<Prepared> => {
      work = await ready(contender, question.case, folder)
      if (!work) return { absent: true }
      return {
        absent: false,
        ...(question.warmUpMs === undefined ? {} : { ns: await warmUp(work, question.warmUpMs) }),
        ...(work.bytes === undefined ? {} : { bytes: work.bytes }),
      }
    },
    run: async (question: Question & { do: "run" }): Promise<Ran> => {
      if (!work) throw new Error("Cannot run a case: none is prepared")
      return { ns: await timed(work, question.times) }
    },
    count: async (question: Question & { do: "count" }): Promise<CountedAnswer> =>
      await contender[question.what]?.(question.count),
  }
  const say = (answer: object): void => void process.stdout.write(`${JSON.stringify(answer)}\n`)
  say({ answer: "ready" })
  for await (const line of createInterface({ input: process.stdin })) {
    const question = JSON.parse(line) as Question
    try {
      say({ answer: await answers[question.do](question as never) })
    } catch (error) {
      say({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    }
  }
  work?.end?.()
  await contender.close?.()
}

await main()
// Timers of a library do not keep it.
process.exit()
