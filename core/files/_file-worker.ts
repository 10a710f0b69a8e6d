import { createSecretKey } from "node:crypto"
import { closeSync, fstatSync, openSync, readSync, writeSync } from "node:fs"
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

/** Opens the file that the other thread has open, and no other that took its name. */
function openSame({ path, dev, ino }: ToWorker["from"], flags: "r" | "r+"): number {
  const descriptor = openSync(path, flags)
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

async function work(): Promise<void> {
  const convert = converter(job, { key: createSecretKey(key), baseNonce })
  wipe(key)
  const source = openSame(from, "r")
  const target = openSame(to, "r+")
  const next = turnsOf(turns)
  const bytes = new Uint8Array(BLOCK_BYTES)
  const out = new Uint8Array(BLOCK_BYTES)
  try {
    for (let block = next(); block !== undefined; block = next()) {
      const { offset, length } = sourceSpan(job, block)
      const read = bytes.subarray(0, length)
      readAll(source, read, offset)
      writeAll(target, await convert(block, read, out), targetOffset(job, block))
      tell({ done: length })
    }
  } finally {
    wipe(bytes, out)
    closeSync(source)
    closeSync(target)
  }
}

try {
  tell("begun")
  await work()
  tell("ended")
} catch (error) {
  // An error that crosses threads loses its class and its code.
  const code =
    error instanceof DecryptionFailed ? "DECRYPTION_FAILED" : error instanceof Changed ? "CHANGED" : systemCode(error)
  // It ends this thread, which the other one hears of.
  if (code === undefined) throw error
  tell({ failed: code })
}
