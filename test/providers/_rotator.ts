// Rotates a key of a key file: node _rotator.ts {"path", "keyID", …}; tells what it did as JSON.
import { existsSync, writeFileSync } from "node:fs"
import process from "node:process"
import { base64 } from "../../core/bytes.ts"
import { keyFile } from "../../providers/_key-file.ts"
import { keyStoreServices } from "../../providers/_key-store.ts"
import { bytes32 } from "../suites/_assert.ts"
import { watchedFileSystem } from "./_files.ts"

export interface RotatorOrder {
  readonly path: string
  readonly keyID: string
  readonly passphrase?: string
  /** How many rotations, one after the other. */
  readonly rotations?: number
  /** How many of such rows at once. */
  readonly atOnce?: number
  /** The process says that it is ready by a file beside this one, and waits until this one is there. */
  readonly gate?: string
  /** Ends the process by SIGKILL around this call of the file system, from 1. */
  readonly kill?: { readonly when: "before" | "after"; readonly call: number }
}

export interface RotatorReport {
  /** How many calls of the file system there were. */
  readonly calls: number
  /** A wrap under each version that this process saw as the current one. */
  readonly wraps: readonly { readonly version: number; readonly ciphertext: string }[]
}

const {
  path,
  keyID,
  passphrase,
  rotations = 1,
  atOnce = 1,
  gate,
  kill,
} = JSON.parse(process.argv[2] as string) as RotatorOrder
let calls = 0

function die(): never {
  process.kill(process.pid, "SIGKILL")
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10_000)
  throw new Error("this process should be dead")
}

const fs = watchedFileSystem((_name, call) => {
  calls++
  if (kill?.when === "before" && kill.call === calls) die()
  const result = call()
  if (kill?.when === "after" && kill.call === calls) die()
  return result
})
const kms = keyStoreServices("local", keyFile(path, passphrase, fs), "none")

if (gate !== undefined) {
  writeFileSync(`${gate}.${process.pid}`, "")
  while (!existsSync(gate)) await new Promise((resolve) => setTimeout(resolve, 1))
}
const wraps: { version: number; ciphertext: string }[] = []
await Promise.all(
  Array.from({ length: atOnce }, async () => {
    for (let i = 0; i < rotations; i++) {
      await kms.rotateKey(keyID)
      if (kill) continue
      const { version, ciphertext } = await kms.encryptDEK(keyID, bytes32(1), {})
      wraps.push({ version, ciphertext: base64(ciphertext) })
    }
  }),
)
console.log(JSON.stringify({ calls, wraps } satisfies RotatorReport))
