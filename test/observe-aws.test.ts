// What watches a program whose KMS is AWS's: throttling and outages on the wire, of an emulator.
import assert from "node:assert/strict"
import { after, before, describe, it } from "node:test"
import {
  inMemoryMetrics,
  KMSUnavailable,
  newCrypto,
  withBootstrap,
  withDEKCache,
  withKEKAlias,
  withKMSService,
  withLogger,
  withMetricsCollector,
} from "../mod.ts"
import { awsKMS } from "../providers/aws-kms.ts"
import { testClock } from "../testing.ts"
import { type AWS, startAWS } from "./_aws.ts"
import { needsServer } from "./servers/index.ts"

const REGION = "us-east-1"
const PROVIDER = { provider: "aws-kms" }

describe("a program with awsKMS(), watched", needsServer("moto"), () => {
  let aws: AWS
  before(async () => {
    aws = await startAWS()
  })
  after(async () => await aws?.close())

  it("tells of throttling, of the circuit that opens, and of its health meanwhile", async () => {
    const metrics = inMemoryMetrics()
    const warnings: unknown[][] = []
    const ignore = (): void => {}
    const clock = testClock()
    const kms = awsKMS({
      ...aws.at(REGION),
      endpoint: aws.proxy.url,
      attempts: 2,
      random: () => 0,
      clock,
      breaker: { failures: 2, openMs: 1_000, successes: 1 },
    })
    const crypto = await newCrypto(
      withKMSService(kms),
      withKEKAlias("alias/watched"),
      withBootstrap({ createKEK: true }),
      withDEKCache(false),
      withMetricsCollector(metrics),
      withLogger({ debug: ignore, info: ignore, error: ignore, warn: (...line) => void warnings.push(line) }),
    )
    try {
      assert.equal((await crypto.health()).status, "healthy")
      aws.proxy.fault = { kind: "error", name: "ThrottlingException", operation: "GenerateDataKey", times: 1 }
      const envelope = await crypto.seal(Uint8Array.of(1))
      const repeated = { ...PROVIDER, operation: "generateDEK" }
      assert.equal(metrics.getCounter("encx.kms.retries", { ...repeated, reason: "throttled" }), 1)

      aws.proxy.fault = { kind: "status", status: 503 }
      await assert.rejects(crypto.seal(Uint8Array.of(1)), KMSUnavailable)
      assert.equal(metrics.getCounter("encx.kms.errors", { ...repeated, error: "KMS_UNAVAILABLE" }), 1)
      assert.equal(metrics.getGauge("encx.circuits.open", { ...PROVIDER, service: "kms" }), 1)
      const asked = aws.proxy.count()
      const { status, checks } = await crypto.health()
      assert.equal(status, "unhealthy")
      assert.deepEqual(
        checks.map(({ check, status: each }) => `${check} ${each}`),
        ["kms unhealthy", "circuits degraded", "cache healthy"],
      )
      assert.equal(aws.proxy.count(), asked, "an open circuit asks nobody")

      aws.proxy.fault = undefined
      clock.advance(2_000)
      assert.deepEqual(Uint8Array.from(await crypto.open(envelope)), Uint8Array.of(1))
      assert.equal(metrics.getGauge("encx.circuits.open", { ...PROVIDER, service: "kms" }), 0)
      const messages = warnings.map(([message]) => message)
      for (const message of ["Service call is repeated", "Service call failed", "Circuit opened"])
        assert.ok(messages.includes(message), message)
      assert.ok(!JSON.stringify([warnings, metrics.snapshot()]).includes("arn:"), "no id of a key")
    } finally {
      await crypto.close()
      await kms.close()
    }
  })
})
