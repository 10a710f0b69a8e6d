/**
 * Argon2id (RFC 9106), version 1.3, by whatever computes it fastest here: `@node-rs/argon2` where it is installed, else the
 * runtime's own, else `hash-wasm` on a worker thread. All give the same bytes and none blocks the event loop.
 *
 * @module
 */
import * as nodeCrypto from "node:crypto"
import { availableParallelism } from "node:os"
import { Worker } from "node:worker_threads"
import type { CallOptions } from "../contracts.ts"
import { Busy } from "../errors.ts"
import type { Argon2Cost } from "./phc.ts"

/** One run: what is hashed, and what it costs. */
export interface Argon2Input extends Argon2Cost {
  readonly password: Uint8Array
  readonly salt: Uint8Array
  /** Bytes of the result. */
  readonly length: number
}

/** Something that computes Argon2id. */
export type Argon2 = (input: Argon2Input) => Promise<Uint8Array>

// --- Backends ---

// The part of @node-rs/argon2 that is used; it is an optional peer and may not be installed.
interface NodeRS {
  hashRaw(password: Uint8Array, options: Record<string, unknown>): Promise<Uint8Array>
}
const NODE_RS = { algorithm: 2 /* Argon2id */, version: 1 /* 0x13 */ } as const

async function native(): Promise<Argon2 | undefined> {
  let nodeRS: NodeRS
  try {
    nodeRS = (await import("@node-rs/argon2")) as unknown as NodeRS
  } catch {
    // Not installed, no binary for this platform, or no permission to load it: the next one gives the same bytes.
    return undefined
  }
  return ({ password, salt, memoryKiB, iterations, parallelism, length }) =>
    nodeRS.hashRaw(password, {
      ...NODE_RS,
      salt,
      memoryCost: memoryKiB,
      timeCost: iterations,
      parallelism,
      outputLen: length,
    })
}

// In Node from 24.7 and in Bun; the types that this project compiles against may be older or newer than the runtime.
type RuntimeArgon2 = (
  algorithm: "argon2id",
  parameters: {
    message: Uint8Array
    nonce: Uint8Array
    parallelism: number
    tagLength: number
    memory: number
    passes: number
  },
  done: (error: Error | null, result: Uint8Array) => void,
) => void

async function builtIn(): Promise<Argon2 | undefined> {
  const argon2 = (nodeCrypto as unknown as { argon2?: RuntimeArgon2 }).argon2
  if (typeof argon2 !== "function") return undefined
  return ({ password, salt, memoryKiB, iterations, parallelism, length }) =>
    new Promise((resolve, reject) => {
      const parameters = {
        message: password,
        nonce: salt,
        parallelism,
        tagLength: length,
        memory: memoryKiB,
        passes: iterations,
      }
      argon2("argon2id", parameters, (error, result) => (error ? reject(error) : resolve(result)))
    })
}

async function wasm(): Promise<Argon2> {
  // The worker lies beside this file, as source and as built.
  const worker = new URL(`./_argon2-worker.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url)
  return (input) =>
    new Promise((resolve, reject) => {
      const thread = new Worker(worker, { workerData: input })
      thread.once("message", (result: Uint8Array) => {
        resolve(result)
        void thread.terminate()
      })
      thread.once("error", (cause) => reject(new Busy("Cannot compute Argon2id: its worker failed", { cause })))
      thread.once("exit", () => reject(new Busy("Cannot compute Argon2id: its worker ended early")))
    })
}

/** What can compute Argon2id, in the order of preference. Each says `undefined` where it is not to be had. @internal */
export const ARGON2_BACKENDS: Readonly<Record<"native" | "builtIn" | "wasm", () => Promise<Argon2 | undefined>>> = {
  native,
  builtIn,
  wasm,
}

let chosen: Promise<Argon2> | undefined

async function choose(): Promise<Argon2> {
  return (await native()) ?? (await builtIn()) ?? (await wasm())
}

/** Argon2id by the backend that was found first. */
export async function argon2id(input: Argon2Input): Promise<Uint8Array> {
  chosen ??= choose()
  return await (await chosen)(input)
}

// --- How many at once ---

/** How many runs there may be: each takes its memory and a core. */
export interface Argon2Limits {
  /** Runs at the same time. @default {the number of cores} */
  readonly concurrency?: number
  /** Callers who wait for one; more are refused with `Busy`. @default {64} */
  readonly queue?: number
}

/** Lets a bounded number of runs happen at once, and a bounded number wait. */
export class Turnstile {
  readonly concurrency: number
  readonly #queue: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor({ concurrency = availableParallelism(), queue = 64 }: Argon2Limits = {}) {
    this.concurrency = concurrency
    this.#queue = queue
  }

  /**
   * Runs when it is its turn.
   *
   * @throws {Busy} when too many wait already
   */
  async pass<Result>(run: () => Promise<Result>, { signal }: CallOptions = {}): Promise<Result> {
    signal?.throwIfAborted()
    if (this.#running >= this.concurrency) await this.#wait(signal)
    else this.#running++
    try {
      signal?.throwIfAborted()
      return await run()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#running--
    }
  }

  // Whoever leaves hands over its place, so that nobody slips in between.
  #wait(signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiting.length >= this.#queue) {
      throw new Busy(`Cannot hash: ${this.#queue} callers wait already`, {
        hint: "retry later, or raise the limits with withArgon2",
      })
    }
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        signal?.removeEventListener("abort", abort)
        resolve()
      }
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1)
        reject(signal?.reason)
      }
      signal?.addEventListener("abort", abort, { once: true })
      this.#waiting.push(turn)
    })
  }
}
