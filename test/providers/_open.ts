// Opens a key file and tells the code of each error: node _open.ts PATH
import process from "node:process"
import { EncxError } from "../../core/errors.ts"
import { local } from "../../providers/local.ts"

const kms = local({ path: process.argv[2] as string })
const codeOf = (error: unknown): string => (error instanceof EncxError ? error.code : `not typed: ${String(error)}`)
const codes = [await kms.getKeyID("app").catch(codeOf), await kms.createKey("other").catch(codeOf)]
console.log(JSON.stringify(codes))
