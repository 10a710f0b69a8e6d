import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { copyOf, equal, randomBytes } from "../../core/bytes.ts"
import type { CallOptions } from "../../core/contracts.ts"
import { DataKey } from "../../core/keys/dek.ts"
import { DEK_CACHE_DEFAULTS, DEKCache } from "../../core/keys/dek-cache.ts"
import {
  type Crypto,
  dekCache,
  type KeyManagementService,
  newCrypto,
  type Option,
  withClock,
  withDEKCache,
  withKEKAlias,
  withKMSService,
} from "../../mod.ts"
import { memory } from "../../providers/memory.ts"
import { runScript } from "../_script.ts"

const MESSAGE = Uint8Array.of(1, 2, 3)
const IPAD = 0x36
const OPAD = 0x5c

/** Every buffer that is made while something runs. */
function buffersOf<Result>(run: () => Result): { readonly made: Uint8Array[]; readonly result: Result } {
  const made: Uint8Array[] = []
  const Real = globalThis.Uint8Array
  globalThis.Uint8Array = new Proxy(Real, {
    construct(target, args, newTarget) {
      const buffer: Uint8Array = Reflect.construct(
        target,
        args,
        newTarget === globalThis.Uint8Array ? target : newTarget,
      )
      made.push(buffer)
      return buffer
    },
  })
  try {
    return { made, result: run() }
  } finally {
    globalThis.Uint8Array = Real
  }
}

const masked = (key: Uint8Array, mask: number): Uint8Array => key.map((byte) => byte ^ mask)
const holds = (buffer: Uint8Array, key: Uint8Array): boolean =>
  [0, IPAD, OPAD].some((mask) => equal(buffer.subarray(0, 32), masked(key, mask)))
const isZero = (buffer: Uint8Array): boolean => buffer.every((byte) => byte === 0)

/** A data key, and every buffer that holds it. */
function keyWithBuffers(): { readonly key: DataKey; readonly buffers: readonly Uint8Array[] } {
  const bytes = randomBytes(32)
  const shown = copyOf(bytes)
  const { made, result } = buffersOf(() => new DataKey(randomBytes(16), bytes))
  const buffers = made.filter((buffer) => buffer.length >= 32 && holds(buffer, shown))
  assert.ok(buffers.length >= 2, "the pads of its HMAC")
  assert.ok(isZero(bytes), "what the KMS returned")
  return { key: result, buffers }
}

describe("the data-key cache: wiping", () => {
  const cacheOf = (limits: object = {}): { cache: DEKCache<DataKey, DataKey>; clock: { time: number } } => {
    const clock = { time: 0, now: () => clock.time }
    return { cache: new DEKCache<DataKey, DataKey>({ ...DEK_CACHE_DEFAULTS, ...limits }, clock), clock }
  }
  const ONE = { messages: 1, bytes: 1 }

  const ends: Record<string, (cache: DEKCache<DataKey, DataKey>, clock: { time: number }) => Promise<void>> = {
    "its age": async (cache, clock) => {
      clock.time = 300_000
      ;(await cache.seal("x", ONE, async () => keyWithBuffers().key)).release()
    },
    "its last message": async (cache) => {
      ;(await cache.seal("x", { messages: 2 ** 20, bytes: 0 }, async () => keyWithBuffers().key)).release()
    },
    "its last byte": async (cache) => {
      ;(await cache.seal("x", { messages: 1, bytes: 2 ** 36 }, async () => keyWithBuffers().key)).release()
    },
    "the capacity": async (cache) => {
      for (const id of ["a", "b"]) (await cache.seal(id, ONE, async () => keyWithBuffers().key)).release()
    },
    "invalidate()": async (cache) => cache.invalidate(),
    "renew()": async (cache) => cache.renew(),
    "close()": async (cache) => cache.close(),
  }
  for (const [name, end] of Object.entries(ends)) {
    it(`every buffer of a key is zero after ${name}, and not while somebody uses it`, async () => {
      const { cache, clock } = cacheOf({ capacity: 2 })
      const { key, buffers } = keyWithBuffers()
      const lease = await cache.seal("x", ONE, async () => key)
      await Promise.resolve()
      await end(cache, clock)
      assert.ok(!buffers.some(isZero), "it is in use")
      lease.release()
      assert.ok(buffers.every(isZero), "nobody uses it")
    })
  }

  it("a key that nobody asks for again is overwritten when its time is over, by a timer that keeps no process alive", async () => {
    const cache = new DEKCache<DataKey, DataKey>(
      { ...DEK_CACHE_DEFAULTS, maxAgeMs: 30, refreshAheadMs: 0 },
      performance,
    )
    const made = [keyWithBuffers(), keyWithBuffers()]
    ;(await cache.seal("x", ONE, async () => (made[0] as { key: DataKey }).key)).release()
    ;(await cache.open("x", async () => (made[1] as { key: DataKey }).key)).release()
    const until = performance.now() + 10_000
    while (cache.stats().size > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.ok(made.every(({ buffers }) => buffers.every(isZero)))
    assert.equal(cache.stats().evictions.age, 2)
  })

  it("a key that comes when nobody waits any more is overwritten: after an abort, a time-out, an invalidation, the end", async () => {
    const { cache } = cacheOf({ flightTimeoutMs: 10 })
    const gates: PromiseWithResolvers<DataKey>[] = []
    const make = (_: CallOptions): Promise<DataKey> => {
      gates.push(Promise.withResolvers())
      return (gates.at(-1) as PromiseWithResolvers<DataKey>).promise
    }
    const alive = setInterval(() => {}, 1_000)
    const controller = new AbortController()
    const asked = [
      cache.seal("a", ONE, make, { signal: controller.signal }),
      cache.seal("b", ONE, make),
      cache.seal("c", { messages: 2 ** 21, bytes: 1 }, make),
    ]
    controller.abort()
    const results = await Promise.allSettled(asked)
    clearInterval(alive)
    assert.deepEqual(
      results.map(({ status }) => status),
      ["rejected", "rejected", "rejected"],
    )
    const late = gates.map((gate) => {
      const made = keyWithBuffers()
      gate.resolve(made.key)
      return made
    })
    await new Promise((resolve) => setImmediate(resolve))
    assert.ok(late.every(({ buffers }) => buffers.every(isZero)))
    assert.equal(cache.stats().size, 0)
  })

  it("what a KMS returned is zero when it was taken over, for every key of a program", async () => {
    const given: Uint8Array[] = []
    const crypto = await program(given)
    const envelopes = await Promise.all(
      Array.from({ length: 50 }, (_, i) => crypto.seal(MESSAGE, {}, { partition: `${i}` })),
    )
    await Promise.all(envelopes.map((each) => crypto.open(each)))
    assert.equal(given.length, 100)
    assert.ok(given.every(isZero))
    await crypto.close()
  })

  it("no operation fails in a storm of evictions while 10,000 messages are sealed and opened", async () => {
    let now = 0
    const shared = dekCache({ capacity: 2, maxMessages: 3, maxAgeMs: 50 }, { clock: { now: () => now } })
    const crypto = await program([], withClock({ now: () => now }), withDEKCache(shared, { partition: "p" }))
    const storm = setInterval(() => {
      now += 7
      shared.invalidate()
    }, 1)
    try {
      const opened = await Promise.all(
        Array.from({ length: 5_000 }, async (_, i) => {
          const partition = `t${i % 10}`
          const envelope = await crypto.seal(Uint8Array.of(i & 255), {}, { partition })
          if (i % 100 === 0) crypto.invalidate({ partition })
          return await crypto.open(envelope, {}, { partition })
        }),
      )
      assert.ok(opened.every(([byte], i) => byte === (i & 255)))
    } finally {
      clearInterval(storm)
    }
    await crypto.close()
    assert.equal(shared.stats()?.size, 0)
  })

  it("a process ends by itself with keys in its cache and a refresh that is never answered; close() at its end wipes them", async () => {
    const { code, stdout, stderr } = await runScript(new URL("_dek-cache-exit.ts", import.meta.url))
    assert.equal(stderr, "")
    assert.deepEqual([code, stdout.trim()], [0, "refreshing\nbefore true false\nafter true true"])
  })
})

/** A program whose KMS keeps what it gave. */
async function program(given: Uint8Array[], ...options: Option[]): Promise<Crypto> {
  const inner = memory()
  await inner.createKey("app")
  const kms: KeyManagementService = {
    provider: inner.provider,
    getKeyID: inner.getKeyID,
    describeKey: inner.describeKey,
    encryptDEK: inner.encryptDEK,
    generateDEK: async (keyID, context, call) => {
      const plaintext = randomBytes(32)
      given.push(plaintext)
      return { ...(await inner.encryptDEK(keyID, plaintext, context, call)), plaintext }
    },
    decryptDEK: async (...args) => {
      const dek = await inner.decryptDEK(...args)
      given.push(dek)
      return dek
    },
  }
  return await newCrypto(withKMSService(kms), withKEKAlias("app"), ...options)
}
