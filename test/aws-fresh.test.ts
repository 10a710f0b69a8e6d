import assert from "node:assert/strict"
import { after, afterEach, before, describe, it } from "node:test"
import { CreateSecretCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager"
import { type EncxError, KeyNotFound, SecretEmpty } from "../core/errors.ts"
import { newCrypto, withBootstrap, withKEKAlias, withKMSService, withPepper } from "../mod.ts"
import { type AWSKMS, type AWSKMSOptions, awsKMS } from "../providers/aws-kms.ts"
import { type AWSSecretsManager, awsSecretsManager } from "../providers/aws-secrets-manager.ts"
import { CREDENTIALS, lent } from "./_aws.ts"
import { type Fault, type FaultProxy, needsServer, type Server, startFaultProxy, startMoto } from "./servers/index.ts"
import { bytes32, listOf, rejectsWith } from "./suites/_assert.ts"

const REGION = "eu-west-1"
const CONTEXT = { purpose: "encx.v2.dek" }

async function errorOf(call: () => Promise<unknown>): Promise<EncxError> {
  return await call().then(
    () => assert.fail("it must reject"),
    (reason: EncxError) => reason,
  )
}

describe("what AWS does not know for certain", needsServer("moto"), () => {
  let moto: Server
  let proxy: FaultProxy
  const at = (options: AWSKMSOptions = {}): AWSKMSOptions => ({
    region: REGION,
    endpoint: proxy.url,
    credentials: CREDENTIALS,
    random: () => 0,
    ...options,
  })
  const kmsAt = (options?: AWSKMSOptions): AWSKMS => awsKMS(at(options))
  const secretsAt = (options?: AWSKMSOptions): AWSSecretsManager => awsSecretsManager(at(options) as object)

  before(async () => {
    moto = await startMoto()
    proxy = await startFaultProxy(moto.url)
  })
  afterEach(() => {
    proxy.fault = undefined
    proxy.forget()
  })
  after(async () => {
    await proxy.close()
    await moto.close()
  })

  // --- Keys that were just made ---

  const unknown = (operation: string, more: object = {}): Fault => ({
    kind: "error",
    name: "NotFoundException",
    operation,
    ...more,
  })

  it("a key and its alias that AWS does not know everywhere yet are asked for again", async () => {
    await lent(kmsAt(), async (kms) => {
      proxy.fault = [
        unknown("CreateAlias", { times: 1 }),
        // The first is the question whether the alias is taken.
        unknown("DescribeKey", { after: 1, times: 2 }),
        unknown("GenerateDataKey", { times: 1 }),
      ]
      const made = await kms.createKey("fresh")
      assert.equal(await kms.getKeyID("fresh"), made)
      await kms.generateDEK(made, CONTEXT)
      const counts = ["CreateKey", "CreateAlias", "DescribeKey", "GenerateDataKey"].map((each) => proxy.count(each))
      assert.deepEqual(counts, [1, 2, 4, 2])
    })
  })

  it("a first start ends well although the alias that it made is not known at once", async () => {
    await lent(kmsAt(), async (kms) => {
      // Not to the start, nor to createKey() before it makes one.
      proxy.fault = unknown("DescribeKey", { after: 2, times: 2 })
      const create = withBootstrap({ createKEK: true })
      const crypto = await newCrypto(withKMSService(kms), withKEKAlias("first-start"), create)
      assert.deepEqual(await crypto.open(await crypto.seal(bytes32(1))), bytes32(1))
      assert.equal(proxy.count("CreateKey"), 1)
      await crypto.close()
    })
  })

  it("who finds the alias taken at the last moment waits for it, too", async () => {
    const first = await lent(kmsAt(), (kms) => kms.createKey("taken"))
    await lent(kmsAt(), async (kms) => {
      proxy.fault = unknown("DescribeKey", { times: 1 })
      assert.equal((await errorOf(() => kms.createKey("taken"))).code, "KEY_EXISTS")
      proxy.fault = unknown("DescribeKey", { times: 1 })
      assert.equal(await kms.getKeyID("taken"), first)
    })
  })

  it("what AWS goes on not to know is absent, within the deadline; and at once a minute later", async () => {
    const clock = { ms: 0, now: () => performance.now() + clock.ms }
    await lent(kmsAt({ clock, deadlineMs: 1_000 }), async (kms) => {
      await kms.createKey("gone")
      proxy.forget()
      proxy.fault = unknown("DescribeKey")
      assert.ok((await errorOf(() => kms.getKeyID("gone"))) instanceof KeyNotFound)
      assert.ok(proxy.count() >= 2, `${proxy.count()} questions`)
      proxy.forget()
      assert.ok((await errorOf(() => kms.getKeyID("another"))) instanceof KeyNotFound)
      assert.equal(proxy.count(), 1)
      proxy.forget()
      clock.ms = 60_001
      assert.ok((await errorOf(() => kms.getKeyID("gone"))) instanceof KeyNotFound)
      assert.equal(proxy.count(), 1)
    })
  })

  it("the caller's signal ends the wait for what was just made", async () => {
    await lent(kmsAt(), async (kms) => {
      await kms.createKey("left")
      const reason = new Error("this caller left")
      const leaving = new AbortController()
      const when = (): boolean => {
        setImmediate(() => leaving.abort(reason))
        return true
      }
      proxy.fault = unknown("DescribeKey", { when })
      await assert.rejects(kms.getKeyID("left", { signal: leaving.signal }), reason)
    })
  })

  // --- Secrets ---

  const lacking = (operation: string): Fault => ({
    kind: "error",
    name: "ResourceNotFoundException",
    operation,
  })
  const versions = (labels: Record<string, string[]>): Fault => ({
    kind: "rewrite",
    operation: "DescribeSecret",
    body: (answer) => ({ ...answer, VersionIdsToStages: labels }),
  })

  it("a secret without a current version is not absent: nothing reads it, and nothing is created in its place", async () => {
    const client = new SecretsManagerClient({ region: REGION, endpoint: moto.url, credentials: CREDENTIALS })
    // As Terraform makes one to which no version was given.
    await client.send(new CreateSecretCommand({ Name: "encx/empty/pepper" }))
    client.destroy()
    await lent(secretsAt(), async (secrets) => {
      await secrets.storePepper("unlabelled", bytes32(1))
      for (const [alias, fault] of [
        ["empty", undefined],
        ["unlabelled", versions({ "11111111-2222-3333-4444-555555555555": ["AWSPREVIOUS"] })],
        ["unlabelled", versions({})],
      ] as const) {
        proxy.fault = fault
        for (const call of [
          () => secrets.getPepper(alias),
          () => secrets.pepperExists(alias),
          () => secrets.rotatePepper(alias, bytes32(2)),
          () => secrets.storePepper(alias, bytes32(2)),
        ]) {
          const error = await errorOf(call)
          assert.ok(error instanceof SecretEmpty, String(error))
          assert.match(error.message, /none of its versions is current$/)
          assert.match(error.hint ?? "", /put-secret-value/)
        }
        assert.equal(proxy.count("PutSecretValue"), 0)
      }
      proxy.fault = undefined
      proxy.forget()
      const checks = (await listOf(secrets.diagnose("empty"))).filter(({ ok }) => !ok).map(({ check }) => check)
      assert.deepEqual(checks, ["secretsmanager:GetSecretValue"])
      await lent(kmsAt(), async (kms) => {
        await kms.createKey("for-empty")
        const options = [withKMSService(kms), withKEKAlias("for-empty"), withPepper(secrets, "empty")]
        await rejectsWith(newCrypto(...options, withBootstrap({ createPepper: true })), SecretEmpty)
        assert.equal(proxy.count("CreateSecret"), 0)
      })
    })
  })

  it("a current version whose value is gone is a failure of the store, and not absent", async () => {
    await lent(secretsAt(), async (secrets) => {
      await secrets.storePepper("turning", bytes32(1))
      proxy.forget()
      proxy.fault = lacking("GetSecretValue")
      assert.equal((await errorOf(() => secrets.getPepper("turning"))).code, "SECRET_STORAGE_UNAVAILABLE")
      assert.deepEqual([proxy.count("DescribeSecret"), proxy.count("GetSecretValue")], [2, 2])
    })
  })

  it("storePepper() says what kept it from finding out whether a secret is its own", async () => {
    await lent(secretsAt(), (secrets) => secrets.storePepper("there", bytes32(1)))
    for (const [fault, code] of [
      [{ kind: "status", status: 503 }, "SECRET_STORAGE_UNAVAILABLE"],
      [{ kind: "error", name: "AccessDeniedException" }, "ACCESS_DENIED"],
      [{ kind: "error", name: "ResourceNotFoundException" }, "SECRET_EXISTS"],
    ] as const) {
      await lent(secretsAt(), async (secrets) => {
        proxy.fault = { ...fault, operation: "DescribeSecret" }
        assert.equal((await errorOf(() => secrets.storePepper("there", bytes32(2)))).code, code)
      })
    }
    await lent(secretsAt(), async (secrets) => {
      proxy.fault = [
        { kind: "status", status: 503, operation: "CreateSecret" },
        { kind: "error", name: "AccessDeniedException", operation: "DescribeSecret" },
      ]
      const error = await errorOf(() => secrets.storePepper("doubtful", bytes32(2)))
      assert.equal(error.code, "SECRET_STORAGE_UNAVAILABLE")
      assert.match(error.hint ?? "", /whether it was stored is not known: .*secretsmanager:DescribeSecret/)
      proxy.fault = { kind: "status", status: 503, operation: "CreateSecret" }
      const absent = await errorOf(() => secrets.storePepper("doubtful", bytes32(2)))
      assert.equal(absent.code, "SECRET_STORAGE_UNAVAILABLE")
      assert.doesNotMatch(absent.hint ?? "", /not known/)
    })
  })
})
