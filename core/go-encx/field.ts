/**
 * The fields of the Go library's rows: of which Go type a value is, and what is done with it before it is stored.
 *
 * @module
 */
import type { GoType } from "./codec.ts"

/** What such a field is, at run time. */
export interface GoFieldSpec {
  readonly encrypted: boolean
  readonly hashedBasic: boolean
  readonly hashedSecure: boolean
}

const NEW: GoFieldSpec = { encrypted: false, hashedBasic: false, hashedSecure: false }

/** A field of a Go struct that is encrypted, hashed or both, and how. Each method gives a new field. It stands for its Go type, too. */
export class GoField<
  Value,
  Encrypted extends boolean = boolean,
  Basic extends boolean = boolean,
  Secure extends boolean = boolean,
> implements GoType<Value>
{
  readonly kind = "go" as const
  /** The Go type. */
  readonly type: GoType<Value>
  /** What the field is, at run time. */
  readonly spec: GoFieldSpec
  /** Nothing at run time: it carries the types. */
  declare readonly "~types": { value: Value; encrypted: Encrypted; basic: Basic; secure: Secure }

  /** Whether rows leave this value out; absent where the type is never left out. */
  declare readonly isAbsent?: NonNullable<GoType<Value>["isAbsent"]>

  /** @internal */
  constructor(type: GoType<Value>, spec: GoFieldSpec = NEW) {
    this.type = type
    this.spec = Object.freeze(spec)
    if (type.isAbsent) this.isAbsent = type.isAbsent
    Object.freeze(this)
  }

  /** The Go type's name. */
  get name(): string {
    return this.type.name
  }

  /** The bytes of a value of the Go type. */
  encode(value: Value): Uint8Array {
    return this.type.encode(value)
  }

  /** The value of bytes of the Go type. */
  decode(bytes: Uint8Array): Value {
    return this.type.decode(bytes)
  }

  /** The value is encrypted, in the column `<field>_encrypted`: the tag `encrypt`. */
  encrypt(): GoField<Value, true, Basic, Secure> {
    return new GoField(this.type, { ...this.spec, encrypted: true })
  }

  /**
   * Equal values are found by an unkeyed SHA-256, in the column `<field>_hash`: the tag `hash_basic`. Whoever reads the column
   * can guess what is guessable (names, numbers, addresses); a schema of this library's own has keyed indexes instead.
   */
  hashBasic(this: GoField<Value, Encrypted, boolean, false>): GoField<Value, Encrypted, true, false> {
    return new GoField(this.type, { ...this.spec, hashedBasic: true })
  }

  /** The value is hashed with the pepper and Argon2id, in the column `<field>_hash_secure`: the tag `hash_secure`. */
  hashSecure(this: GoField<Value, Encrypted, false, boolean>): GoField<Value, Encrypted, false, true> {
    return new GoField(this.type, { ...this.spec, hashedSecure: true })
  }
}
