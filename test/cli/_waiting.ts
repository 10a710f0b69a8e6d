/** What the tests of the command wait for and compare. */
import assert from "node:assert/strict"
import { setTimeout } from "node:timers/promises"
import { Home } from "./_encx.ts"

/** Lends a home with keys. */
export async function withHome(use: (home: Home) => Promise<void>): Promise<void> {
  const home = await Home.withKeys()
  try {
    await use(home)
  } finally {
    home.remove()
  }
}

/** Waits until it holds. */
export async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 10) {
    assert.ok(waited < 20_000, "it did not begin")
    await setTimeout(10)
  }
}

/** Bytes that are other ones at each place. */
export function bytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 0xff)
}
