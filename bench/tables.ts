/** The figures as tables, for a terminal and for a page. */

import { RUNTIMES, type Runtime } from "./_peer.ts"
import { GROUPS, type Group, sizeOf } from "./cases.ts"
import { NAMES } from "./contenders.ts"
import type { Count, Figure, Results } from "./results.ts"

/** One table. */
export interface Table {
  readonly title: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

const NOT = "–"

/** A time as people write it. */
export function timeOf(ns: number): string {
  const [unit, factor] = (
    [
      ["s", 1e9],
      ["ms", 1e6],
      ["µs", 1e3],
    ] as const
  ).find(([, each]) => ns >= each) ?? ["ns", 1]
  return `${digits(ns / factor)} ${unit}`
}

function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

/** What one time took: a time, or bytes a second where they count. */
export function speedOf({ ns, bytes }: Pick<Figure, "ns"> & { readonly bytes?: number | undefined }): string {
  return bytes === undefined ? timeOf(ns) : `${Math.round((bytes / 2 ** 20 / ns) * 1e9).toLocaleString("en")} MiB/s`
}

const RUNTIME_NAMES: Readonly<Record<Runtime, string>> = { node: "Node", deno: "Deno", bun: "Bun" }

/** Every table that there are figures for. */
export function tables(results: Results): Table[] {
  return [
    ...runtimesOf(results).flatMap((runtime) => figureTables(results, runtime)),
    ...counted(results),
    ...started(results),
    ...sized(results),
    ...wanted(results),
  ].filter(({ rows }) => rows.length > 0)
}

function runtimesOf({ runtimes }: Results): Runtime[] {
  return RUNTIMES.filter((each) => each in runtimes)
}

const MESSAGES: readonly Group[] = ["values", "records"]
const LONG: readonly Group[] = ["streams", "files"]

function figureTables(results: Results, runtime: Runtime): Table[] {
  const name = RUNTIME_NAMES[runtime]
  const table = (title: string, groups: readonly Group[], cell: (figure: Figure) => string) =>
    matrix(
      `${name}: ${title}`,
      results,
      results.figures.filter((each) => each.runtime === runtime && groups.includes(each.group)),
      cell,
    )
  const plain = (figure: Figure): string =>
    figure.ofRaw === undefined ? speedOf(figure) : `${speedOf(figure)} (${digits(figure.ofRaw)} ×)`
  return [
    table("messages and records, and how many times the time of raw", MESSAGES, plain),
    table("streams and files, and how many times the time of raw", LONG, plain),
    table("how many times the time of encx", GROUPS, ({ ofEncx }) => (ofEncx ? `${digits(ofEncx)} ×` : NOT)),
  ]
}

function matrix(
  title: string,
  { contenders }: Results,
  figures: readonly Figure[],
  cell: (figure: Figure) => string,
): Table {
  const names = NAMES.filter((name) => figures.some(({ contender }) => contender === name))
  const cases = [...new Map(figures.map((each) => [each.case, each.title]))]
  return {
    title,
    head: ["", ...names.map((name) => contenders[name]?.title ?? name)],
    rows: cases.map(([id, what]) => [
      what,
      ...names.map((name) => {
        const figure = figures.find((each) => each.case === id && each.contender === name)
        return figure ? cell(figure) : NOT
      }),
    ]),
  }
}

// --- Counts ---

const COUNTED: Readonly<Record<Count["what"], string>> = {
  misses: "seals at once without a key",
  openMisses: "opens at once without the key",
  hits: "keys out of the cache",
  imports: "records, sealed in batches of 10,000",
}

function counted(results: Results): Table[] {
  const keyOf = ({ what, count, contender }: Count): string => `${what} ${count} ${contender}`
  const rows = [...new Map(results.counts.map((each) => [keyOf(each), each])).values()]
  const cell = (row: Count, runtime: Runtime): string => {
    const found = results.counts.find((each) => each.runtime === runtime && keyOf(each) === keyOf(row))
    if (!found) return NOT
    const { ns, count, calls } = found
    const rate = `${Math.round((count / ns) * 1e9).toLocaleString("en")} a second`
    return calls === undefined
      ? rate
      : `${calls.toLocaleString("en")} KMS call${calls === 1 ? "" : "s"}, ${row.what === "imports" ? rate : timeOf(ns)}`
  }
  return [
    {
      title: "Keys, and what the KMS is asked",
      head: ["", "", ...runtimesOf(results).map((each) => RUNTIME_NAMES[each])],
      rows: rows.map((row) => [
        `${row.count.toLocaleString("en")} ${COUNTED[row.what]}`,
        results.contenders[row.contender]?.title ?? row.contender,
        ...runtimesOf(results).map((runtime) => cell(row, runtime)),
      ]),
    },
  ]
}

// --- Programs and sizes ---

function started(results: Results): Table[] {
  const runtimes = runtimesOf(results)
  const byRuntime = <Each extends { program: string; title: string; runtime: Runtime }>(
    title: string,
    all: readonly Each[],
    cell: (each: Each) => string,
  ): Table => ({
    title,
    head: ["", ...runtimes.map((each) => RUNTIME_NAMES[each])],
    rows: [...new Map(all.map((each) => [each.program, each.title]))].map(([program, what]) => [
      what,
      ...runtimes.map((runtime) => {
        const found = all.find((each) => each.runtime === runtime && each.program === program)
        return found ? cell(found) : NOT
      }),
    ]),
  })
  const plus = (text: string, program: string): string => (program === "empty" ? "" : ` (+ ${text})`)
  return [
    byRuntime(
      "Started anew: the whole process, and how much more than an empty program",
      results.startup,
      (each) => `${each.ms.toFixed(0)} ms${plus(`${each.overEmptyMs.toFixed(0)} ms`, each.program)}`,
    ),
    byRuntime(
      "Peak memory of a process, and how much more than an empty program",
      results.memory,
      (each) => `${MiB(each.bytes)}${plus(MiB(each.overEmptyBytes), each.program)}`,
    ),
  ]
}

const MiB = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`

function sized({ sizes }: Results): Table[] {
  const rows = sizes.map(({ entry, minified, gzipped }) => [entry, sizeOf(minified), sizeOf(gzipped)])
  return [{ title: "What an entry loads at once", head: ["", "minified", "gzipped"], rows }]
}

function wanted({ targets }: Results): Table[] {
  const measured = targets.filter(({ reached }) => reached !== null)
  return [
    {
      title: "Targets",
      head: ["", "wanted", "measured", ""],
      rows: measured.map(({ title, wanted, measured: found, reached }) => [
        title,
        wanted,
        found,
        reached ? "reached" : "missed",
      ]),
    },
  ]
}

/** A table for a terminal. */
export function toText({ title, head, rows }: Table): string {
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]?.length ?? 0)))
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number))).join("  ")
  return [title, "", ...[head, ...rows].map((row) => line(row).trimEnd())].join("\n")
}

/** The same for a page. */
export function toMarkdown({ title, head, rows }: Table): string {
  const line = (row: readonly string[]): string => `| ${row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`
  return [
    `### ${title}`,
    "",
    line(head),
    `|${head.map((_, i) => (i === 0 ? "---" : "---:")).join("|")}|`,
    ...rows.map(line),
  ].join("\n")
}

/** Whoever is in the figures, and how it is set up. */
export function setups({ contenders }: Results): Table {
  const rows = Object.values(contenders).map(({ title, version, setup }) => [title, version ?? NOT, setup])
  return { title: "Who is measured", head: ["", "version", "set up"], rows }
}
