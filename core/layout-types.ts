/**
 * What a record is in each layout, by its schema. The compiler tells what is wrong in a call by its last signature: made of these,
 * that one speaks of the layout in hand.
 *
 * @module
 */
import type {
  AnyGoSchema,
  GoFieldValue,
  GoHashedKeys,
  GoIndexedKeys,
  GoInput,
  GoOpened,
  GoPatch,
  GoSealedRow,
  GoStoredRow,
} from "./go-encx/types.ts"
import type {
  AnySchema,
  BasicHash,
  BlindIndex,
  FieldValue,
  HashedKeys,
  IndexColumn,
  IndexedKeys,
  IndexNames,
  Input,
  Opened,
  Patch,
  SealedRow,
  StoredRow,
} from "./records/types.ts"

/** A schema of either layout. */
export type AnyLayout = AnySchema | AnyGoSchema

type Either<S, Go, Native> = S extends AnyGoSchema ? Go : Native

/** What is sealed. */
export type InputOf<S extends AnyLayout> = S extends AnyGoSchema ? GoInput<S> : S extends AnySchema ? Input<S> : never
/** What opening gives. */
export type OpenedOf<S extends AnyLayout> = S extends AnyGoSchema
  ? GoOpened<S>
  : S extends AnySchema
    ? Opened<S>
    : never
/** What sealing gives. */
export type SealedRowOf<S extends AnyLayout> = S extends AnyGoSchema
  ? GoSealedRow<S>
  : S extends AnySchema
    ? SealedRow<S>
    : never
/** What a database gives back. */
export type StoredRowOf<S extends AnyLayout> = S extends AnyGoSchema
  ? GoStoredRow<S>
  : S extends AnySchema
    ? StoredRow<S>
    : never
/** Some of the fields, with new values. */
export type PatchOf<S extends AnyLayout> = S extends AnyGoSchema ? GoPatch<S> : S extends AnySchema ? Patch<S> : never
/** The fields that a value can be compared with. */
export type HashedKeysOf<S extends AnyLayout> = S extends AnyGoSchema
  ? GoHashedKeys<S>
  : S extends AnySchema
    ? HashedKeys<S>
    : never
/** The fields that can be looked up. */
export type IndexedKeysOf<S extends AnyLayout> = S extends AnyGoSchema
  ? GoIndexedKeys<S>
  : S extends AnySchema
    ? IndexedKeys<S>
    : never
/** The names of a field's indexes; the Go library's layout has none. */
export type IndexNamesOf<S extends AnyLayout, K extends keyof S["fields"]> = S extends AnySchema
  ? IndexNames<S, K>
  : never
/** The value that a field is looked up by. */
export type FieldValueOf<S extends AnyLayout, K extends keyof S["fields"]> = S extends AnyGoSchema
  ? GoFieldValue<S, K>
  : S extends AnySchema
    ? FieldValue<S, K>
    : never
/** The value that a field's hash is compared with. */
export type HashedValueOf<S extends AnyLayout, K extends keyof S["fields"]> = S extends AnyGoSchema
  ? GoFieldValue<S, K>
  : string | Uint8Array
/** The column of a look-up, and what stands in it. */
export type LookupOf<S extends AnyLayout, K extends string, Name extends string> = Either<
  S,
  { [Column in `${Lowercase<K>}_hash`]: BasicHash },
  { [Column in IndexColumn<K, Name>]: BlindIndex }
>
