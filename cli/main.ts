#!/usr/bin/env node
/** The executable: what the process has, given to `run`. */
import process from "node:process"
import { Interrupted } from "./_errors.ts"
import { run } from "./_program.ts"

// Node 22 warns at the first use of its SQLite, which its users can do nothing about.
const listeners = process.listeners("warning")
process.removeAllListeners("warning")
process.on("warning", (warning) => {
  if (warning.name === "ExperimentalWarning" && /SQLite|JSON modules/.test(warning.message)) return
  for (const listener of listeners) listener(warning)
})

// Whoever writes is told by the write itself, and cleans up; without listeners, the process would end before that.
process.stdout.on("error", () => undefined)
process.stderr.on("error", () => undefined)

// Once: whoever presses Ctrl-C again means it.
const controller = new AbortController()
process.once("SIGINT", () => controller.abort(new Interrupted(130)))
process.once("SIGTERM", () => controller.abort(new Interrupted(143)))
process.once("SIGHUP", () => controller.abort(new Interrupted(129)))

const exitCode = await run(process.argv.slice(2), {
  // Opened by whom reads it: an open one would keep the process alive.
  stdin: { [Symbol.asyncIterator]: () => process.stdin[Symbol.asyncIterator]() as AsyncIterator<Uint8Array> },
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: controller.signal,
  isTTY: process.stderr.isTTY ?? false,
})
// What was written was waited for; a read of a pipe that was left behind would keep the process.
process.exit(exitCode)
