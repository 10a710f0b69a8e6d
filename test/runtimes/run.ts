// Runs the tests on every runtime: npm run test:matrix [-- test/foo.test.ts …] [-- --only deno …] [-- --skip node24 …]
import { spawn, spawnSync } from "node:child_process"
import { closeSync, globSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join, resolve, sep } from "node:path"
import { parseArgs } from "node:util"
import { installRuntimes } from "./install.ts"
import { type Counts, countTests } from "./junit.ts"
import { type RuntimeName, runtimePath } from "./paths.ts"

type Row = Counts & { runtime: string; version: string; seconds: string; result: string }

const TIME_LIMIT_MS = 15 * 60_000
/** What looks at the project, not at a runtime: the house, the servers, what guides say. `npm test` runs it, and so does its name here. */
const ONCE = [
  "aws-docs",
  "aws-permissions",
  "bench/*",
  "bundle",
  "cli/kill",
  "cli/readme",
  "consumer",
  "key-versions-docs",
  "parity",
  "repo",
]
  .concat("docs", "servers", "servers-real", "types", "vault-docs")
  .map((name) => `test/${name}.test.ts`)
const root = resolve(import.meta.dirname, "../..")
const reports = mkdtempSync(join(tmpdir(), "encx-matrix-"))
const denoPreload = "./test/runtimes/deno-preload.ts"

const commands = {
  node22: nodeTest,
  node24: nodeTest,
  node26: nodeTest,
  deno: (report, files) => [
    ...["test", "--allow-all", "--no-check", "--no-lock", `--preload=${denoPreload}`, `--junit-path=${report}`],
    ...files,
  ],
  // Bun's own limit is 5 seconds a test, the other runtimes have none.
  bun: (report, files) => ["test", "--timeout=120000", "--reporter=junit", `--reporter-outfile=${report}`, ...files],
} satisfies Partial<Record<RuntimeName, (report: string, files: readonly string[]) => string[]>>

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string", multiple: true, default: [] },
    skip: { type: "string", multiple: true, default: [] },
  },
})
const names = Object.keys(commands) as (keyof typeof commands)[]
const chosen = choose(values.only).filter((name) => !(choose(values.skip, []) as string[]).includes(name))
const files = testFiles(
  positionals.length > 0 ? positionals : ["test/**/*.test.ts"],
  positionals.length > 0 ? [] : ONCE,
)

installRuntimes()
const rows: Row[] = []
// Node uses every core by itself; Deno and Bun use one each, and run side by side.
const alone = chosen.filter((name) => name.startsWith("node"))
const beside = chosen.filter((name) => !name.startsWith("node"))
for (const name of alone) rows.push(await run(name))
rows.push(...(await Promise.all(beside.map(run))))
rmSync(reports, { recursive: true, force: true })
summarize(rows)

function choose(lists: readonly string[], otherwise: typeof names = names): typeof names {
  const named = lists.flatMap((each) => each.split(","))
  const unknown = named.filter((each) => !names.some((name) => name === each))
  if (unknown.length > 0) refuse(`Cannot run on "${unknown.join('", "')}": expected one of ${names.join(", ")}`)
  return named.length > 0 ? names.filter((name) => named.includes(name)) : otherwise
}

/** Paths that start with a dot: Bun takes any other for a part of a name. */
function testFiles(patterns: readonly string[], without: readonly string[]): string[] {
  const matching = (each: readonly string[]): Set<string> =>
    new Set(
      each.flatMap((pattern) =>
        globSync(pattern.split(sep).join("/"), { cwd: root, exclude: (path) => basename(path) === "node_modules" }),
      ),
    )
  const excluded = matching(without)
  const found = [...matching(patterns)].filter((file) => !excluded.has(file))
  if (found.length === 0) refuse(`Cannot run tests: no file matches ${patterns.join(" ")}`)
  return found.sort().map((file) => `./${file.split(sep).join("/")}`)
}

function refuse(message: string): never {
  console.error(message)
  process.exit(2)
}

function nodeTest(report: string, files: readonly string[]): string[] {
  const reporters = ["spec", "stdout", "junit", report]
  return [
    ...["--disable-warning=ExperimentalWarning", "--test"],
    ...reporters.map((value, index) => `--test-reporter${index % 2 === 0 ? "" : "-destination"}=${value}`),
    ...files,
  ]
}

async function run(name: keyof typeof commands): Promise<Row> {
  const path = runtimePath(name)
  if (!path) return absent(name)
  const report = join(reports, `${name}.xml`)
  const log = join(reports, `${name}.log`)
  const start = performance.now()
  console.log(`${name} …`)
  const end = await finish(path, commands[name](report, files), log)
  console.log(`\n--- ${name} ---\n\n${readFileSync(log, "utf8")}`)
  const counts = countTests(report, files)
  // A crash, a leak and a file that does not load fail the run without a line in the report.
  if (end !== "ok" && counts.failed === 0) counts.failed = 1
  const ran = counts.passed + counts.failed > 0
  if (!ran) counts.failed = 1
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  return { runtime: name, version: version(path), ...counts, seconds, result: ran ? end : "no test ran" }
}

function absent(name: string): Row {
  const required = Boolean(process.env.CI || process.env.ENCX_REQUIRE_SERVERS || values.only.length > 0)
  const counts = { passed: 0, failed: required ? 1 : 0, skipped: 0 }
  return { runtime: name, version: "-", ...counts, seconds: "-", result: "not installed" }
}

function version(path: string): string {
  const { stdout } = spawnSync(path, ["--version"], { encoding: "utf8" })
  return /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? "?"
}

/** `ok`, or how else the process ended. */
function finish(path: string, args: readonly string[], log: string): Promise<string> {
  const env = { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" }
  const output = openSync(log, "w")
  // In a group of its own, so that the limit also ends what the tests have started.
  const child = spawn(path, args, {
    cwd: root,
    env,
    stdio: ["ignore", output, output],
    detached: process.platform !== "win32",
  })
  closeSync(output)
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let timedOut = false
  const end = (): void => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    if (process.platform === "win32") child.kill()
    else process.kill(-child.pid, "SIGKILL")
  }
  const interrupt = (signal: NodeJS.Signals): void => {
    end()
    process.removeListener(signal, interrupt)
    process.kill(process.pid, signal)
  }
  const timer = setTimeout(() => {
    timedOut = true
    end()
  }, TIME_LIMIT_MS)
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt)
  child.on("error", reject)
  child.on("exit", (code, signal) => {
    clearTimeout(timer)
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt)
    if (timedOut) resolve(`over ${TIME_LIMIT_MS / 60_000} minutes`)
    else resolve(code === 0 ? "ok" : `exit ${code ?? signal}`)
  })
  return promise
}

function summarize(rows: readonly Row[]): void {
  const columns = ["runtime", "version", "passed", "failed", "skipped", "seconds", "result"] as const
  const lines = [columns, ...rows.map((row) => columns.map((column) => String(row[column])))]
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index]?.length ?? 0)))
  const table = lines.map((line) =>
    line
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join("  ")
      .trimEnd(),
  )
  const total = (key: keyof Counts): number => rows.reduce((sum, row) => sum + row[key], 0)
  const skipped = total("skipped") > 0 ? `, ${total("skipped")} skipped` : ""
  console.log(`\n${table.join("\n")}\n\n${total("passed")} passed, ${total("failed")} failed${skipped}`)
  process.exitCode = total("failed") > 0 || total("passed") === 0 ? 1 : 0
}
