/** docs/from-go.md against the Go library's names, and against what is exported here. */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, relative, resolve, sep } from "node:path"
import process from "node:process"
import { describe, it } from "node:test"
import { pathToFileURL } from "node:url"
import { VARIABLES } from "../core/config.ts"
import { sectionOf, tableOf } from "./_markdown.ts"

const root = resolve(import.meta.dirname, "..")
const read = (path: string): string => readFileSync(join(root, path), "utf8")
const guide = read("docs/from-go.md")
const EXPORTS = JSON.parse(read("deno.json")).exports as Record<string, string>
// What a page says is the same on every runtime.
const elsewhere = process.versions["deno"] ?? process.versions["bun"]

/** The Go library's names, by package. */
function goNames(): Map<string, string[]> {
  const packages = new Map<string, string[]>()
  for (const section of read("test/data/encx-go-names.txt").split("\n## ").slice(1)) {
    const [path = "", ...names] = section.trim().split("\n")
    packages.set(path, names)
  }
  return packages
}

const coded = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name)

/** A name that the table says exists here, and where it is imported from. */
interface Here {
  readonly name: string
  readonly from: string
}

/** `a`, `b` of `encx/x`; `c` of `encx/y`: without «of», it is `encx`. */
function namesHere(cell: string): Here[] {
  return cell.split(";").flatMap((group) => {
    const [names = "", from = "`encx`"] = group.split(/ of (?=`)/)
    return coded(names).map((name) => ({ name, from: coded(from)[0] ?? "" }))
  })
}

const packages = goNames()
const tables = new Map([...packages.keys()].map((path) => [path, tableOf(sectionOf(guide, `\`${path}\``))] as const))
const rows = [...tables.values()].flat()
const here = rows.flatMap(([, cell = ""]) => namesHere(cell))

describe("docs/from-go.md: names", () => {
  it("are those of the Go library: each once, and no other", () => {
    assert.equal([...packages.values()].flat().length, 204)
    for (const [path, names] of packages) {
      const written = (tables.get(path) ?? []).flatMap(([name = ""]) => coded(name))
      assert.deepEqual(written.toSorted(), names.toSorted(), path)
    }
  })

  it("have each a name here, or the reason why there is none", () => {
    for (const [name = "", cell = "", why = ""] of rows) {
      assert.ok(namesHere(cell).length > 0 || (cell === "—" && why.length > 10), `${name} | ${cell} | ${why}`)
    }
    assert.ok(here.length > 100)
  })

  it("are exported here, with the members of classes", async () => {
    for (const { name, from } of here.filter((each) => !isVariable(each))) {
      const [owner = "", member] = name.split(".")
      const module: Readonly<Record<string, unknown>> = await import(source(from).href)
      const value = module[owner]
      // A function or a class; a type is for the compiler.
      if (/^[a-z]/.test(owner)) assert.ok(owner in module, `${from} exports ${owner}`)
      if (member && typeof value === "function")
        assert.ok(member in value.prototype, `${owner} of ${from} has ${member}`)
    }
  })

  it("of variables are in the table of the environment", () => {
    for (const { name } of here.filter(isVariable)) assert.ok(Object.hasOwn(VARIABLES, name), name)
  })

  it("are known to the compiler, with the members of interfaces", {
    skip: elsewhere === undefined ? false : "the compiler runs on Node",
  }, () => {
    const folder = mkdtempSync(join(root, "test", ".parity-"))
    try {
      writeFileSync(join(folder, "probe.ts"), probe(folder))
      const extending = { extends: "../../tsconfig.json", include: ["probe.ts"], exclude: [] }
      writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(extending))
      const tsc = join(root, "node_modules", "typescript", "bin", "tsc")
      const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8" })
      assert.equal(status, 0, stdout)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

const isVariable = ({ name }: Here): boolean => /^[A-Z]+(_[A-Z]+)+$/.test(name)

function source(from: string): URL {
  const path = EXPORTS[from.replace(/^encx/, ".")]
  assert.ok(path, `${from} is exported`)
  return pathToFileURL(join(root, path))
}

/** A module that does not compile when a name or a member of an interface does not exist. */
function probe(folder: string): string {
  const specifier = ({ from }: Here): string =>
    `./${relative(folder, resolve(root, EXPORTS[from.replace(/^encx/, ".")] ?? ""))
      .split(sep)
      .join("/")}`
  return here
    .filter((each) => !isVariable(each) && !GENERIC.test(each.name))
    .map((each, i) => {
      const [owner, member] = each.name.split(".")
      return member === undefined
        ? `export type { ${owner} as Name${i} } from "${specifier(each)}"`
        : `export type Member${i} = import("${specifier(each)}").${owner}["${member}"]`
    })
    .join("\n")
}
/** Classes that are of no use without their parameters: their members are looked for where they run. */
const GENERIC = /^(Go)?Field\./

// --- Defects ---

describe("docs/from-go.md: defects", () => {
  const defects = tableOf(sectionOf(guide, "Defects that end here"))
  const tests = globSync("test/**/*.test.ts", { cwd: root, exclude: (path) => String(path).includes("node_modules") })

  it("are 1 to 32, each with what it was, what is so now and what that changes", () => {
    assert.deepEqual(
      defects.map(([number]) => number),
      Array.from({ length: 32 }, (_, i) => String(i + 1)),
    )
    for (const [number, was = "", is = "", changes = ""] of defects) {
      for (const cell of [was, is, changes]) assert.match(cell, /\.$/, `defect ${number}`)
    }
  })

  it("name each a test that is there, with their number in its title, or why there is none", () => {
    for (const [number, , , , cell = ""] of defects) {
      // A cell of names alone is of tests; a sentence is the reason why there is none.
      if (/[a-z]{3}.*\.$/.test(cell.replace(/`[^`]*`/g, ""))) continue
      const named = coded(cell)
      assert.ok(named.length > 0, `defect ${number} names no test`)
      for (const path of named) {
        assert.ok(existsSync(join(root, path)), `${path} of defect ${number}`)
        assert.match(read(path), new RegExp(`\\bdefect ${number}: `), `${path} shows defect ${number}`)
      }
    }
  })

  it("are all that tests show", () => {
    const shown = tests.flatMap((path) => [...read(path).matchAll(/\bdefect (\d+): /g)].map(([, number]) => number))
    for (const number of shown)
      assert.ok(
        defects.some(([each]) => each === number),
        `defect ${number}`,
      )
  })
})
