import assert from "node:assert/strict"
import { after, afterEach, before, beforeEach, describe, it } from "node:test"
import { DescribeKeyCommand, KMSClient, ListAliasesCommand, ListKeysCommand } from "@aws-sdk/client-kms"
import { DescribeSecretCommand, ListSecretsCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager"
import { EncxError } from "../core/errors.ts"
import {
  type Crypto,
  newCrypto,
  type Option,
  withAdditionalKEK,
  withBootstrap,
  withIndexRoot,
  withKEKAlias,
  withKMSService,
  withPepper,
} from "../mod.ts"
import { awsKMS } from "../providers/aws-kms.ts"
import { awsSecretsManager } from "../providers/aws-secrets-manager.ts"
import { CREDENTIALS } from "./_aws.ts"
import { type Fault, type FaultProxy, needsServer, type Server, startFaultProxy, startMoto } from "./servers/index.ts"
import { bytes32 } from "./suites/_assert.ts"

const REGION = "eu-west-1"
const STARTS = 100
const ALL = withBootstrap({ createKEK: true, createPepper: true })
const PLACE = { table: "users", column: "email" }

describe("newCrypto() over AWS", needsServer("moto"), () => {
  let moto: Server
  let proxy: FaultProxy
  const open: { close(): Promise<void> }[] = []
  // One process of Python answers everybody: whoever comes last waits for the others.
  const patient = { requestTimeoutMs: 60_000, deadlineMs: 120_000, connectionTimeoutMs: 60_000 }
  const brief = { requestTimeoutMs: 200, deadlineMs: 600, attempts: 2 }

  before(async () => {
    moto = await startMoto()
    proxy = await startFaultProxy(moto.url)
  })
  beforeEach(async () => {
    await moto.reset()
    proxy.forget()
  })
  afterEach(async () => {
    proxy.fault = undefined
    await Promise.all(open.splice(0).map((each) => each.close()))
  })
  after(async () => {
    await proxy.close()
    await moto.close()
  })

  const at = (options: object) => ({ region: REGION, endpoint: proxy.url, credentials: CREDENTIALS, ...options })
  const kept = <Service extends { close(): Promise<void> }>(service: Service): Service => {
    open.push(service)
    return service
  }
  const start = async (options: object, ...more: Option[]): Promise<Crypto> =>
    kept(
      await newCrypto(
        withKMSService(kept(awsKMS(at(options)))),
        withKEKAlias("alias/app"),
        withPepper(kept(awsSecretsManager(at(options))), "app"),
        ALL,
        ...more,
      ),
    )

  it(`${STARTS} first starts at once end with one pepper, one index root, one alias and one enabled key`, async () => {
    const programs = await Promise.all(Array.from({ length: STARTS }, () => start(patient)))

    const { keys, aliases, secrets } = await contents(moto.url)
    const enabled = keys.filter(({ state }) => state === "Enabled")
    assert.equal(enabled.length, 1)
    assert.deepEqual(aliases, [{ name: "alias/app", key: enabled[0]?.id }])
    assert.deepEqual(secrets, [
      { name: "encx/app/index-root", versions: 1 },
      { name: "encx/app/pepper", versions: 1 },
    ])
    const losers = keys.filter(({ state }) => state === "PendingDeletion").length
    assert.equal(keys.length, 1 + losers, "every other key is scheduled for deletion")
    assert.equal(proxy.count("CreateKey"), 1 + losers)
    assert.equal(proxy.count("ScheduleKeyDeletion"), losers)

    const [first, ...others] = programs as [Crypto, ...Crypto[]]
    const envelope = await first.seal(bytes32(1))
    const index = first.blindIndex("ada@example.org", PLACE)
    const hash = await first.hashSecure("correct horse")
    for (const other of others) assert.deepEqual(other.blindIndex("ada@example.org", PLACE), index)
    for (const other of others.slice(0, 10)) {
      assert.deepEqual(await other.open(envelope), bytes32(1))
      assert.equal(await other.compareSecureHashAndValue("correct horse", hash), true)
    }
  })

  it("a start that cannot reach the secret store creates nothing", async () => {
    const secretsOnly = { when: ({ service }: { service: string }) => service === "secretsmanager" }
    const faults: readonly (Fault & object)[] = [
      { kind: "status", status: 500, ...secretsOnly },
      { kind: "silence", ...secretsOnly },
      { kind: "reset", ...secretsOnly },
      { kind: "truncate", ...secretsOnly },
      { kind: "error", name: "AccessDeniedException", ...secretsOnly },
      { kind: "error", name: "ExpiredTokenException", ...secretsOnly },
      { kind: "error", name: "InvalidRequestException", ...secretsOnly },
    ]
    for (const fault of faults) {
      proxy.fault = fault
      await assert.rejects(start(brief), EncxError, fault.kind)
      assert.deepEqual(await contents(moto.url), { keys: [], aliases: [], secrets: [] }, fault.kind)
    }
    proxy.fault = undefined
    // Nor does one that finds the place of the index root or of another key out of reach.
    const nowhere = { region: REGION, endpoint: "https://127.0.0.1:1", credentials: CREDENTIALS, ...brief }
    await assert.rejects(start(brief, withIndexRoot(kept(awsSecretsManager(nowhere)), "app")), EncxError)
    await assert.rejects(start(brief, withAdditionalKEK(kept(awsKMS(nowhere)), "alias/app")), EncxError)
    assert.deepEqual(await contents(moto.url), { keys: [], aliases: [], secrets: [] })
    await start(patient)
    assert.equal((await contents(moto.url)).keys.length, 1)
  })

  it("a start that cannot reach the KMS creates nothing", async () => {
    proxy.fault = { kind: "status", status: 500, when: ({ service }) => service === "kms" }
    await assert.rejects(start(brief), EncxError)
    proxy.fault = undefined
    assert.deepEqual(await contents(moto.url), { keys: [], aliases: [], secrets: [] })
  })

  it("a start without withBootstrap creates nothing", async () => {
    await assert.rejects(start(brief, withBootstrap({})), /alias\/app/)
    assert.deepEqual(await contents(moto.url), { keys: [], aliases: [], secrets: [] })
  })

  it("a hash under the pepper before the rotation still verifies, and then wants another", async () => {
    const secrets = kept(awsSecretsManager(at(patient)))
    const before = await start(patient)
    const hash = await before.hashSecure("correct horse")
    await secrets.rotatePepper("app", bytes32(9))
    const after = await start(patient)
    assert.equal(await after.compareSecureHashAndValue("correct horse", hash), true)
    assert.equal(after.needsRehash(hash), true)
    const renewed = await after.hashSecure("correct horse")
    assert.equal(await after.compareSecureHashAndValue("correct horse", renewed), true)
    assert.equal(after.needsRehash(renewed), false)
  })
})

interface Contents {
  keys: { id: string | undefined; state: string | undefined }[]
  aliases: { name: string | undefined; key: string | undefined }[]
  secrets: { name: string | undefined; versions: number }[]
}

/** What there is, by the SDK alone. */
async function contents(endpoint: string): Promise<Contents> {
  const at = { region: REGION, endpoint, credentials: CREDENTIALS }
  const [kms, secrets] = [new KMSClient(at), new SecretsManagerClient(at)]
  try {
    const { Keys = [] } = await kms.send(new ListKeysCommand({ Limit: 1_000 }))
    const keys = await Promise.all(
      Keys.map(async ({ KeyId }) => {
        const { KeyMetadata } = await kms.send(new DescribeKeyCommand({ KeyId }))
        return { id: KeyMetadata?.KeyId, state: KeyMetadata?.KeyState }
      }),
    )
    const { Aliases = [] } = await kms.send(new ListAliasesCommand({}))
    const { SecretList = [] } = await secrets.send(new ListSecretsCommand({}))
    const described = await Promise.all(
      SecretList.map(({ Name }) => secrets.send(new DescribeSecretCommand({ SecretId: Name }))),
    )
    return {
      keys,
      aliases: Aliases.filter(({ AliasName }) => !AliasName?.startsWith("alias/aws/")).map(
        ({ AliasName, TargetKeyId }) => ({ name: AliasName, key: TargetKeyId }),
      ),
      secrets: described
        .map(({ Name, VersionIdsToStages = {} }) => ({ name: Name, versions: Object.keys(VersionIdsToStages).length }))
        .sort((a, b) => String(a.name).localeCompare(String(b.name))),
    }
  } finally {
    kms.destroy()
    secrets.destroy()
  }
}
