/**
 * Runs of chunks by whichever of a runtime's ciphers is faster for them. Node and Bun: `node:crypto`, at once. Deno: from two chunks
 * on WebCrypto with its calls in flight, 0.86 GB/s where `node:crypto` does 0.17; below that it is no gain.
 *
 * For a large value in one piece: `if (isBulk(value.length)) await sealChunksLater(…) else sealChunks(…)`, and the same for
 * opening; they take and return the same.
 *
 * @module
 */
import { webcrypto } from "node:crypto"
import { copyOf, giveBack, memory, wipe } from "../bytes.ts"
import { isDeno } from "../runtime.ts"
import { TAG } from "./aes-gcm.ts"
import {
  CHUNK,
  chunkNonce,
  chunksIn,
  type MessageKeys,
  type Opened,
  openChunks,
  SEALED_CHUNK,
  sealChunks,
} from "./chunks.ts"
import type { Key } from "./derive.ts"

const BULK: number = isDeno ? 2 * CHUNK : Number.POSITIVE_INFINITY
/** Calls in flight: so many that more of them are no faster. */
const FLIGHT = 32

/** Whether so many bytes are better left to WebCrypto. */
export function isBulk(length: number): boolean {
  return length >= BULK
}

// --- By WebCrypto ---

const ALGORITHM = "AES-GCM"
const webKeys = new WeakMap<Key, Promise<webcrypto.CryptoKey>>()

/** A message's key as WebCrypto takes it, made once. */
function webKeyOf({ key }: MessageKeys): Promise<webcrypto.CryptoKey> {
  const known = webKeys.get(key)
  if (known) return known
  const bytes = key instanceof Uint8Array ? copyOf(key) : key.export()
  const made = webcrypto.subtle.importKey("raw", bytes as Uint8Array<ArrayBuffer>, ALGORITHM, false, [
    "encrypt",
    "decrypt",
  ])
  webKeys.set(
    key,
    made.finally(() => wipe(bytes)),
  )
  return webKeys.get(key) as Promise<webcrypto.CryptoKey>
}

// Its input is copied when the call begins.
const parameters = ({ baseNonce }: MessageKeys, index: number) => ({
  name: ALGORITHM,
  iv: chunkNonce(baseNonce, index) as Uint8Array<ArrayBuffer>,
  tagLength: 8 * TAG,
})

/** Does something with every chunk, several at a time. */
async function each(count: number, work: (i: number) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < count; i += FLIGHT) {
    await Promise.all(Array.from({ length: Math.min(FLIGHT, count - i) }, (_, j) => work(i + j)))
  }
}

/** `sealChunks`, by WebCrypto. Do not change the plaintext before it has ended. */
export async function sealChunksLater(
  keys: MessageKeys,
  first: number,
  plaintext: Uint8Array,
  isLast: boolean,
  out: Uint8Array,
  offset: number,
): Promise<number> {
  const count = chunksIn(plaintext.length, CHUNK, isLast)
  // There is such a chunk, or nothing is sealed.
  chunkNonce(keys.baseNonce, first + Math.max(0, count - 1))
  const key = await webKeyOf(keys)
  await each(count, async (i) => {
    const chunk = plaintext.subarray(i * CHUNK, (i + 1) * CHUNK) as Uint8Array<ArrayBuffer>
    const sealed = new Uint8Array(await webcrypto.subtle.encrypt(parameters(keys, first + i), key, chunk))
    out.set(sealed, offset + i * SEALED_CHUNK)
    giveBack(sealed)
  })
  return offset + plaintext.length + count * TAG
}

/** `openChunks`, by WebCrypto. Chunks after one that does not authenticate may be opened; nothing of them is released. */
export async function openChunksLater(
  keys: MessageKeys,
  first: number,
  sealed: Uint8Array,
  isLast: boolean,
  out?: Uint8Array,
): Promise<Opened> {
  const count = chunksIn(sealed.length, SEALED_CHUNK, isLast)
  chunkNonce(keys.baseNonce, first + Math.max(0, count - 1))
  const length = sealed.length - count * TAG
  const plaintext = out ? out.subarray(0, length) : memory(length)
  let broken = count
  const key = await webKeyOf(keys)
  await each(count, async (i) => {
    const chunk = sealed.subarray(i * SEALED_CHUNK, (i + 1) * SEALED_CHUNK) as Uint8Array<ArrayBuffer>
    try {
      const opened = new Uint8Array(await webcrypto.subtle.decrypt(parameters(keys, first + i), key, chunk))
      plaintext.set(opened, i * CHUNK)
      wipe(opened)
      giveBack(opened)
    } catch (error) {
      if (!(error instanceof DOMException && error.name === "OperationError")) throw error
      broken = Math.min(broken, i)
    }
  })
  if (broken === count) return { plaintext, isWhole: true }
  wipe(plaintext.subarray(broken * CHUNK))
  return { plaintext: plaintext.subarray(0, broken * CHUNK), isWhole: false }
}

// --- By whichever is faster ---

/** `sealChunks`, by the faster cipher. Do not change the plaintext before it has ended. */
export function sealRun(...args: Parameters<typeof sealChunks>): number | Promise<number> {
  return isBulk(args[2].length) ? sealChunksLater(...args) : sealChunks(...args)
}

/** `openChunks`, by the faster cipher. */
export function openRun(...args: Parameters<typeof openChunks>): Opened | Promise<Opened> {
  return isBulk(args[2].length) ? openChunksLater(...args) : openChunks(...args)
}

// --- Blocks ---

/** Several runs, one after the other in one message: the chunk that came in parts, and those after it. */
type Runs = readonly Uint8Array[]

/** Seals runs of chunks into one block. */
export function sealBlock(
  keys: MessageKeys,
  first: number,
  runs: Runs,
  isLast: boolean,
): Uint8Array | Promise<Uint8Array> {
  const length = lengthOf(runs)
  const out = memory(length + TAG * chunksIn(length, CHUNK, isLast))
  const seal = isBulk(length) ? sealChunksLater : sealChunks
  const parts: unknown[] = []
  let before = 0
  for (const run of runs) {
    parts.push(seal(keys, first + before, run, isLast, out, before * SEALED_CHUNK))
    before += run.length / CHUNK
  }
  return seal === sealChunks ? out : Promise.all(parts).then(() => out)
}

/** Opens runs of sealed chunks into one block, up to the first that does not authenticate. */
export function openBlock(keys: MessageKeys, first: number, runs: Runs, isLast: boolean): Opened | Promise<Opened> {
  const length = lengthOf(runs)
  const out = memory(length - TAG * chunksIn(length, SEALED_CHUNK, isLast))
  const parts: (Opened | Promise<Opened>)[] = []
  let before = 0
  const open = isBulk(length) ? openChunksLater : openChunks
  for (const run of runs) {
    parts.push(open(keys, first + before, run, isLast, out.subarray(before * CHUNK)))
    before += run.length / SEALED_CHUNK
  }
  return open === openChunksLater
    ? Promise.all(parts).then((opened) => joined(opened, out))
    : joined(parts as Opened[], out)
}

function joined(parts: readonly Opened[], out: Uint8Array): Opened {
  const broken = parts.findIndex(({ isWhole }) => !isWhole)
  if (broken < 0) return { plaintext: out, isWhole: true }
  const plaintext = copyOf(out.subarray(0, lengthOf(parts.slice(0, broken + 1).map((part) => part.plaintext))))
  // It has room that nothing was written to, which was somebody else's.
  wipe(out)
  return { plaintext, isWhole: false }
}

const lengthOf = (runs: Runs): number => runs.reduce((sum, run) => sum + run.length, 0)
