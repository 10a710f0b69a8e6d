/** What each entry weighs in a bundle: what it loads at once, and not what it imports with its first use. */
import { readFileSync } from "node:fs"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { build } from "esbuild"
import { CONTENDERS, type ContenderName, versionOf } from "./contenders.ts"
import type { Size } from "./results.ts"

const ROOT = fileURLToPath(new URL("..", import.meta.url))

/** Every entry of the package, from its source, without packages that are installed beside it; and contenders, with all they bring. */
export async function sizes(contenders: readonly ContenderName[]): Promise<Size[]> {
  const { exports } = JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8")) as { exports: Record<string, string> }
  const found: Size[] = []
  for (const [name, source] of Object.entries(exports)) {
    found.push({ entry: name.replace(/^\./, "encx"), ...(await sizeOf(join(ROOT, source), true)) })
  }
  const listed = contenders.map((name) => CONTENDERS[name]).filter((each) => each.package && versionOf(each))
  for (const name of new Set(listed.map((each) => each.package as string))) {
    const contents = `export * from ${JSON.stringify(name)}`
    found.push({ entry: name, ...(await sizeOf({ contents, resolveDir: import.meta.dirname }, false)) })
  }
  return found
}

type Entry = string | { readonly contents: string; readonly resolveDir: string }

async function sizeOf(entry: Entry, external: boolean): Promise<Omit<Size, "entry">> {
  const { metafile, outputFiles } = await build({
    ...(typeof entry === "string" ? { entryPoints: [entry] } : { stdin: entry }),
    ...(external ? { packages: "external" } : {}),
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node22",
    outdir: join(ROOT, "out"),
    absWorkingDir: ROOT,
    metafile: true,
    write: false,
    logLevel: "error",
  })
  const outputs = metafile.outputs
  const named = typeof entry === "string" ? relative(ROOT, entry).replaceAll("\\", "/") : "<stdin>"
  const first = Object.keys(outputs).find((path) => outputs[path]?.entryPoint === named)
  const atOnce = new Set<string>()
  const visit = (path: string): void => {
    if (atOnce.has(path)) return
    atOnce.add(path)
    for (const each of outputs[path]?.imports ?? [])
      if (each.kind === "import-statement" && !each.external) visit(each.path)
  }
  visit(first as string)
  const files = outputFiles.filter(({ path }) => atOnce.has(path.slice(ROOT.length).replaceAll("\\", "/")))
  const all = Buffer.concat(files.map(({ contents }) => contents))
  return { minified: all.length, gzipped: gzipSync(all, { level: 9 }).length }
}
