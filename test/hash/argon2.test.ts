import assert from "node:assert/strict"
import { randomInt } from "node:crypto"
import { test } from "node:test"
import { setImmediate as turn } from "node:timers/promises"
import { ascii, hex, randomBytes } from "../../core/bytes.ts"
import { ARGON2_BACKENDS, type Argon2, type Argon2Input, argon2id, Turnstile } from "../../core/hash/argon2.ts"
import { Busy } from "../../mod.ts"

const available = new Map<string, Argon2>()
for (const [name, open] of Object.entries(ARGON2_BACKENDS)) {
  const backend = await open()
  if (backend) available.set(name, backend)
}

// --- Backends ---

// P-H-C/phc-winner-argon2 src/test.c, version 0x13, Argon2id: m is given as a power of two there.
const HASHTESTS: readonly (readonly [t: number, m: number, p: number, password: string, salt: string, hash: string])[] =
  [
    [2, 16, 1, "password", "somesalt", "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"],
    [2, 8, 1, "password", "somesalt", "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"],
    [2, 8, 2, "password", "somesalt", "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"],
    [1, 16, 1, "password", "somesalt", "f6a5adc1ba723dddef9b5ac1d464e180fcd9dffc9d1cbf76cca2fed795d9ca98"],
    [4, 16, 1, "password", "somesalt", "9025d48e68ef7395cca9079da4c4ec3affb3c8911fe4f86d1a2520856f63172c"],
    [2, 16, 1, "differentpassword", "somesalt", "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde"],
    [2, 16, 1, "password", "diffsalt", "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c"],
  ]

test("ARGON2_BACKENDS has a backend when nothing but the library is installed", () => {
  assert.ok(available.has("wasm"))
  assert.deepEqual(Object.keys(ARGON2_BACKENDS), ["native", "builtIn", "wasm"])
})

for (const [name, backend] of available) {
  test(`argon2id() gives the hashes of the reference implementation when it runs on ${name}`, async () => {
    for (const [iterations, m, parallelism, password, salt, hash] of HASHTESTS) {
      const input = {
        password: ascii(password),
        salt: ascii(salt),
        iterations,
        memoryKiB: 2 ** m,
        parallelism,
        length: 32,
      }
      assert.equal(hex(await backend(input)), hash, JSON.stringify([iterations, m, parallelism, password, salt]))
    }
  })
}

test("argon2id() gives the same bytes when another backend computes them", async () => {
  // RFC 9106 §5.3 without its secret and its associated data, the extremes of FORMATS §6, and those of the Go library's hashes (§9).
  const inputs: Argon2Input[] = [
    {
      password: new Uint8Array(32).fill(1),
      salt: new Uint8Array(16).fill(2),
      memoryKiB: 32,
      iterations: 3,
      parallelism: 4,
      length: 32,
    },
    { password: randomBytes(32), salt: randomBytes(8), memoryKiB: 8, iterations: 1, parallelism: 1, length: 16 },
    { password: randomBytes(32), salt: randomBytes(48), memoryKiB: 128, iterations: 16, parallelism: 16, length: 64 },
    {
      password: new Uint8Array(32),
      salt: new Uint8Array(16),
      memoryKiB: 65_536,
      iterations: 3,
      parallelism: 4,
      length: 32,
    },
  ]
  for (const [memoryKiB, iterations, parallelism] of [
    [2040, 1, 255],
    [8, 100, 1],
    [2040, 10, 255],
    [4096, 2, 100],
  ] as const)
    inputs.push({ password: randomBytes(300), salt: randomBytes(64), memoryKiB, iterations, parallelism, length: 128 })
  for (let i = 0; i < 20; i++) {
    const parallelism = randomInt(1, 9)
    inputs.push({
      password: randomBytes(randomInt(1, 200)),
      salt: randomBytes(randomInt(8, 49)),
      memoryKiB: randomInt(8 * parallelism, 1024),
      iterations: randomInt(1, 6),
      parallelism,
      length: randomInt(16, 65),
    })
  }
  assert.equal(inputs.length, 28)
  for (const input of inputs) {
    const hashes = await Promise.all([...available.values(), argon2id].map((backend) => backend(input)))
    for (const hash of hashes) {
      assert.ok(hash instanceof Uint8Array)
      assert.equal(hash.length, input.length)
    }
    assert.equal(new Set(hashes.map(hex)).size, 1, JSON.stringify(input))
  }
})

for (const [name, backend] of available) {
  test(`argon2id() leaves the event loop free when it runs on ${name}`, async () => {
    const input = {
      password: randomBytes(32),
      salt: randomBytes(16),
      memoryKiB: 65_536,
      iterations: 6,
      parallelism: 1,
      length: 32,
    }
    await backend({ ...input, memoryKiB: 8, iterations: 1 })
    const runs: string[] = []
    const isFree = async (): Promise<boolean> => {
      let longest = 0
      let ticks = 0
      let last = performance.now()
      const timer = setInterval(() => {
        const now = performance.now()
        longest = Math.max(longest, now - last)
        last = now
        ticks++
      }, 2)
      const start = performance.now()
      try {
        await backend(input)
      } finally {
        clearInterval(timer)
      }
      const took = performance.now() - start
      runs.push(`${ticks} turns in ${took} ms, the longest pause ${longest} ms`)
      return ticks >= 5 && longest < took / 2
    }
    // A busy machine stands still now and then; one that blocks the loop does so each time.
    assert.ok((await isFree()) || (await isFree()) || (await isFree()), runs.join("; "))
  })
}

test("argon2id() rejects when a backend refuses its input", async () => {
  const input = {
    password: randomBytes(32),
    salt: randomBytes(16),
    memoryKiB: 32,
    iterations: 1,
    parallelism: 1,
    length: 32,
  }
  for (const [name, backend] of available) {
    assert.equal((await backend(input)).length, 32)
    await assert.rejects(backend({ ...input, salt: new Uint8Array(0) }), Error, name)
  }
})

// --- Turnstile ---

// Something that runs until it is told to end.
interface Caller {
  state: "waiting" | "running" | "done" | "busy" | "aborted"
  readonly controller: AbortController
  finish(): void
}

function arrive(turnstile: Turnstile): Caller {
  const { promise, resolve } = Promise.withResolvers<void>()
  const caller: Caller = { state: "waiting", controller: new AbortController(), finish: resolve }
  const run = async (): Promise<void> => {
    caller.state = "running"
    await promise
  }
  turnstile.pass(run, { signal: caller.controller.signal }).then(
    () => (caller.state = "done"),
    (error: unknown) => (caller.state = error instanceof Busy ? "busy" : "aborted"),
  )
  return caller
}

const inState = (callers: readonly Caller[], state: Caller["state"]): Caller[] =>
  callers.filter((caller) => caller.state === state)
const any = <Item>(items: readonly Item[]): Item => items[randomInt(items.length)] as Item

test("Turnstile.pass() does what a model does when 200 schedules are random", async () => {
  let schedules = 0
  const seen = { busy: 0, aborted: 0, done: 0 }
  for (; schedules < 200; schedules++) {
    const [concurrency, queue] = [randomInt(1, 5), randomInt(0, 6)]
    const turnstile = new Turnstile({ concurrency, queue })
    const callers: Caller[] = []
    // The model: who runs, and who waits in which order.
    const model = { running: new Set<Caller>(), waiting: [] as Caller[], busy: new Set<Caller>() }
    const leave = (caller: Caller): void => {
      model.running.delete(caller)
      const next = model.waiting.shift()
      if (next) model.running.add(next)
    }
    for (let step = 0; step < 40; step++) {
      const kind = randomInt(10)
      if (kind < 5) {
        const caller = arrive(turnstile)
        callers.push(caller)
        if (model.running.size < concurrency) model.running.add(caller)
        else if (model.waiting.length < queue) model.waiting.push(caller)
        else model.busy.add(caller)
      } else if (kind < 8 && model.running.size > 0) {
        const caller = any([...model.running])
        caller.finish()
        leave(caller)
      } else if (kind === 8 && model.waiting.length > 0) {
        const caller = any(model.waiting)
        caller.controller.abort()
        model.waiting.splice(model.waiting.indexOf(caller), 1)
      } else if (kind === 9 && model.running.size > 0) {
        // Whoever runs goes on: a run cannot be taken back.
        any([...model.running]).controller.abort()
      }
      await turn()
      const numbers = (some: Iterable<Caller>): number[] => [...some].map((each) => callers.indexOf(each)).toSorted()
      for (const state of ["running", "waiting", "busy"] as const) {
        assert.deepEqual(numbers(inState(callers, state)), numbers(model[state]), state)
      }
    }
    while (inState(callers, "running").length > 0) {
      for (const caller of inState(callers, "running")) caller.finish()
      await turn()
    }
    assert.equal(inState(callers, "waiting").length, 0)
    for (const state of ["busy", "aborted", "done"] as const) seen[state] += inState(callers, state).length
    const last = arrive(turnstile)
    assert.equal(last.state, "running", "all places are free again")
    last.finish()
  }
  assert.equal(schedules, 200)
  assert.ok(seen.busy > 0 && seen.aborted > 0 && seen.done > 0, JSON.stringify(seen))
})

test("Turnstile.pass() hands a place on when the one whose turn it is aborts at that moment", async () => {
  const turnstile = new Turnstile({ concurrency: 1, queue: 2 })
  const [first, second, third] = [arrive(turnstile), arrive(turnstile), arrive(turnstile)]
  await turn()
  assert.deepEqual(
    [first, second, third].map(({ state }) => state),
    ["running", "waiting", "waiting"],
  )
  first.finish()
  second.controller.abort()
  await turn()
  assert.deepEqual(
    [first, second, third].map(({ state }) => state),
    ["done", "aborted", "running"],
  )
  third.finish()
  await turn()
  assert.equal(arrive(turnstile).state, "running")
})

test("Turnstile.pass() frees its place when a run throws, now or later", async () => {
  const turnstile = new Turnstile({ concurrency: 1, queue: 0 })
  assert.equal(await turnstile.pass(async () => 1), 1)
  await assert.rejects(
    turnstile.pass(async () => Promise.reject(new Error("later"))),
    /later/,
  )
  await assert.rejects(
    turnstile.pass(() => {
      throw new Error("now")
    }),
    /now/,
  )
  assert.equal(await turnstile.pass(async () => 2), 2)
})

test("Turnstile.pass() rejects with the signal's reason when it was aborted before", async () => {
  const turnstile = new Turnstile({ concurrency: 1, queue: 0 })
  let ran = false
  const run = async (): Promise<void> => {
    ran = true
  }
  const reason = new Error("no more")
  await assert.rejects(turnstile.pass(run, { signal: AbortSignal.abort(reason) }), reason)
  assert.equal(ran, false)
  await turnstile.pass(run, { signal: new AbortController().signal })
  assert.equal(ran, true)
})

test("Turnstile.pass() throws Busy, which may be retried, when too many wait", async () => {
  const turnstile = new Turnstile({ concurrency: 2, queue: 3 })
  const callers = Array.from({ length: 6 }, () => arrive(turnstile))
  await turn()
  assert.deepEqual(
    callers.map(({ state }) => state),
    ["running", "running", "waiting", "waiting", "waiting", "busy"],
  )
  await assert.rejects(
    Promise.race([turnstile.pass(async () => 1), turn()]),
    (error) => error instanceof Busy && error.retryable && error.code === "BUSY",
  )
  for (const caller of callers) caller.finish()
  await turn()
  assert.deepEqual(
    callers.map(({ state }) => state),
    ["done", "done", "done", "done", "done", "busy"],
  )
  assert.equal(arrive(turnstile).state, "running")
})
