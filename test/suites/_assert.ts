/** What the suites share. */
import assert from "node:assert/strict"
import type { CallOptions } from "../../core/contracts.ts"

type ErrorClass = abstract new (...args: never[]) => Error

/** Fails unless the promise rejects with an error of one of these classes. */
export async function rejectsWith(promise: Promise<unknown>, ...classes: readonly ErrorClass[]): Promise<void> {
  const names = classes.map(({ name }) => name).join(" or ")
  const [result] = await Promise.allSettled([promise])
  assert.equal(result.status, "rejected", `it must reject with ${names}`)
  const { reason } = result as PromiseRejectedResult
  assert.ok(
    classes.some((each) => reason instanceof each),
    `it must reject with ${names}, not with ${String(reason)}`,
  )
}

/** Fails unless each call rejects with the reason of a signal that was aborted before. */
export async function rejectsWhenAborted(
  calls: readonly ((options: CallOptions) => Promise<unknown>)[],
): Promise<void> {
  for (const call of calls) {
    const reason = new Error("this caller left")
    const [result] = await Promise.allSettled([call({ signal: AbortSignal.abort(reason) })])
    assert.equal(result.status, "rejected", `it must reject: ${call}`)
    assert.equal((result as PromiseRejectedResult).reason, reason, `it must reject with the signal's reason: ${call}`)
  }
}

/** How many succeeded and what the others were refused with. */
export async function race<Result>(
  calls: readonly Promise<Result>[],
): Promise<{ won: { index: number; value: Result }[]; refused: unknown[] }> {
  const results = await Promise.allSettled(calls)
  return {
    won: results.flatMap((each, index) => (each.status === "fulfilled" ? [{ index, value: each.value }] : [])),
    refused: results.flatMap((each) => (each.status === "rejected" ? [each.reason] : [])),
  }
}

/** 32 bytes that differ from those of every other `seed`. */
export function bytes32(seed: number): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, i) => (i * 7 + seed * 31 + 1) & 0xff)
}

/** What an iterable gives, in a list. */
export async function listOf<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const list: Item[] = []
  for await (const item of items) list.push(item)
  return list
}
