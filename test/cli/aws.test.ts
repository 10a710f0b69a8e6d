import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import process from "node:process"
import { after, before, beforeEach, describe, it } from "node:test"
import { EnableKeyRotationCommand, KMSClient } from "@aws-sdk/client-kms"
import type { Check } from "../../cli/_checkup.ts"
import { awsSecretsManager } from "../../providers/aws-secrets-manager.ts"
import {
  type FaultProxy,
  needsServer,
  type Server,
  startFaultProxy,
  startMinistack,
  startMoto,
} from "../servers/index.ts"
import { assertFailed, errorOf, Home, type Ran } from "./_encx.ts"

const SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
const VARIABLES: Readonly<Record<string, string>> = {
  AWS_ACCESS_KEY_ID: "AKIAIOSFODNN7EXAMPLE",
  AWS_SECRET_ACCESS_KEY: SECRET_KEY,
  AWS_SESSION_TOKEN: "",
  AWS_REGION: "us-east-1",
  AWS_PROFILE: "",
  AWS_CONFIG_FILE: "/nonexistent",
  AWS_SHARED_CREDENTIALS_FILE: "/nonexistent",
  AWS_EC2_METADATA_DISABLED: "true",
}

interface Report {
  readonly ok: boolean
  readonly checks: readonly Check[]
  readonly notChecked: readonly string[]
}
const reportOf = ({ stdout }: Ran): Report => JSON.parse(stdout) as Report
const failed = ({ checks }: Report): readonly Check[] => checks.filter(({ ok }) => !ok)

describe("the command on AWS", needsServer("moto", "ministack"), () => {
  let moto: Server
  let proxy: FaultProxy
  let home: Home
  let printed = ""
  const saved = new Map(Object.keys(VARIABLES).map((name) => [name, process.env[name]]))

  before(async () => {
    Object.assign(process.env, VARIABLES)
    moto = await startMoto()
    proxy = await startFaultProxy(moto.url)
    home = new Home()
  })

  after(async () => {
    for (const [name, value] of saved) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
    await proxy?.close()
    await moto?.close()
    home?.remove()
  })

  beforeEach(async () => {
    proxy.fault = undefined
    server = proxy.url
    printed = ""
    await moto.reset()
    proxy.forget()
  })

  let server = ""
  const encx = async (...argv: string[]): Promise<Ran> => {
    const endpoint = encodeURIComponent(server)
    const env = {
      ENCX_KMS: `awskms:///?region=us-east-1&endpoint=${endpoint}`,
      ENCX_SECRETS: `awssecretsmanager:///?region=us-east-1&endpoint=${endpoint}`,
      ENCX_KEK_ALIAS: "alias/app",
      ENCX_PEPPER_ALIAS: "app",
    }
    const ran = await home.encx(argv, { env })
    printed += ran.stdout + ran.stderr
    return ran
  }
  const ok = async (...argv: string[]): Promise<Ran> => {
    const ran = await encx(...argv)
    assert.equal(ran.code, 0, ran.stdout + ran.stderr)
    return ran
  }
  /** One that is well, and not on a machine that was busy with something else just then. */
  const doctor = async (...argv: string[]): Promise<Ran> => {
    for (let left = 5; left > 0; left--) {
      const ran = await encx("doctor", ...argv)
      if (ran.code === 0 || !/use a region that is near/.test(ran.stdout)) return ran
    }
    return await ok("doctor", ...argv)
  }
  const json = async (...argv: string[]) => JSON.parse((await ok(...argv, "--json")).stdout)

  const assertNothingSecret = async (): Promise<void> => {
    const store = awsSecretsManager({ region: "us-east-1", endpoint: moto.url })
    const versions = await store.getPepper("app")
    for (const { value } of versions) {
      const bytes = Buffer.from(value)
      for (const spelt of [bytes.toString("base64"), bytes.toString("hex"), bytes.toString("base64url")])
        assert.ok(!printed.includes(spelt), "a pepper was printed")
    }
    assert.ok(!printed.includes(SECRET_KEY), "the credentials were printed")
    await store.close()
  }

  it("makes a key and its secrets, and the doctor says that all is well", async () => {
    await ok("keys", "create", "--no-pepper")
    assert.deepEqual((await json("pepper", "init")).created, ["pepper", "index root"])
    assert.deepEqual((await json("pepper", "init")).created, [])
    const plain = await encx("doctor")
    assert.match(plain.stdout, /rotation +off[^\n]*\n +→ switch it on: aws kms enable-key-rotation/)
    const { keyID } = await json("keys", "describe")
    const kms = new KMSClient({ region: "us-east-1", endpoint: moto.url })
    await kms.send(new EnableKeyRotationCommand({ KeyId: keyID }))
    kms.destroy()
    proxy.forget()
    const { stdout } = await doctor()
    assert.match(stdout, /\nAll is well\.\n$/, stdout)
    assert.match(stdout, /✓ key +alias\/app → arn:aws:kms:us-east-1:\d+:key\/[0-9a-f-]{36}\n/)
    const writing = /Create|Put|Update|Delete|Schedule|Rotate|Replicate|Enable|Disable|Tag/
    assert.deepEqual(
      proxy.actions().filter((action) => writing.test(action)),
      [],
    )
    const found = reportOf(await doctor("--json")).checks.map(({ check, detail }) => `${check}: ${detail}`)
    assert.equal(new Set(found).size, found.length, "what two services have in common is told once")
    await assertNothingSecret()
  })

  it("takes the key that the URI names", async () => {
    await ok("keys", "create", "named", "--no-pepper")
    const uri = `awskms:///alias/named?region=us-east-1&endpoint=${encodeURIComponent(proxy.url)}`
    const ran = await home.encx(["keys", "describe", "--json"], { env: { ENCX_KMS: uri } })
    assert.equal(JSON.parse(ran.stdout).alias, "alias/named")
    const doctor = await home.encx(["doctor", "--json"], { env: { ENCX_KMS: uri } })
    assert.match(doctor.stdout, /KMS awskms:\/\/\/alias\/named \(ENCX_KMS\), key \\"alias\/named\\" \(ENCX_KMS\)/)
  })

  it("says of an empty account what is absent", async () => {
    const ran = await encx("doctor", "--json")
    assert.equal(ran.code, 1)
    const report = reportOf(ran)
    const codes = new Map(report.checks.map(({ check, code }) => [check, code]))
    assert.ok(
      failed(report).some(({ detail }) => /us-east-1/.test(detail) && /alias\/app/.test(detail)),
      ran.stdout,
    )
    assert.ok(codes.has("pepper"))
    assert.match(report.checks.find(({ check }) => check === "pepper")?.detail ?? "", /^absent/)
  })

  it("seals and opens, rotates, and describes the key", async () => {
    await ok("keys", "create", "--no-pepper")
    await ok("seal", home.write("a", "hello"), "--force")
    assert.match((await ok("keys", "rotate")).stdout, /^Rotated "alias\/app"\. The KMS keeps its versions to itself/)
    await ok("open", home.path("a.encx"), "-o", home.path("b"), "--force")
    assert.deepEqual(home.read("b"), home.read("a"))
    const key = await json("keys", "describe")
    assert.match(key.keyID, /^arn:aws:kms:us-east-1:\d+:key\//)
    assert.deepEqual([key.provider, key.alias, key.currentVersion, key.versions], ["aws-kms", "alias/app", 0, []])
    assert.match((await ok("keys", "describe")).stdout, /The KMS keeps its versions to itself\.\n$/)
    assertFailed(await encx("keys", "describe", "alias/none", "--json"), 1, "KEY_NOT_FOUND")
    assertFailed(await encx("keys", "create", "--no-pepper", "--json"), 1, "KEY_EXISTS")
  })

  it("copies a multi-region key to another region, and no other", async () => {
    // moto knows no key ARN in ReplicateKey, and copies any key.
    const ministack = await startMinistack()
    try {
      server = ministack.url
      await ok("keys", "create", "--no-pepper", "--multi-region")
      assertFailed(await encx("keys", "create", "--no-pepper", "--multi-region", "--json"), 1, "KEY_EXISTS")
      const { keyID, copy, region } = await json("keys", "replicate", "eu-west-1")
      assert.match(keyID, /:us-east-1:\d+:key\/mrk-/)
      assert.equal(copy, keyID.replace("us-east-1", "eu-west-1"))
      assert.equal(region, "eu-west-1")
      const { stdout } = await ok("keys", "replicate", "us-west-2")
      assert.match(stdout, /^Copied "alias\/app" to us-west-2: arn:aws:kms:us-west-2:/)
      assertFailed(await encx("keys", "replicate", "eu-west-1", "--json"), 1, "KEY_EXISTS")
      const nowhere = await encx("keys", "replicate", "eu-west-1", "--alias", "alias/none", "--json")
      assertFailed(nowhere, 1, "KEY_NOT_FOUND")
      await ok("keys", "create", "alias/single", "--no-pepper", "--alias", "alias/single")
      const single = await encx("keys", "replicate", "eu-west-1", "--alias", "alias/single", "--json")
      assert.equal(single.code, 1, single.stdout)
      assert.notEqual(errorOf(single).code, "KMS_UNAVAILABLE", single.stdout)
    } finally {
      await ministack.close()
    }
  })

  it("rotates the pepper, and drops the one before the last only when told to", async () => {
    await ok("keys", "create", "--no-pepper")
    assertFailed(await encx("pepper", "rotate", "--json"), 1, "SECRET_NOT_FOUND")
    await ok("pepper", "init")
    const first = (await json("pepper", "status")).pepper.versions[0].id
    const rotated = await json("pepper", "rotate")
    assert.deepEqual(
      rotated.versions.map(({ stage }: { stage: string }) => stage),
      ["current", "previous"],
    )
    assert.deepEqual([rotated.versions[1].id, rotated.lost], [first, []])
    const refused = await encx("pepper", "rotate", "--json")
    assertFailed(refused, 1, "PEPPER_WOULD_BE_LOST")
    assert.ok(errorOf(refused).message.includes(first))
    assert.deepEqual((await json("pepper", "status")).pepper.versions, rotated.versions)
    const dropped = await json("pepper", "rotate", "--drop-oldest")
    assert.deepEqual(dropped.lost, [first])
    assert.equal(dropped.versions[1].id, rotated.versions[0].id)
    await assertNothingSecret()
  })

  it("names the permission that is missing, and goes on", async () => {
    await ok("keys", "create")
    proxy.fault = { kind: "error", name: "AccessDeniedException", operation: "Encrypt" }
    const ran = await encx("doctor", "--json")
    assert.equal(ran.code, 1)
    const report = reportOf(ran)
    assert.ok(
      failed(report).some(({ hint, detail }) => /kms:Encrypt/.test(`${hint} ${detail}`)),
      ran.stdout,
    )
    assert.ok(report.checks.some(({ check, ok }) => check === "generate" && ok))
    assert.ok(report.checks.some(({ check, ok }) => check === "index root" && ok))
    proxy.fault = { kind: "error", name: "AccessDeniedException", operation: "GetSecretValue" }
    const secrets = reportOf(await encx("doctor", "--json"))
    assert.ok(failed(secrets).some(({ hint, detail }) => /secretsmanager:GetSecretValue/.test(`${hint} ${detail}`)))
    assert.ok(!failed(secrets).some(({ detail }) => /^absent/.test(detail)), "what was refused is not absent")
  })

  it("takes a service that does not answer for absent in no case", async () => {
    await ok("keys", "create")
    proxy.fault = { kind: "status", status: 503 }
    const ran = await encx("doctor", "--json")
    assert.equal(ran.code, 1)
    assert.ok(failed(reportOf(ran)).length > 0)
    assert.ok(!/absent/.test(ran.stdout), ran.stdout)
    for (const argv of [
      ["pepper", "init"],
      ["pepper", "rotate"],
      ["pepper", "status"],
    ]) {
      assertFailed(await encx(...argv, "--json"), 1, "SECRET_STORAGE_UNAVAILABLE")
    }
    assertFailed(await encx("keys", "describe", "--json"), 1, "KMS_UNAVAILABLE")
  })
})
