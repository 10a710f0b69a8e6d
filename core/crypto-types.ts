/**
 * What the methods of `Crypto` take and return, beside bytes and text.
 *
 * @module
 */
import type { CallOptions, Context, WrappedDEK } from "./contracts.ts"
import type { GoType } from "./go-encx/codec.ts"
import type { DEKCacheStats } from "./keys/dek-cache.ts"
import type { KMSCalls } from "./keys/keyring.ts"
import type { IndexOptions } from "./records/field.ts"
import type { ValueType } from "./records/value.ts"

/** What `stats()` tells. */
export interface CryptoStats {
  /** Calls of the KMS, by method. */
  readonly kms: Readonly<KMSCalls>
  /** The data-key cache. */
  readonly cache: DEKCacheStats
}

/** A wrapped data key, with the id that unwrapping needs. */
export interface WrappedDEKWithID extends WrappedDEK {
  /** 32 hex digits. */
  readonly dekID: string
}

/** What a row keeps its data key in: the columns that a re-wrap changes. */
export interface RowKey {
  readonly dek_encrypted: Uint8Array
  readonly key_version: number
}

/** Where a blind index outside of a record belongs. */
export interface BlindIndexPlace extends IndexOptions {
  readonly table: string
  readonly column: string
  readonly tenant?: string
  /** The value's type. @default {"text"} */
  readonly type?: ValueType
}

/** Which context ties a hash to its account. */
export interface HashOptions extends CallOptions {
  /** Pairs that must be given again to verify; none is allowed and ties the hash to nothing. @default {{}} */
  readonly context?: Context
}

/** What a hash in the Go library's form is made of. */
export interface GoHashOptions<Value> extends CallOptions {
  /** `$argon2id$…`, over the value as Go serialises it and then the pepper. It is tied to no account. */
  readonly format: "go-encx"
  /** The value's type in Go. @default {string, or []byte for bytes} */
  readonly type?: GoType<Value>
}

/** What a value is compared with a stored hash by. */
export interface CompareHashOptions<Value> extends HashOptions {
  /** The value's type in Go, where the stored hash is the Go library's. @default {string, or []byte for bytes} */
  readonly type?: GoType<Value>
  /**
   * The one form that a stored hash may have. The Go library's binds no account, so a program whose hashes have all been renewed says
   * `encx2`: else whoever writes to the table can put an old hash in their place. @default {either}
   */
  readonly format?: "encx2" | "go-encx"
}

/** Which index a look-up uses, and for which tenant. */
export interface LookupOptions<Name extends string> {
  /** The index's name. @default {"index"} */
  readonly index?: Name
  /** The tenant, where the schema has one. */
  readonly tenant?: string
}
