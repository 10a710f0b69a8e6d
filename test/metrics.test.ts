import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { inMemoryMetrics } from "../mod.ts"

describe("inMemoryMetrics()", () => {
  it("tells series apart by their tags, in whatever order those are written", () => {
    const metrics = inMemoryMetrics()
    metrics.incrementCounter("calls", { b: "2", a: "1" })
    metrics.incrementCounter("calls", { a: "1", b: "2" })
    metrics.incrementCounterBy("calls", 5, { a: "1" })
    metrics.incrementCounter("calls")
    assert.equal(metrics.getCounter("calls", { a: "1", b: "2" }), 2)
    assert.equal(metrics.getCounter("calls", { a: "1" }), 5)
    assert.equal(metrics.getCounter("calls"), 1)
    assert.equal(metrics.getCounter("other"), 0)
    assert.deepEqual(Object.keys(metrics.snapshot().counters), ["calls", "calls,a=1", "calls,a=1,b=2"])
  })

  it("takes tags that contain what stands between tags for no others", () => {
    const metrics = inMemoryMetrics()
    const all = [{ a: "1,b=2" }, { a: "1", b: "2" }, { "a=1,b": "2" }, { a: "1\\,b=2" }, { a: "1\\", b: "2" }]
    for (const tags of all) metrics.incrementCounter("calls", tags)
    for (const tags of all) assert.equal(metrics.getCounter("calls", tags), 1)
    assert.ok("calls,a=1\\,b\\=2" in metrics.snapshot().counters)
  })

  it("reads tags anew that may have changed", () => {
    const metrics = inMemoryMetrics()
    const tags = { a: "1" }
    metrics.incrementCounter("calls", tags)
    tags.a = "2"
    metrics.incrementCounter("calls", tags)
    assert.deepEqual(metrics.snapshot().counters, { "calls,a=1": 1, "calls,a=2": 1 })
  })

  it("keeps the last value of a gauge", () => {
    const metrics = inMemoryMetrics()
    assert.equal(metrics.getGauge("size"), undefined)
    metrics.setGauge("size", 3)
    metrics.setGauge("size", 2)
    assert.equal(metrics.getGauge("size"), 2)
  })

  it("sums up timings and values: of all what is cheap, of the latest the percentiles", () => {
    const metrics = inMemoryMetrics({ maxSamples: 100 })
    assert.equal(metrics.getTimings("time"), undefined)
    for (let i = 200; i > 0; i--) metrics.recordTiming("time", i)
    const summary = { count: 200, sum: 20_100, min: 1, max: 200, p50: 50, p90: 90, p99: 99 }
    assert.deepEqual(metrics.getTimings("time"), summary)
    metrics.recordValue("size", 7)
    assert.deepEqual(metrics.getValues("size"), { count: 1, sum: 7, min: 7, max: 7, p50: 7, p90: 7, p99: 7 })
  })

  it("has a limit, and counts what found no room", () => {
    const metrics = inMemoryMetrics({ maxSeries: 3 })
    metrics.setGauge("one", 1)
    metrics.recordTiming("two", 1)
    metrics.recordValue("three", 1)
    for (let i = 0; i < 10; i++) metrics.incrementCounter(`more${i}`)
    metrics.setGauge("one", 2)
    assert.equal(metrics.getGauge("one"), 2)
    assert.equal(metrics.snapshot().dropped, 10)
    assert.deepEqual(metrics.snapshot().counters, {})
  })

  it("forgets everything with reset()", () => {
    const metrics = inMemoryMetrics({ maxSeries: 1 })
    metrics.incrementCounter("a")
    metrics.incrementCounter("b")
    metrics.reset()
    assert.deepEqual(metrics.snapshot(), { counters: {}, gauges: {}, timings: {}, values: {}, dropped: 0 })
    metrics.incrementCounter("b")
    assert.equal(metrics.getCounter("b"), 1)
  })

  it("refuses limits that are none", () => {
    for (const limit of [0, -1, 1.5, Number.NaN]) {
      assert.throws(() => inMemoryMetrics({ maxSeries: limit }), RangeError)
      assert.throws(() => inMemoryMetrics({ maxSamples: limit }), RangeError)
    }
  })
})
