// The gate besides the tests: npm run check [-- step …]
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { installRuntimes } from "../test/runtimes/install.ts"
import { runtimePath } from "../test/runtimes/paths.ts"

const root = resolve(import.meta.dirname, "..")

const steps = {
  format: () => bin("@biomejs/biome", "biome", "check", "--linter-enabled=false", "--error-on-warnings"),
  lint: () => bin("@biomejs/biome", "biome", "lint", "--error-on-warnings", "--diagnostic-level=warn"),
  "lint-deno": () => deno("lint"),
  types: () => bin("typescript", "tsc", "-p", "tsconfig.json"),
  "types-bun": () => bin("typescript", "tsc", "-p", "tsconfig.bun.json"),
  docs,
  build: () => run("npm run build", [], { shell: true }),
  publint: () => bin("publint", "publint", "--strict"),
  attw: () => bin("@arethetypeswrong/cli", "attw", "--pack", ".", "--profile", "esm-only"),
  jsr: () => deno("publish", "--dry-run", "--allow-dirty"),
}

const chosen = process.argv.slice(2)
const unknown = chosen.filter((name) => !Object.hasOwn(steps, name))
if (unknown.length > 0) {
  console.error(`Cannot check "${unknown.join('", "')}": expected one of ${Object.keys(steps).join(", ")}`)
  process.exit(2)
}
installRuntimes()
const results = (chosen.length > 0 ? chosen : Object.keys(steps)).map(check)
const passed = results.filter(Boolean).length
console.log(`\n${passed} passed, ${results.length - passed} failed`)
process.exitCode = passed === results.length ? 0 : 1

function check(name) {
  const start = performance.now()
  const { status, signal, error, stdout, stderr } = steps[name]()
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  console.log(`${status === 0 ? "ok    " : "FAILED"}  ${name.padEnd(9)}  ${seconds} s`)
  if (status === 0) return true
  const output = [stdout, stderr, error?.message, signal].filter(Boolean).join("\n")
  console.log(`\n${output.trim().replace(/^/gm, "    ")}\n`)
  return false
}

/** Runs a command of an installed package; the files in .bin need a shell on Windows. */
function bin(name, command, ...args) {
  const path = join("node_modules", name)
  return run(process.execPath, [join(root, path, read(join(path, "package.json")).bin[command]), ...args])
}

function deno(...args) {
  const path = runtimePath("deno")
  return path ? run(path, args) : { status: 1, stderr: "Deno is not installed for this platform" }
}

/** Every entry point and every symbol it exports has a doc; `deno doc --lint` would also ask for one on each `code` of an error. */
function docs() {
  // Without --quiet, Deno lists every type of Node that it does not look for.
  const result = deno("doc", "--quiet", "--json", ...Object.values(read("deno.json").exports))
  if (result.status !== 0) return result
  const missing = Object.entries(JSON.parse(result.stdout).nodes).flatMap(([url, { module_doc, symbols }]) => {
    const bare = symbols.filter(({ declarations }) => !declarations.some(isDocumented))
    return [...(module_doc?.doc ? [] : [`${url}: no @module`]), ...bare.map(({ name }) => `${url}: no doc on ${name}`)]
  })
  return { status: missing.length > 0 ? 1 : 0, stdout: missing.join("\n") }
}

/** Overloads share a doc, and a re-export has that of what it names. */
function isDocumented({ kind, jsDoc }) {
  return kind === "reference" || Boolean(jsDoc?.doc)
}

function run(command, args, options) {
  const env = { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" }
  return spawnSync(command, args, { ...options, cwd: root, env, encoding: "utf8", maxBuffer: 2 ** 26 })
}

function read(path) {
  return JSON.parse(readFileSync(join(root, path), "utf8"))
}
