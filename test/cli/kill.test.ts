import assert from "node:assert/strict"
import { it } from "node:test"
import { killSeals } from "./_kill.ts"
import { POSIX } from "./_process.ts"

// The long one is test/real/kill.ts: npm run test:kill.
it("a seal that is killed at a random moment leaves nothing under the final name, or all of it", {
  skip: POSIX ? false : "there is no SIGKILL",
}, async () => {
  const { parts, whole } = await killSeals(64, 6)
  assert.ok(parts.length + whole >= 6, `${parts.length} parts and ${whole} whole`)
})
