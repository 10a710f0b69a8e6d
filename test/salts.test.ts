// Randomness comes from a block that is cut up: nothing of it may be used twice, by one process or by several (security.md T12).
// With 1,000,000 messages, and 100,000 in each of 8 processes: npm run test:salts.
import assert from "node:assert/strict"
import process from "node:process"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import { saltPrefixes } from "./_salts.ts"
import { runScript } from "./_script.ts"

const ALONE = Number(process.env["ENCX_SALTS"] ?? 100_000)
const EACH = Number(process.env["ENCX_SALTS_EACH"] ?? 2_000)
const PROCESSES = 8
const SCRIPT = new URL("./_salts.ts", import.meta.url)

function repeated(prefixes: BigUint64Array): number {
  const sorted = prefixes.toSorted()
  return sorted.reduce((count, each, i) => (i > 0 && each === sorted[i - 1] ? count + 1 : count), 0)
}

function joined(parts: readonly BigUint64Array[]): BigUint64Array {
  const all = new BigUint64Array(parts.reduce((length, part) => length + part.length, 0))
  let offset = 0
  for (const part of parts) {
    all.set(part, offset)
    offset += part.length
  }
  return all
}

async function fromProcess(): Promise<BigUint64Array> {
  const { code, stdout, stderr } = await runScript(SCRIPT, { args: [String(EACH)], timeoutMs: 300_000 })
  assert.equal(code, 0, stderr)
  return new BigUint64Array(new Uint8Array(Buffer.from(stdout, "base64")).buffer)
}

function fromThread(): Promise<BigUint64Array> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(fileURLToPath(SCRIPT), { workerData: { salts: EACH } })
    thread.once("error", reject)
    thread.once("message", (prefixes: BigUint64Array) => {
      resolve(prefixes)
      void thread.terminate()
    })
  })
}

describe("salts", () => {
  it(`of ${ALONE} messages begin with other 64 bits each`, async () => {
    const prefixes = await saltPrefixes(ALONE)
    assert.equal(prefixes.length, ALONE)
    assert.equal(repeated(prefixes), 0)
  })

  it(`of ${PROCESSES} processes with ${EACH} messages each begin with other 64 bits each`, async () => {
    const all = joined(await Promise.all(Array.from({ length: PROCESSES }, fromProcess)))
    assert.equal(all.length, PROCESSES * EACH)
    assert.equal(repeated(all), 0)
  })

  it("of threads beside this one begin with other 64 bits each", async () => {
    const all = joined([...(await Promise.all([fromThread(), fromThread()])), await saltPrefixes(EACH)])
    assert.equal(all.length, 3 * EACH)
    assert.equal(repeated(all), 0)
  })

  it("that were used twice would be found", () => {
    assert.equal(repeated(BigUint64Array.of(1n, 2n, 3n, 2n)), 1)
  })
})
