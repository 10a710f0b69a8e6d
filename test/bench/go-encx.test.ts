import assert from "node:assert/strict"
import { it } from "node:test"
import { describeGoEncx, goEncx } from "../../bench/go-encx.ts"
import { needsPeer } from "../interop/_peer.ts"

it(
  "bench go-encx measures this side and the Go peer in turns, and prints the ratio",
  needsPeer("go-encx"),
  async () => {
    const result = await goEncx({ records: 20, rounds: 3 })
    assert.ok(result.go)
    for (const time of [...Object.values(result.ours), ...Object.values(result.go)])
      assert.ok(Number.isFinite(time) && time > 0, String(time))
    const lines = describeGoEncx(result)
    const ratio = (result.ours.seal / result.go.seal).toFixed(2)
    assert.match(lines.find((line) => line.startsWith("seal")) ?? "", new RegExp(` ${ratio.replace(".", "\\.")}$`))
    const alone = describeGoEncx({ ...result, go: undefined, skipped: "Go is not installed" })
    assert.equal(alone.at(-1), "The Go peer was skipped: Go is not installed")
  },
)
