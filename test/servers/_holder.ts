// Starts a server, says its URL, and stays until it is killed: node _holder.ts moto; or ends: node _holder.ts moto end
import process from "node:process"
import { START } from "./_start.ts"

const [, , name, end] = process.argv
const start = START[name as keyof typeof START]
const { url } = await start()
console.log(url)
if (end === undefined) setInterval(() => undefined, 1_000)
