import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises"
import fc from "fast-check"
import { AccessDenied, InvalidConfiguration, KMSUnavailable } from "../core/errors.ts"
import { type Resilience, type ResilienceOptions, resilient } from "../core/resilience.ts"
import { within } from "./_within.ts"

const about = { provider: "test", operation: "ask" }
const unavailable = (state: string, cause?: unknown): KMSUnavailable =>
  new KMSUnavailable(`Cannot ask: ${state}`, { ...about, cause })
const denied = (): AccessDenied => new AccessDenied("Cannot ask: access denied", about)
const throttled = new WeakSet<object>()
const throttling = (): KMSUnavailable => {
  const error = unavailable("it is asked too often")
  throttled.add(error)
  return error
}

/** A clock that goes on when it is told to. */
class ManualClock {
  ms = 0
  now(): number {
    return this.ms
  }
}

function resilience(options: ResilienceOptions = {}): Resilience {
  return resilient(
    {
      unavailable: (_operation, state, cause) => unavailable(state, cause),
      isThrottled: (error) => typeof error === "object" && error !== null && throttled.has(error),
    },
    { random: () => 0, ...options },
  )
}

/** Counts how often an operation ran. */
function counted<Result>(run: (attempt: number, signal: AbortSignal) => Promise<Result>): {
  run: (signal: AbortSignal) => Promise<Result>
  readonly attempts: number
} {
  let attempts = 0
  return {
    run: (signal) => run(++attempts, signal),
    get attempts() {
      return attempts
    },
  }
}

const never = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }))

const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length

describe("resilient()", () => {
  it("call() gives the result of the first attempt that succeeds", async () => {
    const operation = counted(async (attempt) => {
      if (attempt < 3) throw unavailable("503")
      return "done"
    })
    assert.equal(await resilience().call("key", "ask", operation.run), "done")
    assert.equal(operation.attempts, 3)
  })

  it("call() makes as many attempts as it was told, and rejects with the last error", async () => {
    for (const attempts of [1, 2, 3, 4]) {
      const operation = counted(async (attempt) => {
        throw unavailable(`${attempt}`)
      })
      await assert.rejects(resilience({ attempts, breaker: false }).call("key", "ask", operation.run), {
        message: `Cannot ask: ${attempts}`,
      })
      assert.equal(operation.attempts, attempts)
    }
  })

  it("call() neither repeats nor counts against the service what the caller did wrong", async () => {
    const asked = resilience()
    for (let i = 0; i < 20; i++) {
      const operation = counted(() => Promise.reject(denied()))
      await assert.rejects(asked.call("key", "ask", operation.run), AccessDenied)
      assert.equal(operation.attempts, 1)
    }
    const bug = counted(() => Promise.reject(new TypeError("a bug")))
    await assert.rejects(asked.call("key", "ask", bug.run), TypeError)
    assert.equal(bug.attempts, 1)
    assert.equal(await asked.call("key", "ask", async () => 1), 1)
  })

  it("call() repeats what must not happen twice only where the service did nothing", async () => {
    const lost = counted(() => Promise.reject(unavailable("reset")))
    await assert.rejects(resilience().call("key", "ask", lost.run, { once: true }), KMSUnavailable)
    assert.equal(lost.attempts, 1)
    const refused = counted(async (attempt) => {
      if (attempt === 1) throw throttling()
      return "done"
    })
    assert.equal(await resilience().call("key", "ask", refused.run, { once: true }), "done")
  })

  it("call() pauses for a random part of 100 ms, doubled each time; 500 ms when it is throttled", async () => {
    for (const [error, pauses] of [
      [unavailable, 50 + 100],
      [throttling, 250 + 500],
    ] as const) {
      const start = performance.now()
      const asked = resilience({ random: () => 0.5, breaker: false })
      await assert.rejects(
        asked.call("key", "ask", () => Promise.reject(error("503"))),
        KMSUnavailable,
      )
      assert.ok(performance.now() - start >= pauses - 5)
    }
  })

  it("call() ends an attempt at its time-out, and the whole at its deadline, with no timer left", async () => {
    const before = timers()
    const operation = counted((_attempt, signal) => never(signal))
    const start = performance.now()
    await assert.rejects(
      resilience({ requestTimeoutMs: 50 }).call("key", "ask", operation.run),
      /did not answer within 50 ms/,
    )
    assert.equal(operation.attempts, 3)
    assert.ok(performance.now() - start >= 145)

    // One that is deaf to its signal ends all the same.
    const deaf = counted(() => sleep(2_000, undefined, { ref: false }))
    const limited = resilience({ requestTimeoutMs: 400, deadlineMs: 500 })
    await assert.rejects(
      within(550, () => limited.call("key", "ask", deaf.run)),
      KMSUnavailable,
    )
    await turn()
    assert.ok(timers() <= before + 2, "the two deaf ones wait; no other timer does")
  })

  it("call() does not begin a pause that would outlast the deadline", async () => {
    const asked = resilience({ deadlineMs: 300, random: () => 0.999 })
    await assert.rejects(
      within(200, () => asked.call("key", "ask", () => Promise.reject(throttling()))),
      /asked too often/,
    )
  })

  it("call() rejects with the signal's reason, at once, in an attempt and in a pause, and runs nothing when it was aborted before", async () => {
    const reason = new Error("this caller left")
    const none = counted(async () => 1)
    await assert.rejects(resilience().call("key", "ask", none.run, { signal: AbortSignal.abort(reason) }), reason)
    assert.equal(none.attempts, 0)
    for (const run of [never, () => sleep(5_000, undefined, { ref: false }), () => Promise.reject(throttling())]) {
      const leaving = new AbortController()
      setTimeout(() => leaving.abort(reason), 30)
      const { signal } = leaving
      const asked = resilience({ random: () => 0.999 })
      await assert.rejects(
        within(300, () => asked.call("key", "ask", run as () => Promise<void>, { signal })),
        reason,
      )
    }
  })

  it("10,000 calls that all fail make at most 10,100 requests with the breaker off", async () => {
    const operation = counted(() => Promise.reject(unavailable("500")))
    const asked = resilience({ breaker: false })
    let left = 10_000
    const worker = async (): Promise<void> => {
      while (left-- > 0) await assert.rejects(asked.call("key", "ask", operation.run), KMSUnavailable)
    }
    await Promise.all(Array.from({ length: 50 }, worker))
    assert.ok(operation.attempts > 10_000 && operation.attempts <= 10_100, `${operation.attempts} requests`)
  })

  it("retries of time-outs cost twice as much, and successes earn retries again", async () => {
    const slow = counted((_attempt, signal) => never(signal))
    const asked = resilience({ breaker: false, requestTimeoutMs: 1 })
    await Promise.all(
      Array.from({ length: 200 }, () => assert.rejects(asked.call("key", "ask", slow.run), KMSUnavailable)),
    )
    assert.equal(slow.attempts, 250)
    for (let i = 0; i < 10; i++) await asked.call("key", "ask", async () => 1)
    const failing = counted(() => Promise.reject(unavailable("500")))
    await assert.rejects(asked.call("key", "ask", failing.run), KMSUnavailable)
    assert.equal(failing.attempts, 3)
  })

  it("call() gives its result, or its error, whatever who watches it throws", async () => {
    const watch = (): void => {
      throw new Error("watching failed")
    }
    const asked = resilience()
    const operation = counted(async (attempt) => {
      if (attempt > 1) return "done"
      throw unavailable("500")
    })
    assert.equal(await asked.call("key", "ask", operation.run, { watch }), "done")
    assert.equal(operation.attempts, 2)
    await assert.rejects(
      asked.call("key", "ask", () => Promise.reject(denied()), { watch }),
      AccessDenied,
    )
  })

  it("resilient() takes an option that is undefined for one that was not given", async () => {
    const limits = { attempts: 1, deadlineMs: undefined, requestTimeoutMs: undefined, random: undefined }
    for (const breaker of [undefined, {}, { failures: undefined, openMs: undefined, successes: undefined }]) {
      const asked = resilience({ ...limits, breaker } as object)
      for (let i = 0; i < 5; i++) await assert.rejects(asked.call("key", "ask", OUTCOMES.failure), /500/)
      await assert.rejects(asked.call("key", "ask", OUTCOMES.success), /several times in a row/)
    }
  })

  it("resilient() refuses limits that are not whole numbers from 1", () => {
    for (const options of [
      { attempts: 0 },
      { deadlineMs: Number.POSITIVE_INFINITY },
      { requestTimeoutMs: 1.5 },
      { breaker: { failures: 0 } },
      { breaker: { openMs: 2 ** 31 } },
    ]) {
      assert.throws(() => resilience(options), InvalidConfiguration)
    }
  })
})

// --- The breaker ---

const OPEN_MS = 30_000

/** What a breaker must do, in a few lines. */
class BreakerModel {
  state: "closed" | "open" | "half-open" = "closed"
  failures = 0
  successes = 0
  until = 0

  allows(now: number): boolean {
    if (this.state === "open" && now >= this.until) {
      this.state = "half-open"
      this.successes = 0
    }
    return this.state !== "open"
  }

  ended(outcome: Outcome, now: number): void {
    const good = outcome === "success" || outcome === "denied" || outcome === "throttled"
    if (this.state === "half-open") {
      if (!good) this.open(now)
      else if (++this.successes === 2) this.close()
    } else if (good) this.failures = 0
    else if (outcome === "failure" && ++this.failures === 5) this.open(now)
  }

  open(now: number): void {
    this.state = "open"
    this.until = now + OPEN_MS
  }

  close(): void {
    this.state = "closed"
    this.failures = 0
  }
}

type Outcome = "success" | "failure" | "denied" | "throttled" | "left"

const leave = new Error("this caller left")
const OUTCOMES: Readonly<Record<Outcome, () => Promise<number>>> = {
  success: async () => 1,
  failure: () => Promise.reject(unavailable("500")),
  denied: () => Promise.reject(denied()),
  throttled: () => Promise.reject(throttling()),
  left: () => Promise.reject(leave),
}

describe("the circuit breaker", () => {
  it("does what the model does, whatever happens", async () => {
    const step = fc.oneof(
      { weight: 9, arbitrary: fc.constant("failure" as const) },
      { weight: 3, arbitrary: fc.constantFrom<Outcome[]>("success", "denied", "throttled", "left") },
      { weight: 2, arbitrary: fc.constantFrom(1, OPEN_MS - 1, OPEN_MS) },
    )
    const seen = { open: 0, "half-open": 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80, size: "max" }), async (steps) => {
        const clock = new ManualClock()
        // 0.5 is the middle of the jitter: 30 seconds to the millisecond.
        const asked = resilience({ attempts: 1, clock, random: () => 0.5 })
        const model = new BreakerModel()
        for (const each of steps) {
          if (typeof each === "number") {
            clock.ms += each
            continue
          }
          const allowed = model.allows(clock.ms)
          const operation = counted(OUTCOMES[each])
          await asked.call("key", "ask", operation.run).catch(() => undefined)
          assert.equal(operation.attempts, allowed ? 1 : 0, `${each} when it is ${model.state}`)
          if (allowed) model.ended(each, clock.ms)
          else seen.refused++
          if (model.state !== "closed") seen[model.state]++
        }
      }),
      { numRuns: 500 },
    )
    assert.ok(seen.open > 100 && seen["half-open"] > 100 && seen.refused > 100, JSON.stringify(seen))
  })

  it("is one for each key, and stays open for 24 to 36 seconds", async () => {
    for (const [random, openMs] of [
      [0, 24_000],
      [0.999_999, 35_999],
    ] as const) {
      const clock = new ManualClock()
      const asked = resilience({ attempts: 1, clock, random: () => random })
      for (let i = 0; i < 5; i++) await assert.rejects(asked.call("one", "ask", OUTCOMES.failure), /500/)
      await assert.rejects(asked.call("one", "ask", OUTCOMES.success), /several times in a row/)
      assert.equal(await asked.call("two", "ask", OUTCOMES.success), 1)
      clock.ms = openMs - 1
      await assert.rejects(asked.call("one", "ask", OUTCOMES.success), KMSUnavailable)
      clock.ms = openMs + 1
      assert.equal(await asked.call("one", "ask", OUTCOMES.success), 1)
    }
  })

  it("lets one probe through at a time, and refuses the others at once", async () => {
    const clock = new ManualClock()
    const asked = resilience({ attempts: 1, clock, random: () => 0.5 })
    for (let i = 0; i < 5; i++) await assert.rejects(asked.call("key", "ask", OUTCOMES.failure), /500/)
    clock.ms = OPEN_MS
    for (const round of [1, 2]) {
      const answer = Promise.withResolvers<number>()
      const operation = counted(() => answer.promise)
      const calls = Array.from({ length: 10 }, () => asked.call("key", "ask", operation.run))
      const others = Promise.allSettled(calls.slice(1))
      assert.ok((await others).every(({ status }) => status === "rejected"))
      assert.equal(operation.attempts, 1, `probe ${round}`)
      answer.resolve(round)
      assert.equal(await calls[0], round)
    }
    const closed = counted(OUTCOMES.success)
    await Promise.all(Array.from({ length: 10 }, () => asked.call("key", "ask", closed.run)))
    assert.equal(closed.attempts, 10)
  })

  it("tells the service's own failure when the circuit opens within a call", async () => {
    const operation = counted(() => Promise.reject(unavailable("500")))
    const asked = resilience()
    await assert.rejects(asked.call("key", "ask", operation.run), /500/)
    await assert.rejects(asked.call("key", "ask", operation.run), /500/)
    assert.equal(operation.attempts, 5)
    await assert.rejects(asked.call("key", "ask", operation.run), /several times in a row/)
    assert.equal(operation.attempts, 5)
  })
})
