/** Seals a file and opens what it sealed, again and again, until it is killed. */
import process from "node:process"
import { newTestCrypto } from "../../testing.ts"

const [source = "", folder = ""] = process.argv.slice(2)
const crypto = await newTestCrypto()
console.log("ready")
for (let i = 0; ; i++) {
  const workers = i % 2
  await crypto.sealFile(source, `${folder}/sealed-${i}`, {}, { workers })
  await crypto.openFile(`${folder}/sealed-${i}`, `${folder}/opened-${i}`, {}, { workers })
}
