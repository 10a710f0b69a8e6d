// Beside the SDK of OpenTelemetry itself, in memory.
import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { SpanStatusCode } from "@opentelemetry/api"
import {
  AggregationTemporality,
  type DataPoint,
  type Histogram,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics"
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { withMetricsCollector, withObservabilityHook } from "../../mod.ts"
import { openTelemetry } from "../../providers/opentelemetry.ts"
import { newTestCrypto } from "../../testing.ts"
import { leaks, raw, SECRETS } from "../_canary.ts"

function sdk() {
  const spans = new InMemorySpanExporter()
  const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
  const exported = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter: exported, exportIntervalMillis: 2 ** 30 })
  const meters = new MeterProvider({ readers: [reader] })
  return {
    spans: () => spans.getFinishedSpans(),
    metrics: async () => {
      await meters.forceFlush()
      return exported.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
    },
    options: { meter: meters.getMeter("test"), tracer: tracers.getTracer("test") },
    close: async () => {
      await meters.shutdown()
      await tracers.shutdown()
    },
  }
}

describe("openTelemetry()", () => {
  it("counts, times and traces the operations of a program", async () => {
    const { spans, metrics, options, close } = sdk()
    const { metrics: collector, hook } = await openTelemetry(options)
    const crypto = await newTestCrypto(withMetricsCollector(collector), withObservabilityHook(hook))
    const envelope = await crypto.seal(raw("plaintext"), { tenant: SECRETS.password })
    await assert.rejects(crypto.open(envelope))
    await crypto.rotateKEK()
    await crypto.close()

    const measured = await metrics()
    const points = (name: string) => measured.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? []
    const started = points("encx.process.started").map(({ attributes, value }) => [attributes["operation"], value])
    assert.deepEqual(started.toSorted(), [
      ["open", 1],
      ["rotateKEK", 1],
      ["seal", 1],
    ])
    const [duration] = points("encx.process.duration") as DataPoint<Histogram>[]
    assert.equal(duration?.value.count, 1)
    assert.equal(measured.find(({ descriptor }) => descriptor.name === "encx.process.duration")?.descriptor.unit, "ms")
    assert.ok(points("encx.kms.calls").length >= 4)
    assert.equal(points("encx.cache.size").length, 1)

    const byName = new Map(spans().map((span) => [span.name, span]))
    assert.equal(byName.get("encx.seal")?.status.code, SpanStatusCode.UNSET)
    assert.deepEqual(byName.get("encx.seal")?.attributes, {
      "encx.operation": "seal",
      "encx.operation_type": "encryption",
      "encx.key_alias": "test",
    })
    const failed = byName.get("encx.open")
    assert.deepEqual(failed?.status, { code: SpanStatusCode.ERROR, message: "DECRYPTION_FAILED" })
    assert.equal(failed?.attributes["error.type"], "DECRYPTION_FAILED")
    assert.equal(byName.get("encx.key.rotate")?.attributes["encx.key_version"], 2)

    const everything = JSON.stringify([
      measured,
      spans().map(({ name, attributes, status }) => [name, attributes, status]),
    ])
    assert.deepEqual(leaks(everything), [])
    await close()
  })

  it("makes each instrument once", async () => {
    const made: string[] = []
    const instrument = (name: string) => {
      made.push(name)
      return { add() {}, record() {} }
    }
    const meter = { createCounter: instrument, createGauge: instrument, createHistogram: instrument }
    const { metrics } = await openTelemetry({ meter, tracer: { startSpan: () => ({ setStatus() {}, end() {} }) } })
    for (let i = 0; i < 3; i++) {
      metrics.incrementCounter("a")
      metrics.incrementCounterBy("a", 2)
      metrics.setGauge("b", i)
      metrics.recordTiming("c", i)
      metrics.recordValue("d", i)
    }
    assert.deepEqual(made, ["a", "b", "c", "d"])
  })

  it("takes the global meter and tracer, which do nothing without an SDK", async () => {
    const { metrics, hook } = await openTelemetry()
    const crypto = await newTestCrypto(withMetricsCollector(metrics), withObservabilityHook(hook))
    await crypto.seal(new Uint8Array(3))
    await crypto.close()
  })
})
