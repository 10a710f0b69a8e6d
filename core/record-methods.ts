/**
 * What a program does with records: the part of `Crypto` that knows schemas, in two layouts.
 *
 * @module
 */
import type { CallOptions } from "./contracts.ts"
import type { LookupOptions, RowKey } from "./crypto-types.ts"
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
  AnyLayout,
  FieldValueOf,
  HashedKeysOf,
  HashedValueOf,
  IndexedKeysOf,
  IndexNamesOf,
  InputOf,
  LookupOf,
  OpenedOf,
  PatchOf,
  SealedRowOf,
  StoredRowOf,
} from "./layout-types.ts"
import type { Operations } from "./operations.ts"
import type { RecordTools, Values } from "./records/row.ts"
import type {
  AnySchema,
  BasicHash,
  BlindIndex,
  Exact,
  FieldValue,
  HashedKeys,
  IndexColumn,
  IndexedKeys,
  IndexNames,
  Input,
  NoStoredValues,
  Opened,
  Patch,
  SealedRow,
  StoredRow,
} from "./records/types.ts"
import { StreamMethods } from "./stream-methods.ts"
import type * as work from "./work.ts"

/** What these operations need. @internal */
export interface WorkTools extends RecordTools {
  readonly work: typeof work
}

/**
 * Seals, opens, updates, finds and re-wraps records. The compiler tells what is wrong in a call by the last signature, so the last
 * of each method is of both layouts.
 */
export class RecordMethods extends StreamMethods {
  readonly #operations: Operations<WorkTools>

  /** @internal */
  constructor(operations: Operations<WorkTools>) {
    super(operations)
    this.#operations = operations
  }

  /**
   * Seals an object into the columns of a row.
   *
   * @throws {EncryptionFailed} when a field cannot be sealed; it names it
   */
  sealRecord<S extends AnySchema, O extends Input<S>>(
    schema: S,
    object: O & NoStoredValues<O> & Exact<O, Input<S>>,
    options?: CallOptions,
  ): Promise<SealedRow<S>>
  /** Seals an object into a row of the Go library's layout, with a data key of its own. It needs `withDatabase`. */
  sealRecord<S extends AnyGoSchema, O extends GoInput<S>>(
    schema: S,
    object: O & NoStoredValues<O> & Exact<O, GoInput<S>>,
    options?: CallOptions,
  ): Promise<GoSealedRow<S>>
  /** A schema of either layout. */
  sealRecord<S extends AnyLayout, O extends InputOf<S>>(
    schema: S,
    object: O & NoStoredValues<O> & Exact<O, InputOf<S>>,
    options?: CallOptions,
  ): Promise<SealedRowOf<S>>
  async sealRecord(schema: AnyLayout, object: Values, options?: CallOptions): Promise<unknown> {
    return await this.#operations.run("sealRecord", (tools) => tools.work.sealRecord(tools, schema, object, options))
  }

  /** Seals objects into rows, in their order, with one data key for many rows within the limits of the cache. The first failure ends it. */
  sealRecords<S extends AnySchema, O extends Input<S>>(
    schema: S,
    objects: readonly (O & NoStoredValues<O> & Exact<O, Input<S>>)[],
    options?: CallOptions,
  ): Promise<SealedRow<S>[]>
  /**
   * Seals objects into rows of the Go library's layout, in their order; each costs a KMS call. An object that cannot be sealed is
   * found before the first of them; any other failure ends it.
   */
  sealRecords<S extends AnyGoSchema, O extends GoInput<S>>(
    schema: S,
    objects: readonly (O & NoStoredValues<O> & Exact<O, GoInput<S>>)[],
    options?: CallOptions,
  ): Promise<GoSealedRow<S>[]>
  /** A schema of either layout. */
  sealRecords<S extends AnyLayout, O extends InputOf<S>>(
    schema: S,
    objects: readonly (O & NoStoredValues<O> & Exact<O, InputOf<S>>)[],
    options?: CallOptions,
  ): Promise<SealedRowOf<S>[]>
  async sealRecords(schema: AnyLayout, objects: readonly Values[], options?: CallOptions): Promise<unknown> {
    return await this.#operations.run("sealRecords", (tools) => tools.work.sealRecords(tools, schema, objects, options))
  }

  /**
   * Opens a row into an object. Nothing is returned unless every field opens.
   *
   * @throws {InvalidFormat} when a column is missing, or is not sealed
   * @throws {DecryptionFailed} when a column belongs elsewhere, or was changed
   */
  openRecord<S extends AnySchema>(schema: S, row: StoredRow<S>, options?: CallOptions): Promise<Opened<S>>
  /** Opens a row of the Go library's layout. It is not noticed when columns of one row were swapped, or a row as a whole. */
  openRecord<S extends AnyGoSchema>(schema: S, row: GoStoredRow<S>, options?: CallOptions): Promise<GoOpened<S>>
  /** A schema of either layout. */
  openRecord<S extends AnyLayout>(schema: S, row: StoredRowOf<S>, options?: CallOptions): Promise<OpenedOf<S>>
  async openRecord(schema: AnyLayout, row: Values, options?: CallOptions): Promise<unknown> {
    return await this.#operations.run("openRecord", (tools) => tools.work.openRecord(tools, schema, row, options))
  }

  /** Seals the fields that changed, with the row's own data key; only their columns are returned. */
  updateRecord<S extends AnySchema, P extends Patch<S>>(
    schema: S,
    row: StoredRow<S>,
    patch: P & NoStoredValues<P> & Exact<P, Patch<S>>,
    options?: CallOptions,
  ): Promise<Partial<SealedRow<S>>>
  /** The same for a row of the Go library's layout. */
  updateRecord<S extends AnyGoSchema, P extends GoPatch<S>>(
    schema: S,
    row: GoStoredRow<S>,
    patch: P & NoStoredValues<P> & Exact<P, GoPatch<S>>,
    options?: CallOptions,
  ): Promise<Partial<GoSealedRow<S>>>
  /** A schema of either layout. */
  updateRecord<S extends AnyLayout, P extends PatchOf<S>>(
    schema: S,
    row: StoredRowOf<S>,
    patch: P & NoStoredValues<P> & Exact<P, PatchOf<S>>,
    options?: CallOptions,
  ): Promise<Partial<SealedRowOf<S>>>
  async updateRecord(schema: AnyLayout, row: Values, patch: Values, options?: CallOptions): Promise<unknown> {
    return await this.#operations.run("updateRecord", (tools) =>
      tools.work.updateRecord(tools, schema, row, patch, options),
    )
  }

  /** Wraps a row's data key anew, under the current versions; the columns stay as they are, byte for byte. */
  rewrapRecord<S extends AnySchema>(schema: S, row: StoredRow<S>, options?: CallOptions): Promise<RowKey>
  /** The same for a row of the Go library's layout. */
  rewrapRecord<S extends AnyGoSchema>(schema: S, row: GoStoredRow<S>, options?: CallOptions): Promise<RowKey>
  /** A schema of either layout. */
  rewrapRecord<S extends AnyLayout>(schema: S, row: StoredRowOf<S>, options?: CallOptions): Promise<RowKey>
  async rewrapRecord(schema: AnyLayout, row: Values, options?: CallOptions): Promise<unknown> {
    return (await this.rewrapRecords(schema as AnySchema, [row], options))[0]
  }

  /**
   * Wraps the data keys of rows anew, in their order. Rows that share one go on sharing it, at the price of one unwrap and one wrap.
   *
   * @throws {DecryptionFailed} when a row's key is not the one that sealed its columns
   */
  rewrapRecords<S extends AnySchema>(schema: S, rows: readonly StoredRow<S>[], options?: CallOptions): Promise<RowKey[]>
  /** The same for rows of the Go library's layout. */
  rewrapRecords<S extends AnyGoSchema>(
    schema: S,
    rows: readonly GoStoredRow<S>[],
    options?: CallOptions,
  ): Promise<RowKey[]>
  /** A schema of either layout. */
  rewrapRecords<S extends AnyLayout>(
    schema: S,
    rows: readonly StoredRowOf<S>[],
    options?: CallOptions,
  ): Promise<RowKey[]>
  async rewrapRecords(schema: AnyLayout, rows: readonly Values[], options?: CallOptions): Promise<unknown> {
    return await this.#operations.run("rewrapRecords", (tools) =>
      tools.work.rewrapRecords(tools, schema, rows, options),
    )
  }

  /** Whether a value is the one that a row's field is the hash of. */
  compareRecordHash<S extends AnySchema>(
    schema: S,
    row: StoredRow<S>,
    field: HashedKeys<S>,
    value: string | Uint8Array,
    options?: CallOptions,
  ): Promise<boolean>
  /** The same for a row of the Go library's layout: of `_hash_secure`, or of `_hash`. */
  compareRecordHash<S extends AnyGoSchema, const K extends GoHashedKeys<S>>(
    schema: S,
    row: GoStoredRow<S>,
    field: K,
    value: GoFieldValue<S, K>,
    options?: CallOptions,
  ): Promise<boolean>
  /** A schema of either layout. */
  compareRecordHash<S extends AnyLayout, const K extends HashedKeysOf<S>>(
    schema: S,
    row: StoredRowOf<S>,
    field: K,
    value: HashedValueOf<S, K>,
    options?: CallOptions,
  ): Promise<boolean>
  async compareRecordHash(
    schema: AnyLayout,
    row: Values,
    field: string,
    value: unknown,
    options?: CallOptions,
  ): Promise<boolean> {
    return await this.#operations.run("compareRecordHash", (tools) =>
      tools.work.compareRecordHash(tools, schema, row, field, value, options),
    )
  }

  /** The column and the index to look a value up by. */
  lookup<S extends AnySchema, const K extends IndexedKeys<S>, const Name extends string = "index">(
    schema: S,
    field: K,
    value: FieldValue<S, K>,
    options?: LookupOptions<Name & IndexNames<S, K>>,
  ): { [Column in IndexColumn<K, Name>]: BlindIndex }
  /** The column and the unkeyed hash to look a value of the Go library's layout up by. */
  lookup<S extends AnyGoSchema, const K extends GoIndexedKeys<S>>(
    schema: S,
    field: K,
    value: GoFieldValue<S, K>,
  ): { [Column in `${Lowercase<K>}_hash`]: BasicHash }
  /** A schema of either layout. */
  lookup<S extends AnyLayout, const K extends IndexedKeysOf<S>, const Name extends string = "index">(
    schema: S,
    field: K,
    value: FieldValueOf<S, K>,
    options?: S extends AnyGoSchema ? undefined : LookupOptions<Name & IndexNamesOf<S, K>>,
  ): LookupOf<S, K, Name>
  lookup(schema: AnyLayout, field: string, value: unknown, options?: LookupOptions<string>): Values {
    const { tools } = this.#operations
    return this.#operations.compute("lookup", () => tools.work.lookup(tools, schema, field, value, options))
  }

  /** Opens the rows that a look-up found, and keeps those whose value is the one looked for: an index may be shared by chance. */
  openMatches<S extends AnySchema, const K extends IndexedKeys<S>>(
    schema: S,
    rows: readonly StoredRow<S>[],
    field: K,
    value: FieldValue<S, K>,
    options?: CallOptions & LookupOptions<IndexNames<S, K>>,
  ): Promise<Opened<S>[]>
  /** The same for rows of the Go library's layout. */
  openMatches<S extends AnyGoSchema, const K extends GoIndexedKeys<S>>(
    schema: S,
    rows: readonly GoStoredRow<S>[],
    field: K,
    value: GoFieldValue<S, K>,
    options?: CallOptions,
  ): Promise<GoOpened<S>[]>
  /** A schema of either layout. */
  openMatches<S extends AnyLayout, const K extends IndexedKeysOf<S>>(
    schema: S,
    rows: readonly StoredRowOf<S>[],
    field: K,
    value: FieldValueOf<S, K>,
    options?: S extends AnyGoSchema ? CallOptions : CallOptions & LookupOptions<IndexNamesOf<S, K>>,
  ): Promise<OpenedOf<S>[]>
  async openMatches(
    schema: AnyLayout,
    rows: readonly Values[],
    field: string,
    value: unknown,
    options?: CallOptions & LookupOptions<string>,
  ): Promise<unknown> {
    return await this.#operations.run("openMatches", (tools) =>
      tools.work.openMatches(tools, schema, rows, field, value, options),
    )
  }
}
