/** Progress of long work, for people who watch. */
import cliProgress from "cli-progress"
import type { IO } from "./_io.ts"

/** A line that moves. */
export interface Progress {
  /** How far it is, and how many rows that was. */
  update(done: number, rows: number): void
  stop(): void
}

const NONE: Progress = { update: () => undefined, stop: () => undefined }

/** A bar on stderr when that is a terminal, else nothing: no pipe and no log has to bear it. */
export function progress(io: Pick<IO, "isTTY" | "stderr">, title: string, total: number): Progress {
  if (!io.isTTY || total === 0) return NONE
  const bar = new cliProgress.SingleBar(
    {
      format: `${title} [{bar}] {percentage}% | {rows} rows | {eta_formatted}`,
      stream: io.stderr as NodeJS.WriteStream,
      clearOnComplete: true,
      hideCursor: false,
      gracefulExit: false,
    },
    cliProgress.Presets.shades_classic,
  )
  bar.start(total, 0, { rows: 0 })
  return { update: (done, rows) => bar.update(Math.min(done, total), { rows }), stop: () => bar.stop() }
}
