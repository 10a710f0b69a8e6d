/** Seals into a folder that one may write to and not read, as somebody whom permissions hold. */
import process from "node:process"
import { newTestCrypto } from "../../testing.ts"

const NOBODY = 65_534

const [source = "", before = "", target = ""] = process.argv.slice(2)
const crypto = await newTestCrypto()
// What is loaded when it is used first is loaded while it may be.
await crypto.sealFile(source, before)
if (process.getuid?.() === 0) process.setuid?.(NOBODY)
console.log(JSON.stringify(await crypto.sealFile(source, target)))
