/** A program that leaves its cache behind: nothing of it may keep the process from its end. */
import process from "node:process"
import { DEK_CACHE_DEFAULTS, DEKCache } from "../../core/keys/dek-cache.ts"

interface Key {
  wiped: boolean
  destroy(): void
}

const makeKey = (): Key => {
  const key: Key = { wiped: false, destroy: () => {} }
  key.destroy = () => {
    key.wiped = true
  }
  return key
}
let now = 0
const keys = [makeKey(), makeKey()] as const
const cache = new DEKCache<Key, Key>(DEK_CACHE_DEFAULTS, { now: () => now })
;(await cache.seal("x", { messages: 1, bytes: 1 }, async () => keys[0])).release()
;(await cache.open("x", async () => keys[1])).release()
now = 295_000
;(await cache.seal("x", { messages: 1, bytes: 1 }, () => new Promise<Key>(() => console.log("refreshing")))).release()

let closed = false
process.on("beforeExit", () => {
  if (closed) return
  closed = true
  console.log(
    "before",
    true,
    keys.every(({ wiped }) => wiped),
  )
  cache.close()
  console.log(
    "after",
    true,
    keys.every(({ wiped }) => wiped),
  )
})
