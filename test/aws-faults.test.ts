import assert from "node:assert/strict"
import process from "node:process"
import { after, afterEach, before, describe, it } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { inspect } from "node:util"
import type { ServiceEvent } from "../core/contracts.ts"
import * as errors from "../core/errors.ts"
import { type AWSKMS, type AWSKMSOptions, awsKMS } from "../providers/aws-kms.ts"
import { type AWSSecretsManager, awsSecretsManager } from "../providers/aws-secrets-manager.ts"
import { CREDENTIALS, lent } from "./_aws.ts"
import { within } from "./_within.ts"
import {
  type AwsErrorName,
  type Fault,
  type FaultProxy,
  needsServer,
  type Server,
  startFaultProxy,
  startMoto,
} from "./servers/index.ts"
import { bytes32 } from "./suites/_assert.ts"

const REGION = "eu-west-1"
const CONTEXT = { purpose: "encx.v2.dek" }
const ATTEMPTS = 3
/** What is answered is given time: nothing here waits for these. */
const patient = { requestTimeoutMs: 10_000, connectionTimeoutMs: 10_000, deadlineMs: 60_000 }
/** For what is not: attempts end soon, and no deadline comes before their last. */
const brief = { requestTimeoutMs: 300, deadlineMs: 20_000 }
/** For what is not answered once, and then is. */
const steady = { requestTimeoutMs: 1_000, deadlineMs: 20_000 }
const DEADLINE_MS = 1_500

type Expected = { code: string; attempts?: number; says?: RegExp; slow?: true }
const down = (): Expected => ({ code: "KMS_UNAVAILABLE", attempts: ATTEMPTS })
const slow = (): Expected => ({ ...down(), slow: true })

/** The faults of the plan, and what a call says of each. */
const TABLE: Readonly<Record<string, readonly [Fault, Expected | "succeeds"]>> = {
  "an answer 100 ms late": [{ kind: "none", latencyMs: 100 }, "succeeds"],
  "an answer one second late": [{ kind: "none", latencyMs: 1_000 }, slow()],
  "an answer ten seconds late": [{ kind: "none", latencyMs: 10_000 }, slow()],
  "429": [{ kind: "status", status: 429 }, down()],
  ThrottlingException: [{ kind: "error", name: "ThrottlingException" }, down()],
  "500": [{ kind: "status", status: 500 }, down()],
  "502": [{ kind: "status", status: 502 }, down()],
  "503": [{ kind: "status", status: 503 }, down()],
  "504": [{ kind: "status", status: 504 }, down()],
  "a reset within the body": [{ kind: "reset" }, down()],
  "a reset before the answer": [{ kind: "reset", at: "request" }, down()],
  silence: [{ kind: "silence" }, slow()],
  "one byte a second, from the head": [{ kind: "trickle" }, slow()],
  "one byte a second, of the body": [{ kind: "trickle", from: "body" }, slow()],
  "truncated JSON": [{ kind: "truncate" }, down()],
  "10 MiB, chunked": [{ kind: "oversize" }, down()],
  "10 MiB, announced": [{ kind: "oversize", framing: "length" }, down()],
  "a page in HTML": [{ kind: "content-type", body: "<html>Welcome</html>" }, down()],
  "403": [
    { kind: "error", name: "AccessDeniedException", status: 403 },
    { code: "ACCESS_DENIED", attempts: 1 },
  ],
  "a disabled key": [
    { kind: "error", name: "DisabledException" },
    { code: "KEY_DISABLED", attempts: 1 },
  ],
  "a key pending deletion": [
    { kind: "error", name: "KMSInvalidStateException" },
    { code: "KEY_DISABLED", attempts: 1, says: /scheduled for deletion/ },
  ],
  "a data key of 31 bytes": [{ kind: "dek-length", bytes: 31 }, down()],
  "a data key of 0 bytes": [{ kind: "dek-length", bytes: 0 }, down()],
  "another key's answer": [{ kind: "key-id" }, down()],
}

/** Each error of AWS by name, and what a call says of it. */
const NAMED: Partial<Record<AwsErrorName, Expected>> = {
  AccessDeniedException: { code: "ACCESS_DENIED", attempts: 1, says: /"Action":"kms:GenerateDataKey"/ },
  ExpiredTokenException: { code: "AUTHENTICATION_FAILED", attempts: 1, says: /have expired.*aws sso login/s },
  UnrecognizedClientException: { code: "AUTHENTICATION_FAILED", attempts: 1, says: /are refused/ },
  InvalidClientTokenId: { code: "AUTHENTICATION_FAILED", attempts: 1 },
  MissingAuthenticationTokenException: { code: "AUTHENTICATION_FAILED", attempts: 1 },
  IncompleteSignature: { code: "AUTHENTICATION_FAILED", attempts: 1 },
  InvalidSignatureException: { code: "AUTHENTICATION_FAILED", attempts: 1, says: /clock of this machine.*NTP/s },
  RequestExpired: { code: "AUTHENTICATION_FAILED", attempts: 1, says: /clock of this machine/ },
  OptInRequired: { code: "ACCESS_DENIED", attempts: 1 },
  NotAuthorized: { code: "ACCESS_DENIED", attempts: 1 },
  DependencyTimeoutException: down(),
  InternalFailure: down(),
  KMSInternalException: down(),
  KeyUnavailableException: down(),
  ServiceUnavailable: down(),
  LimitExceededException: { code: "LIMIT_EXCEEDED", attempts: 1 },
  ConflictException: { code: "BUSY", attempts: ATTEMPTS },
  NotFoundException: { code: "KEY_NOT_FOUND", attempts: 1, says: /in the region "eu-west-1"/ },
  InvalidCiphertextException: { code: "DECRYPTION_FAILED", attempts: 1 },
  IncorrectKeyException: { code: "DECRYPTION_FAILED", attempts: 1 },
  InvalidKeyUsageException: { code: "INVALID_CONFIGURATION", attempts: 1 },
  ValidationException: { code: "INVALID_INPUT", attempts: 1 },
  InvalidArnException: { code: "INVALID_INPUT", attempts: 1 },
}

async function until(holds: () => boolean, what: () => string): Promise<void> {
  for (const start = performance.now(); !holds(); await sleep(10))
    if (performance.now() - start > 10_000) assert.fail(what())
}

/** Makes the client, and asks nothing: the time that this takes is not that of a call. */
async function opened(kms: AWSKMS): Promise<void> {
  for await (const _ of kms.diagnose("app")) break
}

async function errorOf(call: Promise<unknown>): Promise<errors.EncxError> {
  const [result] = await Promise.allSettled([call])
  assert.equal(result.status, "rejected", "it must reject")
  const { reason } = result as PromiseRejectedResult
  assert.ok(reason instanceof errors.EncxError, String(reason))
  return reason
}

describe("AWS out of order", needsServer("moto"), () => {
  let moto: Server
  let proxy: FaultProxy
  let keyID: string
  const at = (options: AWSKMSOptions = {}): AWSKMSOptions => ({
    region: REGION,
    endpoint: proxy.url,
    credentials: CREDENTIALS,
    attempts: ATTEMPTS,
    ...patient,
    // Pauses that are long enough to be seen.
    random: () => 0.1,
    ...options,
  })
  const kmsAt = (options?: AWSKMSOptions): AWSKMS => awsKMS(at(options))

  before(async () => {
    moto = await startMoto()
    proxy = await startFaultProxy(moto.url)
    keyID = await lent(kmsAt(), (kms) => kms.createKey("app"))
    await lent(kmsAt(), (kms) => kms.generateDEK(keyID, CONTEXT))
  })
  afterEach(async () => {
    proxy.fault = undefined
    await until(
      () => proxy.sockets.open === 0 && proxy.inFlight.open === 0,
      () => `${proxy.sockets.open} sockets and ${proxy.inFlight.open} requests are left`,
    )
  })
  after(async () => {
    await proxy.close()
    await moto.close()
  })

  /** Runs a call against a fault; what it leaves behind is counted when the service is closed. */
  async function meet(
    fault: Fault | undefined,
    expected: Expected | "succeeds",
    options?: AWSKMSOptions,
  ): Promise<void> {
    proxy.forget()
    proxy.fault = fault
    const timers = process.getActiveResourcesInfo?.().filter((name) => name === "Timeout").length ?? 0
    const limits = { ...(expected !== "succeeds" && expected.slow ? brief : patient), ...options }
    const kms = kmsAt(limits)
    await opened(kms)
    let attempts = 1
    const watch = ({ kind }: ServiceEvent): void => {
      if (kind === "retry") attempts++
    }
    const call = () => kms.generateDEK(keyID, CONTEXT, { watch })
    if (expected === "succeeds") {
      assert.equal((await call()).plaintext.length, 32)
    } else {
      const error = await errorOf(within(limits.deadlineMs * 1.1, call))
      assert.equal(error.code, expected.code, `${error.message} ${String(error.cause)}`)
      assert.equal(error.retryable, ["KMS_UNAVAILABLE", "BUSY"].includes(expected.code))
      assert.equal(attempts, expected.attempts ?? attempts)
      // One that ended at its time-out may never have been heard.
      assert.ok(proxy.count() <= attempts, `${proxy.count()} requests`)
      if (!expected.slow) assert.equal(proxy.count(), attempts)
      if (expected.says) assert.match(`${error.message}\n${error.hint ?? ""}`, expected.says)
      assert.doesNotMatch(`${error.message} ${error.hint}`, new RegExp(CREDENTIALS.secretAccessKey))
    }
    await kms.close()
    proxy.fault = undefined
    await until(
      () => proxy.sockets.open === 0 && proxy.inFlight.open === 0,
      () => `${proxy.sockets.open} sockets, ${proxy.inFlight.open} requests`,
    )
    await until(
      () => (process.getActiveResourcesInfo?.().filter((name) => name === "Timeout").length ?? 0) <= timers + 1,
      () => `timers are left: ${process.getActiveResourcesInfo?.()}`,
    )
  }

  for (const [name, [fault, expected]] of Object.entries(TABLE)) {
    it(`awsKMS() ${expected === "succeeds" ? "waits for" : `says ${expected.code} to`} ${name}`, () =>
      meet(fault, expected))
  }

  for (const [name, expected] of Object.entries(NAMED)) {
    it(`awsKMS() says ${expected.code} to ${name}`, () => meet({ kind: "error", name: name as AwsErrorName }, expected))
  }

  it("awsKMS() ends at its deadline, whatever its attempts may take", async () => {
    const limits = { requestTimeoutMs: 1_000, deadlineMs: DEADLINE_MS }
    await meet({ kind: "silence" }, { code: "KMS_UNAVAILABLE", slow: true }, limits)
    assert.ok(proxy.count() <= 2, `${proxy.count()} requests`)
  })

  // What answers without TLS is told as such (aws-connection.test.ts); this one waits for more, as a server that is down does.
  it("awsKMS() says unavailable of what takes TLS and says nothing, and of what has no address", async () => {
    proxy.forget()
    for (const endpoint of [proxy.url.replace("http:", "https:"), "https://kms.nowhere.invalid"]) {
      await lent(kmsAt({ ...brief, deadlineMs: DEADLINE_MS, endpoint }), async (kms) => {
        await opened(kms)
        const error = await errorOf(within(DEADLINE_MS * 1.1, () => kms.generateDEK(keyID, CONTEXT)))
        assert.equal(error.code, "KMS_UNAVAILABLE", String(error.cause))
        assert.ok(error.retryable)
      })
    }
    assert.equal(proxy.count(), 0)
  })

  it("awsKMS() recovers within a call, and says nothing of it", async () => {
    for (const fault of [{ kind: "status", status: 503 }, { kind: "reset" }, { kind: "silence" }] as const) {
      await meet({ ...fault, times: 2 }, "succeeds", fault.kind === "silence" ? steady : {})
    }
  })

  it("awsKMS() rejects with the signal's reason at once, and lets go of the connection", async () => {
    const kms = kmsAt()
    await opened(kms)
    const reason = new Error("this caller left")
    const leaving = new AbortController()
    proxy.fault = { kind: "silence" }
    const left = within(1_000, () => kms.generateDEK(keyID, CONTEXT, { signal: leaving.signal }))
    setTimeout(() => leaving.abort(reason), 50)
    await assert.rejects(left, reason)
    await until(
      () => proxy.sockets.open === 0,
      () => "the connection is open",
    )
    proxy.fault = undefined
    await kms.close()
  })

  it("awsKMS() opens its circuit after five failures, and asks no more", async () => {
    const clock = { ms: 0, now: () => clock.ms }
    proxy.forget()
    proxy.fault = { kind: "status", status: 500 }
    await lent(kmsAt({ clock, random: () => 0 }), async (kms) => {
      for (let i = 0; i < 10; i++)
        assert.equal((await errorOf(kms.generateDEK(keyID, CONTEXT))).code, "KMS_UNAVAILABLE")
      assert.equal(proxy.count(), 5)
      proxy.fault = undefined
      clock.ms = 24_000
      await kms.generateDEK(keyID, CONTEXT)
    })
  })

  it("500 calls that all fail make at most 600 requests with the breaker off", async () => {
    proxy.forget()
    proxy.fault = { kind: "status", status: 500 }
    await lent(kmsAt({ breaker: false, random: () => 0 }), async (kms) => {
      let left = 500
      const worker = async (): Promise<void> => {
        while (left-- > 0) assert.equal((await errorOf(kms.generateDEK(keyID, CONTEXT))).code, "KMS_UNAVAILABLE")
      }
      await Promise.all(Array.from({ length: 10 }, worker))
    })
    assert.ok(proxy.count() > 500 && proxy.count() <= 600, `${proxy.count()} requests`)
    proxy.fault = undefined
  })

  it("awsKMS() keeps its connections, and holds them to maxSockets", async () => {
    proxy.forget()
    await lent(kmsAt({ maxSockets: 4, requestTimeoutMs: 60_000 }), async (kms) => {
      await Promise.all(Array.from({ length: 40 }, () => kms.generateDEK(keyID, CONTEXT)))
    })
    assert.ok(proxy.inFlight.peak <= 4, `${proxy.inFlight.peak} requests at once`)
    // On Deno, which does not let go of a request on a kept connection, each has its own: the next may come before the last has gone.
    if (process.versions["deno"] === undefined)
      assert.ok(proxy.sockets.total <= 4, `${proxy.sockets.total} connections`)
  })

  it("awsKMS() lets go of a connection that was used before, and of the request on it", async () => {
    proxy.forget()
    const kms = kmsAt({ attempts: 1, requestTimeoutMs: 2_000 })
    await kms.generateDEK(keyID, CONTEXT)
    proxy.fault = { kind: "silence" }
    assert.equal((await errorOf(kms.generateDEK(keyID, CONTEXT))).code, "KMS_UNAVAILABLE")
    await until(
      () => proxy.sockets.open === 0,
      () => "the connection is open",
    )
    await kms.close()
    await sleep(100)
    assert.equal(proxy.count(), 2)
  })

  it("createKey() makes no second key when the answer for the first is lost, and keeps its alias when that answer is", async () => {
    proxy.forget()
    proxy.fault = { kind: "silence", forward: true, operation: "CreateKey" }
    await lent(kmsAt(steady), async (kms) =>
      assert.equal((await errorOf(kms.createKey("lost"))).code, "KMS_UNAVAILABLE"),
    )
    assert.equal(proxy.count("CreateKey"), 1)
    proxy.forget()
    proxy.fault = { kind: "silence", forward: true, operation: "CreateAlias", times: 1 }
    await lent(kmsAt(steady), async (kms) => {
      const made = await kms.createKey("found")
      assert.equal(await kms.getKeyID("found"), made)
    })
    assert.equal(proxy.count("ScheduleKeyDeletion"), 0)
  })

  it("createKey() takes back the key that it can give no alias", async () => {
    proxy.forget()
    proxy.fault = { kind: "error", name: "AccessDeniedException", operation: "CreateAlias" }
    await lent(kmsAt(), async (kms) => {
      const error = await errorOf(kms.createKey("denied"))
      assert.match(error.hint ?? "", /kms:CreateAlias/)
      assert.deepEqual([proxy.count("CreateKey"), proxy.count("ScheduleKeyDeletion")], [1, 1])
      proxy.fault = [
        { kind: "error", name: "AccessDeniedException", operation: ["CreateAlias", "ScheduleKeyDeletion"] },
      ]
      // Nor does it wait for the alias that it could not make.
      proxy.forget()
      const left = await errorOf(kms.createKey("denied"))
      assert.equal(proxy.count("DescribeKey"), 1)
      assert.equal(left.code, "ACCESS_DENIED")
      assert.match(left.hint ?? "", /arn:aws:kms:eu-west-1:.*has no alias: schedule its deletion/)
    })
    proxy.fault = undefined
  })

  it("createKey() keeps a key of which KMS does not say whether it has the alias", async () => {
    proxy.forget()
    await lent(kmsAt({ ...steady, requestTimeoutMs: 2_000, attempts: 1 }), async (kms) => {
      proxy.fault = [
        { kind: "silence", forward: true, operation: "CreateAlias" },
        { kind: "status", status: 503, operation: "DescribeKey", after: 1 },
      ]
      const error = await errorOf(kms.createKey("doubtful"))
      assert.equal(error.code, "KMS_UNAVAILABLE")
      assert.match(error.hint ?? "", /arn:aws:kms:eu-west-1:.*does not say whether "alias\/doubtful" stands for it/)
      assert.equal(proxy.count("ScheduleKeyDeletion"), 0)
      proxy.fault = undefined
      assert.ok(error.hint?.includes(await kms.getKeyID("doubtful")))
    })
  })

  it("decryptDEK() tells what a policy denies from a ciphertext that is of no key", async () => {
    await lent(kmsAt(), async (kms) => {
      const { plaintext: _, ...wrapped } = await kms.generateDEK(keyID, CONTEXT)
      for (const [message, code] of [
        ["Access to KMS is not allowed", "ACCESS_DENIED"],
        ["User: arn:aws:iam::1:user/a is not authorized to perform: kms:Decrypt", "ACCESS_DENIED"],
        ["The ciphertext refers to a customer master key that does not exist", "DECRYPTION_FAILED"],
      ] as const) {
        proxy.fault = { kind: "error", name: "AccessDeniedException", operation: "Decrypt", message }
        assert.equal((await errorOf(kms.decryptDEK(wrapped, CONTEXT))).code, code, message)
      }
      proxy.fault = undefined
    })
  })

  // --- Secrets ---

  const secretsAt = (options?: AWSKMSOptions): AWSSecretsManager => awsSecretsManager(at(options) as object)

  it("awsSecretsManager() never takes a failure to ask for absent", async () => {
    await lent(secretsAt(), (secrets) => secrets.storePepper("app", bytes32(1)))
    const faults: readonly (readonly [Fault, string])[] = [
      [{ kind: "status", status: 500 }, "SECRET_STORAGE_UNAVAILABLE"],
      [{ kind: "status", status: 429 }, "SECRET_STORAGE_UNAVAILABLE"],
      [{ kind: "silence" }, "SECRET_STORAGE_UNAVAILABLE"],
      [{ kind: "reset" }, "SECRET_STORAGE_UNAVAILABLE"],
      [{ kind: "truncate" }, "SECRET_STORAGE_UNAVAILABLE"],
      [{ kind: "oversize" }, "SECRET_STORAGE_UNAVAILABLE"],
      [{ kind: "error", name: "AccessDeniedException" }, "ACCESS_DENIED"],
      [{ kind: "error", name: "ExpiredTokenException" }, "AUTHENTICATION_FAILED"],
      [{ kind: "error", name: "InvalidRequestException" }, "SECRET_DELETED"],
      [{ kind: "error", name: "InternalServiceError" }, "SECRET_STORAGE_UNAVAILABLE"],
    ]
    for (const [fault, code] of faults) {
      await lent(secretsAt(fault.kind === "silence" ? brief : {}), async (secrets) => {
        proxy.fault = fault
        for (const call of [
          () => secrets.pepperExists("app"),
          () => secrets.getPepper("app"),
          () => secrets.rotatePepper("app", bytes32(2)),
        ]) {
          const error = await errorOf(call())
          assert.equal(error.code, code, `${JSON.stringify(fault)}: ${error.message}`)
        }
        proxy.fault = undefined
      })
    }
    for (const name of ["DecryptionFailure", "EncryptionFailure"] as const) {
      await lent(secretsAt(), async (secrets) => {
        proxy.fault = { kind: "error", name, operation: "GetSecretValue" }
        assert.equal((await errorOf(secrets.getPepper("app"))).code, "ACCESS_DENIED")
        proxy.fault = undefined
      })
    }
    await lent(secretsAt(), async (secrets) => assert.equal(await secrets.pepperExists("app"), true))
  })

  it("getPepper() gives the current version when a rotation has begun and has no value yet", async () => {
    await lent(secretsAt(), async (secrets) => {
      await secrets.storePepper("rotating", bytes32(4))
      const begun = { "11111111-2222-3333-4444-555555555555": ["AWSPENDING"] }
      proxy.fault = {
        kind: "rewrite",
        operation: "DescribeSecret",
        body: (answer) => ({
          ...answer,
          VersionIdsToStages: { ...(answer["VersionIdsToStages"] as object), ...begun },
        }),
      }
      assert.deepEqual(
        (await secrets.getPepper("rotating")).map(({ stage }) => stage),
        ["current"],
      )
      proxy.fault = undefined
    })
  })

  it("awsSecretsManager() repeats nothing of an answer that it cannot read", async () => {
    await lent(secretsAt(), async (secrets) => {
      await secrets.storePepper("quoted", bytes32(5))
      const type = "application/x-amz-json-1.1"
      proxy.fault = { kind: "content-type", type, operation: "GetSecretValue", body: "c2VjcmV0".repeat(4) }
      const error = await errorOf(secrets.getPepper("quoted"))
      assert.equal(error.code, "SECRET_STORAGE_UNAVAILABLE")
      assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), /c2Vj/)
      proxy.fault = undefined
    })
  })

  it("storePepper() knows its own pepper when the answer was lost", async () => {
    await lent(secretsAt(steady), async (secrets) => {
      proxy.fault = { kind: "silence", forward: true, operation: "CreateSecret", times: 1 }
      await secrets.storePepper("lost", bytes32(3))
      const [found] = await secrets.getPepper("lost")
      assert.deepEqual(Uint8Array.from(found?.value ?? []), bytes32(3))
      proxy.fault = undefined
    })
  })
})
