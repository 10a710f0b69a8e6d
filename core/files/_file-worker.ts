import { createSecretKey } from "node:crypto"
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from "node:fs"
import { parentPort, workerData } from "node:worker_threads"
import { wipe } from "../bytes.ts"
import { DecryptionFailed } from "../errors.ts"
import type { FromWorker, ToWorker } from "./_threads.ts"
import { BLOCK_BYTES, converter, sourceSpan, targetOffset } from "./job.ts"
import { systemCode } from "./system-errors.ts"
import { turnsOf } from "./turns.ts"

const { job, key, baseNonce, from, to, turns } = workerData as ToWorker
const tell = (message: FromWorker): void => parentPort?.postMessage(message)

/** The source, or the target, is not what it was. */
class Changed extends Error {}

const { O_RDONLY, O_RDWR, O_NONBLOCK = 0 } = constants

/** Opens the file that the other thread has open, and no other that took its name. */
function openSame({ path, dev, ino }: ToWorker["from"], flags: number): number {
  // Opening a FIFO would wait for its other end, and nobody can stop a thread that does.
  const descriptor = openSync(path, flags | O_NONBLOCK)
  const found = fstatSync(descriptor, { bigint: true })
  if (found.dev === dev && found.ino === ino) return descriptor
  closeSync(descriptor)
  throw new Changed()
}

function readAll(descriptor: number, into: Uint8Array, offset: number): void {
  for (let done = 0; done < into.length; ) {
    const count = readSync(descriptor, into, done, into.length - done, offset + done)
    if (count === 0) throw new Changed()
    done += count
  }
}

function writeAll(descriptor: number, bytes: Uint8Array, offset: number): void {
  for (let done = 0; done < bytes.length; )
    done += writeSync(descriptor, bytes, done, bytes.length - done, offset + done)
}

// Which file the next call is about.
let of: "source" | "target" = "source"

async function work(): Promise<void> {
  const convert = converter(job, { key: createSecretKey(key), baseNonce })
  wipe(key)
  const opened: number[] = []
  const bytes = new Uint8Array(BLOCK_BYTES)
  const out = new Uint8Array(BLOCK_BYTES)
  try {
    const source = openSame(from, O_RDONLY)
    opened.push(source)
    of = "target"
    const target = openSame(to, O_RDWR)
    opened.push(target)
    tell("begun")
    const next = turnsOf(turns)
    for (let block = next(); block !== undefined; block = next()) {
      const { offset, length } = sourceSpan(job, block)
      const read = bytes.subarray(0, length)
      of = "source"
      readAll(source, read, offset)
      const converted = await convert(block, read, out)
      of = "target"
      writeAll(target, converted, targetOffset(job, block))
      tell({ done: length })
    }
  } finally {
    wipe(bytes, out)
    for (const each of opened) closeSync(each)
  }
}

try {
  await work()
  tell("ended")
} catch (error) {
  // An error that crosses threads loses its class and its code.
  const code =
    error instanceof DecryptionFailed ? "DECRYPTION_FAILED" : error instanceof Changed ? "CHANGED" : systemCode(error)
  // It ends this thread, which the other one hears of.
  if (code === undefined) throw error
  tell({ failed: code, of })
}
