import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { once } from "node:events"
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import type { AddressInfo } from "node:net"
import { basename, join, resolve } from "node:path"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import { createServer } from "node:tls"
import { kmsCalls } from "../bench/kms-calls.ts"
import { DEK_CACHE_DEFAULTS } from "../core/keys/dek-cache.ts"
import { type EncxError, newCrypto, withKEKAlias, withKMSService } from "../mod.ts"
import { type AWSKMSOptions, awsKMS } from "../providers/aws-kms.ts"
import { awsSecretsManager } from "../providers/aws-secrets-manager.ts"
import { type AWS, CREDENTIALS, furnish, furnishGlobal, lent, SERVED, SERVICES, startAWS } from "./_aws.ts"
import { selfSigned } from "./_certificate.ts"
import { anchorsOf, type Block, blocksOf, sectionOf, tableOf } from "./_markdown.ts"
import { runProgram, withFolder } from "./_programs.ts"
import { runCommand } from "./_script.ts"
import { type AwsErrorName, needsServer, startMinistack } from "./servers/index.ts"

const root = resolve(import.meta.dirname, "..")
const guide = readFileSync(join(root, "docs/aws.md"), "utf8")
const blocks = blocksOf(guide)
const written = (...languages: string[]): Block[] => blocks.filter(({ language }) => languages.includes(language))

// What a page says is the same on every runtime; that the library works on each is for the suites and the examples.
const elsewhere = process.versions["deno"] ?? process.versions["bun"]
const here = (options: { skip: string | false }): { skip: string | false } =>
  elsewhere === undefined ? options : { skip: "documents are checked on Node" }

const has = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0

/** The emulator for a block, for as long as a suite lasts: moto's copies of keys do not open what the others sealed. */
function useServers(): (code: string) => AWS {
  let moto: AWS
  let ministack: AWS
  before(async () => {
    moto = await startAWS()
    ministack = await startAWS(startMinistack)
  })
  after(async () => {
    await moto?.close()
    await ministack?.close()
  })
  return (code) => (code.includes(GLOBAL) ? ministack : moto)
}
const GLOBAL = "alias/my-global-key"

// --- Programs ---

/** What an example of a docstring may use without importing it; what it imports itself is left out. */
function withPrelude(example: string): string {
  const imported = PRELUDE.filter(([, specifier]) => !example.includes(`from "${specifier}"`))
  const lines = imported.map(([names, specifier]) => `import { ${names} } from "${specifier}"\n`)
  return `${lines.join("")}${example}`
}
const PRELUDE = [
  ["deepStrictEqual as assertEquals", "node:assert"],
  ["newCrypto, withBootstrap, withKEKAlias, withKMSService, withPepper", "encx"],
  ["awsKMS", "encx/aws-kms"],
  ["awsSecretsManager", "encx/aws-secrets-manager"],
] as const

describe("docs/aws.md: programs", here(needsServer("moto", "ministack")), () => {
  const servers = useServers()

  const runs = async (program: string): Promise<string> => {
    const aws = servers(program)
    await aws.reset()
    await furnish(aws)
    if (aws === servers(GLOBAL)) await furnishGlobal(aws)
    const ended = await runProgram(program, { variables: { ...aws.variables, ...SERVICES, ...SERVED } })
    assert.equal(ended.code, 0, ended.stderr || ended.stdout)
    return ended.stdout
  }

  for (const { code, heading, line } of written("ts")) {
    it(`the one under «${heading}», line ${line}, runs and prints what it says`, async () => {
      assert.match(code, /^import /m)
      const output = await runs(code)
      for (const [, said] of code.matchAll(/console\.log\(.*\) *\/\/ ([^\n]+)$/gm)) {
        assert.ok(output.includes(said as string), `${output} does not say ${said}`)
      }
    })
  }

  for (const path of ["providers/aws-kms.ts", "providers/aws-secrets-manager.ts"]) {
    const source = readFileSync(join(root, path), "utf8")
    for (const [, title, body = ""] of source.matchAll(/@example ([^\n]+)\n \* ```ts\n([\s\S]*?) \* ```/g)) {
      it(`the example «${title}» of ${basename(path)} runs`, async () => {
        await runs(`${withPrelude(body.replace(/^ \* ?/gm, ""))}`)
      })
    }
  }
})

// --- Shell ---

const noAWS = has("aws", "--version") ? false : "the aws command is not installed"
const NO_SHELL = process.platform === "win32" || !has("bash", "--version")

describe("docs/aws.md: commands", here(needsServer("moto", "ministack")), () => {
  const servers = useServers()

  // In their order, each beginning where the one before ended, as a reader would type them.
  let environment: Record<string, string> = {}
  for (const { code, heading, line } of written("sh")) {
    const aside = NO_SHELL ? "there is no bash" : /(^|\()aws /m.test(code) ? noAWS : false
    it(`those under «${heading}», line ${line}, succeed`, { skip: aside }, async () => {
      const aws = servers(code)
      await withFolder(async (folder) => {
        const bin = join(folder, "bin")
        mkdirSync(bin)
        const script = (name: string, body: string): void => {
          writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`)
          chmodSync(join(bin, name), 0o755)
        }
        script("encx", `exec "${process.execPath}" "${join(root, "cli/main.ts")}" "$@"`)
        // What it would install is here already, and tests reach no registry; nor do they test themselves.
        script("npm", `case "$1 $2" in "install encx" | "run test:aws") ;; *) exit 1 ;; esac`)
        const ended = await runCommand("bash", {
          args: ["-euo", "pipefail", "-c", `${SETUP}\n${code}\nexport -p >"$HOME/exported"`],
          variables: { ...aws.variables, ...environment, HOME: folder, PATH: `${bin}:${process.env["PATH"]}` },
        })
        assert.equal(ended.code, 0, `${ended.stdout}${ended.stderr}`)
        environment = { ...environment, ...exported(readFileSync(join(folder, "exported"), "utf8")) }
      })
    })
  }
})

// The log group is there where CloudTrail writes to it.
const SETUP = `if command -v aws >/dev/null; then aws logs create-log-group --log-group-name my-trail-logs 2>/dev/null || true; fi`

/** The settings of encx that a block made; credentials of the page are none. */
function exported(script: string): Record<string, string> {
  return Object.fromEntries(
    [...script.matchAll(/^declare -x (ENCX_\w+)="(.*)"$/gm)].map(([, name, value]) => [name, value]),
  )
}

// --- Terraform ---

describe("docs/aws.md: Terraform", here({ skip: false }), () => {
  const skip = has("terraform", "version") ? false : "terraform is not installed"
  for (const { code, heading, line } of written("hcl")) {
    // `validate` would need AWS's provider from a registry.
    it(`what stands under «${heading}», line ${line}, is parsed, and formatted`, { skip }, () => {
      const ended = spawnSync("terraform", ["fmt", "-check", "-diff", "-"], { input: code, encoding: "utf8" })
      assert.equal(ended.status, 0, `${ended.stdout}${ended.stderr}`)
    })
  }
})

// --- Cost ---

const PER_KEY = 1
const PER_REQUEST = 0.03 / 10_000
const DAYS = 30
const A_DAY = 1_000_000

describe("docs/aws.md: cost", here({ skip: false }), () => {
  it("its table is what the prices and the cache's limits come to", async () => {
    const n = (value: number): string => value.toLocaleString("en")
    const dollars = (value: number): string => `$${value.toFixed(2)}`
    const row = (limits: string, perKey: string, requests: number): string[] => [
      limits,
      perKey,
      n(requests),
      dollars(requests * PER_REQUEST),
      dollars(PER_KEY),
      dollars(requests * PER_REQUEST + PER_KEY),
    ]
    const lasting = DAYS * (86_400_000 / DEK_CACHE_DEFAULTS.maxAgeMs)
    // A key's age ends before its messages do.
    assert.ok(A_DAY / (lasting / DAYS) < DEK_CACHE_DEFAULTS.maxMessages)
    assert.equal(DEK_CACHE_DEFAULTS.maxAgeMs, 5 * 60_000)
    assert.deepEqual(tableOf(sectionOf(guide, "Cost")), [
      row("`false`", "1", A_DAY * DAYS),
      row("`{ maxMessages: 100 }`", "100", (A_DAY / 100) * DAYS),
      row("`{ maxMessages: 1_000 }`", n(1_000), (A_DAY / 1_000) * DAYS),
      row("the default, one process", "those of 5 minutes", lasting),
      row("the default, ten processes", "those of 5 minutes", 10 * lasting),
    ])
    for (const [records, maxMessages] of [
      [20_000, 1_000],
      [1_000, 100],
    ] as const) {
      assert.equal((await kmsCalls({ records, maxMessages })).whileSealing, records / maxMessages)
    }
  })
})

// --- Errors ---

const KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"

const BYTES = new TextEncoder().encode("sensitive data")

describe("docs/aws.md: errors", here(needsServer("moto")), () => {
  let aws: AWS
  before(async () => {
    aws = await startAWS()
    await furnish(aws)
  })
  after(() => aws?.close())

  const at = (options: AWSKMSOptions = {}): AWSKMSOptions => ({
    region: "us-east-1",
    endpoint: aws.proxy.url,
    credentials: CREDENTIALS,
    attempts: 1,
    ...options,
  })
  const sealing = async (options?: AWSKMSOptions, alias = "alias/my-encryption-key"): Promise<void> => {
    await lent(awsKMS(at(options)), async (kms) => {
      await (await newCrypto(withKMSService(kms), withKEKAlias(alias))).seal(BYTES)
    })
  }
  const answering = async (name: AwsErrorName, operation?: string): Promise<void> => {
    aws.proxy.fault = { kind: "error", name, ...(operation === undefined ? {} : { operation }) }
    try {
      await sealing()
    } finally {
      aws.proxy.fault = undefined
    }
  }

  const FAILURES: Readonly<Record<string, () => Promise<unknown>>> = {
    "Access denied": () => answering("AccessDeniedException", "GenerateDataKey"),
    "Key not found": () => sealing({}, "alias/my-kye"),
    "Another region": () => sealing({}, `arn:aws:kms:eu-west-1:111122223333:key/${KEY}`),
    "The key is disabled or about to be deleted": () => answering("KMSInvalidStateException", "GenerateDataKey"),
    Throttling: () => answering("ThrottlingException"),
    "Credentials that have expired": () => answering("ExpiredTokenException"),
    "The clock is wrong": () => answering("InvalidSignatureException"),
    "A secret that was deleted": async () => {
      // As AWS tells it; the emulator tells it in other words.
      aws.proxy.fault = { kind: "rewrite", body: (answer) => ({ ...answer, DeletedDate: 1_700_000_000 }) }
      try {
        await lent(awsSecretsManager(at()), (secrets) => secrets.getPepper("my-service"))
      } finally {
        aws.proxy.fault = undefined
      }
    },
    "A secret without a current version": async () => {
      aws.proxy.fault = { kind: "rewrite", body: (answer) => ({ ...answer, VersionIdsToStages: {} }) }
      try {
        await lent(awsSecretsManager(at()), (secrets) => secrets.getPepper("my-service"))
      } finally {
        aws.proxy.fault = undefined
      }
    },
    "A certificate that is not trusted": async () => {
      const server = createServer(selfSigned("localhost")).listen(0, "127.0.0.1")
      await once(server, "listening")
      try {
        await sealing({ endpoint: `https://127.0.0.1:${(server.address() as AddressInfo).port}` })
      } finally {
        server.close()
      }
    },
    "No connection": () => sealing({ endpoint: "http://127.0.0.1:9" }),
  }

  for (const { heading, code } of written("text")) {
    it(`«${heading}» is told as it is there`, async () => {
      const thrown = await (FAILURES[heading] ?? (() => outside(heading)))().then(
        () => assert.fail("it succeeded"),
        (error: unknown) => error,
      )
      assert.equal(told(thrown), code.trim())
    })
  }

  // What depends on the environment is asked of a process that has one of its own.
  const outside = async (heading: string): Promise<void> => {
    const without: Readonly<Record<string, Record<string, undefined>>> = {
      "No region": { AWS_REGION: undefined, AWS_DEFAULT_REGION: undefined },
      "No credentials": { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined },
    }
    assert.ok(without[heading], heading)
    const ended = await runProgram(ASKING, { variables: { ...aws.variables, ...without[heading] } })
    assert.equal(ended.code, 0, ended.stderr)
    const { name, message, hint } = JSON.parse(ended.stdout)
    throw Object.assign(new Error(message), { name, hint })
  }
})

const ASKING = `import { awsKMS } from "encx/aws-kms"
const kms = awsKMS()
await kms.getKeyID("alias/my-encryption-key").catch(({ name, message, hint }) => console.log(JSON.stringify({ name, message, hint })))
`

/** As the guide shows it: its class, its message and its hint, with the example's account and key for the emulator's. */
function told(error: unknown): string {
  const { name, message, hint } = error as EncxError
  const lines = hint === undefined ? [`${name}: ${message}`] : [`${name}: ${message}`, `→ ${hint}`]
  return lines.join("\n").replace(/\d{12}:key\/[0-9a-f-]{36}/g, `111122223333:key/${KEY}`)
}

// --- Links ---

describe("docs/aws.md: links", here({ skip: false }), () => {
  it("lead somewhere", () => {
    const anchors = anchorsOf(guide)
    for (const [, link = ""] of guide.matchAll(/\]\(([^)]+)\)/g)) {
      if (link.startsWith("#")) assert.ok(anchors.includes(link.slice(1)), link)
      else if (!link.startsWith("https:")) assert.ok(existsSync(join(root, "docs", link)), link)
    }
  })

  it("each block is of a kind that is tested", () => {
    assert.deepEqual([...new Set(blocks.map(({ language }) => language))].sort(), [
      "hcl",
      "ini",
      "json",
      "sh",
      "text",
      "ts",
    ])
  })
})
