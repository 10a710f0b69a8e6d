/** Salts of messages, through the public API. As a program or a thread: seals as many messages as it is told, and writes what their salts begin with. */
import process from "node:process"
import { isMainThread, parentPort, workerData } from "node:worker_threads"
import { newCrypto, withKEKAlias, withKMSService } from "../mod.ts"
import { memory } from "../providers/memory.ts"

/** Seals so many messages; the first 64 bits of the salt of each. */
export async function saltPrefixes(count: number): Promise<BigUint64Array> {
  const kms = memory()
  await kms.createKey("app")
  const crypto = await newCrypto(withKMSService(kms), withKEKAlias("app"))
  const prefixes = new BigUint64Array(count)
  const nothing = new Uint8Array(0)
  for (let i = 0; i < count; i++) {
    const envelope = await crypto.seal(nothing)
    // An empty message is salt[24], commitment[32] and tag[16].
    prefixes[i] = new DataView(envelope.buffer, envelope.byteOffset + envelope.length - 72, 8).getBigUint64(0)
  }
  await crypto.close()
  return prefixes
}

if (!isMainThread && typeof workerData?.salts === "number") {
  parentPort?.postMessage(await saltPrefixes(workerData.salts))
} else if (import.meta.main ?? process.argv[1] === import.meta.filename) {
  const prefixes = await saltPrefixes(Number(process.argv[2]))
  process.stdout.write(Buffer.from(prefixes.buffer).toString("base64"))
}
