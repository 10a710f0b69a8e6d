import assert from "node:assert/strict"
import process from "node:process"
import { describe, it } from "node:test"
import fc from "fast-check"
import { AccessDenied, type EncxError, KMSUnavailable } from "../../core/errors.ts"
import { DEKCache, type DEKCacheOptions, type Lease } from "../../core/keys/dek-cache.ts"
import { DEKStore } from "../../core/keys/dek-store.ts"
import { type Answer, Counts, keyIDOf, ModelCache, type Outcome, type Question, type SideName } from "./_model.ts"

/** Small enough that each is reached often; the timers of the cache itself are far longer than a run. */
const LIMITS: Required<DEKCacheOptions> = {
  maxAgeMs: 100_000,
  maxMessages: 5,
  maxBytes: 100,
  capacity: 3,
  refreshAheadMs: 20_000,
  staleIfErrorMs: 60_000,
  negativeMs: 5_000,
  maxFlights: 2,
  flightTimeoutMs: 30_000,
}
/** The first two programs have the same services and keys, the third has others; all share one store. */
const NAMESPACES = ["#a", "#a", "#b"]
const YEAR = 365 * 86_400_000
/** A hundred thousand where time is cheapest; every runtime compares, each time with other commands. */
const COMMANDS =
  process.versions.node.startsWith("24.") && !process.versions["deno"] && !process.versions["bun"] ? 100_000 : 20_000

interface Key {
  readonly call: number
  readonly question: Question
  readonly keyIDs: readonly string[]
  readonly bornAt: number
  messages: number
  bytes: number
  leases: number
  destroy(): void
}

interface Call {
  readonly question: Question
  readonly resolve: (key: Key) => void
  readonly reject: (error: Error) => void
}

const messageOf = (call: number): string => `Cannot answer: call ${call}`

function errorOf(answer: Answer, call: number): Error {
  const failure = { provider: "memory", operation: "decryptDEK" }
  if (answer === "ACCESS_DENIED") return new AccessDenied(messageOf(call), failure)
  return answer === "UNKNOWN" ? new Error(messageOf(call)) : new KMSUnavailable(messageOf(call), failure)
}

/** The cache, a KMS that answers when it is told to, and callers. */
class World {
  now = 0
  calls = 0
  readonly flying = new Map<number, Call>()
  readonly alive = new Map<number, Key>()
  readonly outcomes = new Map<number, Outcome>()
  readonly held: { readonly key: Key; readonly lease: Lease<Key> }[] = []
  readonly aborts = new Map<number, AbortController>()
  readonly store = new DEKStore<Key, Key>(LIMITS, { now: () => this.now })
  readonly programs = NAMESPACES.map(
    (namespace) => new DEKCache<Key, Key>(LIMITS, { now: () => this.now }, { store: this.store, namespace }),
  )

  ask(caller: number, question: Question): void {
    const { program, side, partition, name, use } = question
    const cache = this.programs[program] as DEKCache<Key, Key>
    const controller = new AbortController()
    this.aborts.set(caller, controller)
    const options = { signal: controller.signal, partition }
    const fetch = (): Promise<Key> => this.#fetch(question)
    const lease =
      side === "sealing"
        ? cache.seal(name, use, fetch, options)
        : cache.open(name, fetch, options, { keyIDs: [keyIDOf(name)] })
    if (!(lease instanceof Promise)) {
      this.#take(caller, question, lease)
      return
    }
    this.outcomes.set(caller, "waits")
    lease.then(
      (each) => this.#take(caller, question, each),
      (error: EncxError) => this.#failed(caller, controller.signal, error),
    )
  }

  #fetch(question: Question): Promise<Key> {
    const call = this.calls++
    return new Promise((resolve, reject) => this.flying.set(call, { question, resolve, reject }))
  }

  #take(caller: number, { side, partition, name, program, use }: Question, lease: Lease<Key>): void {
    const key = lease.value
    key.leases++
    key.messages += use.messages
    key.bytes += use.bytes
    this.outcomes.set(caller, { key: key.call })
    this.held.push({ key, lease })
    // What T23 asks for, whatever the model says.
    const { question } = key
    assert.deepEqual([question.side, question.partition, question.name], [side, partition, name])
    assert.equal(NAMESPACES[question.program], NAMESPACES[program])
    const longest = LIMITS.maxAgeMs + (side === "sealing" ? LIMITS.staleIfErrorMs : 0)
    assert.ok(this.now - key.bornAt < longest, `${this.now - key.bornAt} ms old`)
    const alone = key.messages === use.messages && key.bytes === use.bytes
    assert.ok(alone || key.messages <= LIMITS.maxMessages, `${key.messages} messages`)
    assert.ok(alone || key.bytes <= LIMITS.maxBytes, `${key.bytes} bytes`)
  }

  #failed(caller: number, signal: AbortSignal, error: EncxError): void {
    if (signal.aborted && error === signal.reason) {
      this.outcomes.set(caller, "aborted")
      return
    }
    const call = Number(/^Cannot answer: call (\d+)$/.exec(error.message)?.[1])
    this.outcomes.set(caller, { code: error.code ?? "UNKNOWN", call })
  }

  answer(call: number, answer: Answer): void {
    const { question, resolve, reject } = this.flying.get(call) as Call
    this.flying.delete(call)
    if (answer !== "key") {
      reject(errorOf(answer, call))
      return
    }
    const key: Key = {
      ...{ call, question, bornAt: this.now, messages: 0, bytes: 0, leases: 0 },
      keyIDs: [keyIDOf(question.name)],
      destroy: () => {
        assert.equal(key.leases, 0, "destroyed while in use")
        assert.ok(this.alive.delete(call), "destroyed twice")
      },
    }
    this.alive.set(call, key)
    resolve(key)
  }

  release(i: number): number | undefined {
    const [held] = this.held.splice(i, 1)
    if (!held) return undefined
    held.key.leases--
    held.lease.release()
    held.lease.release()
    return held.key.call
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Everything that can be seen of the cache, as text: a hundred thousand deep comparisons take longer than all else. */
function seenOf(world: World, callers: readonly number[], closed: ReadonlySet<number>): string {
  const { taken, queued } = world.store.slots
  const counters = world.programs.map((each, i) => (closed.has(i) ? "closed" : flat(each.counters)))
  const all = closed.size > 0 ? flat(world.store.stats()) : ""
  return text(callers, world.outcomes, world.flying, world.alive, [taken, queued, ...counters, all])
}

/** The same, as the model says. */
function saidBy({ outcomes, flying, alive, queue, counts, closed }: ModelCache, callers: readonly number[]): string {
  const counters = counts.map((each, i) => (closed.has(i) ? "closed" : flat(each)))
  const all = closed.size > 0 ? flat(total(counts)) : ""
  const calls = new Map(flying.map((each) => [each.call, each]))
  return text(callers, outcomes, calls, alive, [flying.length, queue.length, ...counters, all])
}

function text(
  callers: readonly number[],
  outcomes: ReadonlyMap<number, Outcome>,
  flying: ReadonlyMap<number, unknown>,
  alive: ReadonlyMap<number, unknown>,
  counts: readonly unknown[],
): string {
  const ended = callers.map((caller) => `\n${caller}: ${outcomeText(outcomes.get(caller))}`)
  const numbers = (map: ReadonlyMap<number, unknown>): string => String([...map.keys()].sort((a, b) => a - b))
  return `${ended.join("")}\ncalls ${numbers(flying)}\nkeys ${numbers(alive)}\ncounts ${counts.join("; ")}`
}

const outcomeText = (outcome: Outcome | undefined): string =>
  typeof outcome === "object"
    ? "key" in outcome
      ? `key ${outcome.key}`
      : `${outcome.code} ${outcome.call}`
    : `${outcome}`

const flat = (counts: Counts): string =>
  `${counts.hits} ${counts.misses} ${counts.coalesced} ${counts.stale} ${counts.refreshes} ${counts.refreshFailures} ` +
  `${counts.negative} ${counts.size} ${Object.values(counts.evictions).join(" ")}`

function total(counts: readonly Counts[]): Counts {
  const sum = new Counts()
  for (const each of counts) {
    for (const [name, count] of Object.entries(each)) if (name !== "evictions") sum[name as "hits"] += count
    for (const [reason, count] of Object.entries(each.evictions)) sum.evictions[reason as "age"] += count
  }
  return sum
}

function compare(model: ModelCache, world: World, callers: readonly number[]): void {
  assert.equal(seenOf(world, callers, model.closed), saidBy(model, callers))
  const size = world.programs.reduce((sum, { counters }) => sum + counters.size, 0)
  assert.ok(size <= 2 * LIMITS.capacity)
}

// --- Commands ---

/** Both sides of what a command works on. */
interface Both {
  readonly model: ModelCache
  readonly world: World
  callers: number
  waiting: number[]
}

type Step = (both: Both) => void

const ask =
  (question: Question, count: number): Step =>
  (both) => {
    for (let i = 0; i < count; i++) {
      const caller = both.callers++
      both.model.ask(caller, question)
      both.world.ask(caller, question)
      both.waiting.push(caller)
    }
  }

const nth = <Item>(items: readonly Item[], i: number): Item | undefined => items[i % items.length]

const answer =
  (i: number, what: Answer): Step =>
  ({ model, world }) => {
    const call = nth([...world.flying.keys()], i)
    if (call === undefined) return
    model.answer(call, what)
    world.answer(call, what)
  }

const release =
  (i: number): Step =>
  ({ model, world }) => {
    const call = world.release(i % Math.max(1, world.held.length))
    if (call !== undefined) model.release(call)
  }

const abort =
  (i: number): Step =>
  ({ model, world, waiting }) => {
    const caller = nth(
      waiting.filter((each) => model.outcomes.get(each) === "waits"),
      i,
    )
    if (caller === undefined) return
    model.abort(caller)
    world.aborts.get(caller)?.abort(new Error("left"))
  }

const passes =
  (ms: number): Step =>
  ({ model, world }) => {
    world.now += ms
    model.now += ms
  }

const invalidate =
  (program: number, which: { readonly keyID?: string; readonly partition?: string }): Step =>
  ({ model, world }) => {
    model.invalidate(program, which)
    world.programs[program]?.invalidate(which)
  }

const close =
  (program: number): Step =>
  ({ model, world }) => {
    model.close(program)
    world.programs[program]?.close()
  }

const realNow = Date.now
const wallClock =
  (byMs: number): Step =>
  () => {
    Date.now = () => realNow() + byMs
  }

const name = fc.constantFrom("x", "y", "z")
const partition = fc.constantFrom("", "A", "B")
const program = fc.nat(2)
const use = fc.record({
  messages: fc.oneof(
    { weight: 19, arbitrary: fc.integer({ min: 1, max: 2 }) },
    { weight: 1, arbitrary: fc.constant(6) },
  ),
  bytes: fc.oneof({ weight: 19, arbitrary: fc.nat(40) }, { weight: 1, arbitrary: fc.integer({ min: 90, max: 110 }) }),
})
const sealing = fc.record({ program, side: fc.constant<SideName>("sealing"), partition, name, use })
const opening = fc.record({
  ...{ program, side: fc.constant<SideName>("opening"), partition, name },
  use: fc.constant({ messages: 0, bytes: 0 }),
})
const which = fc.oneof(
  fc.constant({}),
  partition.map((each) => ({ partition: each })),
  name.map((each) => ({ keyID: keyIDOf(each) })),
  fc.record({ partition, keyID: name.map(keyIDOf) }),
)
/** Ages at which something changes: a refresh begins, a key is too old, it is so even without a KMS. */
const TURNS = [80_000, 100_000, 160_000].flatMap((age) => [age - 1, age, age + 1])
const age = fc.oneof(fc.constantFrom(...TURNS), fc.integer({ min: 78_000, max: 165_000 }))
const failure = fc.constantFrom<Answer>("KMS_UNAVAILABLE", "KMS_UNAVAILABLE", "ACCESS_DENIED", "UNKNOWN")
const pause = fc.oneof(fc.constantFrom(998, 999, 1_000, 29_999, 30_999, 31_000), fc.integer({ min: 1, max: 40_000 }))
const all = (what: Answer): Step[] => Array.from({ length: 6 }, () => answer(0, what))
/** A key that gets old while the KMS does not give another, and what comes of it. */
const outage = fc
  .record({
    size: fc.nat(25),
    count: fc.integer({ min: 1, max: 2 }),
    lifeMs: age,
    first: failure,
    pauses: fc.array(pause, { maxLength: 3 }),
    later: failure,
    lastMs: age,
  })
  .map(({ size, count, lifeMs, first, pauses, later, lastMs }) => {
    const seal = ask(
      { program: 0, side: "sealing", partition: "A", name: "x", use: { messages: 1, bytes: size } },
      count,
    )
    const left = lastMs - lifeMs - pauses.reduce((sum, ms) => sum + ms, 0)
    return [
      ...[...all("key"), invalidate(0, {}), seal, ...all("key"), passes(lifeMs), seal, ...all(first), seal],
      ...pauses.flatMap((ms) => [passes(ms), seal, ...all(later), seal]),
      ...(left > 0 ? [passes(left), seal, seal] : []),
    ]
  })
/** A program that closes while a key of its is refreshed. */
const closing = program.map((each) => [
  ...all("key"),
  ask({ program: each, side: "sealing", partition: "A", name: "x", use: { messages: 1, bytes: 1 } }, 1),
  ...[...all("key"), passes(90_000)],
  ask({ program: each, side: "sealing", partition: "A", name: "x", use: { messages: 1, bytes: 1 } }, 1),
  close(each),
])
// Often enough the same key in a row that it is there, is renewed and reaches its limits.
const single = fc.oneof(
  { weight: 24, arbitrary: fc.tuple(sealing, fc.integer({ min: 1, max: 3 })).map((each) => ask(...each)) },
  {
    weight: 16,
    arbitrary: fc
      .tuple(use, fc.integer({ min: 1, max: 3 }))
      .map(([each, count]) => ask({ program: 0, side: "sealing", partition: "A", name: "x", use: each }, count)),
  },
  { weight: 12, arbitrary: fc.tuple(opening, fc.integer({ min: 1, max: 2 })).map((each) => ask(...each)) },
  { weight: 40, arbitrary: fc.nat(9).map((i) => answer(i, "key")) },
  { weight: 7, arbitrary: fc.nat(9).map((i) => answer(i, "KMS_UNAVAILABLE")) },
  { weight: 2, arbitrary: fc.nat(9).map((i) => answer(i, "ACCESS_DENIED")) },
  { weight: 1, arbitrary: fc.nat(9).map((i) => answer(i, "UNKNOWN")) },
  { weight: 24, arbitrary: fc.nat(99).map(release) },
  { weight: 4, arbitrary: fc.nat(9).map(abort) },
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 2_000 }).map(passes) },
  { weight: 8, arbitrary: fc.integer({ min: 2_000, max: 60_000 }).map(passes) },
  { weight: 2, arbitrary: fc.tuple(program, which).map((each) => invalidate(...each)) },
  { weight: 1, arbitrary: fc.constantFrom(YEAR, -YEAR, 0).map(wallClock) },
)
const steps = fc.oneof({ weight: 97, arbitrary: single.map((step) => [step]) }, { weight: 3, arbitrary: outage })
const runs = fc.record({
  steps: fc.array(steps, { minLength: 500, maxLength: 500 }),
  // Programs close near the end, else there would be little left to look at.
  ends: fc.array(fc.oneof({ weight: 1, arbitrary: closing }, { weight: 14, arbitrary: steps }), {
    minLength: 50,
    maxLength: 50,
  }),
})

/** Runs the steps on both, and tells what was counted. */
async function runBoth(sequence: readonly Step[]): Promise<ModelCache> {
  const world = new World()
  const model = new ModelCache(LIMITS, NAMESPACES)
  const both: Both = { model, world, callers: 0, waiting: [] }
  try {
    for (const step of sequence) {
      step(both)
      await turn()
      compare(model, world, both.waiting)
      both.waiting = both.waiting.filter((caller) => model.outcomes.get(caller) === "waits")
    }
    while (world.held.length > 0) release(0)(both)
    world.store.close()
    while (world.flying.size > 0) {
      answer(0, "key")(both)
      await turn()
      while (world.held.length > 0) world.release(0)
    }
    assert.deepEqual([...world.alive.keys()], [], "every key is overwritten in the end")
    return model
  } finally {
    Date.now = realNow
  }
}

describe("the data-key cache: model", () => {
  it(`is after each of ${COMMANDS.toLocaleString("en")} commands what the model says`, async () => {
    let commands = 0
    const seen: Record<string, number> = {}
    const property = fc.asyncProperty(runs, async ({ steps: first, ends }) => {
      const sequence = [...first, ...ends].flat()
      const { counts } = await runBoth(sequence)
      commands += sequence.length
      for (const { evictions, size: _, ...others } of counts) {
        for (const [what, count] of Object.entries({ ...others, ...evictions })) seen[what] = (seen[what] ?? 0) + count
      }
    })
    await fc.assert(property, { numRuns: Math.ceil(COMMANDS / 1_100), endOnFailure: true })
    assert.ok(commands >= COMMANDS)
    // Nothing was compared that did not happen.
    for (const [what, count] of Object.entries(seen)) assert.ok(count > 0, what)
  })
})
