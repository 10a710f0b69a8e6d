/** Kills `encx seal` at random moments, and looks at what is there. */
import assert from "node:assert/strict"
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { statSync, unlinkSync } from "node:fs"
import { open } from "node:fs/promises"
import type { Readable } from "node:stream"
import { setTimeout } from "node:timers/promises"
import { Home } from "./_encx.ts"
import { encx, outcome } from "./_process.ts"

/** What was there, so many times. */
export interface Killed {
  /** Milliseconds that a run writes which nobody kills. */
  readonly writingMs: number
  /** Bytes of what each run that was killed while it wrote left under another name. */
  readonly parts: readonly number[]
  /** Runs that had ended by then, or were about to: what they made is whole. */
  readonly whole: number
}

/** What a killed run leaves beside its target. */
const LEFTOVER = /^big\.encx\.[0-9a-f]{16}\.tmp$/

/** Seals a file of so many MiB so many times, and kills each run while it writes. */
export async function killSeals(mebibytes: number, times: number): Promise<Killed> {
  const home = await Home.withKeys()
  try {
    const plain = await fill(home.path("big"), mebibytes)
    const writingMs = await seal(home)
    const parts: number[] = []
    let whole = 0
    const look = async (): Promise<void> => {
      if (!home.exists("big.encx")) return
      assert.equal(await opened(home), plain, "what stands under the name is whole")
      unlinkSync(home.path("big.encx"))
      whole++
    }
    await look()
    for (let i = 0; i < times; i++) {
      await seal(home, Math.random() * writingMs)
      for (const name of leftovers(home)) {
        assert.match(name, LEFTOVER)
        parts.push(statSync(home.path(name)).size)
        // One is left for the run that nobody kills.
        if (i < times - 1) unlinkSync(home.path(name))
      }
      await look()
    }
    await seal(home)
    await look()
    return { writingMs, parts, whole: whole - 2 }
  } finally {
    home.remove()
  }
}

function leftovers(home: Home): string[] {
  return home.names().filter((name) => !["big", "big.encx"].includes(name))
}

async function fill(path: string, mebibytes: number): Promise<string> {
  const file = await open(path, "wx")
  const hash = createHash("sha256")
  const piece = randomBytes(2 ** 20)
  try {
    for (let i = 0; i < mebibytes; i++) {
      piece.writeUInt32LE(i)
      hash.update(piece)
      await file.writeFile(piece)
    }
  } finally {
    await file.close()
  }
  return hash.digest("hex")
}

/** Runs it, and kills it so long after it began to write; tells how long it wrote. */
async function seal(home: Home, killAfterMs?: number): Promise<number> {
  const before = leftovers(home).length
  const child = encx(home, ["seal", home.path("big")])
  const ended = new AbortController()
  const closed = outcome(child).finally(() => ended.abort())
  while (!ended.signal.aborted && leftovers(home).length === before && !home.exists("big.encx")) await setTimeout(1)
  const began = performance.now()
  if (killAfterMs !== undefined) {
    await setTimeout(killAfterMs, undefined, { signal: ended.signal }).catch(() => undefined)
    child.kill("SIGKILL")
  }
  const { code, stderr } = await closed
  if (killAfterMs === undefined) assert.equal(code, 0, stderr)
  return performance.now() - began
}

async function opened(home: Home): Promise<string> {
  const child = encx(home, ["open", home.path("big.encx"), "-o", "-"])
  const closed = once(child, "close")
  const hash = createHash("sha256")
  for await (const chunk of child.stdout as Readable) hash.update(chunk)
  assert.deepEqual(await closed, [0, null])
  return hash.digest("hex")
}
