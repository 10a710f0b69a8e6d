/**
 * What a database key file derives from its data key. FORMATS §7.
 *
 * @module
 */
import { abytes } from "../bytes.ts"
import { hkdfExpand, hmac, labelled } from "../cipher/derive.ts"
import { InvalidInput } from "../errors.ts"

const UUID = 16
const DEK_ID = 16
const CHECK = 32

/** `raw`: the database's key is the data key. `hkdf`: it is derived from it. */
export type DatabaseKDF = "raw" | "hkdf"

const lengthOf = { AES_256: 32, AES_128: 16 } as const

/** How long a data key is. */
export type DEKSpec = keyof typeof lengthOf

/**
 * The key of an SQLCipher database.
 *
 * @param databaseID 16 bytes of a UUID
 * @returns 32 bytes
 * @throws {InvalidInput} when the way is unknown, or `raw` is asked of a data key that has not 32 bytes
 * @throws {RangeError} when the data key has not the length of its spec
 */
export function databaseKey(dek: Uint8Array, spec: DEKSpec, databaseID: Uint8Array, kdf: DatabaseKDF): Uint8Array {
  if (!Object.hasOwn(lengthOf, spec))
    throw new InvalidInput(`Cannot derive a database key: the key spec "${spec}" is unknown`)
  abytes(dek, lengthOf[spec], "dek")
  abytes(databaseID, UUID, "database id")
  if (kdf === "hkdf") return hkdfExpand("sha256", dek, labelled("encx.v2.sqlcipher", databaseID), 32)
  if (kdf !== "raw") throw new InvalidInput(`Cannot derive a database key: the way "${kdf}" is unknown`)
  if (spec === "AES_128")
    throw new InvalidInput("Cannot derive a database key: SQLCipher takes 32 bytes, so AES_128 needs hkdf")
  return Uint8Array.from(dek)
}

/** What tells a wrong data key before a database is opened with it, 32 bytes. */
export function keyCheck(dek: Uint8Array, databaseID: Uint8Array, dekID: Uint8Array): Uint8Array {
  abytes(dek, dek.length === lengthOf.AES_128 ? lengthOf.AES_128 : lengthOf.AES_256, "dek")
  abytes(databaseID, UUID, "database id")
  abytes(dekID, DEK_ID, "dek id")
  return hmac("sha512", dek, labelled("encx.v2.keycheck", databaseID, dekID)).slice(0, CHECK)
}
