import assert from "node:assert/strict"
import process from "node:process"
import { describe, it } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { randomBytes } from "../../core/bytes.ts"
import type { CallOptions, KeyManagementService } from "../../core/contracts.ts"
import { Closed, KMSUnavailable } from "../../core/errors.ts"
import { DataKey } from "../../core/keys/dek.ts"
import { DEK_CACHE_DEFAULTS, DEKCache } from "../../core/keys/dek-cache.ts"
import {
  type Crypto,
  newCrypto,
  type Option,
  plain,
  record,
  text,
  withDEKCache,
  withKEKAlias,
  withKMSService,
} from "../../mod.ts"
import { memory } from "../../providers/memory.ts"

const MESSAGE = Uint8Array.of(1, 2, 3)

/** A KMS whose wraps and unwraps wait for `before`, which may also fail. */
async function remoteKMS(
  before: (method: "encryptDEK" | "decryptDEK", options: CallOptions) => Promise<void>,
): Promise<KeyManagementService> {
  const inner = memory()
  await inner.createKey("app")
  return {
    provider: inner.provider,
    getKeyID: inner.getKeyID,
    describeKey: inner.describeKey,
    rotateKey: inner.rotateKey,
    encryptDEK: async (keyID, dek, context, options = {}) => {
      await before("encryptDEK", options)
      return await inner.encryptDEK(keyID, dek, context)
    },
    decryptDEK: async (wrapped, context, options = {}) => {
      await before("decryptDEK", options)
      return await inner.decryptDEK(wrapped, context)
    },
  }
}

async function program(
  before: (method: string, options: CallOptions) => Promise<void>,
  ...options: Option[]
): Promise<Crypto> {
  return await newCrypto(withKMSService(await remoteKMS(before)), withKEKAlias("app"), ...options)
}

/** Runs, and gives every rejection that nobody handled meanwhile. */
async function unhandled(run: () => Promise<void>): Promise<unknown[]> {
  const seen: unknown[] = []
  const listen = (reason: unknown): void => {
    seen.push(reason)
  }
  process.on("unhandledRejection", listen)
  try {
    await run()
    await sleep(20)
  } finally {
    process.off("unhandledRejection", listen)
  }
  return seen
}

const times = <Result>(count: number, run: (i: number) => Promise<Result>): Promise<Result[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => run(i)))

// --- One flight ---

describe("the data-key cache: one flight", () => {
  it("seal() asks the KMS once when 3,000 callers find an empty cache", async () => {
    const crypto = await program(async () => await sleep(5))
    await times(3_000, () => crypto.seal(MESSAGE))
    assert.equal(crypto.stats().kms.encryptDEK, 1)
  })

  it("seal() asks the KMS once when 10,000 callers find an empty cache", async () => {
    const crypto = await program(async () => await sleep(5))
    const envelopes = await times(10_000, () => crypto.seal(MESSAGE))
    assert.equal(crypto.stats().kms.encryptDEK, 1)
    assert.equal(crypto.stats().cache.misses, 1)
    assert.equal(crypto.stats().cache.coalesced, 9_999)
    assert.equal(new Set(envelopes.map((each) => crypto.inspect(each).dekID)).size, 1)
    crypto.invalidate()
    const opened = await times(10_000, (i) => crypto.open(envelopes[i] as Uint8Array))
    assert.ok(opened.every((each) => each.length === 3 && each[2] === 3))
    assert.equal(crypto.stats().kms.decryptDEK, 1)
  })

  it("sealRecord() asks once for each tenant when 100 callers of each of 100 come at once", async () => {
    const rows = record(
      "rows",
      { row: "id", tenant: "tenant" },
      { id: plain<number>(), tenant: plain<string>(), note: text().encrypt() },
    )
    const crypto = await program(async () => await sleep(5))
    const sealed = await times(10_000, (id) => crypto.sealRecord(rows, { id, tenant: `t${id % 100}`, note: "n" }))
    assert.equal(crypto.stats().kms.encryptDEK, 100)
    const keys = new Map<string, Set<string>>()
    for (const { tenant, dek_encrypted } of sealed) {
      keys.set(tenant, (keys.get(tenant) ?? new Set()).add(crypto.inspect(dek_encrypted).dekID))
    }
    assert.equal(keys.size, 100)
    assert.ok([...keys.values()].every((ids) => ids.size === 1))
    assert.equal(new Set([...keys.values()].flatMap((ids) => [...ids])).size, 100, "no key serves two tenants")
  })

  it("seal() gives all who waited the failure of the flight, and keeps it for nobody", async () => {
    let broken = true
    const failure = new KMSUnavailable("Cannot wrap: broken on purpose", {
      provider: "memory",
      operation: "encryptDEK",
    })
    const crypto = await program(async () => {
      await sleep(2)
      if (broken) throw failure
    })
    const seen = await unhandled(async () => {
      const results = await Promise.allSettled(Array.from({ length: 100 }, () => crypto.seal(MESSAGE)))
      assert.ok(results.every((each) => each.status === "rejected" && each.reason === failure))
    })
    assert.deepEqual(seen, [])
    assert.equal(crypto.stats().kms.encryptDEK, 1)
    broken = false
    await times(100, () => crypto.seal(MESSAGE))
    assert.equal(crypto.stats().kms.encryptDEK, 2)
  })

  it("seal() drops the caller who aborts, and nobody else", async () => {
    let signal: AbortSignal | undefined
    const crypto = await program(async (_method, options) => {
      signal = options.signal
      await sleep(20)
    })
    const controller = new AbortController()
    const seen = await unhandled(async () => {
      const first = crypto.seal(MESSAGE, {}, { signal: controller.signal })
      const others = times(50, () => crypto.seal(MESSAGE))
      await sleep(1)
      controller.abort(new Error("I left"))
      await assert.rejects(first, { message: "I left" })
      assert.equal((await others).length, 50)
    })
    assert.deepEqual(seen, [])
    assert.equal(signal?.aborted, false)
    assert.equal(crypto.stats().kms.encryptDEK, 1)
  })

  it("seal() stops the flight when the last caller aborts, and the next caller starts another", async () => {
    const signals: AbortSignal[] = []
    let gate: Promise<void> | undefined = sleep(30)
    const crypto = await program(async (_method, { signal }) => {
      signals.push(signal as AbortSignal)
      await gate
      signal?.throwIfAborted()
    })
    const seen = await unhandled(async () => {
      const controllers = Array.from({ length: 10 }, () => new AbortController())
      const callers = controllers.map(({ signal }) => crypto.seal(MESSAGE, {}, { signal }))
      await sleep(1)
      for (const [i, controller] of controllers.entries()) {
        assert.equal(signals[0]?.aborted, false, `${i} of 10 have left`)
        controller.abort(new Error(`caller ${i} left`))
      }
      assert.equal(signals[0]?.aborted, true)
      const results = await Promise.allSettled(callers)
      for (const [i, each] of results.entries()) {
        assert.equal(each.status === "rejected" && (each.reason as Error).message, `caller ${i} left`)
      }
      gate = undefined
      await crypto.seal(MESSAGE)
    })
    assert.deepEqual(seen, [])
    assert.equal(signals.length, 2)
  })

  it("seal() keeps no flight whose fetch throws before it returns a promise", async () => {
    const cache = new DEKCache<DataKey, DataKey>(DEK_CACHE_DEFAULTS, performance)
    const use = { messages: 1, bytes: 1 }
    const broken = (): Promise<DataKey> => {
      throw new Error("broken on purpose")
    }
    await assert.rejects(async () => await cache.seal("", use, broken), { message: "broken on purpose" })
    const lease = await cache.seal("", use, async () => new DataKey(randomBytes(16), randomBytes(32)))
    assert.equal(lease.value.key.type, "secret")
  })

  it("invalidate() during a flight serves those who wait, and keeps nothing", async () => {
    const crypto = await program(async () => await sleep(10))
    const waiting = times(20, () => crypto.seal(MESSAGE))
    await sleep(1)
    crypto.invalidate()
    const envelopes = await waiting
    assert.equal(crypto.stats().cache.size, 0)
    await crypto.seal(MESSAGE)
    assert.equal(crypto.stats().kms.encryptDEK, 2)
    for (const envelope of envelopes) assert.deepEqual(await crypto.open(envelope), MESSAGE)
  })
})

// --- Limits ---

describe("the data-key cache: limits", () => {
  it("seal() and open() ask for every message when the cache is off", async () => {
    const crypto = await program(async () => {}, withDEKCache(false))
    const envelopes = await times(20, () => crypto.seal(MESSAGE))
    for (const envelope of [...envelopes, ...envelopes]) assert.deepEqual(await crypto.open(envelope), MESSAGE)
    assert.equal(crypto.stats().kms.encryptDEK, 20)
    assert.equal(crypto.stats().kms.decryptDEK, 40)
    assert.equal(new Set(envelopes.map((each) => crypto.inspect(each).dekID)).size, 20)
    assert.equal(crypto.stats().cache.size, 0)
  })

  it("seal() uses the new version at once when the key was rotated, and open() the old one", async () => {
    const crypto = await program(async () => await sleep(1))
    const before = await times(20, () => crypto.seal(MESSAGE))
    const overtaken = times(20, () => crypto.seal(MESSAGE))
    assert.equal((await crypto.rotateKEK()).currentVersion, 2)
    const after = await times(200, () => crypto.seal(MESSAGE))
    const versions = (envelopes: Uint8Array[]): number[] => [
      ...new Set(envelopes.map((each) => crypto.inspect(each).keys[0]?.version ?? 0)),
    ]
    assert.deepEqual(versions(before), [1])
    assert.deepEqual(versions(after), [2])
    for (const envelope of [...before, ...after, ...(await overtaken)])
      assert.deepEqual(await crypto.open(envelope), MESSAGE)
  })

  it("seal() reserves a use before it happens", async () => {
    const cache = new DEKCache<DataKey, DataKey>({ ...DEK_CACHE_DEFAULTS, maxMessages: 2, maxBytes: 10 }, performance)
    const make = async (): Promise<DataKey> => new DataKey(randomBytes(16), randomBytes(32))
    const held = [
      await cache.seal("", { messages: 1, bytes: 5 }, make),
      await cache.seal("", { messages: 1, bytes: 5 }, make),
    ]
    assert.equal(held[0]?.value, held[1]?.value)
    const third = await cache.seal("", { messages: 1, bytes: 1 }, make)
    assert.notEqual(third.value, held[0]?.value, "both uses are taken, though nobody has sealed yet")
    const fourth = await cache.seal("", { messages: 1, bytes: 10 }, make)
    assert.notEqual(fourth.value, third.value, "9 bytes are left")
    assert.deepEqual({ ...cache.stats().evictions }, { age: 0, messages: 1, bytes: 1, capacity: 0, invalidated: 0 })
  })

  it("seal() and open() do not heed the wall clock", async () => {
    const real = Date.now
    const year = 365 * 86_400_000
    const crypto = await program(async () => {}, withDEKCache({ maxAgeMs: 50, refreshAheadMs: 0 }))
    const calls = (): number => crypto.stats().kms.encryptDEK
    try {
      await crypto.seal(MESSAGE)
      Date.now = () => real() + year
      await crypto.seal(MESSAGE)
      Date.now = () => real() - year
      await crypto.seal(MESSAGE)
      if (crypto.stats().cache.evictions.age === 0) assert.equal(calls(), 1)
      const before = calls()
      await sleep(60)
      await crypto.seal(MESSAGE)
      assert.equal(calls(), before + 1, "a wall clock that was put back makes no key younger")
    } finally {
      Date.now = real
    }
  })

  it("a key that leaves the cache is destroyed when its last lease ends, and not before", async () => {
    const cache = new DEKCache<DataKey, DataKey>({ ...DEK_CACHE_DEFAULTS, capacity: 1 }, performance)
    const load = async (): Promise<DataKey> => new DataKey(randomBytes(16), randomBytes(32))
    const [first, again] = [await cache.open("a", load), await cache.open("a", load)]
    assert.equal(first.value, again.value)
    const idle = await cache.open("b", load)
    assert.equal(cache.stats().evictions.capacity, 1)
    assert.equal(first.value.key.type, "secret")
    first.release()
    first.release()
    assert.equal(again.value.key.type, "secret", "releasing twice is releasing once")
    again.release()
    assert.throws(() => first.value.key, Closed)
    idle.release()
    assert.equal(idle.value.key.type, "secret", "it is still cached")
    cache.invalidate()
    assert.throws(() => idle.value.key, Closed)
  })

  it("open() lets the key go that was not used for longest when there are too many", async () => {
    const cache = new DEKCache<DataKey, DataKey>({ ...DEK_CACHE_DEFAULTS, capacity: 2 }, performance)
    const loaded: string[] = []
    for (const id of ["a", "b", "a", "c", "a", "b", "a", "c"]) {
      const lease = await cache.open(id, async () => {
        loaded.push(id)
        return new DataKey(randomBytes(16), randomBytes(32))
      })
      lease.release()
    }
    assert.deepEqual(loaded, ["a", "b", "c", "b", "c"])
  })

  it("open() loses no key to a storm of evictions while 10,000 messages are opened", async () => {
    const crypto = await program(async () => await sleep(1), withDEKCache({ maxMessages: 1, capacity: 2 }))
    const envelopes: Uint8Array[] = []
    for (let i = 0; i < 20; i++) envelopes.push(await crypto.seal(Uint8Array.of(i)))
    assert.equal(new Set(envelopes.map((each) => crypto.inspect(each).dekID)).size, 20)
    const storm = setInterval(() => crypto.invalidate(), 1)
    const opened = await times(10_000, (i) => crypto.open(envelopes[i % 20] as Uint8Array))
    clearInterval(storm)
    assert.ok(opened.every(([byte], i) => byte === i % 20))
  })
})
