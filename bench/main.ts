/** What is measured: `npm run bench -- --help`. */
import { join } from "node:path"
import process from "node:process"
import { parseArgs } from "node:util"
import { progress } from "../cli/_progress.ts"
import { installRuntimes } from "../test/runtimes/install.ts"
import { RUNTIMES } from "./_peer.ts"
import { GROUPS } from "./cases.ts"
import { installContenders, NAMES } from "./contenders.ts"
import { everything } from "./everything.ts"
import { describeGoEncx, goEncx } from "./go-encx.ts"
import { describeKMSCalls, kmsCalls } from "./kms-calls.ts"
import { KEPT, keep } from "./page.ts"
import { tables, toText } from "./tables.ts"

const HELP = `npm run bench -- [what] [options]

Without a name, encx is measured against others, side by side; about half an hour, on a machine that does nothing else.
It writes ${Object.values(KEPT).join(", ")}.

  --quick            less of everything, in under two minutes; prints, and writes nothing
  --only NAMES       of ${GROUPS.join(", ")}; prints, and writes nothing
  --on NAMES         of ${RUNTIMES.join(", ")}; prints, and writes nothing
  --against NAMES    of ${NAMES.slice(2).join(", ")}; prints, and writes nothing
  --write            write all the same
  --folder PATH      where files are made for a while, up to 16 GiB of them (the system's folder for such); in memory, fsync is free
  --json             the results as JSON, instead of tables

By name:
  kms-calls [--records 1000000] [--max-messages 1000] [--json]    how many KMS calls it takes to seal many records
  go-encx [--records 500] [--rounds 15] [--json]                  a row of the Go library's, here and in its Go peer, which needs Go
`

const OPTIONS = {
  quick: { type: "boolean", default: false },
  only: { type: "string", multiple: true, default: [] as string[] },
  on: { type: "string", multiple: true, default: [] as string[] },
  against: { type: "string", multiple: true, default: [] as string[] },
  write: { type: "boolean", default: false },
  folder: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
  records: { type: "string" },
  rounds: { type: "string", default: "15" },
  "max-messages": { type: "string", default: "1000" },
} as const

const BENCHES: Readonly<Record<string, (values: Values) => Promise<boolean>>> = Object.assign(Object.create(null), {
  "kms-calls": benchKMSCalls,
  "go-encx": benchGoEncx,
})

interface Values {
  readonly quick: boolean
  readonly only: readonly string[]
  readonly on: readonly string[]
  readonly against: readonly string[]
  readonly write: boolean
  readonly folder?: string
  readonly json: boolean
  readonly help: boolean
  readonly records?: string
  readonly rounds: string
  readonly "max-messages": string
}

async function benchEverything(values: Values): Promise<boolean> {
  const chosen = [values.only, values.on, values.against].flat()
  const groups = choose("--only", values.only, GROUPS)
  const runtimes = choose("--on", values.on, RUNTIMES)
  const against = choose("--against", values.against, NAMES.slice(2))
  installRuntimes()
  installContenders()
  const start = performance.now()
  const seconds = (): string => ((performance.now() - start) / 1000).toFixed(0)
  const results = await everything({
    groups,
    runtimes,
    contenders: NAMES.filter((name) => name === "raw" || name === "encx" || against.includes(name)),
    quick: values.quick,
    ...(values.folder === undefined ? {} : { folder: values.folder }),
    onStep: (step) => void process.stderr.write(`${seconds().padStart(5)} s  ${step}\n`),
  })
  console.log(values.json ? JSON.stringify(results, null, 2) : tables(results).map(toText).join("\n\n"))
  if (values.write || (chosen.length === 0 && !values.quick)) {
    keep(join(import.meta.dirname, ".."), results)
    process.stderr.write(`Written: ${Object.values(KEPT).join(", ")}\n`)
  }
  for (const { runtime, contender, what, message } of results.failures)
    console.error(`Cannot measure ${contender} on ${runtime}, ${what}: ${message}`)
  if (!values.json) console.log(`\n${summary(results.machine.load, values.quick)} ${seconds()} s.`)
  return results.failures.length === 0
}

function summary([before, after]: readonly [number, number], quick: boolean): string {
  const said = quick
    ? "A quick run: shorter streams, fewer rounds, larger errors."
    : "Medians of rounds in which all take turns."
  return `${said} The machine's load was ${before.toFixed(1)} before and ${after.toFixed(1)} after.`
}

async function benchKMSCalls(values: Values): Promise<boolean> {
  const records = wholeNumber("--records", values.records ?? "1000000")
  const maxMessages = wholeNumber("--max-messages", values["max-messages"])
  const bar = progress({ isTTY: process.stderr.isTTY ?? false, stderr: process.stderr }, "seal", records)
  const result = await kmsCalls({ records, maxMessages, onProgress: (sealed) => bar.update(sealed, sealed) })
  bar.stop()
  const limit = Math.ceil(records / maxMessages)
  console.log(values.json ? JSON.stringify({ ...result, limit }) : describeKMSCalls(result).join("\n"))
  if (result.whileSealing <= limit) return true
  console.error(`Cannot accept the result: ${result.whileSealing} KMS calls are more than ${limit}`)
  return false
}

async function benchGoEncx(values: Values): Promise<boolean> {
  const records = wholeNumber("--records", values.records ?? "500")
  const result = await goEncx({ records, rounds: wholeNumber("--rounds", values.rounds) })
  console.log(values.json ? JSON.stringify(result) : describeGoEncx(result).join("\n"))
  return true
}

// --- Arguments ---

function choose<Name extends string>(
  option: string,
  lists: readonly string[],
  names: readonly Name[],
): readonly Name[] {
  const named = lists.flatMap((each) => each.split(","))
  const unknown = named.filter((each) => !names.some((name) => name === each))
  if (unknown.length > 0) refuse(`Cannot use ${option} "${unknown.join('", "')}": expected some of ${names.join(", ")}`)
  return named.length > 0 ? names.filter((name) => named.includes(name)) : names
}

function wholeNumber(option: string, text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 1) return value
  return refuse(`Cannot use ${option} "${text}": it is not a whole number from 1`)
}

function refuse(message: string): never {
  console.error(message)
  process.exit(2)
}

function parse(): { values: Values; positionals: string[] } {
  try {
    return parseArgs({ allowPositionals: true, options: OPTIONS })
  } catch (error) {
    return refuse(`Cannot run the benchmark: ${(error as Error).message}`)
  }
}

// Whoever is interrupted ends what it started, and takes its files away: both when this process exits.
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)
  process.on(signal, () => process.exit(code))

const { values, positionals: names } = parse()
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}
const unknown = names.filter((name) => !(name in BENCHES))
if (unknown.length > 0)
  refuse(`Cannot run "${unknown.join('", "')}": expected one of ${Object.keys(BENCHES).join(", ")}, or no name`)
let passed = true
if (names.length === 0) passed = await benchEverything(values)
for (const name of names) {
  if (!values.json) console.log(`--- ${name} ---`)
  passed = (await BENCHES[name]?.(values)) !== false && passed
}
process.exitCode = passed ? 0 : 1
