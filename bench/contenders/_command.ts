/** Files by a command that is installed on the machine: its whole run counts, and fsync after it. */
import { spawnSync } from "node:child_process"
import { closeSync, fsyncSync, openSync } from "node:fs"
import type { Contender, Files } from "../contender.ts"

/** Runs it to its end; `input` is what it reads. */
export function run(command: string, args: readonly string[], input = ""): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8", input })
  if (status === 0) return stdout
  throw new Error(`Cannot run ${command} ${args.join(" ")}: ${error ?? stderr}`)
}

/** A contender by what it runs from source to target. */
export function command(
  seal: (source: string, target: string) => void,
  open: (source: string, target: string) => void,
): Contender {
  const synced =
    (work: typeof seal): Files["seal"] =>
    async (source, target) => {
      work(source, target)
      const file = openSync(target, "r+")
      fsyncSync(file)
      closeSync(file)
    }
  return { files: () => ({ seal: synced(seal), open: synced(open) }) }
}
