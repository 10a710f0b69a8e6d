/** What a run of the command has of the world; tests give their own. */

import { setImmediate } from "node:timers/promises"

/** Where output goes: a stream of Node, or a test's collector. */
export interface Sink {
  readonly isTTY?: boolean | undefined
  write(chunk: string | Uint8Array, done?: (error?: Error | null) => void): unknown
}

/** The world of one run. */
export interface IO {
  readonly stdin: AsyncIterable<Uint8Array>
  readonly stdout: Sink
  readonly stderr: Sink
  readonly env: Readonly<Record<string, string | undefined>>
  /** Aborted by Ctrl-C; every call that may wait gets it. */
  readonly signal: AbortSignal
  /** Whether a person watches stderr: progress is shown to nobody else. */
  readonly isTTY: boolean
}

// Deno answers one failed write; a second one is never called back.
const failed = new WeakMap<Sink, unknown>()

/** Writes, and waits until it is written. What failed once is not tried again. */
export async function write(sink: Sink, chunk: string | Uint8Array): Promise<void> {
  if (failed.has(sink)) throw failed.get(sink)
  try {
    await new Promise<void>((resolve, reject) => {
      sink.write(chunk, (error) => (error ? reject(error) : resolve()))
    })
  } catch (error) {
    failed.set(sink, error)
    throw error
  }
}

/**
 * Lets timers and signals have their turn. Sealing and SQLite wait for nothing, and a loop of them would hear no Ctrl-C.
 *
 * @throws the signal's reason when it was aborted
 */
export async function breathe(signal: AbortSignal): Promise<void> {
  await setImmediate()
  signal.throwIfAborted()
}
