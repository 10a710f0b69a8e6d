/** Worker threads that take blocks of a job. Keys go to each once; what is read and written stays with the thread that does it. */
import { Worker } from "node:worker_threads"
import { copyOf, wipe } from "../bytes.ts"
import type { Key } from "../cipher/derive.ts"
import { DecryptionFailed, FileError } from "../errors.ts"
import { handled, type Run } from "./_run.ts"
import type { Job } from "./job.ts"
import { changed } from "./source.ts"
import { named } from "./system-errors.ts"

/** A file, as another thread opens it. */
interface Place {
  readonly path: string
  readonly dev: bigint
  readonly ino: bigint
}

/** What a worker gets. @internal */
export interface ToWorker {
  readonly job: Job
  readonly key: Uint8Array
  readonly baseNonce: Uint8Array
  readonly from: Place
  readonly to: Place
  readonly turns: Int32Array
}

/** What a worker says. @internal */
export type FromWorker = "begun" | "ended" | { readonly done: number } | Failed

/** What failed: a code of the system or a word for it, and with which file. */
interface Failed {
  readonly failed: string
  readonly of: "source" | "target"
}

/** Threads at work. */
export interface Threads {
  /** Rejects when one fails, resolves when all have no more to do. */
  readonly ended: Promise<void>
  /** Ends them, whatever they do. */
  stop(): Promise<void>
}

/** What threads share, and how they are looked upon. */
export interface Team {
  readonly turns: Int32Array
  /** Told of each block. */
  readonly onDone: (bytes: number) => void
  /** Whether it matters when one cannot start: the blocks it would have taken are taken by others. */
  readonly areNeeded: boolean
}

/** Starts so many threads. */
export function startThreads(count: number, { job, keys, from, to }: Omit<Run, "signal">, team: Team): Threads {
  // The worker lies beside this file, as source and as built.
  const file = new URL(`./_file-worker.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url)
  const place = ({ path, identity: { dev, ino } }: Pick<Run["to"], "path" | "identity">): Place => ({ path, dev, ino })
  const about: About = { verb: job.verb, source: from.path, target: to.name }
  const workers: Worker[] = []
  const ends: Promise<void>[] = []
  for (let i = 0; i < count; i++) {
    const key = bytesOf(keys.key)
    const { turns } = team
    const data: ToWorker = { job, key, baseNonce: copyOf(keys.baseNonce), from: place(from), to: place(to), turns }
    try {
      // Moved and not copied, so that there is one place to wipe.
      const worker = new Worker(file, { workerData: data, transferList: [key.buffer as ArrayBuffer] })
      workers.push(worker)
      ends.push(handled(endOf(worker, about, team)))
    } catch (cause) {
      // A program may not be allowed to.
      if (team.areNeeded) ends.push(handled(Promise.reject(threadFailed(job.verb, from.path, cause))))
    } finally {
      // Where it was moved, it has no bytes here any more.
      if (key.length > 0) wipe(key)
    }
  }
  const ended = handled(Promise.all(ends).then(() => undefined))
  return { ended, stop: async () => void (await Promise.all(workers.map((worker) => worker.terminate()))) }
}

function bytesOf(key: Key): Uint8Array {
  if (key instanceof Uint8Array) return copyOf(key)
  const exported = key.export()
  const bytes = copyOf(exported)
  wipe(exported)
  return bytes
}

/** A worker did not do what it was there for. */
export function threadFailed(verb: Job["verb"], path: string, cause?: unknown): FileError {
  const hint = "workers: 0 does without"
  return new FileError(`Cannot ${verb} "${path}": a worker thread failed`, { cause, hint })
}

/** What errors tell of. */
interface About {
  readonly verb: Job["verb"]
  readonly source: string
  readonly target: string
}

function endOf(worker: Worker, about: About, { onDone, areNeeded }: Team): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let hasBegun = false
  const stop = (reason: unknown): void => {
    if (hasBegun || areNeeded) reject(reason)
    else resolve()
  }
  const fail = (cause?: unknown): void => stop(threadFailed(about.verb, about.source, cause))
  worker.on("message", (message: FromWorker) => {
    try {
      if (message === "begun") hasBegun = true
      else if (message === "ended") resolve()
      else if ("done" in message) onDone(message.done)
      else stop(failureOf(message, about))
    } catch (error) {
      // The program's own, who is told of the progress.
      reject(error)
    }
  })
  // It may come before what the worker said: that each block was done is counted.
  worker.on("error", fail)
  worker.once("exit", () => fail())
  return promise
}

function failureOf({ failed, of }: Failed, { source, target }: About): unknown {
  if (failed === "DECRYPTION_FAILED") return new DecryptionFailed()
  const isSource = of === "source"
  if (failed === "CHANGED")
    return isSource
      ? changed(source)
      : new FileError(`Cannot write "${target}": another file took the place of its temporary one`)
  const error = Object.assign(new Error(failed), { code: failed })
  return isSource ? named("read", source, error) : named("write", target, error)
}
