import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { describeKMSCalls, kmsCalls } from "../../bench/kms-calls.ts"
import { runScript } from "../_script.ts"

const MAIN = new URL("../../bench/main.ts", import.meta.url)

describe("bench kms-calls", () => {
  it("kmsCalls() makes one call for each thousand records when a data key seals a thousand", async () => {
    const told: number[] = []
    const result = await kmsCalls({ records: 20_000, onProgress: (sealed) => told.push(sealed) })
    assert.equal(result.whileSealing, 20)
    assert.equal(result.atStart, 1)
    assert.equal(result.dataKeys, 20)
    assert.deepEqual(told, [10_000, 20_000])
    assert.match(describeKMSCalls(result).join("\n"), /^records sealed +20,000$[\s\S]*^KMS calls, sealing +20$/m)
  })

  it("kmsCalls() makes one call more when there is one record more", async () => {
    assert.equal((await kmsCalls({ records: 300, maxMessages: 100 })).whileSealing, 3)
    assert.equal((await kmsCalls({ records: 301, maxMessages: 100 })).whileSealing, 4)
  })

  it("kmsCalls() makes a call for each record when a data key seals one", async () => {
    assert.equal((await kmsCalls({ records: 50, maxMessages: 1 })).whileSealing, 50)
  })

  it("npm run bench prints the calls, and refuses what it does not know", async () => {
    const ran = await runScript(MAIN, { args: ["kms-calls", "--records", "2500", "--json"] })
    assert.equal(ran.code, 0, ran.stderr)
    assert.equal(ran.stderr, "", "nothing moves in a pipe")
    const { records, whileSealing, limit } = JSON.parse(ran.stdout)
    assert.deepEqual({ records, whileSealing, limit }, { records: 2500, whileSealing: 3, limit: 3 })
    for (const args of [["nothing"], ["kms-calls", "--records", "none"], ["kms-calls", "--record"]]) {
      const refused = await runScript(MAIN, { args })
      assert.equal(refused.code, 2, refused.stdout)
      assert.match(refused.stderr, /^Cannot /)
    }
  })
})
