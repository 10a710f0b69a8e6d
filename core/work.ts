/**
 * What the methods of `Crypto` do. It comes with the start of a program, and not with the import of the library: nothing of it is of
 * use before.
 *
 * @module
 */
export { filesOf, sealedOf } from "./files/given.ts"
export { hashBasicOf, isBasicHashOf } from "./hash/basic.ts"
export { compareSecure, hashSecure } from "./hash/formats.ts"
export { openEnvelope, rewrapEnvelope, sealEnvelope, verifyEnvelope } from "./keys/envelopes.ts"
export {
  compareRecordHash,
  lookup,
  openMatches,
  openRecord,
  rewrapRecords,
  sealRecord,
  sealRecords,
  updateRecord,
} from "./layouts.ts"
export { checkHealth } from "./observe/health.ts"
export { blindIndexAt } from "./records/find.ts"
