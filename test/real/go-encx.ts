// The long version of go-encx.test.ts, 1,000 values of every type: npm run test:go
import process from "node:process"

process.env["ENCX_GO_VALUES"] ??= "1000"
await import("../interop/go-encx.test.ts")
