// Starts a server, says its URL, and stays until it is killed: node _holder.ts moto; or ends: node _holder.ts moto end
import process from "node:process"
import { startMinistack, startMoto } from "./index.ts"

const [, , name, end] = process.argv
const { url } = await (name === "moto" ? startMoto() : startMinistack())
console.log(url)
if (end === undefined) setInterval(() => undefined, 1_000)
