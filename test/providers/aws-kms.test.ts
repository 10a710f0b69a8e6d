import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { randomUUID } from "node:crypto"
import { after, before, describe, it } from "node:test"
import { KMSClient } from "@aws-sdk/client-kms"
import {
  AccessDenied,
  AuthenticationFailed,
  EncxError,
  InvalidConfiguration,
  KeyDisabled,
  KeyExists,
  KeyNotFound,
} from "../../core/errors.ts"
import { newCrypto, withKEKAlias, withKMSService } from "../../mod.ts"
import { sameKey } from "../../providers/_aws-arn.ts"
import { type AWSKMS, type AWSKMSOptions, awsKMS } from "../../providers/aws-kms.ts"
import { createRegistry } from "../../providers/registry.ts"
import { CREDENTIALS, lent } from "../_aws.ts"
import { needsServer, type Server, startMinistack, startMoto } from "../servers/index.ts"
import { bytes32, listOf, rejectsWith } from "../suites/_assert.ts"
import { CONTEXT } from "../suites/_keys.ts"
import { keyManagementServiceSuite } from "../suites/key-management-service.ts"

const REGION = "eu-west-1"
const newAlias = (): string => `app-${randomUUID()}`

async function errorOf(call: Promise<unknown>): Promise<EncxError> {
  const error = await call.then(
    () => assert.fail("it must reject"),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof EncxError, String(error))
  return error
}

describe("awsKMS() over moto", needsServer("moto"), () => {
  let moto: Server
  const kmsAt = (options: AWSKMSOptions = {}): AWSKMS =>
    awsKMS({ region: REGION, endpoint: moto.url, credentials: CREDENTIALS, ...options })

  before(async () => {
    moto = await startMoto()
  })
  after(() => moto.close())

  keyManagementServiceSuite("aws-kms", async () => {
    const kms = kmsAt()
    const alias = newAlias()
    await kms.createKey(alias)
    return { kms, alias, close: () => kms.close() }
  })

  it("takes an alias, with and without its prefix, an alias ARN, a key id and a key ARN", async () => {
    await lent(kmsAt(), async (kms) => {
      const alias = newAlias()
      const arn = await kms.createKey(alias)
      const id = arn.replace(/^.*\//, "")
      const aliasARN = arn.replace(/key\/.*$/, `alias/${alias}`)
      for (const name of [alias, `alias/${alias}`, aliasARN, id, arn]) {
        assert.equal(await kms.getKeyID(name), arn, name)
        const wrapped = await kms.encryptDEK(name, bytes32(1), CONTEXT)
        assert.equal(wrapped.keyID, arn)
        assert.deepEqual(Uint8Array.from(await kms.decryptDEK({ ...wrapped, keyID: name }, CONTEXT)), bytes32(1))
      }
      for (const name of [id, arn]) await rejectsWith(kms.createKey(name), InvalidConfiguration)
      await rejectsWith(kms.createKey(alias), KeyExists)
    })
  })

  it("stores wraps as the Go library does, in base64", async () => {
    await lent(kmsAt({ encoding: "base64" }), async (go) => {
      const keyID = await go.createKey(newAlias())
      const wrapped = await go.encryptDEK(keyID, bytes32(1), {})
      const text = Buffer.from(wrapped.ciphertext).toString("latin1")
      assert.match(text, /^[A-Za-z0-9+/]+={0,2}$/)
      assert.deepEqual(Uint8Array.from(await go.decryptDEK(wrapped, {})), bytes32(1))
      await lent(kmsAt(), async (raw) => {
        const ciphertext = Uint8Array.from(Buffer.from(text, "base64"))
        assert.deepEqual(Uint8Array.from(await raw.decryptDEK({ ...wrapped, ciphertext }, {})), bytes32(1))
      })
      const broken = wrapped.ciphertext.map((byte, i) => (i === 3 ? 0x20 : byte))
      assert.equal((await errorOf(go.decryptDEK({ ...wrapped, ciphertext: broken }, {}))).code, "DECRYPTION_FAILED")
    })
    assert.throws(() => kmsAt({ encoding: "hex" as "raw" }), InvalidConfiguration)
  })

  it("says where it looked for a key, and names both regions when it is in another", async () => {
    await lent(kmsAt(), async (kms) => {
      const absent = await errorOf(kms.getKeyID("nowhere"))
      assert.equal(
        absent.message,
        'Cannot find the key "alias/nowhere": aws-kms has none of this name in the region "eu-west-1"',
      )
      const arn = await kms.createKey(newAlias())
      for (const name of [arn, arn.replace(/key\/.*$/, "alias/app")]) {
        await lent(kmsAt({ region: "us-east-1" }), async (elsewhere) => {
          for (const call of [() => elsewhere.getKeyID(name), () => elsewhere.encryptDEK(name, bytes32(1), {})]) {
            const error = await errorOf(call())
            assert.ok(error instanceof InvalidConfiguration)
            assert.match(error.message, /"eu-west-1".*"us-east-1"/)
            assert.match(error.hint ?? "", /AWS_REGION=eu-west-1/)
          }
        })
      }
      await rejectsWith(kms.getKeyID("arn:aws:s3:::bucket"), InvalidConfiguration)
    })
  })

  it("refuses a key that is not symmetric, or does not encrypt", async () => {
    const client = new KMSClient({ region: REGION, endpoint: moto.url, credentials: CREDENTIALS })
    const { CreateKeyCommand } = await import("@aws-sdk/client-kms")
    const made = await client.send(new CreateKeyCommand({ KeySpec: "RSA_2048", KeyUsage: "ENCRYPT_DECRYPT" }))
    client.destroy()
    await lent(kmsAt(), async (kms) => {
      const error = await errorOf(kms.getKeyID(made.KeyMetadata?.KeyId ?? ""))
      assert.ok(error instanceof InvalidConfiguration)
      assert.match(error.message, /RSA_2048/)
    })
  })

  it("takes a client of the program's own, and leaves it open", async () => {
    const client = new KMSClient({ region: REGION, endpoint: moto.url, credentials: CREDENTIALS, maxAttempts: 1 })
    const keyID = await lent(awsKMS({ client }), (kms) => kms.createKey(newAlias()))
    await lent(awsKMS({ client }), async (kms) => assert.equal(await kms.getKeyID(keyID), keyID))
    client.destroy()
  })

  it("takes credentials from a function, and an endpoint for each region", async () => {
    const asked: string[] = []
    const kms = awsKMS({
      region: "us-west-2",
      endpoint: (region) => {
        asked.push(region)
        return moto.url
      },
      credentials: async () => CREDENTIALS,
    })
    await lent(kms, async () => {
      assert.match(await kms.createKey(newAlias()), /^arn:aws:kms:us-west-2:/)
      assert.deepEqual(asked, ["us-west-2"])
    })
  })

  it("moves an alias", async () => {
    await lent(kmsAt(), async (kms) => {
      const alias = newAlias()
      const [first, second] = [await kms.createKey(alias), await kms.createKey(newAlias())]
      assert.equal(await kms.getKeyID(alias), first)
      await kms.moveAlias(alias, second)
      assert.equal(await kms.getKeyID(alias), second)
      await rejectsWith(kms.moveAlias(newAlias(), second), KeyNotFound)
    })
  })

  it("is opened by URI, in our spelling and in others', and the URI names the key", async () => {
    const [alias, query] = [newAlias(), `region=${REGION}&endpoint=${encodeURIComponent(moto.url)}`]
    const before = { ...process.env }
    Object.assign(process.env, {
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
      AWS_ENDPOINT_URL: moto.url,
      AWS_REGION: REGION,
    })
    try {
      const arn = await lent(kmsAt(), (kms) => kms.createKey(alias))
      for (const uri of [
        `awskms:///alias/${alias}?${query}`,
        `awskms:///${alias}?${query}`,
        `awskms://alias/${alias}?${query}`,
        `awskms://127.0.0.1:${moto.port}/alias/${alias}?region=${REGION}`,
        `awskms:///${arn}?${query}`,
        `awskms://${arn.replace(/^.*\//, "")}?${query}`,
        `aws-kms://${arn}`,
        arn,
      ]) {
        const crypto = await newCrypto(withKMSService(uri))
        assert.deepEqual(await crypto.open(await crypto.seal(bytes32(1))), bytes32(1), uri)
        const { keyID } = await crypto.encryptDEK(bytes32(2))
        assert.equal(keyID, arn, uri)
        await crypto.close()
      }
      const other = await newCrypto(withKMSService(`awskms:///alias/nowhere?${query}`), withKEKAlias(alias))
      assert.equal(other.alias, alias)
      await other.close()
    } finally {
      for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"]) {
        if (before[name] === undefined) delete process.env[name]
        else process.env[name] = before[name]
      }
    }
  })
})

describe("awsKMS() over ministack", needsServer("ministack"), () => {
  let server: Server
  const ROOT = { accessKeyId: "test", secretAccessKey: "test" }
  const kmsAt = (options: AWSKMSOptions = {}): AWSKMS =>
    awsKMS({ region: REGION, endpoint: server.url, credentials: ROOT, ...options })
  const asRoot = async (command: string, input: object): Promise<Record<string, unknown>> => {
    const sdk = (await import("@aws-sdk/client-kms")) as unknown as Record<string, new (input: object) => never>
    const client = new KMSClient({ region: REGION, endpoint: server.url, credentials: ROOT })
    try {
      return (await client.send(new (sdk[`${command}Command`] as new (input: object) => never)(input))) as never
    } finally {
      client.destroy()
    }
  }

  before(async () => {
    server = await startMinistack({ auth: true })
  })
  after(() => server.close())

  it("says that a key is disabled, or scheduled for deletion", async () => {
    await lent(kmsAt(), async (kms) => {
      const keyID = await kms.createKey(newAlias())
      const wrapped = await kms.encryptDEK(keyID, bytes32(1), CONTEXT)
      for (const [command, state] of [
        ["DisableKey", /it is disabled$/],
        ["ScheduleKeyDeletion", /it is scheduled for deletion$/],
      ] as const) {
        await asRoot(command, { KeyId: keyID })
        for (const call of [
          () => kms.encryptDEK(keyID, bytes32(1), CONTEXT),
          () => kms.generateDEK(keyID, CONTEXT),
          () => kms.decryptDEK(wrapped, CONTEXT),
        ]) {
          const error = await errorOf(call())
          assert.ok(error instanceof KeyDisabled, String(error))
          assert.match(error.message, state)
          assert.ok(error.hint)
        }
        assert.ok((await listOf(kms.diagnose(keyID))).some(({ check, ok }) => check === "key state" && !ok))
      }
    })
  })

  it("says which action is missing, and the statement that allows it", async () => {
    const keyID = await lent(kmsAt(), (kms) => kms.createKey(newAlias()))
    const statement = { Effect: "Allow", Action: ["kms:DescribeKey", "kms:GenerateDataKey"], Resource: keyID }
    const credentials = await newUser(server.url, { Version: "2012-10-17", Statement: [statement] })
    await lent(kmsAt({ credentials }), async (kms) => {
      const { plaintext: _, ...wrapped } = await kms.generateDEK(keyID, CONTEXT)
      for (const [action, call] of [
        ["kms:Decrypt", () => kms.decryptDEK(wrapped, CONTEXT)],
        ["kms:Encrypt", () => kms.encryptDEK(keyID, bytes32(1), CONTEXT)],
      ] as const) {
        const error = await errorOf(call())
        assert.ok(error instanceof AccessDenied, String(error))
        assert.ok(!error.retryable)
        assert.equal(
          error.message,
          `Cannot call ${action} on the key "${keyID}": access denied in the region "${REGION}"`,
        )
        const allowed = JSON.parse(/\{.*\}/.exec(error.hint ?? "")?.[0] ?? "null")
        assert.deepEqual(allowed, { Effect: "Allow", Action: action, Resource: keyID })
      }
      const found = await listOf(kms.diagnose(keyID))
      const failed = found.filter(({ ok }) => !ok).map(({ check }) => check)
      assert.deepEqual(failed, ["kms:Encrypt", "kms:Decrypt"])
      await rejectsWith(kms.createKey(newAlias()), AccessDenied)
    })
    const stranger = { accessKeyId: "AKIAAAAAAAAAAAAAAAAA", secretAccessKey: "x" }
    await lent(kmsAt({ credentials: stranger }), (kms) => rejectsWith(kms.getKeyID(keyID), AuthenticationFailed))
  })

  it("opens with either copy what a multi-region key wrapped", async () => {
    await lent(kmsAt(), async (here) => {
      await lent(kmsAt({ region: "us-east-1" }), async (there) => {
        const alias = newAlias()
        const keyID = await here.createKey(alias, { multiRegion: true })
        const copy = await here.replicateKey(keyID, "us-east-1")
        assert.notEqual(copy, keyID)
        assert.ok(here.sameKey(copy, keyID))
        const wrapped = await here.encryptDEK(keyID, bytes32(1), CONTEXT)
        assert.deepEqual(Uint8Array.from(await there.decryptDEK({ ...wrapped, keyID: copy }, CONTEXT)), bytes32(1))

        const first = await newCrypto(withKMSService(here), withKEKAlias(keyID))
        const envelope = await first.seal(bytes32(2))
        const other = await newCrypto(withKMSService(there), withKEKAlias(copy))
        assert.deepEqual(await other.open(envelope), bytes32(2))
      })
    })
  })
})

describe("awsKMS()", () => {
  it("refuses options that cannot be used, before anything is asked", async () => {
    for (const options of [
      { endpoint: "http://kms.example.com" },
      { endpoint: "kms.example.com" },
      { endpoint: "https://user:password@kms.example.com" },
      { region: "Ireland" },
      { maxSockets: 0 },
      { attempts: 0 },
      { deadlineMs: 0 },
      { maxAttempts: 3 } as object,
    ]) {
      assert.throws(() => awsKMS(options), InvalidConfiguration, JSON.stringify(options))
    }
    await awsKMS({ endpoint: "http://kms.example.com", allowInsecure: true }).close()
  })

  it("refuses plain HTTP wherever the endpoint was configured", async () => {
    const before = process.env["AWS_ENDPOINT_URL"]
    process.env["AWS_ENDPOINT_URL"] = "http://192.0.2.1:4566"
    try {
      await lent(awsKMS({ region: REGION, credentials: CREDENTIALS }), (kms) =>
        assert.rejects(kms.getKeyID("app"), /plain HTTP and not on this machine/),
      )
    } finally {
      if (before === undefined) delete process.env["AWS_ENDPOINT_URL"]
      else process.env["AWS_ENDPOINT_URL"] = before
    }
  })

  it("sameKey() takes copies of a multi-region key for one, and no other keys", () => {
    const arn = (region: string, id: string, account = "123456789012"): string =>
      `arn:aws:kms:${region}:${account}:key/${id}`
    const [mrk, other] = [`mrk-${"1".repeat(32)}`, `mrk-${"2".repeat(32)}`]
    assert.ok(sameKey(arn("eu-west-1", mrk), arn("us-east-1", mrk)))
    for (const [a, b] of [
      [arn("eu-west-1", mrk), arn("us-east-1", other)],
      [arn("eu-west-1", mrk), arn("us-east-1", mrk, "210987654321")],
      [arn("eu-west-1", "1234"), arn("us-east-1", "1234")],
      [mrk, arn("us-east-1", mrk)],
      [`arn:aws:kms:eu-west-1:123456789012:alias/${mrk}`, `arn:aws:kms:us-east-1:123456789012:alias/${mrk}`],
    ] as const) {
      assert.ok(!sameKey(a, b), `${a} ${b}`)
    }
  })

  it("is refused by URI when the URI says what cannot be", async () => {
    for (const uri of [
      "awskms:///alias/app?Region=eu-west-1",
      "awskms:///alias/app?region=",
      "awskms:///alias/app?encoding=hex",
      "awskms:///alias/app?useFipsEndpoint=yes",
      "awskms:///alias/",
      "awskms:///a b",
      "awskms://localhost:4566/alias/app?endpoint=https://kms.example.com",
      "awskms://kms.example.com:80/alias/app?endpoint=x",
      "aws-kms://arn:aws:s3:::bucket",
      "arn:aws:kms:eu-west-1:123:key/x",
      "awssecretsmanager:///app",
      "awssecretsmanager://host",
    ]) {
      await rejectsWith(createRegistry().open(uri), InvalidConfiguration)
    }
  })
})

/** A user of IAM with a policy, and its credentials. Root's signature is not checked there. */
async function newUser(url: string, policy: object): Promise<{ accessKeyId: string; secretAccessKey: string }> {
  const UserName = `user-${randomUUID()}`
  const authorization =
    "AWS4-HMAC-SHA256 Credential=test/20261122/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0"
  const iam = async (fields: Record<string, string>): Promise<string> => {
    const body = new URLSearchParams({ Version: "2010-05-08", UserName, ...fields })
    const answer = await fetch(url, { method: "POST", headers: { authorization }, body })
    assert.equal(answer.status, 200)
    return await answer.text()
  }
  await iam({ Action: "CreateUser" })
  await iam({ Action: "PutUserPolicy", PolicyName: "p", PolicyDocument: JSON.stringify(policy) })
  const made = await iam({ Action: "CreateAccessKey" })
  const field = (name: string): string => new RegExp(`<${name}>([^<]+)<`).exec(made)?.[1] ?? ""
  return { accessKeyId: field("AccessKeyId"), secretAccessKey: field("SecretAccessKey") }
}
