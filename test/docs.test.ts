import assert from "node:assert/strict"
import { existsSync, globSync, readFileSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { describe, it } from "node:test"
import { anchorsOf } from "./_markdown.ts"
import { runProgram } from "./_programs.ts"

const root = resolve(import.meta.dirname, "..")
// Their programs need a server: aws-docs.test.ts, key-versions-docs.test.ts, streams-docs.test.ts, vault-docs.test.ts.
const ELSEWHERE = [
  "docs/aws.md",
  "docs/key-versions.md",
  "docs/streams.md",
  "docs/vault.md",
  "providers/aws-kms.ts",
  "providers/aws-secrets-manager.ts",
]

async function runs(program: string, name: string): Promise<void> {
  const ended = await runProgram(program, { variables: { ENCX_KEK: Buffer.alloc(32, 7).toString("base64") } })
  assert.equal(ended.code, 0, `${name}: ${ended.stderr}`)
}

/** What an example of a docstring may use without importing it. */
const PRELUDE = `import { deepStrictEqual as assertEquals } from "node:assert"
import { dekCache, inMemoryMetrics, lowercase, newCrypto, plain, record, resilientService, text, trim } from "encx"
import { withBootstrap, withDatabase, withDEKCache, withKEKAlias, withKMSService } from "encx"
import { withLogger, withMetricsCollector, withObservabilityHook } from "encx"
import { env } from "encx/env"
import { goString } from "encx/go-encx"
import { local } from "encx/local"
import { memory } from "encx/memory"
import { openTelemetry } from "encx/opentelemetry"
void [goString, dekCache, inMemoryMetrics, resilientService, withDatabase, withDEKCache, withLogger, withMetricsCollector, withObservabilityHook, openTelemetry, assertEquals, lowercase, newCrypto, plain, record, text, trim, withBootstrap, withKEKAlias, withKMSService, env, local, memory]
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

  for (const path of ["README.md", ...globSync("{docs,.github}/*.md", { cwd: root }).sort()]) {
    it(`links of ${path} lead somewhere`, () => {
      const prose = readFileSync(join(root, path), "utf8").replace(/^```[\s\S]*?^```$/gm, "")
      for (const [, target = ""] of prose.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
        const [file = "", anchor] = target.split("#")
        const linked = file === "" ? join(root, path) : join(root, dirname(path), file)
        assert.ok(existsSync(linked), `${path} links ${target}`)
        if (anchor) assert.ok(anchorsOf(readFileSync(linked, "utf8")).includes(anchor), `${path} links ${target}`)
      }
    })
  }

  for (const path of globSync("{core,providers}/**/*.ts", { cwd: root })
    .filter((each) => !ELSEWHERE.includes(each))
    .sort()) {
    const examples = [
      ...readFileSync(join(root, path), "utf8").matchAll(/@example ([^\n]+)\n +\* ```ts\n([\s\S]*?) +\* ```/g),
    ]
    for (const [, title, body = ""] of examples) {
      it(`example «${title}» of ${basename(path)} runs`, async () => {
        await runs(`${PRELUDE}\n${body.replace(/^ +\* ?/gm, "")}`, `${path}: ${title}`)
      })
    }
  }
})
