/** `encx seal` of 2 GiB, killed at 20 random moments: npm run test:kill. It takes about 6 GiB of the temporary folder, and some minutes. */
import assert from "node:assert/strict"
import { it } from "node:test"
import { killSeals } from "../cli/_kill.ts"

const MEBIBYTES = 2048
const TIMES = 20

it(`a seal of ${MEBIBYTES} MiB that is killed at ${TIMES} random moments leaves nothing under the final name, or all of it`, async () => {
  const { writingMs, parts, whole } = await killSeals(MEBIBYTES, TIMES)
  console.log(`${Math.round(writingMs)} ms to write; ${whole} were whole by then; MiB that the others had written:`)
  console.log(parts.map((bytes) => Math.round(bytes / 2 ** 20)).join(" "))
  assert.ok(parts.length + whole >= TIMES)
  assert.ok(parts.length >= TIMES / 2, "most were killed while they wrote")
})
