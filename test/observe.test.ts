// What watches a program is told of everything, may do anything, and changes nothing.
import assert from "node:assert/strict"
import { globSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { describe, it } from "node:test"
import type { ResolvedConfiguration } from "../core/configuration.ts"
import { observedServices } from "../core/observe/observed.ts"
import { Observer, operationType } from "../core/observe/observer.ts"
import {
  type BlindIndexPlace,
  type Crypto,
  compositeHook,
  DecryptionFailed,
  errorCode,
  inMemoryMetrics,
  KMSUnavailable,
  type Logger,
  loggingHook,
  type MetricsCollector,
  metricsHook,
  type ObservabilityHook,
  plain,
  record,
  resilientService,
  type Tags,
  text,
  withDEKCache,
  withKMSService,
  withLogger,
  withMetricsCollector,
  withObservabilityHook,
  withPepper,
} from "../mod.ts"
import { fakeKMS, fakeSecrets, newTestCrypto, testClock } from "../testing.ts"
import { within } from "./_within.ts"

const root = resolve(import.meta.dirname, "..")
const BYTES = Uint8Array.of(1, 2, 3)
const PLACE: BlindIndexPlace = { table: "users", column: "email" }
const users = record(
  "users",
  { row: "id" },
  { id: plain<number>(), email: text().encrypt().index(), password: text().hashSecure() },
)
const ADA = { id: 1, email: "ada@example.org", password: "correct horse" }

type Line = readonly [level: keyof Logger, message: string, fields: Tags]

/** A logger that keeps its lines. */
function keptLines(): { logger: Logger; lines: Line[]; at: (level: keyof Logger) => Line[] } {
  const lines: Line[] = []
  const log =
    (level: keyof Logger) =>
    (message: string, fields: Tags = {}): void => {
      lines.push([level, message, fields])
    }
  const logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") }
  return { logger, lines, at: (level) => lines.filter(([each]) => each === level) }
}

/** A hook that writes down what it is told, and may fail afterwards. */
function keptEvents(name: string, events: string[], after: () => unknown = () => {}): ObservabilityHook {
  const tell = (what: string): undefined => {
    events.push(`${name} ${what}`)
    return after() as undefined
  }
  return {
    onProcessStart: (operation) => tell(`start ${operation}`),
    onProcessComplete: (operation, _ms, error) => tell(`complete ${operation}${error === undefined ? "" : " failed"}`),
    onError: (operation, error) => tell(`error ${operation} ${errorCode(error)}`),
    onKeyOperation: (operation, alias, version) => tell(`key ${operation} ${alias} ${version}`),
  }
}

/** One successful call of each operation. */
async function everything(crypto: Crypto): Promise<string[]> {
  const dek = crypto.generateDEK()
  const data = crypto.encryptData(BYTES, dek)
  crypto.decryptData(data, dek)
  const wrapped = await crypto.encryptDEK(dek)
  await crypto.decryptDEK(wrapped)
  await crypto.describeKEK()
  const envelope = await crypto.seal(BYTES)
  await crypto.open(envelope)
  await crypto.rewrap(envelope)
  await crypto.verify(envelope)
  const hash = await crypto.hashSecure("password")
  await crypto.compareSecureHashAndValue("password", hash)
  crypto.blindIndex("ada", PLACE)
  const row = await crypto.sealRecord(users, ADA)
  await crypto.sealRecords(users, [ADA])
  await crypto.openRecord(users, row)
  await crypto.updateRecord(users, row, { email: "b@example.org" })
  await crypto.rewrapRecords(users, [row])
  await crypto.compareRecordHash(users, row, "password", ADA.password)
  crypto.lookup(users, "email", ADA.email)
  await crypto.openMatches(users, [row], "email", ADA.email)
  await crypto.health()
  await crypto.rotateKEK()
  return [
    ...["generateDEK", "encryptData", "decryptData", "encryptDEK", "decryptDEK", "describeKEK", "seal", "open"],
    ...["rewrap", "verify", "hashSecure", "compareSecureHashAndValue", "blindIndex", "sealRecord", "sealRecords"],
    ...[
      "openRecord",
      "updateRecord",
      "rewrapRecords",
      "compareRecordHash",
      "lookup",
      "openMatches",
      "health",
      "rotateKEK",
    ],
  ]
}

describe("metrics", () => {
  it("defect 29: every operation is counted and timed, under the names of the Go library", async () => {
    const metrics = inMemoryMetrics()
    const crypto = await newTestCrypto(withMetricsCollector(metrics))
    for (const operation of await everything(crypto)) {
      const tags = { operation, operation_type: operationType(operation) }
      assert.equal(metrics.getCounter("encx.process.started", tags), 1, operation)
      assert.equal(metrics.getCounter("encx.process.succeeded", { ...tags, status: "success" }), 1, operation)
      assert.equal(metrics.getTimings("encx.process.duration", { ...tags, status: "success" })?.count, 1, operation)
    }
    assert.equal(metrics.snapshot().dropped, 0)
    await crypto.close()
  })

  it("every metric and every type of operation is in the guide, and the guide has no other", () => {
    const guide = readFileSync(join(root, "docs/observability.md"), "utf8")
    const source =
      readFileSync(join(root, "core/observe/observer.ts"), "utf8") +
      readFileSync(join(root, "core/observe/hooks.ts"), "utf8")
    const services = ["kms", "secrets", "database"]
    const told = [...source.matchAll(/["`](encx\.[\w.${}]+)["`]/g)].flatMap(([, name = ""]) =>
      /\$\{service\}/.test(name) ? services.map((service) => name.replace(/\$\{service\}/, service)) : [name],
    )
    const rows = guide.split("\n").filter((line) => line.startsWith("| `encx."))
    const written = rows.flatMap((row) =>
      [...(row.split("|")[1] ?? "").matchAll(/`([\w.]+)`/g)].map(([, name]) => name),
    )
    assert.deepEqual(written.toSorted(), [...new Set(told)].toSorted())
    const types = [...source.matchAll(/^ {2}\w+: "(\w+)",$/gm)].map(([, type]) => type as string)
    assert.ok(types.length > 20)
    for (const type of types) assert.ok(guide.includes(`\`${type}\``), type)
  })

  it("every operation that the sources name has a type", () => {
    const sources = globSync("core/**/*.ts", { cwd: root }).map((path) => readFileSync(join(root, path), "utf8"))
    const names = sources.flatMap((source) =>
      [...source.matchAll(/\b#?(?:run|compute)\(\s*"(\w+)"/g)].map(([, name]) => name as string),
    )
    assert.ok(names.length >= 20, names.join())
    assert.deepEqual(
      names.filter((name) => operationType(name) === "other"),
      [],
    )
  })

  it("a failure is counted with its code, and thrown as it is", async () => {
    const metrics = inMemoryMetrics()
    const crypto = await newTestCrypto(withMetricsCollector(metrics))
    const envelope = await crypto.seal(BYTES)
    await assert.rejects(crypto.open(envelope, { tenant: "other" }), DecryptionFailed)
    assert.throws(() => crypto.encryptData(BYTES, BYTES), RangeError)
    const failed = { operation: "open", operation_type: "decryption", status: "error" }
    assert.equal(metrics.getCounter("encx.process.failed", failed), 1)
    assert.equal(metrics.getTimings("encx.process.duration", failed)?.count, 1)
    assert.equal(metrics.getCounter("encx.errors", { operation: "open", error: "DECRYPTION_FAILED" }), 1)
    assert.equal(metrics.getCounter("encx.errors", { operation: "encryptData", error: "RangeError" }), 1)
    await crypto.close()
    await assert.rejects(crypto.seal(BYTES))
    assert.equal(metrics.getCounter("encx.errors", { operation: "seal", error: "CLOSED" }), 1)
  })

  it("calls of the KMS, the secret store and the database are counted and timed, the start's as well", async () => {
    const metrics = inMemoryMetrics()
    const kms = fakeKMS()
    const secrets = fakeSecrets()
    const crypto = await newTestCrypto(
      withKMSService(kms),
      withPepper(secrets, "test"),
      withMetricsCollector(metrics),
      withDEKCache(false),
    )
    await crypto.open(await crypto.seal(BYTES))
    kms.inject({ kind: "denied", methods: ["decryptDEK"] })
    await assert.rejects(crypto.open(await crypto.seal(BYTES)))
    for (const [service, calls] of [
      ["kms", kms.calls],
      ["secrets", secrets.calls],
    ] as const) {
      for (const [operation, count] of Object.entries(calls)) {
        const tags = { provider: "memory", operation }
        const [good, bad] = ["success", "error"].map((status) =>
          metrics.getCounter(`encx.${service}.calls`, { ...tags, status }),
        ) as [number, number]
        assert.equal(good + bad, count, `${service} ${operation}`)
        const timed = metrics.getTimings(`encx.${service}.duration`, { ...tags, status: "success" })
        assert.equal(timed?.count ?? 0, good, `${service} ${operation}`)
      }
    }
    const asked = { provider: "memory", operation: "ensureVersion", status: "success" }
    assert.equal(metrics.getCounter("encx.database.calls", asked), 1)
    const denied = { provider: "memory", operation: "decryptDEK", error: "ACCESS_DENIED" }
    assert.equal(metrics.getCounter("encx.kms.errors", denied), 1)
    assert.ok(secrets.calls.storePepper > 0 && kms.calls.createKey > 0, "the start is counted")
    await crypto.close()
  })

  it("the cache's counters are those of stats()", async () => {
    const metrics = inMemoryMetrics()
    const crypto = await newTestCrypto(withMetricsCollector(metrics), withDEKCache({ maxMessages: 2 }))
    const envelope = await crypto.seal(BYTES)
    for (let i = 0; i < 4; i++) await crypto.open(envelope)
    for (let i = 0; i < 4; i++) await crypto.seal(BYTES)
    const { hits, misses, coalesced, evictions, size } = crypto.stats().cache
    assert.ok(hits > 0 && misses > 0 && evictions.messages > 0)
    assert.deepEqual(
      [
        metrics.getCounter("encx.cache.hits"),
        metrics.getCounter("encx.cache.misses"),
        metrics.getCounter("encx.cache.coalesced"),
        metrics.getCounter("encx.cache.evictions", { reason: "messages" }),
        metrics.getGauge("encx.cache.size"),
      ],
      [hits, misses, coalesced, evictions.messages, size],
    )
    await crypto.close()
  })

  it("what is told of one operation is told with the same tags each time, and nobody can change them", async () => {
    const seen = new Map<string, Set<Tags>>()
    const keep = (name: string, tags: Tags = {}): void => {
      assert.ok(Object.isFrozen(tags), name)
      const key = `${name} ${JSON.stringify(tags)}`
      seen.set(key, (seen.get(key) ?? new Set()).add(tags))
    }
    const collector: MetricsCollector = {
      incrementCounter: keep,
      incrementCounterBy: (name, _value, tags) => keep(name, tags),
      setGauge: (name, _value, tags) => keep(name, tags),
      recordTiming: (name, _value, tags) => keep(name, tags),
      recordValue: (name, _value, tags) => keep(name, tags),
    }
    const observer = new Observer({ metrics: collector })
    for (let i = 0; i < 3; i++) {
      await observer.operation("seal", async () => await observer.call("memory", "encryptDEK", async () => BYTES))
      await assert.rejects(observer.operation("open", () => Promise.reject(new DecryptionFailed())))
    }
    assert.ok(seen.size >= 8)
    for (const [key, tags] of seen) assert.equal(tags.size, 1, key)
  })

  it("without a watcher the services are the program's own", () => {
    const configuration = { keks: [] } as unknown as ResolvedConfiguration
    assert.equal(observedServices(configuration, undefined), configuration)
  })

  it("close() lets the collector send what it keeps back", async () => {
    let flushed = 0
    const metrics = { ...inMemoryMetrics(), flush: async () => void flushed++ }
    const crypto = await newTestCrypto(withMetricsCollector(metrics))
    await crypto.close()
    await crypto.close()
    assert.equal(flushed, 1)
  })
})

describe("resilience, watched", () => {
  it("defect 29: retries and open circuits are counted and logged, and the breaker is in force", async () => {
    const metrics = inMemoryMetrics()
    const { logger, at } = keptLines()
    const clock = testClock()
    const kms = fakeKMS()
    const breaker = { failures: 2, openMs: 1_000, successes: 1 }
    const crypto = await newTestCrypto(
      withKMSService(resilientService(kms, { attempts: 2, breaker, clock, random: () => 0 })),
      withMetricsCollector(metrics),
      withLogger(logger),
      withDEKCache(false),
    )
    const once = kms.inject({ kind: "unavailable", methods: ["generateDEK"], times: 1 })
    await crypto.seal(BYTES)
    once()
    const repeated = { provider: "memory", operation: "generateDEK", reason: "unavailable" }
    assert.equal(metrics.getCounter("encx.kms.retries", repeated), 1)
    const heal = kms.inject({ kind: "unavailable", methods: ["generateDEK"] })
    await assert.rejects(crypto.seal(BYTES), KMSUnavailable)
    const { generateDEK } = kms.calls
    await assert.rejects(crypto.seal(BYTES), KMSUnavailable)
    assert.equal(kms.calls.generateDEK, generateDEK, "an open circuit asks nobody")
    const service = { service: "kms", provider: "memory" }
    assert.equal(metrics.getGauge("encx.circuits.open", service), 1)
    assert.equal((await crypto.health()).checks.find(({ check }) => check === "circuits")?.status, "degraded")
    heal()
    clock.advance(2_000)
    await crypto.seal(BYTES)
    assert.equal(metrics.getGauge("encx.circuits.open", service), 0)
    const messages = at("warn").map(([, message]) => message)
    assert.ok(messages.includes("Service call is repeated") && messages.includes("Circuit opened"), messages.join())
    assert.ok(at("info").some(([, message]) => message === "Circuit closed"))
    await crypto.close()
  })
})

describe("hooks", () => {
  it("are told in their order, of beginnings, ends, errors and keys", async () => {
    const events: string[] = []
    const [first, second] = [keptEvents("first", events), keptEvents("second", events)]
    const crypto = await newTestCrypto(withObservabilityHook(first), withObservabilityHook(second))
    events.length = 0
    await crypto.rotateKEK()
    const told = ["start rotateKEK", "key rotate test 2", "complete rotateKEK"]
    assert.deepEqual(
      events,
      told.flatMap((each) => [`first ${each}`, `second ${each}`]),
    )
    events.length = 0
    assert.throws(() => crypto.decryptData(new Uint8Array(40), new Uint8Array(32)))
    assert.deepEqual(
      events.filter((each) => each.startsWith("first")),
      ["first start decryptData", "first error decryptData DECRYPTION_FAILED", "first complete decryptData failed"],
    )
    await crypto.close()
  })

  it("get the operation's type and the alias, how long it took, and the error itself", async () => {
    const clock = testClock()
    const told: unknown[][] = []
    const hook: ObservabilityHook = { onProcessComplete: (...all) => void told.push(all) }
    const observer = new Observer({ hooks: [hook], clock, alias: "app" })
    const failure = new DecryptionFailed()
    await assert.rejects(
      observer.operation("open", async () => {
        clock.advance(12)
        throw failure
      }),
      failure,
    )
    assert.deepEqual(told, [["open", 12, failure, { operation_type: "decryption", key_alias: "app" }]])
  })

  it("of one compositeHook() are told in their order, and one that throws keeps none of them from it", () => {
    const events: string[] = []
    const hook = compositeHook(
      keptEvents("a", events),
      keptEvents("b", events, () => {
        throw new Error("b fails")
      }),
      {},
      keptEvents("c", events),
    )
    assert.throws(() => hook.onProcessStart?.("seal", {}), /b fails/)
    assert.throws(() => hook.onKeyOperation?.("rotate", "app", 2, {}), /b fails/)
    assert.deepEqual(events, [
      ...["a start seal", "b start seal", "c start seal"],
      ...["a key rotate app 2", "b key rotate app 2", "c key rotate app 2"],
    ])
  })

  it("metricsHook() counts what Go's hook counts", () => {
    const metrics = inMemoryMetrics()
    const hook = metricsHook(metrics)
    const metadata = { operation_type: "key_rotation" }
    hook.onProcessStart?.("RotateKEK", metadata)
    hook.onProcessComplete?.("RotateKEK", 5, undefined, metadata)
    hook.onProcessComplete?.("RotateKEK", 7, new Error("no"), metadata)
    hook.onError?.("RotateKEK", new Error("no"), metadata)
    hook.onKeyOperation?.("rotate", "app", 3, {})
    const { counters, timings } = metrics.snapshot()
    assert.deepEqual(counters, {
      "encx.errors,error=UNKNOWN,operation=RotateKEK": 1,
      "encx.key_operations,key_alias=app,key_version=3,operation=rotate": 1,
      "encx.process.failed,operation=RotateKEK,operation_type=key_rotation,status=error": 1,
      "encx.process.started,operation=RotateKEK,operation_type=key_rotation": 1,
      "encx.process.succeeded,operation=RotateKEK,operation_type=key_rotation,status=success": 1,
    })
    assert.deepEqual(
      Object.values(timings).map(({ sum }) => sum),
      [7, 5],
    )
  })
})

describe("watchers that fail", () => {
  const broken = (fail: () => unknown): { metrics: MetricsCollector; hook: ObservabilityHook } => ({
    metrics: {
      incrementCounter: fail as () => void,
      incrementCounterBy: fail as () => void,
      setGauge: fail as () => void,
      recordTiming: fail as () => void,
      recordValue: fail as () => void,
      flush: fail as () => Promise<void>,
    },
    hook: keptEvents("broken", [], fail),
  })
  const failures: Readonly<Record<string, () => unknown>> = {
    throw: () => {
      throw new Error("a watcher throws")
    },
    "return a promise that is rejected": async () => {
      throw new Error("a watcher rejects")
    },
    "throw undefined": () => {
      throw undefined
    },
  }

  for (const [how, fail] of Object.entries(failures)) {
    it(`that ${how} make no operation fail, and each is told of once`, async () => {
      const { logger, at } = keptLines()
      const { metrics, hook } = broken(fail)
      const crypto = await newTestCrypto(withMetricsCollector(metrics), withObservabilityHook(hook), withLogger(logger))
      await everything(crypto)
      await crypto.close()
      const told = at("warn").map(([, , fields]) => fields["watcher"])
      assert.deepEqual(told.toSorted(), ["hook", "metrics"])
    })
  }

  it("are not waited for", async () => {
    const never = (): Promise<never> => new Promise(() => {})
    const { metrics, hook } = broken(never)
    const quick = { ...metrics, flush: async () => {} }
    const crypto = await newTestCrypto(withMetricsCollector(quick), withObservabilityHook(hook))
    await everything(crypto)
    await crypto.close()
  })

  it("keep no program from ending: a collector that never has sent everything is left", async () => {
    const observer = new Observer({ metrics: { ...inMemoryMetrics(), flush: () => new Promise(() => {}) } })
    await within(5_000, () => observer.close(10))
  })

  it("such as a logger make no operation fail either", async () => {
    const fail = failures["throw"] as () => void
    const crypto = await newTestCrypto(withLogger({ debug: fail, info: fail, warn: fail, error: fail }))
    await everything(crypto)
    await crypto.close()
  })
})

describe("logs", () => {
  it("have operations at debug, failures at error with their code, and changes of keys at info", async () => {
    const { logger, at } = keptLines()
    const crypto = await newTestCrypto(withLogger(logger))
    await crypto.rotateKEK()
    const envelope = await crypto.seal(BYTES)
    await assert.rejects(crypto.open(envelope, { tenant: "other" }))
    const common = { operation_type: "decryption", key_alias: "test", error: "DECRYPTION_FAILED" }
    const errors = at("error").map(([, message, { duration_ms: _, ...fields }]) => ({ message, ...fields }))
    assert.deepEqual(errors, [{ message: "Operation failed", operation: "open", ...common }])
    assert.deepEqual(
      at("info").map(([, , { operation, key_version }]) => `${operation} ${key_version}`),
      ["create 1", "rotate 2"],
    )
    assert.ok(
      at("debug").some(([, message, fields]) => message === "Operation completed" && fields["operation"] === "seal"),
    )
    assert.ok(at("debug").some(([, message]) => message === "Service call completed"))
    await crypto.close()
  })

  it("have at warn that a service cannot be asked, and nothing above debug when a caller gives up", async () => {
    const { logger, at } = keptLines()
    const kms = fakeKMS()
    const crypto = await newTestCrypto(withLogger(logger), withKMSService(kms), withDEKCache(false))
    kms.inject({ kind: "unavailable", methods: ["generateDEK"], times: 1 })
    await assert.rejects(crypto.seal(BYTES))
    const [warned] = at("warn")
    assert.equal(warned?.[1], "Service call failed")
    assert.equal(warned?.[2]["error"], "KMS_UNAVAILABLE")
    const before = at("error").length
    await assert.rejects(crypto.seal(BYTES, {}, { signal: AbortSignal.abort() }), { name: "AbortError" })
    const late = AbortSignal.abort(new DOMException("late", "TimeoutError"))
    await assert.rejects(crypto.seal(BYTES, {}, { signal: late }), { name: "TimeoutError" })
    assert.equal(at("error").length, before)
    await crypto.close()
  })

  it("go to the console where loggingHook() is given no logger", () => {
    assert.equal(typeof loggingHook().onProcessStart, "function")
  })
})

describe("errorCode()", () => {
  it("is a code of this library, the name of a built-in error, or UNKNOWN, and never a word of a message", () => {
    const odd = Object.assign(new DecryptionFailed(), { code: "a secret" })
    const renamed = Object.assign(new Error("a"), { name: "a secret" })
    const failure = { provider: "memory", operation: "x" }
    const expected: [unknown, string][] = [
      [new KMSUnavailable("no", failure), "KMS_UNAVAILABLE"],
      [Object.assign(new DecryptionFailed(), { name: "a secret" }), "DECRYPTION_FAILED"],
      [odd, "UNKNOWN"],
      [renamed, "UNKNOWN"],
      [new TypeError("a secret"), "TypeError"],
      [AbortSignal.abort().reason, "ABORTED"],
      [new DOMException("a", "TimeoutError"), "TIMEOUT"],
      ["a secret", "UNKNOWN"],
      [undefined, "UNKNOWN"],
    ]
    for (const [error, code] of expected) assert.equal(errorCode(error), code)
  })
})
