// The long version of salts.test.ts, 1,000,000 messages of one process and 100,000 of each of 8: npm run test:salts
import process from "node:process"

process.env["ENCX_SALTS"] ??= "1000000"
process.env["ENCX_SALTS_EACH"] ??= "100000"
await import("../salts.test.ts")
