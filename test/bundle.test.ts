import assert from "node:assert/strict"
import { resolve } from "node:path"
import { before, describe, it } from "node:test"
import { gzipSync } from "node:zlib"
import { build, type Metafile } from "esbuild"

const root = resolve(import.meta.dirname, "..")
const LIMIT = 30 * 1024

interface Bundle {
  /** Bytes of what is loaded with the import, minified and gzipped, chunk by chunk. */
  readonly size: number
  /** The sources of that. */
  readonly sources: readonly string[]
}

/** What a program loads that imports the library and nothing else of it. */
async function bundleOf(entry: string): Promise<Bundle> {
  const { metafile, outputFiles } = await build({
    entryPoints: [entry],
    absWorkingDir: root,
    outdir: "out",
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    platform: "node",
    packages: "external",
    write: false,
    metafile: true,
  })
  const chunks = reached(metafile, entry)
  const files = outputFiles.filter(({ path }) => chunks.some((chunk) => resolve(root, chunk) === path))
  assert.equal(files.length, chunks.length)
  return {
    size: files.reduce((size, { contents }) => size + gzipSync(contents, { level: 9 }).length, 0),
    sources: chunks.flatMap((chunk) => Object.keys(metafile.outputs[chunk]?.inputs ?? {})),
  }
}

function reached({ outputs }: Metafile, entry: string): string[] {
  const chunks = Object.keys(outputs).filter((path) => outputs[path]?.entryPoint === entry)
  for (const chunk of chunks) {
    for (const { path, kind, external } of outputs[chunk]?.imports ?? [])
      if (kind === "import-statement" && !external && !chunks.includes(path)) chunks.push(path)
  }
  return chunks
}

describe('import "encx"', () => {
  let bundle: Bundle
  before(async () => {
    bundle = await bundleOf("mod.ts")
  })

  it("loads no more than 30 KiB, minified and gzipped", (t) => {
    t.diagnostic(`${(bundle.size / 1024).toFixed(1)} KiB`)
    assert.ok(bundle.size <= LIMIT, `${bundle.size} bytes`)
    assert.ok(bundle.size > 1024 && bundle.sources.includes("core/crypto.ts"))
  })

  it("loads nothing that only a program that has started has a use for", () => {
    const late =
      /^core\/(start|work|configuration|bootstrap|layouts)\.ts$|^core\/(files\/(?!http-range)|observe\/ob)|^providers\//
    assert.deepEqual(
      bundle.sources.filter((source) => late.test(source)),
      [],
    )
  })
})
