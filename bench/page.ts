/** What of a run is kept in the project: its figures, the picture of them, and the tables of the guide. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { draw } from "./draw.ts"
import type { Results } from "./results.ts"
import { setups, tables, toMarkdown } from "./tables.ts"
import { targets } from "./targets.ts"

const BEGIN = "<!-- bench: written by npm run bench, from bench/results.json -->"
const END = "<!-- /bench -->"

/** The guide with the figures of these results between its marks. */
export function withFigures(page: string, results: Results): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`Cannot write the figures: the page has no "${BEGIN}" … "${END}"`)
  return `${page.slice(0, begin + BEGIN.length)}\n\n${figuresOf(results)}\n\n${page.slice(end)}`
}

function figuresOf(results: Results): string {
  const { machine, runtimes, date, quick } = results
  const versions = Object.entries(runtimes).map(([name, version]) => `${name} ${version}`)
  const [before, after] = machine.load.map((each) => each.toFixed(1))
  const run = `${quick ? "A quick run" : "Run"} on ${date.slice(0, 10)}: ${machine.cpu}, ${machine.cores} cores, ${Math.round(machine.memoryBytes / 2 ** 30)} GiB, ${machine.system}, files on ${machine.files}; load ${before} before, ${after} after. ${versions.join(", ")}.`
  return [run, ...[...tables(results), setups(results)].map(toMarkdown)].join("\n\n")
}

/** Where they are kept, below the root of the project. */
export const KEPT = {
  results: "bench/results.json",
  picture: "docs/performance.svg",
  page: "docs/performance.md",
} as const

/** Writes all three; what is drawn and tabulated is what is in the file. */
export function keep(root: string, results: Results): void {
  // Six digits are more than a clock knows.
  const rounded = (_: string, value: unknown): unknown =>
    typeof value === "number" ? Number(value.toPrecision(6)) : value
  const kept = JSON.parse(JSON.stringify(results, rounded)) as Results
  const judged = { ...kept, targets: targets(kept) }
  writeFileSync(join(root, KEPT.results), `${JSON.stringify(judged, null, 1)}\n`)
  writeFileSync(join(root, KEPT.picture), draw(judged))
  const page = join(root, KEPT.page)
  writeFileSync(page, withFigures(readFileSync(page, "utf8"), judged))
}
