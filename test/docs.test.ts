import assert from "node:assert/strict"
import { chmodSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join, resolve } from "node:path"
import { describe, it } from "node:test"
import { pathToFileURL } from "node:url"
import { runScript } from "./_script.ts"

const root = resolve(import.meta.dirname, "..")
const exportsOf = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")).exports as Record<string, string>

/** The source of an export, as an absolute specifier. */
function source(specifier: string): string {
  const path = exportsOf[specifier.replace(/^encx/, ".")]
  assert.ok(path, `${specifier} is exported`)
  return pathToFileURL(join(root, path)).href
}

async function runs(program: string, name: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "encx-docs-"))
  chmodSync(folder, 0o700)
  try {
    const script = join(folder, "program.ts")
    const here = program
      .replaceAll("/home/ada", folder)
      .replace(/from "(encx[^"]*)"/g, (_, specifier: string) => `from "${source(specifier)}"`)
    writeFileSync(script, here)
    const ended = await runScript(pathToFileURL(script), {
      variables: { HOME: folder, ENCX_KEK: Buffer.alloc(32, 7).toString("base64") },
    })
    assert.equal(ended.code, 0, `${name}: ${ended.stderr}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What an example of a docstring may use without importing it. */
const PRELUDE = `import { deepStrictEqual as assertEquals } from "node:assert"
import { lowercase, newCrypto, plain, record, text, trim, withBootstrap, withKEKAlias, withKMSService } from "encx"
import { env } from "encx/env"
import { local } from "encx/local"
import { memory } from "encx/memory"
void [assertEquals, lowercase, newCrypto, plain, record, text, trim, withBootstrap, withKEKAlias, withKMSService, env, local, memory]
`

describe("documentation", () => {
  for (const path of ["README.md", ...globSync("docs/*.md", { cwd: root }).sort()].filter((each) =>
    existsSync(join(root, each)),
  )) {
    const blocks = [...readFileSync(join(root, path), "utf8").matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(
      ([, code]) => code ?? "",
    )
    const programs = blocks.filter((code) => /^import /m.test(code))
    for (const [i, program] of programs.entries()) {
      it(`program ${i + 1} of ${path} runs`, async () => await runs(program, path))
    }
  }

  for (const path of globSync("{core,providers}/**/*.ts", { cwd: root }).sort()) {
    const examples = [
      ...readFileSync(join(root, path), "utf8").matchAll(/@example ([^\n]+)\n \* ```ts\n([\s\S]*?) \* ```/g),
    ]
    for (const [, title, body = ""] of examples) {
      it(`example «${title}» of ${basename(path)} runs`, async () => {
        await runs(`${PRELUDE}\n${body.replace(/^ \* ?/gm, "")}`, `${path}: ${title}`)
      })
    }
  }
})
