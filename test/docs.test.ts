import assert from "node:assert/strict"
import { existsSync, globSync, readFileSync } from "node:fs"
import { basename, join, resolve } from "node:path"
import { describe, it } from "node:test"
import { runProgram } from "./_programs.ts"

const root = resolve(import.meta.dirname, "..")
// Their programs need a server: aws-docs.test.ts.
const ELSEWHERE = ["docs/aws.md", "providers/aws-kms.ts", "providers/aws-secrets-manager.ts"]

async function runs(program: string, name: string): Promise<void> {
  const ended = await runProgram(program, { variables: { ENCX_KEK: Buffer.alloc(32, 7).toString("base64") } })
  assert.equal(ended.code, 0, `${name}: ${ended.stderr}`)
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
  for (const path of ["README.md", ...globSync("docs/*.md", { cwd: root }).sort()].filter(
    (each) => existsSync(join(root, each)) && !ELSEWHERE.includes(each),
  )) {
    const blocks = [...readFileSync(join(root, path), "utf8").matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(
      ([, code]) => code ?? "",
    )
    const programs = blocks.filter((code) => /^import /m.test(code))
    for (const [i, program] of programs.entries()) {
      it(`program ${i + 1} of ${path} runs`, async () => await runs(program, path))
    }
  }

  for (const path of globSync("{core,providers}/**/*.ts", { cwd: root })
    .filter((each) => !ELSEWHERE.includes(each))
    .sort()) {
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
