/**
 * The fields of a schema: what type a value has and what is done with it before it is stored.
 *
 * @module
 */
import type { Normaliser } from "./normalize.ts"
import type { ValueType } from "./value.ts"

/** How a blind index is made. */
export interface IndexOptions<Name extends string = string> {
  /** Tells the indexes of one field apart; without it the index is called `index`. */
  readonly name?: Name
  /** What is done with a text before it is indexed, in order; on text alone. @default {[]} */
  readonly normalize?: readonly Normaliser[]
  /** How many bits are kept. @default {256} */
  readonly bits?: number
  /** Whether the database holds the column unique: at least 128 bits then. @default {false} */
  readonly unique?: boolean
  /** How many distinct values there will be: a beacon of 8 to 63 bits needs it. */
  readonly distinct?: number
  /** From 1 to 255: a new version is a new key. @default {1} */
  readonly version?: number
}

/** What a field is, at run time. */
export interface FieldSpec {
  readonly type: ValueType
  readonly encrypted: boolean
  readonly hashed: boolean
  readonly nullable: boolean
  readonly sealNull: boolean
  readonly indexes: readonly IndexOptions[]
}

/** A field that is stored as it is. */
export interface PlainField<Value> {
  readonly kind: "plain"
  /** Nothing at run time: it carries the type. */
  readonly "~value"?: Value
}

/** A field that is sealed, hashed or both, and how. Each method gives a new field. */
export class Field<
  Value,
  Encrypted extends boolean = boolean,
  Hashed extends boolean = boolean,
  Nullable extends boolean = boolean,
  Indexes extends string = string,
> {
  readonly kind = "sealed" as const
  /** What the field is, at run time. */
  readonly spec: FieldSpec
  /** Nothing at run time: it carries the types. */
  declare readonly "~types": {
    value: Value
    encrypted: Encrypted
    hashed: Hashed
    nullable: Nullable
    indexes: Indexes
  }

  /** @internal */
  constructor(spec: FieldSpec) {
    this.spec = Object.freeze(spec)
  }

  /** The value is encrypted, in the column `<field>_encrypted`. */
  encrypt(): Field<Value, true, Hashed, Nullable, Indexes> {
    return new Field({ ...this.spec, encrypted: true })
  }

  /** The value is hashed with the pepper and Argon2id, in the column `<field>_hash_secure`: for passwords, which are compared and never read. */
  hashSecure(): Field<Value, Encrypted, true, Nullable, Indexes> {
    return new Field({ ...this.spec, hashed: true })
  }

  /** Equal values can be found by a keyed index, in the column `<field>_index`, or `<field>_<name>_index`. */
  index<Name extends string = "index">(
    this: Field<Value, true, Hashed, Nullable, Indexes>,
    options: IndexOptions<Name> = {},
  ): Field<Value, true, Hashed, Nullable, Indexes | NoInfer<Name>> {
    return new Field({ ...this.spec, indexes: [...this.spec.indexes, options] })
  }

  /** The value may be `null`, which is stored as NULL: its absence is visible. */
  nullable(): Field<Value, Encrypted, Hashed, true, Indexes> {
    return new Field({ ...this.spec, nullable: true })
  }

  /** The value may be `null`, which is sealed like a value of no bytes: only its length tells it. Such a field has no index and no hash. */
  sealNull(this: Field<Value, true, Hashed, Nullable, never>): Field<Value, true, Hashed, true, never> {
    return new Field({ ...this.spec, nullable: true, sealNull: true })
  }
}

/** A field of one type, with nothing said yet about how it is stored. */
export type NewField<Value> = Field<Value, false, false, false, never>

const field = <Value>(type: ValueType): NewField<Value> =>
  new Field({ type, encrypted: false, hashed: false, nullable: false, sealNull: false, indexes: [] })

/** A field that is stored as it is, such as a key; its type is the database's business. */
export function plain<Value>(): PlainField<Value> {
  return { kind: "plain" }
}

/** Text: well-formed, any length. */
export function text(): NewField<string> {
  return field("text")
}

/** Text whose length is hidden but for its leading bits (Padmé); it costs at most 12 % more. */
export function paddedText(): NewField<string> {
  return field("padded")
}

/** Bytes. */
export function bytes(): NewField<Uint8Array> {
  return field("bytes")
}

/** True or false. */
export function boolean(): NewField<boolean> {
  return field("boolean")
}

/** A whole number within ±(2^53 − 1). */
export function integer(): NewField<number> {
  return field("integer")
}

/** A whole number of 64 bits; the stored bytes are those of {@link integer}. */
export function bigint(): NewField<bigint> {
  return field("bigint")
}

/** A number, IEEE 754 binary64; NaN, ±Infinity and −0 are kept. */
export function number(): NewField<number> {
  return field("number")
}

/** A point in time, in whole milliseconds. */
export function date(): NewField<Date> {
  return field("date")
}

/** What `JSON.stringify` writes; it comes back as `JSON.parse` reads it. */
export function json<Value = unknown>(): NewField<Value> {
  return field("json")
}
