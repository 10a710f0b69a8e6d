/**
 * One file made into another, block by block and in constant memory. FORMATS §3.
 *
 * @module
 */
import { availableParallelism } from "node:os"
import type { MessageKeys } from "../cipher/chunks.ts"
import { InvalidInput } from "../errors.ts"
import { isNode } from "../runtime.ts"
import type { FileResult, OnProgress } from "../stream-types.ts"
import { handled, type Run, run, type TargetFile } from "./_run.ts"
import type { Files } from "./given.ts"
import { blocksOf, type Job } from "./job.ts"
import { checkTarget, replacingFile, writeAt } from "./replace.ts"
import { checkApart, checkUnchanged, identityOf, openSource, type SourceFile } from "./source.ts"
import { withFile } from "./system-errors.ts"
import { endTurns, newTurns, turnsOf } from "./turns.ts"

/** How a file is converted: what stands before its chunks, and with which keys. */
export interface Plan {
  readonly job: Job
  readonly keys: MessageKeys
  /** What is written before the first block. */
  readonly head: Uint8Array
}

/** Makes the target of the source. Everything that can be refused is refused before `plan` asks for keys. */
export async function convert(
  { source: from, target, overwrite = false, onProgress, signal, workers }: Files,
  plan: (source: SourceFile) => Promise<Plan>,
): Promise<FileResult> {
  signal?.throwIfAborted()
  checkWorkers(workers)
  const source = await openSource(from)
  try {
    await checkApart(source, target)
    await checkTarget(target, overwrite)
    const { job, keys, head } = await plan(source)
    await replacingFile(target, overwrite, signal, async (file) => {
      await writeAt(file, head, 0)
      const found = await withFile("write", target, async () => await file.handle.stat({ bigint: true }))
      const to = { ...file, identity: identityOf(found) }
      await fill({ job, keys, from: source, to, signal }, workers, onProgress)
      await checkUnchanged(source)
    })
    return job.verb === "seal"
      ? { bytesRead: job.plainBytes, bytesWritten: job.sealedBytes }
      : { bytesRead: job.sealedBytes, bytesWritten: job.plainBytes }
  } finally {
    await source.handle.close()
  }
}

async function fill(work: Run, workers: number | undefined, onProgress: OnProgress = () => undefined): Promise<void> {
  const { size } = work.from
  const flushing = flusher(work.to)
  let done = 0
  onProgress(0, size)
  try {
    await runAll(work, workers, (bytes) => {
      done += bytes
      flushing.add(bytes)
      onProgress(done, size)
    })
  } finally {
    // Nobody closes a file that is still written to the disk.
    await Promise.allSettled([flushing.ended()])
  }
  await flushing.ended()
}

/** How many bytes are written before the disk is told to begin with them. */
const FLUSH_BYTES = 16 * 2 ** 20

/** Has the disk write while the rest is computed: 1 GiB is on it a quarter sooner than when all of it is left to the end. */
function flusher({ handle, name }: TargetFile): { add(bytes: number): void; ended(): Promise<void> } {
  let waiting = 0
  let isBusy = false
  let flush = Promise.resolve()
  return {
    add(bytes) {
      waiting += bytes
      if (isBusy || waiting < FLUSH_BYTES) return
      waiting = 0
      isBusy = true
      // The system tells a failure once: it is kept.
      flush = handled(
        Promise.all([
          flush,
          withFile("write", name, async () => await handle.datasync()).finally(() => {
            isBusy = false
          }),
        ]).then(() => undefined),
      )
    },
    ended: async () => await flush,
  }
}

/** On this thread and on others: each takes the next block when it is done with one. */
async function runAll(work: Run, wanted: number | undefined, onDone: (bytes: number) => void): Promise<void> {
  const { job, from } = work
  const blocks = blocksOf(job)
  const turns = newTurns(blocks)
  const count = Math.min(wanted ?? workersFor(job.plainBytes), blocks - 1)
  if (count === 0) return await run(work, turnsOf(turns), onDone)
  let done = 0
  const onBlock = (bytes: number): void => {
    done++
    onDone(bytes)
  }
  const { startThreads, threadFailed } = await import("./_threads.ts")
  const failed = new AbortController()
  const signal = work.signal ? AbortSignal.any([work.signal, failed.signal]) : failed.signal
  const threads = startThreads(count, work, { turns, onDone: onBlock, areNeeded: wanted !== undefined })
  threads.ended.catch((reason) => failed.abort(reason))
  try {
    await run({ ...work, signal }, turnsOf(turns), onBlock)
    await untilAborted(threads.ended, signal)
    // One that was not needed may have died with a block in its hands, before anything was heard of it: no file has a hole.
    if (done !== blocks) throw threadFailed(job.verb, from.path)
  } finally {
    endTurns(turns)
    await threads.stop()
  }
}

const MAX_WORKERS = 64
/** From which size on a worker is worth its start. */
const LARGE = 256 * 2 ** 20

/**
 * Node 24, file to file, on four cores: one worker takes 269 ms for 256 MiB where this thread alone takes 352, and 108 for 64 MiB where it
 * takes 92; a second one gains nothing. Bun gains less than a tenth, and Deno's WebCrypto has threads of its own.
 */
function workersFor(bytes: number): number {
  return isNode && bytes >= LARGE && availableParallelism() > 1 ? 1 : 0
}

function checkWorkers(workers: number | undefined): void {
  if (workers === undefined || (Number.isInteger(workers) && workers >= 0 && workers <= MAX_WORKERS)) return
  throw new InvalidInput(`Cannot use ${workers} workers: 0 to ${MAX_WORKERS} are possible`)
}

/** Ends with the promise, or when the caller wants no more. */
async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason)
  if (signal.aborted) abort()
  signal.addEventListener("abort", abort, { once: true })
  try {
    await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener("abort", abort)
  }
}
