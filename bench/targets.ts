/** What this library wants to reach, against what was measured: a regression shows here, and fails nothing. */

import type { Runtime } from "./_peer.ts"
import type { ContenderName } from "./contenders.ts"
import type { Figure, Results, Target } from "./results.ts"

/** What targets are read from. */
export type Measured = Omit<Results, "targets">

interface Limit {
  readonly title: string
  /** What is measured, or `undefined` when it was not. */
  readonly value: (measured: Measured) => number | undefined
  readonly most?: number
  readonly least?: number
  readonly unit: string
}

const MiB = 2 ** 20
const KiB = 1024

function figure(
  { figures }: Measured,
  name: string,
  contender: ContenderName = "encx",
  runtime: Runtime = "node",
): Figure | undefined {
  return figures.find((each) => each.case === name && each.contender === contender && each.runtime === runtime)
}

/** Nanoseconds for one time; of streams, whose lengths differ, for a byte. */
function ns(measured: Measured, name: string, contender: ContenderName, runtime: Runtime = "node"): number | undefined {
  const found = figure(measured, name, contender, runtime)
  return found && found.ns / (found.bytes ?? 1)
}

function over(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a / b
}

const ofRaw =
  (name: string, runtime: Runtime = "node"): Limit["value"] =>
  (measured) =>
    figure(measured, name, "encx", runtime)?.ofRaw
const speedOfRaw =
  (name: string): Limit["value"] =>
  (measured) =>
    over(1, ofRaw(name)(measured))
const slower =
  (name: string, contender: ContenderName): Limit["value"] =>
  (measured) =>
    figure(measured, name, contender)?.ofEncx
const calls =
  (what: "misses" | "openMisses", count: number): Limit["value"] =>
  ({ counts }) =>
    counts.find((each) => each.what === what && each.count === count && each.contender === "encx")?.calls

/** The time of the slower of raw AES-256-GCM in memory and a copy with fsync, by ours. */
const fileSpeed =
  (side: "seal" | "open"): Limit["value"] =>
  (measured) => {
    const cipher = over(ns(measured, `${side}-stream`, "raw"), ns(measured, `${side}-file`, "encx"))
    const copy = figure(measured, `${side}-file`, "copy")?.ofEncx
    return cipher === undefined || copy === undefined ? undefined : Math.max(cipher, copy)
  }

const LIMITS: readonly Limit[] = [
  ...(["seal", "open"] as const).flatMap((side): Limit[] => [
    { title: `${side} 64 B, time of raw AES-256-GCM, Node`, value: ofRaw(`${side}-64`), most: 4, unit: " ×" },
    {
      title: `${side} 64 B with a context, time of raw with the same data bound, Node`,
      value: ofRaw(`${side}-64-context`),
      most: 4,
      unit: " ×",
    },
    { title: `${side} 64 B, time of raw AES-256-GCM, Bun`, value: ofRaw(`${side}-64`, "bun"), most: 8, unit: " ×" },
  ]),
  { title: "seal 64 KiB, speed of raw AES-256-GCM, Node", value: speedOfRaw("seal-65536"), least: 0.7, unit: " ×" },
  ...(["seal", "open"] as const).flatMap((side): Limit[] => [
    {
      title: `${side} a stream in memory, speed of raw AES-256-GCM on 16 KiB pieces, Node`,
      value: speedOfRaw(`${side}-stream`),
      least: 0.9,
      unit: " ×",
    },
    {
      title: `${side} file to file, speed of the slower of that and a copy with fsync, Node`,
      value: fileSpeed(side),
      least: 0.8,
      unit: " ×",
    },
  ]),
  {
    title: "seal and open a file, peak memory over an empty program, Node",
    value: ({ memory }) =>
      over(memory.find(({ program, runtime }) => program === "both" && runtime === "node")?.overEmptyBytes, MiB),
    most: 64,
    unit: " MiB",
  },
  {
    title: "seal 64 B, times as fast as the AWS Encryption SDK, default suite, Node",
    value: slower("seal-64", "aws-signed"),
    least: 40,
    unit: " ×",
  },
  {
    title: "seal 64 B, times as fast as the AWS Encryption SDK without signatures, Node",
    value: slower("seal-64", "aws-unsigned"),
    least: 15,
    unit: " ×",
  },
  {
    title: "seal a record of 4 fields and an index, time of one seal of 64 B, Node",
    value: (measured) => over(ns(measured, "seal-record", "encx"), ns(measured, "seal-64", "encx")),
    most: 6,
    unit: " ×",
  },
  ...[3_000, 10_000].flatMap((count): Limit[] => [
    {
      title: `${inWords(count)} seals at once without a key`,
      value: calls("misses", count),
      most: 1,
      unit: " KMS call",
    },
    {
      title: `${inWords(count)} opens at once without the key`,
      value: calls("openMisses", count),
      most: 1,
      unit: " KMS call",
    },
  ]),
  {
    title: "keys out of the cache, Node",
    value: ({ counts }) => {
      const hits = counts.find(({ what, runtime }) => what === "hits" && runtime === "node")
      return hits && (hits.count / hits.ns) * 1e3
    },
    least: 1,
    unit: " million a second",
  },
  {
    title: 'import "encx" over an empty program, Node',
    value: ({ startup }) =>
      startup.find(({ program, runtime }) => program === "import" && runtime === "node")?.overEmptyMs,
    most: 20,
    unit: " ms",
  },
  {
    title: 'import "encx", minified and gzipped',
    value: ({ sizes }) => over(sizes.find(({ entry }) => entry === "encx")?.gzipped, KiB),
    most: 30,
    unit: " KiB",
  },
]

function inWords(count: number): string {
  return count.toLocaleString("en")
}

/** Each target, with what was measured. */
export function targets(measured: Measured): Target[] {
  return LIMITS.map(({ title, value, most, least, unit }) => {
    const found = value(measured)
    const wanted = most === undefined ? `≥ ${least}${unit}` : `≤ ${most}${unit}`
    if (found === undefined) return { title, wanted, measured: "not measured", reached: null }
    const reached = most === undefined ? found >= (least as number) : found <= most
    return { title, wanted, measured: `${short(found)}${unit}`, reached }
  })
}

// Two digits behind the point where they say something.
function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toFixed(2)))
}
