import assert from "node:assert/strict"
import { globSync, readdirSync, readFileSync } from "node:fs"
import { basename, dirname, join, relative, resolve, sep } from "node:path"
import { describe, it } from "node:test"

const root = resolve(import.meta.dirname, "..")
const read = (path: string): string => readFileSync(join(root, path), "utf8")
const files = (pattern: string): string[] =>
  globSync(pattern, { cwd: root, exclude: (path) => basename(String(path)) === "node_modules" })
    .map((path) => path.split(sep).join("/"))
    .sort()
const sources = [
  ...files("mod.ts"),
  ...files("testing.ts"),
  ...files("{core,providers,cli}/**/*.ts"),
  ...files("test/{kit,suites}/**/*.ts"),
]

interface Import {
  readonly specifier: string
  readonly dynamic: boolean
  readonly typeOnly: boolean
}

function withoutComments(path: string): string {
  return read(path).replace(/^\s*(\*|\/\/|\/\*).*$/gm, "")
}

function imports(path: string): Import[] {
  const code = withoutComments(path)
  const fixed = [...code.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^"'`;]*?\sfrom\s+)?"([^"]+)"/gm)]
  const lazy = [...code.matchAll(/\bimport\(\s*"([^"]+)"\s*\)/g)]
  return [
    ...fixed.map(([, type, specifier]) => ({
      specifier: specifier ?? "",
      dynamic: false,
      typeOnly: type !== undefined,
    })),
    ...lazy.map(([, specifier]) => ({ specifier: specifier ?? "", dynamic: true, typeOnly: false })),
  ]
}

const target = (from: string, specifier: string): string =>
  specifier.startsWith(".")
    ? relative(root, resolve(root, dirname(from), specifier))
        .split(sep)
        .join("/")
    : specifier

/** Where the imports of a folder may lead; a provider's passphrase and the registry's loader are the two that need a reason. */
const ARROWS: readonly (readonly [string, RegExp])[] = [
  ["core/bytes.ts", /^(node:|core\/errors\.ts$)/],
  ["core/errors.ts", /^$/],
  ["core/cipher/", /^(node:crypto$|core\/(bytes|errors|runtime)\.ts$|core\/cipher\/)/],
  // Argon2id turns a passphrase into the key of a local file.
  ["providers/_key-file-format.ts", /^(node:|core\/(bytes|errors)\.ts$|core\/(cipher|hash)\/|providers\/)/],
  ["providers/registry.ts", /^(core\/(contracts|errors|uri)\.ts$|providers\/)/],
  ["providers/_aws-uri.ts", /^(core\/(errors|uri)\.ts$|providers\/)/],
  ["providers/_vault-uri.ts", /^(core\/(errors|uri)\.ts$|providers\/)/],
  [
    "providers/_aws.ts",
    /^(node:process$|core\/(contracts|errors|resilience)\.ts$|providers\/|@smithy\/node-http-handler$)/,
  ],
  ["providers/aws-kms.ts", /^(core\/(bytes|contracts|errors)\.ts$|providers\/_|@aws-sdk\/client-kms$)/],
  [
    "providers/aws-secrets-manager.ts",
    /^(node:crypto$|core\/(bytes|contracts|errors)\.ts$|providers\/_|@aws-sdk\/client-secrets-manager$)/,
  ],
  // What a program gives as its database is said where its options are.
  ["providers/sql.ts", /^(node:|core\/(bytes|contracts|errors|options|resilience)\.ts$|providers\/_sql|kysely$)/],
  ["providers/_sql", /^(node:|core\/(contracts|errors|options)\.ts$|providers\/_s|(kysely|mysql2|pg)$)/],
  // It tells what failed by the code that every hook tells it by.
  ["providers/opentelemetry.ts", /^(core\/(contracts|errors|observe\/hooks)\.ts$|@opentelemetry\/api$)/],
  ["providers/", /^(node:|core\/(bytes|contracts|errors|resilience)\.ts$|core\/cipher\/|providers\/)/],
  // The Go library's rows are records of another layout: they have the shapes of records, and records know nothing of them.
  ["core/records/", /^core\/((bytes|contracts|errors)\.ts$|(cipher|hash|keys|records)\/)/],
  [
    "core/go-encx/",
    /^(node:crypto$|core\/((bytes|contracts|errors)\.ts$|(cipher|go-encx)\/|keys\/dek\.ts$|hash\/phc\.ts$|records\/(field|row|types)\.ts$))/,
  ],
  ["core/resilience.ts", /^(node:timers\/promises$|core\/(bytes|contracts|errors)\.ts$|cockatiel$|p-retry$)/],
  ["core/", /^(node:|core\/|@node-rs\/argon2$|hash-wasm$)/],
  ["mod.ts", /^core\//],
  ["testing.ts", /^test\/(kit|suites)\//],
  // What is shipped for tests: the kit has its services from memory, the suites have theirs from whoever declares them.
  ["test/kit/", /^(node:|core\/|providers\/memory\.ts$|test\/kit\/)/],
  ["test/suites/", /^(node:|core\/|test\/suites\/)/],
  // What the command writes itself appears under its name as what the library writes, and what the system refuses is said in its words.
  // Each runtime waits for a pipe in its own way.
  [
    "cli/",
    /^(node:|core\/(runtime|files\/(replace|source|system-errors))\.ts$|mod\.ts$|providers\/|cli\/|package\.json$|commander$|cli-progress$|cli-table3$|csv-parse|kysely$)/,
  ],
]

describe("the house", () => {
  it("points its arrows one way", () => {
    for (const path of sources) {
      const [, allowed] = ARROWS.find(([prefix]) => path.startsWith(prefix)) ?? [path, /^$/]
      for (const { specifier, dynamic } of imports(path)) {
        const to = target(path, specifier)
        if (path.startsWith("core/") && dynamic && /^providers\/(registry|sql)\.ts$/.test(to)) continue
        assert.match(to, allowed, `${path} imports ${specifier}`)
      }
    }
  })

  it("reaches no package and no driver from mod.ts before it is used", () => {
    const seen = new Set<string>()
    const visit = (path: string): void => {
      if (seen.has(path)) return
      seen.add(path)
      for (const { specifier, dynamic, typeOnly } of imports(path)) {
        if (dynamic || typeOnly) continue
        const to = target(path, specifier)
        if (specifier.startsWith(".")) visit(to)
        else assert.match(specifier, /^node:(buffer|crypto)$/, `${path} imports ${specifier}`)
      }
    }
    visit("mod.ts")
    assert.ok(seen.size > 20)
    assert.ok(![...seen].some((path) => path.startsWith("providers/")))
  })

  it("has the same version and the same exports on npm and on JSR, and each exists", () => {
    const npm = JSON.parse(read("package.json"))
    const jsr = JSON.parse(read("deno.json"))
    assert.equal(npm.version, jsr.version)
    const { "./package.json": _, ...npmExports } = npm.exports
    assert.deepEqual(Object.keys(npmExports).sort(), Object.keys(jsr.exports).sort())
    for (const [name, source] of Object.entries(jsr.exports as Record<string, string>)) {
      read(source)
      const built = source.replace(/^\.\//, "./dist/").replace(/\.ts$/, "")
      assert.deepEqual(npmExports[name], { types: `${built}.d.ts`, default: `${built}.js` })
    }
  })

  it("imports a package with the first use of what needs it", () => {
    // A worker is loaded with its first use itself.
    for (const path of sources.filter((each) => !/^cli\/|-worker\.ts$/.test(each))) {
      for (const { specifier, dynamic, typeOnly } of imports(path)) {
        if (!/^(node:|\.)/.test(specifier)) assert.ok(dynamic || typeOnly, `${path} imports ${specifier} at once`)
      }
    }
  })

  it("brings three small packages and nothing else to those who install it", () => {
    const { dependencies, peerDependencies, peerDependenciesMeta, scripts } = JSON.parse(read("package.json"))
    assert.deepEqual(Object.keys(dependencies), ["cockatiel", "hash-wasm", "p-retry"])
    for (const name of Object.keys(peerDependencies)) assert.deepEqual(peerDependenciesMeta[name], { optional: true })
    for (const name of ["preinstall", "install", "postinstall", "prepare"]) assert.ok(!(name in scripts), name)
  })

  it("exports by name in mod.ts and holds no logic there", () => {
    const code = read("mod.ts").replace(/\/\*[\s\S]*?\*\//g, "")
    assert.equal(code.replace(/export (type )?\{[^}]*\} from "[^"]+"/g, "").trim(), "")
  })

  it("documents every error code", () => {
    const codes = [...read("core/errors.ts").matchAll(/code = "([A-Z_]+)"/g)].map(([, code]) => code)
    assert.ok(codes.length >= 20)
    const documented = [...read("docs/errors.md").matchAll(/^\| `([A-Z_]+)` \| `(\w+)`/gm)].map(([, code]) => code)
    assert.deepEqual([...documented].sort(), [...codes].sort())
  })

  it("gives every cipher a tag of 16 bytes", () => {
    for (const path of sources) {
      for (const [call] of read(path).matchAll(/createC?(?:De)?[cC]ipheriv\(([^)]*)\)/g)) {
        assert.match(call, /OPTIONS|authTagLength: 16/, `${path}: ${call}`)
      }
    }
    assert.match(read("core/cipher/aes-gcm.ts"), /export const TAG = 16\n[\s\S]*OPTIONS = \{ authTagLength: TAG \}/)
  })

  it("keeps files short and free of what hides faults", () => {
    for (const path of sources) {
      const code = withoutComments(path)
      assert.ok(read(path).split("\n").length <= 500, `${path} is longer than 500 lines`)
      const hidden = /\bas any\b|: any\b|<any>|@ts-ignore|@ts-expect-error|TODO|FIXME|Math\.random/.exec(code)
      assert.equal(hidden, null, path)
      assert.ok(!/catch \{\s*\}/.test(read(path)), `${path} swallows an error without a word`)
      assert.ok(!/export [^\n]*\bBuffer\b/.test(code), `${path} shows Buffer in a signature`)
    }
  })

  it("runs every test, or says why not", () => {
    const mark = /\b(?:it|test|describe)\.(?:only|todo)\b|\bonly: true|\bskip: true/
    for (const path of files("test/**/*.test.ts").filter((each) => each !== "test/repo.test.ts")) {
      assert.ok(!mark.test(read(path)), path)
    }
  })

  it("says beside its vectors how to read them", () => {
    const text = read("test/vectors/README.md")
    for (const path of files("test/vectors/*.json")) assert.ok(text.includes(`\`${basename(path)}\``), path)
  })

  it("keeps its root clean", () => {
    const known =
      /^(\.ci|\.git|\.gitattributes|\.github|\.gitignore|\.npmrc|bench|biome\.json|CHANGELOG\.md|cli|core|deno\.json|dist|docs|examples|LICENSE|mod\.ts|node_modules|package(-lock)?\.json|providers|README\.md|test|testing\.ts|tools|tsconfig(\.\w+)?\.json)$/
    for (const entry of readdirSync(root)) assert.match(entry, known)
  })
})
