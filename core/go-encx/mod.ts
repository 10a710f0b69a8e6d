/**
 * The formats of the Go library encx, for tables, streams and hashes that Go programs share.
 *
 * @module
 */
export { deserializeValue, type GoType, type GoValue, pointer, serializeValue } from "./codec.ts"
export { GoField, type GoFieldSpec } from "./field.ts"
export { type EncryptionMetadata, parseMetadata, stringifyMetadata } from "./metadata.ts"
export {
  goBool,
  goFloat32,
  goFloat64,
  goInt,
  goInt8,
  goInt16,
  goInt32,
  goInt64,
  goUint,
  goUint8,
  goUint16,
  goUint32,
  goUint64,
} from "./numbers.ts"
export type { GoRecordOptions } from "./schema.ts"
export { decryptGoStream, encryptGoStream, type GoStream, type GoStreamResult } from "./stream.ts"
export { goByteArray, goBytes, goString, goStrings, goUUID } from "./strings.ts"
export { goDate, goTime } from "./times.ts"
export type {
  AnyGoSchema,
  GoEncryptedKeys,
  GoFields,
  GoFieldValue,
  GoHashedKeys,
  GoIndexedKeys,
  GoInput,
  GoOpened,
  GoPatch,
  GoSchema,
  GoSealedRow,
  GoStoredRow,
} from "./types.ts"
