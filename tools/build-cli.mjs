// Bundles the command: its libraries go in, so that nobody who installs encx installs them; encx itself stays outside, so that there is one copy of it.
import { chmod, readdir, readFile, writeFile } from "node:fs/promises"
import { isBuiltin } from "node:module"
import { join, relative, resolve, sep } from "node:path"
import { build } from "esbuild"

const BUNDLED = ["cli-progress", "cli-table3", "commander", "csv-parse", "kysely"]
const LIBRARY = /^(?:mod|testing|(?:core|providers)\/.+)\.ts$/
const PACKAGE = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/

const root = resolve(import.meta.dirname, "..")
const outdir = join(root, "dist/cli")
const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8"))
const installed = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ["cli/main.ts"],
  outdir,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node22.13",
  metafile: true,
  legalComments: "none",
  // CommonJS packages in the bundle call require(), which no ES module has.
  banner: {
    js: 'import { createRequire as encxRequire } from "node:module"\nconst require = encxRequire(import.meta.url)',
  },
  plugins: [{ name: "borders", setup: borders }],
})

const main = join(outdir, "main.js")
const code = await readFile(main, "utf8")
await writeFile(main, `#!/usr/bin/env node\n${code.replace(/^#!.*\n/, "")}`)
await chmod(main, 0o755)
await writeFile(join(outdir, "THIRD-PARTY-NOTICES"), await notices(packages(metafile)))

/** What leaves the bundle, and by which specifier. */
function borders({ onResolve }) {
  onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir, importer }) => {
    if (importer.includes("node_modules")) return undefined
    const file = relative(root, resolve(resolveDir, path)).split(sep).join("/")
    if (file.startsWith("cli/")) return undefined
    if (file === "package.json") return { path: "../../package.json", external: true }
    if (LIBRARY.test(file)) return { path: `../${file.replace(/\.ts$/, ".js")}`, external: true }
    return {
      errors: [{ text: `Cannot import ${file} from cli: it is neither part of the command nor of the library` }],
    }
  })
  onResolve({ filter: /^[^./]/ }, ({ path, importer, kind }) => {
    if (isBuiltin(path)) return { path: path.startsWith("node:") ? path : `node:${path}`, external: true }
    if (kind === "entry-point" || importer.includes("node_modules")) return undefined
    const name = path.split("/", path.startsWith("@") ? 2 : 1).join("/")
    if (BUNDLED.includes(name)) return undefined
    if (installed.includes(name)) return { path, external: true }
    return {
      errors: [{ text: `Cannot import "${path}" from cli: it is neither in the bundle's list nor a dependency` }],
    }
  })
}

function packages({ outputs }) {
  const files = Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs))
  const found = files.map((file) => PACKAGE.exec(file)?.[0]).filter((path) => path !== undefined)
  return [...new Set(found)]
}

async function notices(paths) {
  const parts = await Promise.all(paths.map((path) => notice(join(root, path))))
  return ["The encx command contains the following packages.\n", ...parts.sort()].join(`\n${"-".repeat(80)}\n\n`)
}

async function notice(path) {
  const { name, version, license } = JSON.parse(await readFile(join(path, "package.json"), "utf8"))
  const files = (await readdir(path)).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file)).sort()
  if (files.length === 0) throw new Error(`Cannot bundle "${name}": it has no licence file`)
  const texts = await Promise.all(files.map((file) => readFile(join(path, file), "utf8")))
  return `${name} ${version} (${license})\n\n${texts.map((text) => `${text.trim()}\n`).join("\n")}`
}
