/** Figures that nobody measured: what tests draw, tabulate and judge. */

import type { Runtime } from "../../bench/_peer.ts"
import type { ContenderName } from "../../bench/contenders.ts"
import type { Count, Figure, Results } from "../../bench/results.ts"
import { type Measured, targets } from "../../bench/targets.ts"

const figure = (
  name: string,
  contender: ContenderName,
  ns: number,
  more: Partial<Figure> = {},
  runtime: Runtime = "node",
): Figure => ({
  case: name,
  title: name.replaceAll("-", " "),
  group: "values",
  runtime,
  contender,
  ns,
  rounds: 3,
  spread: [ns, ns],
  ...more,
})

/** Every target is reached, but for the import's time. */
export const MEASURED: Measured = {
  date: "2026-11-22T00:00:00.000Z",
  quick: false,
  machine: {
    cpu: "A <fast> & quiet CPU",
    cores: 4,
    memoryBytes: 2 ** 34,
    system: "Linux 6.1",
    files: "a disk",
    load: [0.1, 1],
  },
  runtimes: { node: "24.21.0", bun: "1.4.5" },
  contenders: {
    raw: { title: "raw AES-256-GCM", version: "0.1.0", setup: "nothing else" },
    encx: { title: "encx", version: "0.1.0", setup: "as it comes" },
    "aws-signed": { title: "AWS", version: "5.0.2", setup: "its default | suite" },
    "aws-unsigned": { title: "AWS, unsigned", version: "5.0.2", setup: "the other" },
  },
  figures: [
    ...(["seal", "open"] as const).flatMap((side) => [
      figure(`${side}-64`, "raw", 3_000, { ofRaw: 1 }),
      figure(`${side}-64`, "encx", 11_000, { ofRaw: 3.7 }),
      figure(`${side}-64`, "encx", 6_400, { ofRaw: 7.1 }, "bun"),
      figure(`${side}-64-context`, "encx", 12_000, { ofRaw: 3.9 }),
      figure(`${side}-stream`, "raw", 5e8, { ofRaw: 1, bytes: 2 ** 30, group: "streams" }),
      figure(`${side}-stream`, "encx", 5.2e8, { ofRaw: 1.04, bytes: 2 ** 30, group: "streams" }),
      figure(`${side}-file`, "copy", 8e8, { ofEncx: 0.9, bytes: 2 ** 30, group: "files" }),
      figure(`${side}-file`, "encx", 9e8, { bytes: 2 ** 30, group: "files" }),
    ]),
    figure("seal-64", "aws-signed", 2_000_000, { ofRaw: 666, ofEncx: 182 }),
    figure("seal-64", "aws-unsigned", 400_000, { ofRaw: 133, ofEncx: 36 }),
    figure("seal-65536", "encx", 30_000, { ofRaw: 1.25, bytes: 65_536 }),
    figure("seal-record", "encx", 55_000, { ofRaw: 4, group: "records" }),
  ],
  counts: [
    ...(["misses", "openMisses"] as const).flatMap((what) =>
      [3_000, 10_000].map((count): Count => ({ what, runtime: "node", contender: "encx", count, ns: 5e7, calls: 1 })),
    ),
    { what: "hits", runtime: "node", contender: "encx", count: 5_000_000, ns: 2.5e9 },
  ],
  failures: [],
  startup: [
    { program: "empty", title: "an empty program", runtime: "node", ms: 30, overEmptyMs: 0 },
    { program: "import", title: 'import "encx"', runtime: "node", ms: 51, overEmptyMs: 21 },
  ],
  memory: [{ program: "both", title: "a file", runtime: "node", bytes: 2 ** 27, overEmptyBytes: 60 * 2 ** 20 }],
  sizes: [{ entry: "encx", minified: 100_000, gzipped: 30 * 1024 }],
}

/** The same with another figure for a case. */
export function changed(name: string, change: Partial<Figure>, contender: ContenderName = "encx"): Measured {
  const figures = MEASURED.figures.map((each) =>
    each.case === name && each.contender === contender ? { ...each, ...change } : each,
  )
  return { ...MEASURED, figures }
}

/** As a run returns it. */
export const RESULTS: Results = { ...MEASURED, targets: targets(MEASURED) }
