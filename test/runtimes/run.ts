// Runs the tests on every runtime: npm run test:matrix [-- test/foo.test.ts …] [-- --only deno …]
import { spawn, spawnSync } from "node:child_process"
import { globSync, mkdirSync, rmSync } from "node:fs"
import { basename, join, resolve, sep } from "node:path"
import { parseArgs } from "node:util"
import { installRuntimes } from "./install.ts"
import { type Counts, countTests } from "./junit.ts"
import { type RuntimeName, runtimePath } from "./paths.ts"

type Row = Counts & { runtime: string; version: string; seconds: string; result: string }

const TIME_LIMIT_MS = 10 * 60_000
const root = resolve(import.meta.dirname, "../..")
const reports = join(import.meta.dirname, "reports")
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
  options: { only: { type: "string", multiple: true, default: [] } },
})
const names = Object.keys(commands) as (keyof typeof commands)[]
const chosen = choose(values.only.flatMap((each) => each.split(",")))
const files = testFiles(positionals.length > 0 ? positionals : ["test/**/*.test.ts"])

installRuntimes()
rmSync(reports, { recursive: true, force: true })
mkdirSync(reports)
const rows: Row[] = []
for (const name of chosen) rows.push(await run(name))
summarize(rows)

function choose(only: readonly string[]): typeof names {
  const unknown = only.filter((each) => !names.some((name) => name === each))
  if (unknown.length > 0) refuse(`Cannot run on "${unknown.join('", "')}": expected one of ${names.join(", ")}`)
  return only.length > 0 ? names.filter((name) => only.includes(name)) : names
}

/** Paths that start with a dot: Bun takes any other for a part of a name. */
function testFiles(patterns: readonly string[]): string[] {
  const found = patterns.flatMap((pattern) =>
    globSync(pattern.split(sep).join("/"), { cwd: root, exclude: (path) => basename(path) === "node_modules" }),
  )
  if (found.length === 0) refuse(`Cannot run tests: no file matches ${patterns.join(" ")}`)
  return [...new Set(found)].sort().map((file) => `./${file.split(sep).join("/")}`)
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
  console.log(`\n--- ${name} ---\n`)
  const report = join(reports, `${name}.xml`)
  const start = performance.now()
  const end = await finish(path, commands[name](report, files))
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
function finish(path: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" }
  // In a group of its own, so that the limit also ends what the tests have started.
  const child = spawn(path, args, {
    cwd: root,
    env,
    stdio: ["ignore", "inherit", "inherit"],
    detached: process.platform !== "win32",
  })
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
