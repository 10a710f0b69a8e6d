/**
 * What TypeScript infers from a schema, in both directions.
 *
 * @module
 */
import type { Field, PlainField } from "./field.ts"

declare const sealed: unique symbol

/** A sealed column. It binds to a database like any bytes; it is no plain value. */
export type SealedColumn<Value> = Uint8Array & { readonly [sealed]: Value }
/** A blind index. */
export type BlindIndex = Uint8Array & { readonly [sealed]: "index" }
/** An unkeyed hash of the Go library's rows. */
export type BasicHash = string & { readonly [sealed]: "basic" }
/** A password hash. */
export type SecureHash = string & { readonly [sealed]: "hash" }

type AnyField<Encrypted extends boolean, Hashed extends boolean> = Field<unknown, Encrypted, Hashed, boolean, string>
/** The fields of a schema: each is plain, encrypted, hashed, or the last two. */
export type Fields = Readonly<Record<string, PlainField<unknown> | AnyField<true, boolean> | AnyField<boolean, true>>>

/** How rows are told apart: a plain field, a UUIDv7 that the library makes, or not at all. */
export type RowBinding<F extends Fields> = PlainKeys<F, string | number | bigint> | "generated" | "unbound"

/** A schema, as `record()` makes it. */
export interface Schema<F extends Fields, Row extends string, Tenant extends string> {
  /** The table's name; it is bound into every value. */
  readonly table: string
  /** How rows are told apart. */
  readonly row: Row
  /** The plain field that holds the tenant. */
  readonly tenant: Tenant | undefined
  /** The fields. */
  readonly fields: F
}

/** Any schema. */
export type AnySchema = Schema<Fields, string, string>

// --- Fields ---

type Simplify<T> = { [K in keyof T]: T[K] } & {}
type PlainKeys<F extends Fields, Value> = {
  [K in keyof F & string]: F[K] extends PlainField<infer V> ? (V extends Value ? K : never) : never
}[keyof F & string]
/** The plain fields that may hold a tenant. */
export type TenantKeys<F extends Fields> = PlainKeys<F, string>

type FieldOf<F extends Fields, K extends keyof F> =
  F[K] extends Field<infer V, infer E, infer H, infer N, infer I>
    ? { value: V; encrypted: E; hashed: H; nullable: N; indexes: I }
    : never
type KeysWhere<F extends Fields, Trait extends "encrypted" | "hashed"> = {
  [K in keyof F & string]: FieldOf<F, K> extends infer D
    ? [D] extends [never]
      ? never
      : D extends Record<Trait, true>
        ? K
        : never
    : never
}[keyof F & string]
type PlainNames<F extends Fields> = {
  [K in keyof F & string]: F[K] extends Field<infer _V, infer _E, infer _H, infer _N, infer _I> ? never : K
}[keyof F & string]
type ValueOf<F extends Fields, K extends keyof F> = FieldOf<F, K>["nullable"] extends true
  ? FieldOf<F, K>["value"] | null
  : FieldOf<F, K>["value"]
type OrNull<F extends Fields, K extends keyof F, Stored> = FieldOf<F, K>["nullable"] extends true
  ? Stored | null
  : Stored

// Of a schema that is known at run time alone, nothing is inferred: names are strings and values unknown.
type IsDynamic<S extends AnySchema> = string extends keyof S["fields"] ? true : false
type DynamicRow = Record<string, unknown>

/** The fields that are encrypted. */
export type EncryptedKeys<S extends AnySchema> =
  IsDynamic<S> extends true ? string : KeysWhere<S["fields"], "encrypted">
/** The fields that are hashed. */
export type HashedKeys<S extends AnySchema> = IsDynamic<S> extends true ? string : KeysWhere<S["fields"], "hashed">
/** The fields that have a blind index. */
export type IndexedKeys<S extends AnySchema> =
  IsDynamic<S> extends true
    ? string
    : { [K in EncryptedKeys<S>]: [FieldOf<S["fields"], K>["indexes"]] extends [never] ? never : K }[EncryptedKeys<S>]
/** The names of a field's blind indexes. */
export type IndexNames<S extends AnySchema, K extends keyof S["fields"]> =
  IsDynamic<S> extends true ? string : FieldOf<S["fields"], K>["indexes"]
/** The type of a field's value. */
export type FieldValue<S extends AnySchema, K extends keyof S["fields"]> =
  IsDynamic<S> extends true ? unknown : FieldOf<S["fields"], K>["value"]

// --- Column names ---

// An underscore between a lower-case letter or digit and an upper-case letter: birthDate → birth_date, userID → user_id.
type Snake<
  S extends string,
  Before extends string = "",
  Done extends string = "",
> = S extends `${infer Letter}${infer Rest}`
  ? Snake<
      Rest,
      Letter,
      `${Done}${IsUpper<Letter> extends true ? (IsLowerOrDigit<Before> extends true ? "_" : "") : ""}${Lowercase<Letter>}`
    >
  : Done
type IsUpper<Letter extends string> = Letter extends Lowercase<Letter> ? false : true
type IsLowerOrDigit<Letter extends string> = Letter extends "" | "_"
  ? false
  : Letter extends Lowercase<Letter>
    ? true
    : false

/** The column of a blind index. */
export type IndexColumn<K extends string, Name extends string> = Name extends "index"
  ? `${Snake<K>}_index`
  : `${Snake<K>}_${Name}_index`

// --- Both sides ---

type Plain<S extends AnySchema> = {
  [K in PlainNames<S["fields"]>]: S["fields"][K] extends PlainField<infer V> ? V : never
}

/** What `sealRecord` takes. */
export type Input<S extends AnySchema> =
  IsDynamic<S> extends true
    ? Readonly<DynamicRow>
    : Simplify<Plain<S> & { [K in EncryptedKeys<S> | HashedKeys<S>]: ValueOf<S["fields"], K> }>

/** What `openRecord` returns: the fields that are plain or encrypted. A hash is compared, never opened. */
export type Opened<S extends AnySchema> =
  IsDynamic<S> extends true ? DynamicRow : Simplify<Plain<S> & { [K in EncryptedKeys<S>]: ValueOf<S["fields"], K> }>

type Columns<S extends AnySchema, Column, Index, Hash> = Simplify<
  Plain<S> & {
    [K in EncryptedKeys<S> as `${Snake<K>}_encrypted`]: OrNull<
      S["fields"],
      K,
      Column extends true ? SealedColumn<FieldValue<S, K>> : Uint8Array
    >
  } & UnionToIntersection<
      {
        [K in IndexedKeys<S>]: { [Name in IndexNames<S, K> as IndexColumn<K, Name>]: OrNull<S["fields"], K, Index> }
      }[IndexedKeys<S>]
    > & { [K in HashedKeys<S> as `${Snake<K>}_hash_secure`]: OrNull<S["fields"], K, Hash> } & ([
      EncryptedKeys<S>,
    ] extends [never]
      ? unknown
      : { dek_encrypted: Uint8Array; key_version: number }) &
    (S["row"] extends "generated" ? { record_id: string } : unknown)
>
type UnionToIntersection<U> = [U] extends [never]
  ? unknown
  : (U extends unknown ? (each: U) => void : never) extends (all: infer All) => void
    ? All
    : never

/** What `sealRecord` returns: the columns to store. */
export type SealedRow<S extends AnySchema> =
  IsDynamic<S> extends true ? DynamicRow : Columns<S, true, BlindIndex, SecureHash>

/** What `openRecord` takes: the columns as a database returns them, which knows nothing of sealed types. */
export type StoredRow<S extends AnySchema> =
  IsDynamic<S> extends true ? Readonly<DynamicRow> : Columns<S, false, Uint8Array, string>

/** What `updateRecord` takes: any fields but those that tell the row apart. */
export type Patch<S extends AnySchema> =
  IsDynamic<S> extends true ? Readonly<DynamicRow> : Partial<Omit<Input<S>, S["row"] | (S["tenant"] & string)>>

/** Turns the type of every property that holds a stored value into `never`: a sealed column is no plain value. */
export type NoStoredValues<T> = {
  [K in keyof T]: [Extract<T[K], { readonly [sealed]: unknown }>] extends [never] ? T[K] : never
}
/** Turns every property that is not one of `Allowed` into `never`. */
export type Exact<T, Allowed> = T & { [K in Exclude<keyof T & string, keyof Allowed>]: never }
