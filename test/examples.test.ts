import assert from "node:assert/strict"
import { globSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { after, before, describe, it } from "node:test"
import { Pool } from "pg"
import { newCrypto, withBootstrap, withKEKAlias, withKMSService } from "../mod.ts"
import { type AWS, furnish, startAWS } from "./_aws.ts"
import { type ObjectStore, startObjectStore } from "./_object-store.ts"
import { runProgram, withFolder } from "./_programs.ts"
import type { Ended } from "./_script.ts"
import { needsServer, type RunningServer, startPostgres } from "./servers/index.ts"

const folder = join(resolve(import.meta.dirname, ".."), "examples")
const example = (name: string): string => readFileSync(join(folder, name), "utf8")

describe("examples for AWS", needsServer("moto"), () => {
  let aws: AWS
  before(async () => {
    aws = await startAWS()
    await furnish(aws)
  })
  after(() => aws?.close())

  const run = async (program: string, variables: Readonly<Record<string, string | undefined>> = {}): Promise<Ended> => {
    aws.proxy.forget()
    return await runProgram(program, { variables: { ...aws.variables, ...variables } })
  }
  const runs = async (program: string, variables?: Readonly<Record<string, string | undefined>>): Promise<string> => {
    const ended = await run(program, variables)
    assert.equal(ended.code, 0, ended.stderr || ended.stdout)
    assert.equal(ended.stderr, "")
    return ended.stdout
  }

  it("are all run here", () => {
    const names = globSync("aws-*.ts", { cwd: folder }).sort()
    assert.deepEqual(names, ["aws-basic.ts", "aws-custom-config.ts", "aws-lambda.ts"])
  })

  it("aws-basic.ts seals, opens, wraps by hand and hashes", async () => {
    const output = await runs(example("aws-basic.ts"))
    assert.match(output, /^Sealed 14 bytes into \d+$/m)
    assert.match(output, /^Opened: sensitive data$/m)
    assert.match(output, /^Wrapped under arn:aws:kms:us-east-1:\d{12}:key\/[0-9a-f-]{36}$/m)
    assert.match(output, /^Decrypted: sensitive data$/m)
    assert.match(output, /^Password verified: true$/m)
  })

  it("aws-basic.ts fails and says why when its key is absent in the region", async () => {
    const ended = await run(example("aws-basic.ts"), { AWS_REGION: "ap-south-1" })
    assert.notEqual(ended.code, 0)
    assert.match(ended.stderr, /KeyNotFound/)
    assert.match(ended.stderr, /ap-south-1/)
    assert.equal(aws.proxy.count("CreateKey"), 0)
  })

  it("aws-custom-config.ts seals and opens in the region and with the credentials that it names", async () => {
    const output = await runs(example("aws-custom-config.ts"))
    assert.match(output, /^sensitive data$/m)
    assert.match(output, /generateDEK: 1\b/)
    assert.ok(aws.proxy.requests.length > 0)
    for (const { region, accessKeyID } of aws.proxy.requests) {
      assert.equal(region, "us-west-2")
      assert.equal(accessKeyID, aws.variables["AWS_ACCESS_KEY_ID"])
    }
  })

  it("aws-custom-config.ts tells what can be tried again from what cannot", async () => {
    // The emulator goes on as it was: only this program finds nobody at the address.
    const ended = await run(
      example("aws-custom-config.ts").replace(
        "const kms = awsKMS({",
        'const kms = awsKMS({ endpoint: "http://127.0.0.1:9", ',
      ),
    )
    assert.notEqual(ended.code, 0)
    assert.match(ended.stderr, /^KMS_UNAVAILABLE: [^\n]+\nTry again later\.$/m)
  })

  const warm = (calls: number): string => `
for (let i = 0; i < ${calls}; i++) {
  const { sealed = "" } = await handler({ tenant: "acme", value: "secret" })
  const { value } = await handler({ tenant: "acme", sealed })
  if (value !== "secret") throw new Error("it opened something else")
}
console.log("done")
`

  it("aws-lambda.ts asks AWS at its cold start, and no more when it is warm", async () => {
    const lambda = example("aws-lambda.ts")
    const asked: number[] = []
    for (const calls of [1, 50]) {
      assert.equal(await runs(lambda + warm(calls)), "done\n")
      asked.push(aws.proxy.count())
      assert.equal(aws.proxy.count("GenerateDataKey"), 1)
    }
    assert.equal(asked[0], asked[1], `${aws.proxy.requests.map(({ operation }) => operation)}`)
  })

  it("aws-lambda.ts starts anew at the next call when its start failed", async () => {
    const later = `
const first = await handler({ tenant: "acme", value: "secret" }).catch((error) => error.code)
await kms.createKey("alias/later")
await secrets.storePepper("later", globalThis.crypto.getRandomValues(new Uint8Array(32)))
${warm(1)}
console.log(first)
`
    assert.equal(
      await runs(example("aws-lambda.ts") + later, { ENCX_KEK_ALIAS: "alias/later", ENCX_PEPPER_ALIAS: "later" }),
      "done\nKEY_NOT_FOUND\n",
    )
  })
})

describe("examples/production.ts", needsServer("moto", "postgres"), () => {
  let aws: AWS
  let postgres: RunningServer
  before(async () => {
    aws = await startAWS()
    await furnish(aws)
    postgres = await startPostgres()
  })
  after(async () => {
    await postgres?.close()
    await aws?.close()
  })

  it("records the version of its key in PostgreSQL, once, and finds it there when it starts again", async () => {
    const variables = { ...aws.variables, DATABASE_URL: postgres.url, KMS_KEY_ALIAS: "alias/my-encryption-key" }
    for (const _ of [1, 2]) {
      const ended = await runProgram(example("production.ts"), { variables })
      assert.equal(ended.code, 0, ended.stderr || ended.stdout)
      assert.equal(ended.stderr, "")
      assert.match(ended.stdout, /^Sealed under version 1 of arn:aws:kms:us-east-1:\d{12}:key\/[0-9a-f-]{36}$/m)
      assert.match(ended.stdout, /^Opened: ada@example\.org$/m)
    }
    const pool = new Pool({ connectionString: postgres.url })
    try {
      const { rows } = await pool.query("SELECT alias, version, kms_key_id, is_deprecated FROM kek_versions")
      assert.equal(rows.length, 1)
      assert.match(rows[0].kms_key_id, /^arn:aws:kms:us-east-1:/)
      assert.deepEqual(
        { ...rows[0], kms_key_id: "" },
        {
          alias: "alias/my-encryption-key",
          version: 1,
          kms_key_id: "",
          is_deprecated: false,
        },
      )
    } finally {
      await pool.end()
    }
    assert.equal(aws.proxy.count("CreateKey"), 0)
  })

  it("tells an outage of its database, and that it may be tried again", async () => {
    const variables = {
      ...aws.variables,
      DATABASE_URL: "postgres://postgres@127.0.0.1:9/postgres",
      KMS_KEY_ALIAS: "alias/my-encryption-key",
    }
    const ended = await runProgram(example("production.ts"), { variables })
    assert.notEqual(ended.code, 0)
    assert.match(ended.stderr, /DatabaseUnavailable: /)
    assert.match(ended.stderr, /^Try again later\.$/m)
  })
})

describe("examples/backup.ts", () => {
  let store: ObjectStore
  before(async () => {
    store = await startObjectStore()
  })
  after(() => store?.close())

  const DUMP = `${"INSERT INTO people VALUES (1, 'Ada');\n".repeat(20_000)}-- the end`
  const SEALED = "/backups/app.sql.encx"

  /** Lends a folder with a dump in it, and what runs the program there. */
  async function withDump(use: (folder: string, run: (...args: string[]) => Promise<Ended>) => Promise<void>) {
    await withFolder(async (folder) => {
      const kms = `local://${folder}/keys.json`
      await (await newCrypto(withKMSService(kms), withKEKAlias("app"), withBootstrap({ createKEK: true }))).close()
      writeFileSync(join(folder, "app.sql"), DUMP)
      const variables = { ENCX_KMS: kms, ENCX_KEK_ALIAS: "app", OBJECT_STORE: `${store.url}/backups` }
      await use(folder, async (...args) => await runProgram(example("backup.ts"), { args, cwd: folder, variables }))
    })
  }

  it("stores a file sealed, reads its end there, and brings it back", async () => {
    await withDump(async (folder, run) => {
      const runs = async (...args: string[]): Promise<string> => {
        const { code, stdout, stderr } = await run(...args)
        assert.equal(code, 0, stderr)
        return stdout
      }
      const [, size] = /^Stored (\d+) bytes in \d+$/m.exec(await runs("put", "app.sql")) ?? []
      assert.equal(Number(size), DUMP.length)
      const sealed = Buffer.from(store.objects.get(SEALED) ?? [])
      assert.ok(sealed.length > DUMP.length)
      assert.ok(!sealed.includes("INSERT"))

      store.asked.length = 0
      assert.match(await runs("tail", "app.sql"), /VALUES \(1, 'Ada'\);\n-- the end$/m)
      assert.ok(store.asked.length > 0)
      const bytes = store.asked.map(({ range = "" }) => range.replace("bytes=", "").split("-").map(Number))
      const read = bytes.reduce((sum, [first = 0, last = 0]) => sum + last - first + 1, 0)
      assert.ok(read < 64 * 1024, `${read} bytes of ${sealed.length}`)

      writeFileSync(join(folder, "app.sql"), "lost")
      await runs("get", "app.sql")
      assert.equal(readFileSync(join(folder, "app.sql"), "utf8"), DUMP)
    })
  })

  it("leaves what is there when the store has lost the end, or gives another object", async () => {
    await withDump(async (folder, run) => {
      assert.equal((await run("put", "app.sql")).code, 0)
      const sealed = store.objects.get(SEALED) ?? new Uint8Array(0)
      store.objects.set(SEALED, sealed.subarray(0, 200_000))
      store.objects.set("/backups/other.sql.encx", sealed)
      for (const args of [
        ["get", "app.sql"],
        ["tail", "app.sql"],
        ["get", "other.sql"],
      ]) {
        const { code, stderr } = await run(...args)
        assert.notEqual(code, 0, args.join(" "))
        assert.match(stderr, /DecryptionFailed/, args.join(" "))
      }
      assert.equal(readFileSync(join(folder, "app.sql"), "utf8"), DUMP)
      assert.deepEqual(
        readdirSync(folder).filter((name) => /sql|part/.test(name)),
        ["app.sql"],
      )
    })
  })
})
