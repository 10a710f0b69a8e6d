import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { describe, it } from "node:test"
import { draw } from "../../bench/draw.ts"
import { KEPT, keep, withFigures } from "../../bench/page.ts"
import { median, type Results } from "../../bench/results.ts"
import { speedOf, tables, timeOf, toMarkdown, toText } from "../../bench/tables.ts"
import { targets } from "../../bench/targets.ts"
import { changed, MEASURED, RESULTS } from "./_results.ts"

const root = resolve(import.meta.dirname, "../..")
const read = (path: string): string => readFileSync(join(root, path), "utf8")

describe("targets()", () => {
  const missed = (measured: typeof MEASURED): string[] =>
    targets(measured)
      .filter(({ reached }) => reached === false)
      .map(({ title }) => title)
  const IMPORT = 'import "encx" over an empty program, Node'

  it("says of each whether it is reached", () => {
    assert.ok(targets(MEASURED).length >= 20)
    assert.deepEqual(missed(MEASURED), [IMPORT])
    const slow = targets(MEASURED).find(({ title }) => title === IMPORT)
    assert.deepEqual(slow, { title: IMPORT, wanted: "≤ 20 ms", measured: "21 ms", reached: false })
  })

  it("shows a regression", () => {
    assert.deepEqual(missed(changed("seal-64", { ofRaw: 8.5 })).slice(0, 2), [
      "seal 64 B, time of raw AES-256-GCM, Node",
      "seal 64 B, time of raw AES-256-GCM, Bun",
    ])
    assert.match(missed(changed("seal-65536", { ofRaw: 1.5 })).join(), /^seal 64 KiB/)
    // Of a copy and raw in memory, the slower one counts: 5e8 ns for as many bytes.
    assert.deepEqual(missed(changed("seal-file", { ofEncx: 0.79 }, "copy")).slice(0, 1), [
      "seal file to file, speed of the slower of that and a copy with fsync, Node",
    ])
    const slowCipher = changed("seal-stream", { ns: 9e8, ofRaw: 1 }, "raw")
    assert.deepEqual(missed(slowCipher), [IMPORT])
    assert.match(
      missed(changed("seal-64", { ofEncx: 39 }, "aws-signed")).join(),
      /^seal 64 B, times as fast as the AWS/,
    )
    assert.match(missed(changed("seal-record", { ns: 67_000 })).join(), /^seal a record/)
    assert.match(missed({ ...MEASURED, sizes: [{ entry: "encx", minified: 1, gzipped: 30_721 }] }).join(), /gzipped$/)
    const twice = MEASURED.counts.map((each) => ({ ...each, calls: 2 }))
    assert.equal(missed({ ...MEASURED, counts: twice }).length, 5)
  })

  it("says of what was not measured that it was not", () => {
    const none = targets({ ...MEASURED, figures: [], counts: [], startup: [], memory: [], sizes: [] })
    assert.ok(none.every(({ measured, reached }) => measured === "not measured" && reached === null))
  })
})

describe("tables()", () => {
  it("has the same rows for a terminal and for a page", () => {
    const all = tables(RESULTS)
    assert.ok(all.length >= 6)
    const [values] = all
    assert.ok(values)
    assert.match(toText(values), /^seal 64 +3\.00 µs \(1\.00 ×\) +11\.0 µs \(3\.70 ×\)/m)
    assert.match(toMarkdown(values), /^\| seal 64 \| 3\.00 µs \(1\.00 ×\) \| 11\.0 µs \(3\.70 ×\) \|/m)
    for (const { head, rows } of all) for (const row of rows) assert.equal(row.length, head.length)
  })

  it("writes times and speeds as people do", () => {
    assert.deepEqual([4, 4_560, 45_600_000, 4.5e9].map(timeOf), ["4.00 ns", "4.56 µs", "45.6 ms", "4.50 s"])
    assert.equal(speedOf({ ns: 5e8, bytes: 2 ** 30 }), "2,048 MiB/s")
    assert.equal(median([3, 1, 2]), 2)
    assert.equal(median([4, 1, 2, 3]), 2.5)
  })
})

describe("draw()", () => {
  const picture = draw(RESULTS)

  it("says in words what it shows, and fetches and runs nothing", () => {
    assert.match(
      picture,
      /^<svg [^>]*role="img" aria-labelledby="title desc">\n<title id="title">[^<]+<\/title>\n<desc id="desc">seal 64: raw AES-256-GCM 1, encx 0\.27, /,
    )
    assert.doesNotMatch(picture, /<script|href|url\(|@import|on\w+=/)
    assert.match(picture, /prefers-color-scheme:dark/)
    assert.match(picture, /A &lt;fast&gt; &amp; quiet CPU/)
  })

  it("gives whoever is fastest the whole width, and keeps the rest inside", () => {
    const width = Number(/width="(\d+)" height/.exec(picture)?.[1])
    const bars = [...picture.matchAll(/<rect class="bar[^"]*" x="(\d+)" y="[\d.]+" width="([\d.]+)"/g)]
    assert.ok(bars.length >= 8)
    for (const [, x, length] of bars) assert.ok(Number(x) + Number(length) < width)
  })
})

describe("what is kept of a run", () => {
  it("withFigures() writes between the marks, and only there", () => {
    const page = read(KEPT.page)
    const written = withFigures(page, RESULTS)
    assert.equal(withFigures(written, RESULTS), written)
    assert.ok(written.startsWith(page.slice(0, page.indexOf("<!-- bench"))))
    assert.match(written, /### Targets[\s\S]*### Who is measured[\s\S]*its default \\\| suite/)
    assert.throws(() => withFigures("# No marks", RESULTS), /^Error: Cannot write the figures/)
  })

  it("keep() writes figures, picture and page that belong together", () => {
    const folder = mkdtempSync(join(tmpdir(), "encx-kept-"))
    try {
      for (const path of Object.values(KEPT)) mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, KEPT.page), read(KEPT.page))
      keep(folder, RESULTS)
      belongTogether(folder)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it("picture and page are those of bench/results.json", () => belongTogether(root))

  function belongTogether(folder: string): void {
    const read = (path: string): string => readFileSync(join(folder, path), "utf8")
    const results = JSON.parse(read(KEPT.results)) as Results
    assert.equal(draw(results), read(KEPT.picture))
    assert.equal(withFigures(read(KEPT.page), results), read(KEPT.page))
    assert.deepEqual(targets(results), results.targets)
  }
})
