import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { setImmediate as turn } from "node:timers/promises"
import { type Blocks, type Duplex, duplex, type Work } from "../../core/cipher/duplex.ts"
import { within } from "../_within.ts"

const LAST = 255

/** The same numbers each time. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn()
}

/** Hands pieces on as they are, in parts that may take time, and fails at one of its steps, if at any. */
function work(below: (n: number) => number, ended: () => void): Work {
  const failsAt = below(8) === 0 ? below(12) : -1
  const [isLater, isAsync] = [below(2) === 1, below(2) === 1]
  let steps = 0
  const checked = (part: Uint8Array): Uint8Array => {
    if (steps++ === failsAt) throw new Error("the work")
    return part
  }
  const partsOf = (bytes: Uint8Array): Uint8Array[] => {
    const size = 1 + below(4)
    const parts = below(4) === 0 ? [new Uint8Array(0)] : []
    for (let at = 0; at < bytes.length; at += size) parts.push(bytes.slice(at, at + size))
    return parts
  }
  function* steady(parts: Uint8Array[]): Generator<Uint8Array | Promise<Uint8Array>, void, void> {
    for (const part of parts) yield isLater ? turns(below(3)).then(() => checked(part)) : checked(part)
  }
  async function* awaited(parts: Uint8Array[]): AsyncGenerator<Uint8Array, void, void> {
    for (const part of parts) {
      await turns(below(3))
      yield checked(part)
    }
  }
  const blocks = (bytes: Uint8Array): Blocks => (isAsync ? awaited : steady)(partsOf(bytes))
  return { push: blocks, flush: () => blocks(Uint8Array.of(LAST)), end: ended }
}

describe("duplex()", () => {
  it("keeps its promises in whatever order it is written, read and ended", async () => {
    let wholes = 0
    for (let round = 0; round < 1500; round++) {
      const below = numbers(round)
      const told: unknown[] = []
      let [begins, ends] = [0, 0]
      const controller = new AbortController()
      const made = (): Work => work(below, () => ends++)
      const begin = (): Work | Promise<Work> => {
        begins++
        const how = below(8)
        if (how === 0) throw new Error("the beginning")
        if (how === 1) return turns(below(4)).then(() => Promise.reject(new Error("the beginning, later")))
        return how < 5 ? turns(below(4)).then(made) : made()
      }
      const settled = (failure?: unknown): void => void told.push(failure)
      const { readable, writable }: Duplex = duplex(begin, { signal: controller.signal, settled })
      const [writer, reader] = [writable.getWriter(), readable.getReader()]
      const [sent, got]: [number[], number[]] = [[], []]
      const settling: Promise<unknown>[] = []
      const start = (promise: Promise<unknown>): void => void settling.push(promise.catch(() => undefined))
      const read = async (): Promise<boolean> => {
        const { value, done } = await reader.read()
        if (value) assert.ok(value.length > 0)
        got.push(...(value ?? []))
        return done
      }
      let isClosed = false
      const close = (): void => {
        if (!isClosed) start(writer.close())
        isClosed = true
      }
      for (let i = 4 + below(25); i > 0; i--) {
        const what = below(40)
        if (what < 16 && !isClosed) {
          const piece = Uint8Array.from({ length: below(9) }, () => below(LAST))
          sent.push(...piece)
          start(writer.write(piece))
        } else if (what < 32) start(read())
        else if (what < 34) close()
        else if (what === 34) start(writer.abort(new Error("the writer")))
        else if (what === 35) start(reader.cancel(new Error("the reader")))
        else if (what === 36 && below(2) === 0) controller.abort(new Error("the signal"))
        else await turns(below(4))
      }
      await within(20_000, async () => {
        close()
        await (async () => {
          while (!(await read()));
        })().catch(() => undefined)
        await Promise.all(settling)
      })
      await turns(5)
      assert.equal(told.length, 1, `round ${round}: told of ${told.length} ends`)
      assert.ok(begins <= 1 && ends <= begins, `round ${round}: ${begins} begun, ${ends} ended`)
      assert.deepEqual(got, [...sent, LAST].slice(0, got.length), `round ${round}`)
      if (told[0] !== undefined) continue
      assert.equal(got.length, sent.length + 1, `round ${round}`)
      wholes++
    }
    assert.ok(wholes > 100, `${wholes} came to their end`)
  })

  it("overwrites what it holds for a reader who wants no more", async () => {
    const blocks = [Uint8Array.of(1, 2), Uint8Array.of(3, 4)]
    const machine: Work = { push: () => blocks.values() as Blocks, flush: () => [].values() as Blocks, end: () => {} }
    const { readable, writable } = duplex(() => machine, { signal: undefined, settled: () => {} })
    const reader = readable.getReader()
    const writing = writable.getWriter().write(new Uint8Array(1))
    await Promise.all([reader.read().then(() => reader.cancel()), writing.catch(() => undefined)])
    assert.deepEqual(blocks, [Uint8Array.of(1, 2), Uint8Array.of(0, 0)])
  })
})
