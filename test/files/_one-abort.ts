/** Gives up sealing with workers, and has nothing more to do. */
import process from "node:process"
import { newTestCrypto } from "../../testing.ts"

const [source = "", target = ""] = process.argv.slice(2)
const crypto = await newTestCrypto()
const controller = new AbortController()
const onProgress = (done: number): void => {
  if (done > 0) controller.abort(new Error("on purpose"))
}
const options = { workers: 3, onProgress, signal: controller.signal }
await crypto.sealFile(source, target, {}, options).catch((error: Error) => console.log(error.message))
await crypto.sealFile(source, target, {}, { workers: 2 })
console.log("sealed")
