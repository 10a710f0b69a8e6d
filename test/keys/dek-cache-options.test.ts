import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import {
  AccessDenied,
  InvalidConfiguration,
  KeyDisabled,
  KeyNotAllowed,
  KeyNotFound,
  KMSUnavailable,
} from "../../core/errors.ts"
import { goString } from "../../core/go-encx/mod.ts"
import { DEK_CACHE_DEFAULTS } from "../../core/keys/dek-cache.ts"
import {
  type ByteTransform,
  type Crypto,
  configFromEnv,
  type DEKCacheOptions,
  dekCache,
  inMemoryMetrics,
  type KeyManagementService,
  type Logger,
  newCrypto,
  nullDEKCache,
  type Option,
  plain,
  record,
  text,
  withClock,
  withDatabase,
  withDEKCache,
  withKEKAlias,
  withKMSContext,
  withKMSService,
  withLogger,
  withMetricsCollector,
  withObservabilityHook,
  withRetiredKEK,
} from "../../mod.ts"
import { memory } from "../../providers/memory.ts"
import { memoryKEKVersions } from "../../testing.ts"

const MESSAGE = Uint8Array.of(1, 2, 3)
const FAILURE = { provider: "memory", operation: "encryptDEK" }
const down = (): Error => new KMSUnavailable("Cannot wrap a data key: down on purpose", FAILURE)
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A KMS that does for each wrap and unwrap what it is told to, a clock that stands still, and a program. */
class World {
  now = 0
  calls = 0
  before: (options: { readonly signal?: AbortSignal | undefined }) => unknown = () => {}
  readonly clock = { now: (): number => this.now }
  kms!: KeyManagementService
  #opening: Promise<KeyManagementService> | undefined

  async start(...options: Option[]): Promise<Crypto> {
    this.#opening ??= this.#open()
    this.kms = await this.#opening
    return await newCrypto(withKMSService(this.kms), withKEKAlias("app"), withClock(this.clock), ...options)
  }

  async #open(): Promise<KeyManagementService> {
    const { rotateKey: _, ...inner } = memory()
    await inner.createKey("app")
    const ask =
      <Args extends readonly unknown[], Result>(method: (...args: Args) => Promise<Result>) =>
      async (...args: Args): Promise<Result> => {
        this.calls++
        await this.before((args.at(-1) ?? {}) as { signal?: AbortSignal })
        return await method(...args)
      }
    return { ...inner, encryptDEK: ask(inner.encryptDEK), decryptDEK: ask(inner.decryptDEK) }
  }
}

async function started(limits: DEKCacheOptions, ...options: Option[]): Promise<{ world: World; crypto: Crypto }> {
  const world = new World()
  return { world, crypto: await world.start(withDEKCache(limits), ...options) }
}

const dekIDOf = (crypto: Crypto, envelope: Uint8Array): string => crypto.inspect(envelope).dekID

describe("the data-key cache: each option by its effect", () => {
  it("maxAgeMs ends a key by its birth, however often it is used", async () => {
    const { world, crypto } = await started({ maxAgeMs: 1_000, refreshAheadMs: 0 })
    for (const [now, calls] of [
      [0, 1],
      [400, 1],
      [800, 1],
      [999, 1],
      [1_000, 2],
      [1_999, 2],
      [2_000, 3],
    ] as const) {
      world.now = now
      await crypto.seal(MESSAGE)
      assert.equal(world.calls, calls, `at ${now} ms`)
    }
    assert.equal(crypto.stats().cache.evictions.age, 2)
  })

  it("maxMessages and maxBytes end a key before the use that would pass them", async () => {
    const { world, crypto } = await started({ maxMessages: 3 })
    for (let i = 0; i < 7; i++) await crypto.seal(MESSAGE)
    assert.equal(world.calls, 3)
    const bytes = await started({ maxBytes: 7 })
    for (let i = 0; i < 5; i++) await bytes.crypto.seal(MESSAGE)
    assert.equal(bytes.world.calls, 3)
    assert.equal(bytes.crypto.stats().cache.evictions.bytes, 2)
  })

  it("capacity bounds each side, and the key that was not used for longest leaves", async () => {
    const { world, crypto } = await started({ capacity: 2 })
    for (const partition of ["a", "b", "a", "c", "a", "b"]) await crypto.seal(MESSAGE, {}, { partition })
    assert.equal(world.calls, 4)
    assert.equal(crypto.stats().cache.evictions.capacity, 2)
    assert.equal(crypto.stats().cache.size, 2)
  })

  it("refreshAheadMs replaces a key in the background before it ends, and nobody waits", async () => {
    const { world, crypto } = await started({ maxAgeMs: 10_000, refreshAheadMs: 2_000 })
    const first = await crypto.seal(MESSAGE)
    world.now = 7_999
    await crypto.seal(MESSAGE)
    assert.equal(world.calls, 1)
    const gate = Promise.withResolvers<void>()
    world.before = () => gate.promise
    world.now = 8_000
    for (let i = 0; i < 100; i++) assert.equal(dekIDOf(crypto, await crypto.seal(MESSAGE)), dekIDOf(crypto, first))
    assert.equal(world.calls, 2, "one use of a hundred asks")
    gate.resolve()
    await turn()
    assert.notEqual(dekIDOf(crypto, await crypto.seal(MESSAGE)), dekIDOf(crypto, first))
    const { misses, refreshes, refreshFailures } = crypto.stats().cache
    assert.deepEqual({ misses, refreshes, refreshFailures }, { misses: 1, refreshes: 1, refreshFailures: 0 })
  })

  it("refreshAheadMs tries once a second while it fails, tells nobody but the counters, and close() ends the last try", async () => {
    const metrics = inMemoryMetrics()
    const { world, crypto } = await started({ maxAgeMs: 10_000, refreshAheadMs: 5_000 }, withMetricsCollector(metrics))
    await crypto.seal(MESSAGE)
    world.before = () => Promise.reject(down())
    for (world.now = 5_000; world.now < 9_000; world.now += 100) {
      await crypto.seal(MESSAGE)
      await turn()
    }
    assert.equal(world.calls, 1 + 4)
    assert.equal(crypto.stats().cache.refreshFailures, 4)
    assert.equal(metrics.getCounter("encx.cache.refresh_failures"), 4)
    let signal: AbortSignal | undefined
    world.before = (options) => {
      signal = options.signal
      return new Promise(() => {})
    }
    world.now = 9_500
    await crypto.seal(MESSAGE)
    assert.equal(signal?.aborted, false)
    await crypto.close()
    assert.equal(signal?.aborted, true)
  })

  it("refreshAheadMs is at most half of maxAgeMs where it is not given, and refused where it is given as more", async () => {
    const { world, crypto } = await started({ maxAgeMs: 100 })
    await crypto.seal(MESSAGE)
    world.now = 49
    await crypto.seal(MESSAGE)
    assert.equal(crypto.stats().cache.refreshes, 0)
    world.now = 50
    await crypto.seal(MESSAGE)
    assert.equal(crypto.stats().cache.refreshes, 1)
    await assert.rejects(started({ maxAgeMs: 100, refreshAheadMs: 51 }), /"refreshAheadMs": it is more than half/)
  })

  it("staleIfErrorMs lets a key seal past its age while the KMS cannot be asked, and tells of each time", async () => {
    const metrics = inMemoryMetrics()
    const told: string[] = []
    const warned: unknown[] = []
    const nothing = (): void => {}
    const logger: Logger = {
      ...{ debug: nothing, info: nothing, error: nothing },
      warn: (message, fields) => warned.push([message, fields?.["operation"], fields?.["past_age_ms"]]),
    }
    const { world, crypto } = await started(
      { maxAgeMs: 10_000, refreshAheadMs: 0, staleIfErrorMs: 5_000 },
      withMetricsCollector(metrics),
      withLogger(logger),
      withObservabilityHook({
        onKeyOperation: (operation, alias, version, { past_age_ms }) => {
          if (operation === "stale") told.push(`${alias} ${version} ${past_age_ms}`)
        },
      }),
    )
    const first = await crypto.seal(MESSAGE)
    world.before = () => Promise.reject(down())
    world.now = 10_000
    assert.equal(
      dekIDOf(crypto, await crypto.seal(MESSAGE)),
      dekIDOf(crypto, first),
      "it waited, and then took the old one",
    )
    assert.equal(dekIDOf(crypto, await crypto.seal(MESSAGE)), dekIDOf(crypto, first), "it did not wait")
    assert.equal(world.calls, 2)
    const degraded = await crypto.health()
    assert.equal(degraded.status, "degraded")
    assert.match(
      JSON.stringify(degraded.checks.find(({ check }) => check === "cache")),
      /keys that seal past their age: 1;/,
    )
    world.now = 14_999
    await crypto.seal(MESSAGE)
    assert.deepEqual(told, ["app 1 0.000", "app 1 0.000", "app 1 4999.000"])
    assert.deepEqual(
      warned.filter((each) => String(each).includes("stale")),
      [
        ["Key operation", "stale", "0.000"],
        ["Key operation", "stale", "0.000"],
        ["Key operation", "stale", "4999.000"],
      ],
    )
    assert.equal(crypto.stats().cache.stale, 3)
    assert.equal(metrics.getCounter("encx.cache.stale"), 3)
    await turn()
    world.now = 15_000
    await assert.rejects(crypto.seal(MESSAGE), KMSUnavailable)
    world.before = () => {}
    assert.notEqual(dekIDOf(crypto, await crypto.seal(MESSAGE)), dekIDOf(crypto, first))
    assert.equal((await crypto.health()).status, "healthy")
  })

  it("staleIfErrorMs seals with a key that a hook forgets as it is told of it", async () => {
    const { world, crypto } = await started(
      { maxAgeMs: 10_000, refreshAheadMs: 0, staleIfErrorMs: 5_000 },
      withObservabilityHook({ onKeyOperation: (operation) => operation === "stale" && crypto.invalidate() }),
    )
    const first = await crypto.seal(MESSAGE)
    world.before = () => Promise.reject(down())
    world.now = 10_000
    assert.equal(dekIDOf(crypto, await crypto.seal(MESSAGE)), dekIDOf(crypto, first))
    await assert.rejects(crypto.seal(MESSAGE), KMSUnavailable)
  })

  it("staleIfErrorMs is for answers that may come later, for sealing, and within the other limits", async () => {
    const limits = { maxAgeMs: 10_000, refreshAheadMs: 0, staleIfErrorMs: 5_000, negativeMs: 0 }
    const denied = await started(limits)
    await denied.crypto.seal(MESSAGE)
    denied.world.now = 10_000
    denied.world.before = () => Promise.reject(new AccessDenied("Cannot wrap a data key: denied", FAILURE))
    await assert.rejects(denied.crypto.seal(MESSAGE), AccessDenied)
    denied.world.before = () => Promise.reject(down())
    await assert.rejects(denied.crypto.seal(MESSAGE), KMSUnavailable, "an answer that said no ended the old key")

    const full = await started({ ...limits, maxMessages: 2 })
    await full.crypto.seal(MESSAGE)
    full.world.before = () => Promise.reject(down())
    full.world.now = 10_000
    await full.crypto.seal(MESSAGE)
    await assert.rejects(full.crypto.seal(MESSAGE), KMSUnavailable, "two messages are sealed")

    const opening = await started(limits)
    const envelope = await opening.crypto.seal(MESSAGE)
    await opening.crypto.open(envelope)
    opening.world.before = () => Promise.reject(down())
    opening.world.now = 10_000
    await assert.rejects(opening.crypto.open(envelope), KMSUnavailable)

    const off = await started({ maxAgeMs: 10_000, refreshAheadMs: 0 })
    await off.crypto.seal(MESSAGE)
    off.world.before = () => Promise.reject(down())
    off.world.now = 10_000
    await assert.rejects(off.crypto.seal(MESSAGE), KMSUnavailable, "it is off unless somebody wants it")
  })

  it("negativeMs keeps an answer that says no, gives it as an error of each caller's own, and keeps no other failure", async () => {
    const { world, crypto } = await started({ negativeMs: 2_000 })
    for (const Refused of [AccessDenied, KeyNotFound, KeyDisabled]) {
      const calls = world.calls
      const refusal = new Refused("Cannot wrap a data key: no", FAILURE)
      world.before = () => Promise.reject(refusal)
      await assert.rejects(crypto.seal(MESSAGE), (error) => error === refusal)
      world.now += 1_999
      await assert.rejects(crypto.seal(MESSAGE), (error) => {
        assert.ok(error instanceof Refused && error !== refusal)
        assert.equal(error.cause, refusal)
        assert.equal(error.code, refusal.code)
        return true
      })
      assert.equal(world.calls, calls + 1)
      world.now += 1
      await assert.rejects(crypto.seal(MESSAGE), (error) => error === refusal)
      assert.equal(world.calls, calls + 2)
      world.now += 2_000
    }
    assert.equal(crypto.stats().cache.negative, 3)
    world.before = () => Promise.reject(down())
    const calls = world.calls
    for (let i = 0; i < 3; i++) await assert.rejects(crypto.seal(MESSAGE), KMSUnavailable)
    assert.equal(world.calls, calls + 3, "one that may come later is asked for again")
    world.before = () => Promise.reject(new AccessDenied("Cannot wrap a data key: no", FAILURE))
    await assert.rejects(crypto.seal(MESSAGE), AccessDenied)
    crypto.invalidate()
    world.before = () => {}
    await crypto.seal(MESSAGE)
  })

  it("negativeMs of 0 believes no answer twice", async () => {
    const { world, crypto } = await started({ negativeMs: 0 })
    world.before = () => Promise.reject(new AccessDenied("Cannot wrap a data key: no", FAILURE))
    for (let i = 0; i < 3; i++) await assert.rejects(crypto.seal(MESSAGE), AccessDenied)
    assert.equal(world.calls, 3)
  })

  it("negativeMs keeps an answer for the copy of a key that gave it: another region is asked all the same", async () => {
    const inner = memory()
    await inner.createKey("app")
    const keyID = await inner.getKeyID("app")
    const asked: string[] = []
    const denied = new Set(["here"])
    const region = (name: string): KeyManagementService => ({
      provider: "aws-kms",
      getKeyID: async () => `${name}:key`,
      describeKey: inner.describeKey,
      sameKey: (a, b) => a.split(":")[1] === b.split(":")[1],
      encryptDEK: async (id, dek, context) => ({ ...(await inner.encryptDEK(keyID, dek, context)), keyID: id }),
      decryptDEK: async (wrapped, context) => {
        asked.push(name)
        if (denied.has(name)) throw new AccessDenied("Cannot unwrap a data key: denied", FAILURE)
        return await inner.decryptDEK({ ...wrapped, keyID }, context)
      },
    })
    const crypto = await newCrypto(
      ...[withKMSService(region("here")), withKEKAlias("app"), withRetiredKEK(region("there"), "app")],
      withClock({ now: () => 0 }),
    )
    const envelope = await crypto.seal(MESSAGE)
    assert.deepEqual(await crypto.open(envelope), MESSAGE)
    assert.deepEqual(await crypto.open(envelope), MESSAGE)
    assert.deepEqual(asked, ["here", "there"], "then it is there, whichever of them opened it")
    crypto.invalidate({ keyID: "here:key" })
    assert.equal(crypto.stats().cache.size, 0, "the envelope names it so, and another copy unwrapped it")
    denied.add("there")
    await assert.rejects(crypto.open(envelope), AccessDenied)
    await assert.rejects(crypto.open(envelope), AccessDenied)
    assert.deepEqual(asked, ["here", "there", "here", "there"])
    assert.equal(crypto.stats().cache.negative, 2)
  })

  it("maxFlights bounds the calls at once, others queue in their order, and an abort leaves the queue", async () => {
    const { world, crypto } = await started({ maxFlights: 3 })
    const gates: (() => void)[] = []
    world.before = () => new Promise<void>((resolve) => gates.push(resolve))
    const controller = new AbortController()
    const sealed = Array.from({ length: 10 }, (_, i) =>
      crypto.seal(MESSAGE, {}, { partition: `t${i}`, ...(i === 5 ? { signal: controller.signal } : {}) }).then(
        () => i,
        (error: unknown) => error,
      ),
    )
    await turn()
    assert.equal(world.calls, 3)
    assert.deepEqual([crypto.stats().cache.flights, crypto.stats().cache.queued], [3, 7])
    controller.abort("left")
    assert.equal(await sealed[5], "left")
    assert.equal(crypto.stats().cache.queued, 6)
    while (gates.length > 0) {
      gates.shift()?.()
      await turn()
      assert.ok(crypto.stats().cache.flights <= 3)
    }
    assert.deepEqual(await Promise.all(sealed), [0, 1, 2, 3, 4, "left", 6, 7, 8, 9])
    assert.equal(world.calls, 9)
  })

  it("maxFlights bounds what no cache keeps, too", async () => {
    const world = new World()
    const crypto = await world.start(withDEKCache(nullDEKCache))
    let most = 0
    let now = 0
    world.before = async () => {
      most = Math.max(most, ++now)
      await sleep(1)
      now--
    }
    await Promise.all(Array.from({ length: 100 }, () => crypto.seal(MESSAGE)))
    assert.equal(most, DEK_CACHE_DEFAULTS.maxFlights)
    assert.equal(world.calls, 100)
    assert.equal(crypto.stats().cache.size, 0)
  })

  const drained = async ({ readable, writable }: ByteTransform): Promise<void> => {
    await Promise.all([
      writable.close(),
      new Response(readable as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer(),
    ])
  }
  const goRows = record("rows", { layout: "go-encx" }, { note: goString().encrypt() })
  const ofTheirOwn: Record<string, (crypto: Crypto) => Promise<unknown>> = {
    "a stream without size": (crypto) => drained(crypto.encryptStream()),
    "a row of the Go library's": (crypto) => crypto.sealRecord(goRows, { note: "n" }),
  }
  for (const [what, work] of Object.entries(ofTheirOwn)) {
    it(`maxFlights and flightTimeoutMs bound what has a key of its own, too: ${what}`, async () => {
      const recorded = (): Option => withDatabase(memoryKEKVersions())
      const { world, crypto } = await started({ maxFlights: 2 }, recorded())
      const gates: (() => void)[] = []
      world.before = () => new Promise<void>((resolve) => gates.push(resolve))
      const done = Promise.all(Array.from({ length: 5 }, () => work(crypto)))
      for (let ended = 0; ended < 5; ) {
        await turn()
        const now = gates.splice(0)
        assert.ok(now.length <= 2)
        ended += now.length
        for (const open of now) open()
      }
      await done
      assert.deepEqual([crypto.stats().cache.misses, crypto.stats().cache.size], [5, 0])
      const deaf = await started({ flightTimeoutMs: 20 }, recorded())
      deaf.world.before = () => new Promise(() => {})
      const alive = setInterval(() => {}, 1_000)
      try {
        await assert.rejects(work(deaf.crypto), /did not answer within 20 ms/)
      } finally {
        clearInterval(alive)
      }
    })
  }

  it("flightTimeoutMs ends the wait for a KMS that is deaf, with an error that may be tried again, and frees its place", async () => {
    const { world, crypto } = await started({ flightTimeoutMs: 20, maxFlights: 1 })
    let signal: AbortSignal | undefined
    world.before = (options) => {
      signal = options.signal
      return new Promise(() => {})
    }
    // The limit's own timer keeps no process alive; the KMS of a real program does.
    const alive = setInterval(() => {}, 1_000)
    try {
      const results = await Promise.allSettled(Array.from({ length: 5 }, () => crypto.seal(MESSAGE)))
      for (const each of results) {
        assert.ok(each.status === "rejected" && each.reason instanceof KMSUnavailable)
        assert.match(each.reason.message, /did not answer within 20 ms/)
        assert.deepEqual([each.reason.retryable, each.reason.provider], [true, "memory"])
      }
      assert.equal(world.calls, 1)
      assert.equal(signal?.aborted, true)
      world.before = () => {}
      await crypto.seal(MESSAGE)
    } finally {
      clearInterval(alive)
    }
  })

  it("refuses each limit that is out of its range, by its name", async () => {
    const bad: [DEKCacheOptions, RegExp][] = [
      [{ maxBytes: 2 ** 50 + 1 }, /"maxBytes": it is more than 2\^50/],
      [{ negativeMs: 5_001 }, /"negativeMs": it is more than 5,000/],
      [{ negativeMs: -1 }, /"negativeMs": it is not a whole number from 0/],
      [{ staleIfErrorMs: 0.5 }, /"staleIfErrorMs": it is not a whole number from 0/],
      [{ maxFlights: 0 }, /"maxFlights": it is not a whole number from 1/],
      [{ flightTimeoutMs: 2 ** 31 }, /"flightTimeoutMs": it is more than/],
      [{ weight: 1 } as DEKCacheOptions, /"weight": there is no limit of this name/],
    ]
    for (const [limits, message] of bad) {
      await assert.rejects(started(limits), message)
      assert.throws(() => dekCache(limits), message)
    }
    await assert.rejects(started(null as unknown as DEKCacheOptions), /neither limits nor false/)
    await started({ negativeMs: 0, staleIfErrorMs: 0, refreshAheadMs: 0, maxFlights: 1, maxAgeMs: 1 })
  })

  it("ENCX_DEK_CACHE sets the limits, or none, and is refused where it says nothing that is one", async () => {
    const kms = memory()
    await kms.createKey("app")
    const start = (value: string): Promise<Crypto> =>
      newCrypto(
        ...configFromEnv({ ENCX_KMS: "unused", ENCX_KEK_ALIAS: "app", ENCX_DEK_CACHE: value }),
        withKMSService(kms),
      )
    const limited = await start("maxMessages=2&staleIfErrorMs=1000")
    for (let i = 0; i < 4; i++) await limited.seal(MESSAGE)
    assert.equal(limited.stats().kms.encryptDEK, 2)
    const off = await start("off")
    for (let i = 0; i < 4; i++) await off.seal(MESSAGE)
    assert.equal(off.stats().kms.encryptDEK, 4)
    for (const bad of ["on", "maxMessages=", "maxMessages=many", "weight=1"])
      await assert.rejects(start(bad), InvalidConfiguration, bad)
  })
})

// --- Partitions ---

describe("the data-key cache: partitions", () => {
  it("seal() and open() give the keys of one partition to no other", async () => {
    const { world, crypto } = await started({})
    const ids = new Set<string>()
    const envelopes: Uint8Array[] = []
    for (const partition of ["", "a", "b", "1/a", "@1/a/", undefined]) {
      const envelope = await crypto.seal(MESSAGE, {}, partition === undefined ? {} : { partition })
      ids.add(dekIDOf(crypto, envelope))
      envelopes.push(envelope)
    }
    assert.equal(ids.size, 5, "no partition and the empty one are the same")
    const { calls } = world
    for (const partition of ["a", "b", "a"]) await crypto.open(envelopes[0] as Uint8Array, {}, { partition })
    assert.equal(world.calls, calls + 2)
    await assert.rejects(crypto.seal(MESSAGE, {}, { partition: 7 as unknown as string }), /Cannot use a partition/)
  })

  it("invalidate() forgets the keys of one partition or one key-encryption key, those of records, too", async () => {
    const rows = record(
      "rows",
      { row: "id", tenant: "tenant" },
      {
        ...{ id: plain<number>(), tenant: plain<string>() },
        note: text().encrypt(),
      },
    )
    const { world, crypto } = await started({})
    const [keyID = ""] = crypto.inspect(await crypto.seal(MESSAGE)).keys.map((each) => each.keyID)
    await crypto.seal(MESSAGE, {}, { partition: "a" })
    const row = await crypto.sealRecord(rows, { id: 1, tenant: "a", note: "n" })
    await crypto.openRecord(rows, row)
    await crypto.sealRecord(rows, { id: 2, tenant: "b", note: "n" })
    assert.equal(crypto.stats().cache.size, 5)
    crypto.invalidate({ partition: "a" })
    assert.equal(crypto.stats().cache.size, 2)
    crypto.invalidate({ keyID: "another" })
    assert.equal(crypto.stats().cache.size, 2)
    crypto.invalidate({ partition: "c", keyID })
    assert.equal(crypto.stats().cache.size, 2)
    crypto.invalidate({ keyID })
    assert.equal(crypto.stats().cache.size, 0)
    assert.equal(crypto.stats().cache.evictions.invalidated, 5)
    const { calls } = world
    await crypto.openRecord(rows, row)
    assert.equal(world.calls, calls + 1)
  })

  it("invalidate() of one partition keeps a flight of it from filling the cache, and disturbs no other", async () => {
    const { world, crypto } = await started({})
    const gate = Promise.withResolvers<void>()
    world.before = () => gate.promise
    const sealed = ["a", "b"].map((partition) => crypto.seal(MESSAGE, {}, { partition }))
    await turn()
    crypto.invalidate({ partition: "a" })
    gate.resolve()
    await Promise.all(sealed)
    assert.equal(crypto.stats().cache.size, 1)
    await crypto.seal(MESSAGE, {}, { partition: "b" })
    assert.equal(world.calls, 2)
    await crypto.seal(MESSAGE, {}, { partition: "a" })
    assert.equal(world.calls, 3)
  })
})

// --- Shared ---

describe("the data-key cache: shared by several programs", () => {
  it("dekCache() shares keys among programs of the same services, keys, context and partition, and no others", async () => {
    const world = new World()
    const first = await world.start(withDEKCache(dekCache(), { partition: "p" }))
    await world.kms.createKey?.("other")
    const cache = dekCache({}, { clock: world.clock })
    const place = withDEKCache(cache, { partition: "p" })
    const one = await world.start(place)
    const same = await world.start(place)
    const others = await Promise.all([
      world.start(withDEKCache(cache, { partition: "q" })),
      world.start(place, withKEKAlias("other")),
      world.start(place, withKMSContext({ team: "a" })),
      world.start(place, withRetiredKEK(world.kms, "other")),
      world.start(place, withDatabase(memoryKEKVersions())),
      new World().start(place),
    ])
    const envelope = await one.seal(MESSAGE)
    assert.equal(dekIDOf(one, await same.seal(MESSAGE)), dekIDOf(one, envelope))
    const ids = await Promise.all([first, ...others].map(async (each) => dekIDOf(each, await each.seal(MESSAGE))))
    assert.equal(new Set([...ids, dekIDOf(one, envelope)]).size, 8)
    assert.equal(cache.stats()?.size, 7)
    assert.deepEqual([one.stats().cache.misses, same.stats().cache.misses, same.stats().cache.hits], [1, 0, 1])
    // What one may open is no answer to what another may.
    await one.open(envelope)
    await assert.rejects(others.at(-1)?.open(envelope) as Promise<Uint8Array>, KeyNotAllowed)
    cache.invalidate({ partition: "q" })
    assert.equal(cache.stats()?.size, 7)
    cache.close()
    assert.equal(cache.stats()?.size, 0)
  })

  it("dekCache() gives no program a key under what its alias was before it started", async () => {
    const world = new World()
    const cache = dekCache({}, { clock: world.clock })
    const place = withDEKCache(cache, { partition: "p" })
    await world.start()
    await world.kms.createKey?.("other")
    let target = "app"
    const { getKeyID } = world.kms
    const moved = withKMSService({ ...world.kms, getKeyID: (_, options) => getKeyID(target, options) })
    const old = await world.start(moved, place)
    const before = await old.seal(MESSAGE)
    await old.open(before)
    target = "other"
    const fresh = await world.start(moved, place)
    assert.deepEqual(await fresh.open(await fresh.seal(MESSAGE)), MESSAGE)
    await assert.rejects(fresh.open(before), KeyNotAllowed)
    assert.deepEqual([old.stats().cache.misses, fresh.stats().cache.misses], [2, 2])
  })

  it("close() of one program leaves what others share, and takes what nobody else may use", async () => {
    const world = new World()
    const cache = dekCache({}, { clock: world.clock })
    const start = (partition: string): Promise<Crypto> => world.start(withDEKCache(cache, { partition }))
    const [one, same, other] = await Promise.all([start("p"), start("p"), start("q")])
    const id = dekIDOf(one, await one.seal(MESSAGE))
    await other.seal(MESSAGE)
    await one.close()
    assert.equal(dekIDOf(same, await same.seal(MESSAGE)), id)
    assert.equal(cache.stats()?.size, 2)
    await same.close()
    assert.equal(cache.stats()?.size, 1)
    assert.equal(cache.stats()?.evictions.invalidated, 1)
    const { calls } = world
    await other.seal(MESSAGE)
    assert.equal(world.calls, calls)
    cache.close()
    await other.seal(MESSAGE)
    await other.seal(MESSAGE)
    assert.equal(world.calls, calls + 2, "without its cache a program asks for each message")
    await assert.rejects(start("p"), /it was closed/)
  })

  it("a caller who waits for a key goes on waiting when the program that asked for it closes", async () => {
    const world = new World()
    const cache = dekCache({}, { clock: world.clock })
    const start = (): Promise<Crypto> => world.start(withDEKCache(cache, { partition: "p" }))
    const [one, same] = await Promise.all([start(), start()])
    const gate = Promise.withResolvers<void>()
    world.before = () => gate.promise
    const sealed = [one.seal(MESSAGE), same.seal(MESSAGE)]
    await turn()
    await one.close()
    gate.resolve()
    assert.equal((await Promise.all(sealed)).length, 2)
    assert.equal(world.calls, 1)
    assert.equal(cache.stats()?.size, 1)
  })

  it("withDEKCache() wants a partition for a cache that is shared", async () => {
    const cache = dekCache()
    for (const place of [undefined, {}, { partition: "" }, { partition: "\ud800" }, { partition: 7 }])
      await assert.rejects(
        new World().start(withDEKCache(cache, place as never)),
        /it is shared, and names no partition/,
      )
    await assert.rejects(
      new World().start({ dekCache: { shared: {} as never, partition: "p" } }),
      /it was not made by dekCache/,
    )
  })
})
