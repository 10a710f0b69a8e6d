/** What a run found: the shape of `bench/results.json`. */

import type { Runtime } from "./_peer.ts"
import type { Group } from "./cases.ts"
import type { ContenderName } from "./contenders.ts"

/** What one time takes: the median of the rounds. */
export interface Figure {
  readonly case: string
  readonly title: string
  readonly group: Group
  readonly runtime: Runtime
  readonly contender: ContenderName
  /** Nanoseconds for one time. */
  readonly ns: number
  /** Bytes of one time, where throughput is what counts. */
  readonly bytes?: number
  /** Its time by that of raw AES-256-GCM in the same round, byte for byte: the median. 1 is the limit, more is slower. */
  readonly ofRaw?: number
  /** The same by that of encx. */
  readonly ofEncx?: number
  readonly rounds: number
  /** The quickest and the slowest round, in nanoseconds. */
  readonly spread: readonly [number, number]
}

/** What was counted beside a time. */
export interface Count {
  readonly what: "misses" | "openMisses" | "hits" | "imports"
  readonly runtime: Runtime
  readonly contender: ContenderName
  /** Callers, hits or records. */
  readonly count: number
  /** Nanoseconds for all of them. */
  readonly ns: number
  /** Calls of the KMS. */
  readonly calls?: number
}

/** A contender that failed: it has no figure, and the run says why. */
export interface Failure {
  readonly what: string
  readonly runtime: Runtime
  readonly contender: ContenderName
  readonly message: string
}

/** A program that is started anew each time. */
export interface Started {
  readonly program: string
  readonly title: string
  readonly runtime: Runtime
  /** Milliseconds of the whole process, the median. */
  readonly ms: number
  /** More than an empty program takes, in the same round: the median. */
  readonly overEmptyMs: number
}

/** The most memory that a process held. */
export interface Peak {
  readonly program: string
  readonly title: string
  readonly runtime: Runtime
  readonly bytes: number
  /** More than an empty program holds. */
  readonly overEmptyBytes: number
}

/** What an entry weighs: what it loads at once, bundled. */
export interface Size {
  readonly entry: string
  readonly minified: number
  readonly gzipped: number
}

/** A figure that the project wants to reach. */
export interface Target {
  readonly title: string
  readonly wanted: string
  /** What was measured, or that it was not; then `reached` is null. */
  readonly measured: string
  readonly reached: boolean | null
}

/** Everything of a run. */
export interface Results {
  readonly date: string
  readonly quick: boolean
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly memoryBytes: number
    readonly system: string
    /** What files were written to: in memory, fsync costs nothing. */
    readonly files: "a disk" | "memory"
    /** Over a minute, before and after: the figures of a busy machine are worth less. */
    readonly load: readonly [before: number, after: number]
  }
  readonly runtimes: Readonly<Partial<Record<Runtime, string>>>
  readonly contenders: Readonly<
    Record<string, { readonly title: string; readonly version?: string; readonly setup: string }>
  >
  readonly figures: readonly Figure[]
  readonly counts: readonly Count[]
  readonly failures: readonly Failure[]
  readonly startup: readonly Started[]
  readonly memory: readonly Peak[]
  readonly sizes: readonly Size[]
  readonly targets: readonly Target[]
}

/** The value in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[half] as number)
    : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2
}
