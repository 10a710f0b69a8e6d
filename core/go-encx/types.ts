/**
 * What TypeScript infers from a schema of the Go library's rows, in both directions.
 *
 * @module
 */
import type { PlainField } from "../records/field.ts"
import type { BasicHash, SealedColumn, SecureHash } from "../records/types.ts"
import type { GoField } from "./field.ts"

type AnyGoField<Encrypted extends boolean, Basic extends boolean, Secure extends boolean> = GoField<
  unknown,
  Encrypted,
  Basic,
  Secure
>
/** The fields of such a schema: each is plain, encrypted, hashed, or the last two. */
export type GoFields = Readonly<
  Record<
    string,
    | PlainField<unknown>
    | AnyGoField<true, boolean, boolean>
    | AnyGoField<boolean, true, boolean>
    | AnyGoField<boolean, boolean, true>
  >
>

/** A schema of rows as the Go library's generator writes them, as `record()` makes it. */
export interface GoSchema<F extends GoFields> {
  /** The table's name, for messages: the format binds nothing. */
  readonly table: string
  /** How rows are written. */
  readonly layout: "go-encx"
  /** The fields. */
  readonly fields: F
}

/** Any schema of the Go library's rows. */
export type AnyGoSchema = GoSchema<GoFields>

// --- Fields ---

type Simplify<T> = { [K in keyof T]: T[K] } & {}
type IsDynamic<S extends AnyGoSchema> = string extends keyof S["fields"] ? true : false
type DynamicRow = Record<string, unknown>

type FieldOf<S extends AnyGoSchema, K extends keyof S["fields"]> =
  S["fields"][K] extends GoField<infer V, infer E, infer B, infer H>
    ? { value: V; encrypted: E; basic: B; secure: H }
    : never
type KeysWhere<S extends AnyGoSchema, Trait extends "encrypted" | "basic" | "secure"> = {
  [K in keyof S["fields"] & string]: FieldOf<S, K> extends infer D
    ? [D] extends [never]
      ? never
      : D extends Record<Trait, true>
        ? K
        : never
    : never
}[keyof S["fields"] & string]
type PlainNames<S extends AnyGoSchema> = {
  [K in keyof S["fields"] & string]: [FieldOf<S, K>] extends [never] ? K : never
}[keyof S["fields"] & string]
type ValueOf<S extends AnyGoSchema, K extends keyof S["fields"]> = FieldOf<S, K>["value"]

/** The fields that are encrypted. */
export type GoEncryptedKeys<S extends AnyGoSchema> = IsDynamic<S> extends true ? string : KeysWhere<S, "encrypted">
/** The fields that have a `_hash`: they can be looked up. */
export type GoIndexedKeys<S extends AnyGoSchema> = IsDynamic<S> extends true ? string : KeysWhere<S, "basic">
/** The fields that are hashed, in one way or the other: a value can be compared with them. */
export type GoHashedKeys<S extends AnyGoSchema> =
  IsDynamic<S> extends true ? string : KeysWhere<S, "basic"> | KeysWhere<S, "secure">
/** The type of a field's value, where it has one. */
export type GoFieldValue<S extends AnyGoSchema, K extends keyof S["fields"]> =
  IsDynamic<S> extends true ? unknown : Exclude<ValueOf<S, K>, null>

// --- Both sides ---

type PlainValue<Field> = Field extends PlainField<infer V> ? V : never
type OrNull<Value, Column> = null extends Value ? Column | null : Column

/** What `sealRecord` takes. */
export type GoInput<S extends AnyGoSchema> =
  IsDynamic<S> extends true
    ? Readonly<DynamicRow>
    : Simplify<
        { [K in PlainNames<S>]: PlainValue<S["fields"][K]> } & {
          [K in GoEncryptedKeys<S> | GoHashedKeys<S>]: ValueOf<S, K>
        }
      >

/** What `openRecord` returns: the fields that are plain or encrypted. A hash is compared, never opened. */
export type GoOpened<S extends AnyGoSchema> =
  IsDynamic<S> extends true
    ? DynamicRow
    : Simplify<{ [K in PlainNames<S>]: PlainValue<S["fields"][K]> } & { [K in GoEncryptedKeys<S>]: ValueOf<S, K> }>

type Columns<S extends AnyGoSchema, IsSealed, Basic, Secure, Key> = Simplify<
  { [K in PlainNames<S> as Lowercase<K>]: PlainValue<S["fields"][K]> } & {
    [K in GoEncryptedKeys<S> as `${Lowercase<K>}_encrypted`]: OrNull<
      ValueOf<S, K>,
      IsSealed extends true ? SealedColumn<GoFieldValue<S, K>> : Uint8Array
    >
  } & { [K in KeysWhere<S, "basic"> as `${Lowercase<K>}_hash`]: Basic } & {
    [K in KeysWhere<S, "secure"> as `${Lowercase<K>}_hash_secure`]: Secure
  } & Key
>

/** What `sealRecord` returns: the columns to store. */
export type GoSealedRow<S extends AnyGoSchema> =
  IsDynamic<S> extends true
    ? DynamicRow
    : Columns<
        S,
        true,
        BasicHash | "",
        SecureHash | "",
        { dek_encrypted: Uint8Array; key_version: number; metadata: string }
      >

/** What `openRecord` takes: the columns as databases return them, JSON parsed or not, whole numbers in any of their types. */
export type GoStoredRow<S extends AnyGoSchema> =
  IsDynamic<S> extends true
    ? Readonly<DynamicRow>
    : Columns<
        S,
        false,
        string,
        string,
        { dek_encrypted: Uint8Array; key_version: number | bigint | string; metadata: string | object }
      >

/** What `updateRecord` takes: any fields; the format binds none of them. */
export type GoPatch<S extends AnyGoSchema> = IsDynamic<S> extends true ? Readonly<DynamicRow> : Partial<GoInput<S>>
