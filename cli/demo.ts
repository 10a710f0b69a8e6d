/** `encx demo`: everything once, in front of your eyes. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { basename, extname, join, resolve } from "node:path"
import type { Command } from "commander"
import { newCrypto, withBootstrap, withKEKAlias, withKMSService, withPepper } from "../mod.ts"
import { local } from "../providers/local.ts"
import { names, verb } from "./_command.ts"
import { readCSV } from "./_csv.ts"
import { Demo, type DemoFiles, type Step } from "./_demo.ts"
import { CommandError, usage, withFile } from "./_errors.ts"
import { exists } from "./_files.ts"
import { type IO, write } from "./_io.ts"
import { count, type OutputOptions, printResult, table } from "./_output.ts"
import { PEOPLE_PLAN, peopleCSV } from "./_people.ts"
import { checkPlan, type Plan } from "./_plan.ts"
import { localURI } from "./_services.ts"

type Flags = Partial<Omit<Plan, "table" | "tenant">>
type DemoOptions = OutputOptions & Flags & { readonly out?: string }

/** The verb. */
export function demoVerb(io: IO): Command {
  return verb(
    "demo",
    "Show it all with 1,000 people who do not exist, or with a CSV file of yours. It needs nothing and leaves nothing.",
    [
      "encx demo",
      "encx demo --out ./demo",
      "encx demo customers.csv --row id --encrypt name --index email --plain country",
    ],
  )
    .argument(
      "[FILE.csv]",
      "a file of yours; with no options its first column is the row, the second is indexed, and all are encrypted",
    )
    .option("--row <column>", "as for encx import; and so the others", undefined)
    .option("--encrypt <columns>", "columns to encrypt", names)
    .option("--index <columns>", "columns to encrypt and find by value", names)
    .option("--hash <columns>", "columns of passwords", names)
    .option("--plain <columns>", "columns to store as they are", names)
    .option("--normalize <steps>", "what makes two spellings one for --index", names)
    .option("--out <DIR>", "a new folder that is kept: key file, database and CSV")
    .action((file: string | undefined, options: DemoOptions) => demo(io, file, options))
}

async function demo(io: IO, file: string | undefined, options: DemoOptions): Promise<void> {
  const folder = await makeFolder(io, options.out)
  let finished = false
  try {
    const csv = file ?? join(folder, "people.csv")
    if (file === undefined) await writeFile(csv, peopleCSV(), { mode: 0o600 })
    const plan = await planOf(io, csv, file === undefined, options)
    await play(io, { csv, database: join(folder, "demo.sqlite"), keys: join(folder, "keys.json") }, plan, options)
    finished = true
  } finally {
    if (options.out === undefined || !finished) await rm(folder, { recursive: true, force: true })
  }
}

async function makeFolder(io: IO, out: string | undefined): Promise<string> {
  if (out === undefined) return await mkdtemp(join(io.env.TMPDIR || tmpdir(), "encx-demo-"))
  if (await exists(out))
    throw new CommandError("FILE_EXISTS", `Cannot use "${out}" for the demo: it exists already`, {
      hint: "name a new folder: --out DIR",
    })
  await withFile("make", out, () => mkdir(out, { mode: 0o700 }))
  return out
}

async function play(io: IO, files: DemoFiles, plan: Plan, options: DemoOptions): Promise<void> {
  const say = async (text: string): Promise<void> => {
    if (!options.json) await write(io.stdout, `${text}\n`)
  }
  const started = performance.now()
  // A key file that was made a moment ago, for this run: it may be in production, too.
  const keys = local({ path: resolve(files.keys), allowInProduction: true })
  const bootstrap = withBootstrap({ createKEK: true, createPepper: true })
  const crypto = await newCrypto(withKMSService(keys), withKEKAlias("default"), withPepper(keys, "default"), bootstrap)
  try {
    const demo = new Demo(io, crypto, files, plan, say)
    demo.record("make key, pepper and index root", 0, performance.now() - started, 0)
    const steps = await demo.run()
    const result = { steps, ...(options.out === undefined ? {} : { folder: options.out }) }
    await printResult(io, options, result, () => summary(steps, files, plan, options.out))
  } finally {
    await crypto.close()
    await keys.close()
  }
}

function summary(
  steps: readonly Step[],
  { keys, database }: DemoFiles,
  { table: name, index }: Plan,
  out: string | undefined,
): string {
  const rows = steps.map(({ step, rows, kmsCalls, ms }) => [
    step,
    rows === 0 ? "" : String(rows),
    String(kmsCalls),
    `${ms} ms`,
  ])
  const kept = `Kept in ${out}. Go on:\n  encx find ${database} --table ${name} --kms ${localURI(resolve(keys))} ${index?.[0] ?? "COLUMN"}=…`
  return `\n${table(["step", "rows", "KMS calls", "time"], rows)}\n\n${out === undefined ? "Nothing was kept; --out DIR keeps it." : kept}`
}

// --- Plan ---

async function planOf(io: IO, csv: string, bundled: boolean, options: DemoOptions): Promise<Plan> {
  const { row, encrypt, index, hash, plain, normalize } = options
  const flags = { row, encrypt, index, hash, plain, normalize }
  const told = Object.values(flags).some((flag) => flag !== undefined)
  const base = bundled ? PEOPLE_PLAN : told ? {} : await guess(io, csv)
  const given = Object.fromEntries(Object.entries(flags).filter(([, flag]) => flag !== undefined)) as Flags
  const plan = { table: tableName(csv), ...(bundled && told ? { row: PEOPLE_PLAN.row } : base), ...given }
  if (plan.row === undefined) throw usage("Cannot tell rows apart: no column was named for it", "--row id")
  checkPlan(plan as Plan)
  return plan as Plan
}

/** For a file that nothing was said of: the first column is the row, the second is indexed, the others are encrypted. */
async function guess(io: IO, csv: string): Promise<Flags> {
  const header: string[] = []
  const options = {
    signal: io.signal,
    batch: () => 500,
    header: (columns: readonly string[]) => void header.push(...columns),
  }
  await readCSV(csv, options, async () => undefined)
  const [row, index, ...encrypt] = header
  if (row === undefined || index === undefined) {
    throw new CommandError(
      "INVALID_CSV",
      `Cannot show anything with "${csv}": it has ${count(header.length, "column")}`,
      { hint: "cells have a comma between them" },
    )
  }
  return { row, encrypt, index: [index] }
}

function tableName(csv: string): string {
  const name = basename(csv, extname(csv))
    .replace(/[^A-Za-z0-9_]/g, "_")
    .slice(0, 40)
  return /^[A-Za-z]/.test(name) && !/^(sqlite|encx)_/i.test(name) ? name : `t_${name}`
}
