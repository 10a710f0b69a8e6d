/** Progress of long work, for people who watch. */
import cliProgress from "cli-progress"
import type { OnProgress } from "../mod.ts"
import { STDIO } from "./_files.ts"
import type { IO } from "./_io.ts"

type World = Pick<IO, "isTTY" | "stderr">

/** A line that moves. */
export interface Progress {
  /** How far it is, and how many rows that was. */
  update(done: number, rows: number): void
  stop(): void
}

const NONE: Progress = { update: () => undefined, stop: () => undefined }

/** A bar on stderr when that is a terminal, else nothing: no pipe and no log has to bear it. */
export function progress(io: World, title: string, total: number): Progress {
  if (!io.isTTY || total === 0) return NONE
  const bar = start(io, `${title} [{bar}] {percentage}% | {rows} rows | {eta_formatted}`, total, { rows: 0 })
  return { update: (done, rows) => bar.update(Math.min(done, total), { rows }), stop: () => bar.stop() }
}

/**
 * Runs with such a bar, of bytes. Where it is not known how many will come, their number is shown alone.
 *
 * @param output where they go: what is shown on the same terminal needs no bar in between
 */
export async function withProgress<Result>(
  io: Pick<IO, "isTTY" | "stdout" | "stderr">,
  title: string,
  output: string,
  use: (onProgress: OnProgress) => Promise<Result>,
): Promise<Result> {
  if (!io.isTTY || (output === STDIO && io.stdout.isTTY)) return await use(() => undefined)
  const started = performance.now()
  let bar: cliProgress.SingleBar | undefined
  const onProgress: OnProgress = (done, total) => {
    const rate = (done / Math.max(performance.now() - started, 1)) * 1000
    const shown = { done: readable(done), all: readable(total), rate: readable(rate) }
    bar ??= start(io, total > 0 && total < Number.POSITIVE_INFINITY ? WITH_END : WITHOUT_END, total, {
      title,
      ...shown,
    })
    bar.update(done, shown)
  }
  try {
    return await use(onProgress)
  } finally {
    bar?.stop()
  }
}

const WITH_END = "{title} [{bar}] {percentage}% | {done} of {all} | {rate}/s | {eta_formatted}"
const WITHOUT_END = "{title} {done} | {rate}/s"

function start(io: World, format: string, total: number, shown: object): cliProgress.SingleBar {
  const bar = new cliProgress.SingleBar(
    {
      format,
      stream: io.stderr as NodeJS.WriteStream,
      clearOnComplete: true,
      hideCursor: false,
      gracefulExit: false,
    },
    cliProgress.Presets.shades_classic,
  )
  bar.start(total, 0, shown)
  return bar
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const

/** Bytes, in the unit that people read them in. */
export function readable(bytes: number): string {
  const step = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), UNITS.length - 1)
  return `${(bytes / 2 ** (10 * step)).toFixed(step === 0 ? 0 : 1)} ${UNITS[step]}`
}
