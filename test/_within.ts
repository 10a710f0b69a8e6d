/** A limit of time that a busy machine does not break. */
import assert from "node:assert/strict"

/**
 * The outcome of a call that settles before a timer of so many milliseconds, started first, fires.
 *
 * @remarks Timers fire in the order of their times: where the machine stands still, both are late, and the order stays.
 */
export async function within<T>(ms: number, call: () => Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: `it must settle within ${ms} ms` })), ms)
  })
  try {
    return await Promise.race([call(), late])
  } finally {
    clearTimeout(timer)
  }
}
