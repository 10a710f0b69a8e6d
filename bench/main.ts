/** What is measured, by name: `npm run bench -- kms-calls [--records 20000] [--max-messages 1000] [--json]`, `… go-encx [--records 500] [--rounds 15] [--json]`. */
import process from "node:process"
import { parseArgs } from "node:util"
import { progress } from "../cli/_progress.ts"
import { describeGoEncx, goEncx } from "./go-encx.ts"
import { describeKMSCalls, kmsCalls } from "./kms-calls.ts"

const OPTIONS = {
  records: { type: "string" },
  rounds: { type: "string", default: "15" },
  "max-messages": { type: "string", default: "1000" },
  json: { type: "boolean", default: false },
} as const

const BENCHES: Readonly<Record<string, (values: Values) => Promise<boolean>>> = Object.assign(Object.create(null), {
  "kms-calls": benchKMSCalls,
  "go-encx": benchGoEncx,
})

interface Values {
  readonly records?: string
  readonly rounds: string
  readonly "max-messages": string
  readonly json: boolean
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

function wholeNumber(option: string, text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 1) return value
  return refuse(`Cannot use ${option} "${text}": it is not a whole number from 1`)
}

function refuse(message: string): never {
  console.error(message)
  process.exit(2)
}

function parse(): { values: Values; names: string[] } {
  try {
    const { values, positionals } = parseArgs({ allowPositionals: true, options: OPTIONS })
    return { values, names: positionals }
  } catch (error) {
    return refuse(`Cannot run the benchmark: ${(error as Error).message}`)
  }
}

const { values, names } = parse()
const unknown = names.filter((name) => !(name in BENCHES))
if (unknown.length > 0)
  refuse(`Cannot run "${unknown.join('", "')}": expected one of ${Object.keys(BENCHES).join(", ")}`)
let passed = true
for (const name of names.length > 0 ? names : Object.keys(BENCHES)) {
  if (!values.json) console.log(`--- ${name} ---`)
  passed = (await BENCHES[name]?.(values)) !== false && passed
}
process.exitCode = passed ? 0 : 1
