import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import {
  type Crypto,
  newCrypto,
  type Option,
  plain,
  record,
  text,
  withBootstrap,
  withDEKCache,
  withKEKAlias,
  withKMSService,
  withPepper,
} from "../mod.ts"
import { type AWSKMS, awsKMS } from "../providers/aws-kms.ts"
import { type AWSSecretsManager, awsSecretsManager } from "../providers/aws-secrets-manager.ts"
import { type AWS, CREDENTIALS, furnish, lent, SERVED, SERVICES, startAWS } from "./_aws.ts"
import { actionsOf, denied, type Policy } from "./_iam.ts"
import { blocksOf, sectionOf, tableOf } from "./_markdown.ts"
import { runScript } from "./_script.ts"
import { call } from "./servers/_client.ts"
import { type FaultProxy, needsServer, type RecordedRequest } from "./servers/index.ts"

const guide = readFileSync(join(resolve(import.meta.dirname, ".."), "docs/aws.md"), "utf8")

// As in aws-docs.test.ts: what a page says is the same on every runtime.
const elsewhere = process.versions["deno"] ?? process.versions["bun"]
const here = (options: { skip: string | false }): { skip: string | false } =>
  elsewhere === undefined ? options : { skip: "documents are checked on Node" }

/** What each policy is for, done by a program that has it. */
const USES: Readonly<Record<string, Use>> = {
  "Encrypt only": async ({ crypto }) => {
    await (await crypto()).seal(BYTES)
  },
  "Decrypt only": async ({ crypto, sealed }) => {
    await (await crypto()).open(sealed)
  },
  "Encrypt and decrypt": async ({ crypto, sealed }) => {
    const all = await crypto()
    await all.open(await all.seal(BYTES))
    await all.rewrap(sealed)
    await all.decryptDEK(await all.encryptDEK(all.generateDEK()))
  },
  "Rotate the key": async ({ crypto }) => {
    await (await crypto()).rotateKEK()
  },
  "Read the secrets": async ({ crypto, secrets }) => {
    const hashing = await crypto(withPepper(secrets, "my-service"))
    await hashing.hashSecure("correct horse")
    hashing.blindIndex("ada@example.org", { table: "users", column: "email" })
  },
  "Rotate the pepper": async ({ encx }) => {
    await encx(["pepper", "rotate"], SERVED)
  },
  "Run encx doctor": async ({ encx }) => {
    const { checks } = JSON.parse(await encx(["doctor", "--json"], SERVED))
    // The emulator's keys do not rotate by themselves, which is advice and no fault; a busy machine answers late.
    const advised = checks.filter((each: { hint?: string }) => each.hint).map((each: { check: string }) => each.check)
    assert.deepEqual(
      advised.filter((check: string) => check !== "latency"),
      ["rotation"],
    )
  },
  "Make what is missing": async ({ kms, secrets, encx, proxy }) => {
    const start = (): Promise<Crypto> =>
      newCrypto(
        withKMSService(kms),
        withKEKAlias("alias/my-app"),
        withPepper(secrets, "my-app"),
        withBootstrap({ createKEK: true, createPepper: true }),
      )
    for (const started of await Promise.all(Array.from({ length: 8 }, start))) await started.close()
    // One that loses the race at the last moment, whose key is to be deleted.
    proxy.fault = { kind: "error", name: "NotFoundException", operation: "DescribeKey", times: 1 }
    await assert.rejects(kms.createKey("alias/my-app"), { code: "KEY_EXISTS" })
    proxy.fault = undefined
    await encx(["pepper", "init"], { ENCX_KEK_ALIAS: "alias/my-app", ENCX_PEPPER_ALIAS: "my-app" })
  },
}

/** The policies that the guide asks for beside one. */
const BESIDE: Readonly<Record<string, readonly string[]>> = {
  "Read the secrets": ["Decrypt only"],
  "Run encx doctor": ["Encrypt and decrypt", "Read the secrets"],
}

const BYTES = new TextEncoder().encode("sensitive data")

type Use = (given: Given) => Promise<unknown>
/** What a use is given; whatever it does is noted. */
interface Given {
  readonly kms: AWSKMS
  readonly secrets: AWSSecretsManager
  /** A program that seals under `alias/my-encryption-key` and keeps no data key. */
  crypto(...options: readonly Option[]): Promise<Crypto>
  /** An envelope of such a program. */
  readonly sealed: Uint8Array
  /** The command: what it prints. */
  encx(args: readonly string[], variables?: Readonly<Record<string, string>>, code?: number): Promise<string>
  readonly proxy: FaultProxy
}

describe("docs/aws.md: permissions", here(needsServer("moto")), () => {
  let aws: AWS
  before(async () => {
    aws = await startAWS()
  })
  after(() => aws?.close())

  /** What AWS is asked for while a use lasts. */
  const asked = async (use: Use): Promise<readonly RecordedRequest[]> => {
    await aws.reset()
    await furnish(aws)
    const at = { region: "us-east-1", endpoint: aws.proxy.url, credentials: CREDENTIALS }
    return await lent(awsKMS(at), async (kms) => {
      return await lent(awsSecretsManager(at), async (secrets) => {
        const keys = [withKMSService(kms), withKEKAlias("alias/my-encryption-key"), withDEKCache(false)]
        const sealed = await (await newCrypto(...keys)).seal(BYTES)
        aws.proxy.forget()
        await use({
          kms,
          secrets,
          sealed,
          proxy: aws.proxy,
          crypto: (...options) => newCrypto(...keys, ...options),
          encx: async (args, variables, code = 0) => {
            const ended = await runScript(ENCX, { args, variables: { ...aws.variables, ...SERVICES, ...variables } })
            assert.equal(ended.code, code, ended.stderr || ended.stdout)
            return ended.stdout
          },
        })
        return [...aws.proxy.requests]
      })
    })
  }

  const policies = blocksOf(guide).filter(({ language }) => language === "json")

  it("there is a use for each policy", () => {
    assert.deepEqual(policies.map(({ heading }) => heading).sort(), Object.keys(USES).sort())
  })

  for (const { heading, code } of policies) {
    it(`«${heading}» allows what its programs ask for, and nothing that they do not`, async () => {
      const policy = JSON.parse(code) as Policy
      assert.equal(policy.Version, "2012-10-17")
      const requests = await asked(USES[heading] as Use)
      const all = [policy, ...(BESIDE[heading] ?? []).map(policyOf)].flatMap(({ Statement }) => Statement)
      assert.deepEqual(
        [...new Set(requests.flatMap((request) => denied({ ...policy, Statement: all }, request, requests)))],
        [],
      )
      const used = new Set(requests.flatMap(({ actions }) => actions))
      assert.deepEqual(
        actionsOf(policy).filter((action) => !used.has(action)),
        [],
      )
    })
  }

  it("a policy with a condition denies a data key of another purpose", async () => {
    const requests = await asked(async ({ kms }) => {
      await kms.generateDEK(await kms.getKeyID("alias/my-encryption-key"), { purpose: "something else" })
    })
    const refused = requests.flatMap((request) => denied(policyOf("Encrypt only"), request))
    assert.deepEqual(refused, ["kms:GenerateDataKey on arn:aws:kms:REGION:ACCOUNT:key/KEY-ID"])
  })

  it("the policy that makes what is missing lets nobody schedule the deletion of a key that has an alias", async () => {
    const requests = await asked(async ({ kms, proxy }) => {
      const KeyId = (await kms.createKey("alias/my-app")).replace(/^.*\//, "")
      assert.equal((await call(proxy.url, "kms:ScheduleKeyDeletion", { KeyId }, { region: "us-east-1" })).status, 200)
    })
    const refused = requests.flatMap((request) => denied(policyOf("Make what is missing"), request, requests))
    assert.deepEqual(refused, ["kms:ScheduleKeyDeletion on arn:aws:kms:REGION:ACCOUNT:key/KEY-ID"])
  })

  const policyOf = (heading: string): Policy =>
    JSON.parse(policies.find((each) => each.heading === heading)?.code ?? "") as Policy

  for (const [program = "", actions = ""] of tableOf(sectionOf(guide, "Permissions"))) {
    it(`a program that does this asks for no more: ${program}`, async () => {
      const use = CALLS.find(([start]) => program.startsWith(start))?.[1] as Use
      const named = [...actions.matchAll(/`(kms:\w+)`/g)].map(([, action]) => action as string)
      const requests = await asked(use)
      const more = new Set(requests.flatMap((request) => request.actions))
      // Whatever a program does, it has started.
      if (!program.startsWith("starts") && !named.includes("kms:DescribeKey")) more.delete("kms:DescribeKey")
      assert.deepEqual([...more].sort(), named.sort())
    })
  }
})

const USERS = record("users", { row: "id" }, { id: plain<number>(), email: text().encrypt() })
const ADA = { id: 7, email: "ada@example.org" }

/** The rows of the table of calls, by how they begin. */
const CALLS: readonly (readonly [string, Use])[] = [
  ["starts", ({ crypto }) => crypto()],
  [
    "`seal`",
    async ({ crypto }) => {
      const sealing = await crypto()
      await sealing.seal(BYTES)
      await sealing.sealRecord(USERS, ADA)
      await sealing.sealRecords(USERS, [ADA, { ...ADA, id: 8 }])
    },
  ],
  ["`open`", async ({ crypto, sealed }) => await (await crypto()).open(sealed)],
  ["`encryptDEK`", async ({ crypto }) => await (await crypto()).encryptDEK(new Uint8Array(32))],
  ["`rewrap`", async ({ crypto, sealed }) => await (await crypto()).rewrap(sealed)],
  ["`rotateKEK`", async ({ crypto }) => await (await crypto()).rotateKEK()],
  [
    "`moveAlias`",
    async ({ kms }) => await kms.moveAlias("alias/my-key", await kms.getKeyID("alias/my-encryption-key")),
  ],
]

const ENCX = new URL("../cli/main.ts", import.meta.url)
