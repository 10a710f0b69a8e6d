import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { after, before, beforeEach, describe, it } from "node:test"
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  DescribeSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager"
import { InvalidConfiguration, InvalidFormat, SecretDeleted, SecretExists, SecretNotFound } from "../../core/errors.ts"
import {
  type AWSSecretsManager,
  type AWSSecretsManagerOptions,
  awsSecretsManager,
} from "../../providers/aws-secrets-manager.ts"
import { createRegistry } from "../../providers/registry.ts"
import { CREDENTIALS, lent } from "../_aws.ts"
import { needsServer, type Server, startMinistack, startMoto } from "../servers/index.ts"
import { bytes32, listOf, rejectsWith } from "../suites/_assert.ts"
import { secretManagementServiceSuite } from "../suites/secret-management-service.ts"

const REGION = "eu-west-1"
const SERVERS = {
  moto: { start: startMoto, credentials: CREDENTIALS },
  ministack: { start: startMinistack, credentials: { accessKeyId: "test", secretAccessKey: "test" } },
} as const

for (const [name, { start, credentials }] of Object.entries(SERVERS)) {
  describe(`awsSecretsManager() over ${name}`, needsServer(name as keyof typeof SERVERS), () => {
    let server: Server
    let client: SecretsManagerClient
    const secretsAt = (options: AWSSecretsManagerOptions = {}): AWSSecretsManager =>
      awsSecretsManager({ region: REGION, endpoint: server.url, credentials, ...options })

    before(async () => {
      server = await start()
      client = new SecretsManagerClient({ region: REGION, endpoint: server.url, credentials })
    })
    beforeEach(() => server.reset())
    after(async () => {
      client.destroy()
      await server.close()
    })

    secretManagementServiceSuite(`aws-secrets-manager over ${name}`, async () => {
      await server.reset()
      const secrets = secretsAt()
      return { secrets, close: () => secrets.close() }
    })

    it("stores a pepper as the Go library does, and reads what that stored", async () => {
      await lent(secretsAt(), async (secrets) => {
        await secrets.storePepper("team/app", bytes32(1))
        const SecretId = "encx/team/app/pepper"
        const stored = await client.send(new GetSecretValueCommand({ SecretId }))
        assert.equal(stored.SecretString, Buffer.from(bytes32(1)).toString("base64"))
        assert.equal(stored.SecretBinary, undefined)
        const { Description } = await client.send(new DescribeSecretCommand({ SecretId }))
        assert.equal(Description, "ENCX pepper for team/app")

        const SecretString = Buffer.from(bytes32(2)).toString("base64")
        await client.send(new CreateSecretCommand({ Name: "encx/go/pepper", SecretString: `${SecretString}\n` }))
        assert.deepEqual(await values(secrets, "go"), [["current", bytes32(2)]])
        await client.send(new CreateSecretCommand({ Name: "encx/raw/pepper", SecretBinary: bytes32(3) }))
        assert.deepEqual(await values(secrets, "raw"), [["current", bytes32(3)]])
        await client.send(new CreateSecretCommand({ Name: "encx/text/pepper", SecretString: "correct horse" }))
        await rejectsWith(secrets.getPepper("text"), InvalidFormat)
      })
    })

    it("verifies with the versions of a rotation that is under way, in their order", async () => {
      await lent(secretsAt(), async (secrets) => {
        await secrets.storePepper("app", bytes32(1))
        await secrets.rotatePepper("app", bytes32(2))
        const SecretString = Buffer.from(bytes32(3)).toString("base64")
        const pending = { SecretId: "encx/app/pepper", SecretString, VersionStages: ["AWSPENDING"] }
        await client.send(new PutSecretValueCommand(pending))
        assert.deepEqual(await values(secrets, "app"), [
          ["current", bytes32(2)],
          ["previous", bytes32(1)],
          ["pending", bytes32(3)],
        ])
      })
    })

    it("does not take for absent what was deleted and can be restored", async () => {
      await lent(secretsAt(), async (secrets) => {
        await secrets.storePepper("app", bytes32(1))
        await client.send(new DeleteSecretCommand({ SecretId: "encx/app/pepper", RecoveryWindowInDays: 7 }))
        await rejectsWith(secrets.getPepper("app"), SecretDeleted)
        await rejectsWith(secrets.pepperExists("app"), SecretDeleted)
        await rejectsWith(secrets.rotatePepper("app", bytes32(2)), SecretDeleted)
        // moto and ministack say that it is there, AWS that it was deleted.
        await rejectsWith(secrets.storePepper("app", bytes32(2)), SecretDeleted, SecretExists)
        const found = await listOf(secrets.diagnose("app"))
        assert.ok(found.some(({ ok, hint }) => !ok && /restore-secret/.test(hint ?? "")))
        await client.send(new DeleteSecretCommand({ SecretId: "encx/app/pepper", ForceDeleteWithoutRecovery: true }))
        await rejectsWith(secrets.getPepper("app"), SecretNotFound)
        assert.equal(await secrets.pepperExists("app"), false)
      })
    })

    it("is diagnosed: whether it may be asked, not whether there is something", async () => {
      await lent(secretsAt(), async (secrets) => {
        const absent = await listOf(secrets.diagnose("app"))
        // That there is none is an answer: the permission is there.
        assert.ok(absent.every(({ ok }) => ok) && absent.some(({ detail }) => /there is no /.test(detail)))
        await secrets.storePepper("app", bytes32(1))
        assert.ok((await listOf(secrets.diagnose("app"))).every(({ ok }) => ok))
      })
    })
  })
}

describe("awsSecretsManager()", () => {
  it("is opened by URI", async () => {
    for (const uri of [
      "awssecretsmanager",
      "awssecretsmanager://",
      "awssecretsmanager:///?region=eu-west-1&endpoint=http://127.0.0.1:1",
    ]) {
      const service = await createRegistry().open(uri)
      assert.equal(service.provider, "aws-secrets-manager")
      await service.close?.()
    }
  })

  it("refuses options that cannot be used", () => {
    for (const options of [{ encoding: "raw" }, { endpoint: "ftp://x" }, { region: "" }]) {
      assert.throws(() => awsSecretsManager(options as object), InvalidConfiguration)
    }
  })
})

async function values(secrets: AWSSecretsManager, alias: string): Promise<[string, Uint8Array][]> {
  return (await secrets.getPepper(alias)).map(({ stage, value }) => [stage, Uint8Array.from(value)])
}
