import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import { startPeer } from "../../bench/_peer.ts"
import { casesOf, GROUPS, ready } from "../../bench/cases.ts"
import { compare, type Effort, QUICK } from "../../bench/compare.ts"
import type { Contender } from "../../bench/contender.ts"
import { CONTENDERS, NAMES, versionOf } from "../../bench/contenders.ts"
import { everything } from "../../bench/everything.ts"

const ROOT = join(import.meta.dirname, "../..")
const STREAM = 200_003
const TINY: Effort = {
  ...QUICK,
  rounds: 2,
  longRounds: 2,
  turnMs: 0,
  warmUpMs: 0,
  streamBytes: STREAM,
  sampleBytes: 50_000,
  imports: 30,
  callers: [20],
  hits: 100,
}

describe("what is measured", () => {
  let folder = ""
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "encx-bench-test-"))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  for (const name of ["raw", "encx"] as const) {
    it(`${name} opens what it sealed, in every case`, async () => {
      const contender = ((await import(CONTENDERS[name].module)) as { default: Contender }).default
      for (const each of casesOf(STREAM)) {
        const work = await ready(contender, each, join(folder, name))
        assert.ok(work, each.title)
        await work.once(0)
        await work.once(1)
        assert.equal(work.bytes, each.size >= 65_536 ? each.size : undefined, each.title)
        work.end?.()
      }
      await contender.close?.()
    })
  }

  it("ready() refuses to measure what does not open to what was sealed", async () => {
    const values = { seal: (plaintext: unknown) => plaintext, open: () => new Uint8Array(64) }
    const [first] = casesOf(STREAM)
    assert.ok(first)
    await assert.rejects(ready({ values: () => values }, first, folder), /^Error: Cannot measure seal 64 B/)
    const honest = { ...values, open: (sealed: unknown) => sealed }
    assert.ok(await ready({ values: () => honest }, first, folder))
    assert.equal(await ready({}, first, folder), undefined)
  })

  it("compare() gives every case a figure for whoever does it, and leaves no file", async () => {
    const place = join(folder, "run")
    const { figures, counts, failures } = await compare({
      groups: GROUPS,
      runtimes: ["node"],
      contenders: ["raw", "encx", "copy"],
      effort: TINY,
      folder: place,
    })
    assert.deepEqual(failures, [])
    const cases = casesOf(STREAM)
    const of = (name: string): string[] => figures.filter((each) => each.contender === name).map((each) => each.case)
    const names = cases.map(({ name }) => name)
    assert.deepEqual(of("raw"), names)
    assert.deepEqual(of("encx"), names)
    assert.deepEqual(of("copy"), ["seal-file", "open-file"])
    for (const { contender, ns, ofRaw, rounds, spread } of figures) {
      assert.ok(ns > 0 && spread[0] <= ns && ns <= spread[1] && rounds === 2)
      assert.ok(contender === "raw" ? ofRaw === 1 : (ofRaw ?? 0) > 0)
    }
    assert.deepEqual(
      counts.map(({ what, count, calls }) => ({ what, count, calls })),
      [
        { what: "misses", count: 20, calls: 1 },
        { what: "openMisses", count: 20, calls: 1 },
        { what: "hits", count: 100, calls: undefined },
        { what: "imports", count: 30, calls: 1 },
      ],
    )
    const left = readdirSync(place, { recursive: true }).map(String)
    assert.deepEqual(
      left.filter((path) => /sealed|opened/.test(path)),
      [],
    )
  })

  it("everything() also starts programs, weighs entries, judges targets, and leaves nothing behind", async () => {
    const place = mkdtempSync(join(folder, "everything-"))
    const results = await everything({
      groups: ["files", "startup", "size"],
      runtimes: ["node"],
      contenders: ["raw", "encx"],
      effort: { ...TINY, startups: 1 },
      folder: place,
    })
    assert.deepEqual(results.failures, [])
    const programs = (all: readonly { readonly program: string }[]): string[] => all.map(({ program }) => program)
    assert.deepEqual(programs(results.startup), ["empty", "import", "encx", "raw"])
    assert.deepEqual(programs(results.memory), ["empty", "stream", "seal", "both"])
    for (const { ms } of results.startup) assert.ok(ms > 0)
    for (const { bytes } of results.memory) assert.ok(bytes > 1_000_000)
    const entries = Object.keys(JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8")).exports)
    assert.deepEqual(
      results.sizes.map(({ entry }) => entry),
      entries.map((name) => name.replace(".", "encx")),
    )
    for (const { minified, gzipped } of results.sizes) assert.ok(0 < gzipped && gzipped < minified)
    assert.ok(results.targets.some(({ reached }) => reached !== null))
    assert.ok(results.machine.cores > 0 && results.runtimes.node?.startsWith(process.versions.node))
    assert.deepEqual(Object.keys(results.contenders), ["raw", "encx"])
    assert.deepEqual(readdirSync(place), [])
  })

  it("a contender that fails says why, and ends with whoever started it", async () => {
    const peer = await startPeer("node", CONTENDERS.raw.module, join(folder, "peer"))
    await assert.rejects(peer.run(1), /Cannot run a case: none is prepared/)
    assert.equal(peer.alive, true)
    await peer.end()
    assert.equal(peer.alive, false)
    await assert.rejects(
      startPeer("node", join(folder, "nothing.ts"), join(folder, "peer")),
      /nothing\.ts on node ended: exit 1\n[\s\S]*ERR_MODULE_NOT_FOUND/,
    )
  })

  it("every contender has a file, and says how it is set up", () => {
    for (const name of NAMES) {
      assert.ok(existsSync(CONTENDERS[name].module), name)
      assert.ok(CONTENDERS[name].setup.length > 10, name)
    }
    assert.ok(versionOf(CONTENDERS.encx))
  })

  it("their packages are the benchmark's alone, pinned, and installed from its own lock file", () => {
    const read = (path: string) => JSON.parse(readFileSync(join(ROOT, path), "utf8"))
    const { dependencies } = read("bench/package.json") as { dependencies: Record<string, string> }
    const locked = read("bench/package-lock.json").packages as Record<string, { version: string }>
    const root = read("package.json") as Record<string, Record<string, string> | undefined>
    for (const [name, version] of Object.entries(dependencies)) {
      assert.match(version, /^\d+\.\d+\.\d+$/)
      assert.equal(locked[`node_modules/${name}`]?.version, version)
      for (const list of ["dependencies", "devDependencies", "peerDependencies"])
        assert.ok(!(name in (root[list] ?? {})))
    }
    const used = NAMES.flatMap((name) => CONTENDERS[name].package ?? [])
    assert.deepEqual([...new Set(used)].sort(), Object.keys(dependencies).sort())
  })

  it("npm run bench refuses what it does not know, and says what it does", () => {
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [join(ROOT, "bench/main.ts"), ...args], { encoding: "utf8" })
    assert.match(run("--help").stdout, /--quick[\s\S]*--only[\s\S]*kms-calls/)
    const { status, stderr } = run("--only", "values,nothing")
    assert.equal(status, 2, stderr)
    assert.equal(stderr.split(": ")[0], 'Cannot use --only "nothing"')
  })
})
