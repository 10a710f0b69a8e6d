import { parentPort, workerData } from "node:worker_threads"
import { argon2id } from "hash-wasm"
import type { Argon2Input } from "./argon2.ts"

const { password, salt, memoryKiB, iterations, parallelism, length } = workerData as Argon2Input
const result = await argon2id({
  password,
  salt,
  parallelism,
  iterations,
  memorySize: memoryKiB,
  hashLength: length,
  outputType: "binary",
})
parentPort?.postMessage(result)
