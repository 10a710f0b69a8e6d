/**
 * The values of Go types as the Go library serialises them: little-endian, without a type byte. FORMATS §9.
 *
 * Reading is strict where the Go library is lax: no byte may follow a value, a bool is 00 or 01, a small integer is in its range,
 * text is UTF-8, and a count is held against the bytes that are there before anything is made of it.
 *
 * @module
 */
import { abytes, concat, wipe } from "../bytes.ts"
import { InvalidConfiguration, InvalidFormat, InvalidInput } from "../errors.ts"
import { GoField } from "./field.ts"

/** A Go type: how its values look in JavaScript, and as bytes. */
export interface GoType<Value> {
  /** As Go spells it, such as `*string`. */
  readonly name: string
  /**
   * The bytes of a value, in memory of their own.
   *
   * @throws {InvalidInput} when it is none of this type; the message does not hold it
   */
  encode(value: Value): Uint8Array
  /**
   * The value of bytes, all of them; it shares no memory with them.
   *
   * @throws {InvalidFormat} when they are none of this type; the message does not hold them
   */
  decode(bytes: Uint8Array): Value
  /** Whether rows leave this value out: a nil pointer, the zero time, the nil UUID. Other types are never left out. */
  isAbsent?(value: Value): boolean
}

/** What every builder gives: a type, and a field of a schema that is not sealed yet. */
export type GoValue<Value> = GoField<Value, false, false, false>

/** Makes a builder. @internal */
export function builder<Value>(name: string, codec: Omit<GoType<Value>, "name">): () => GoValue<Value> {
  const field = new GoField<Value, false, false, false>(Object.freeze({ name, ...codec }))
  return () => field
}

// --- Pointers ---

const NIL = 0x00
const PRESENT = 0x01

/**
 * `*T`: `null` is nil, which rows leave out. A pointer to a nil pointer, or to the nil UUID, is read as
 * `null`, too.
 *
 * @throws {InvalidConfiguration} when the field is sealed already: `pointer(goString()).encrypt()` says it in the right order
 */
export function pointer<Value>(to: GoType<Value>): GoValue<Value | null> {
  const inner = to instanceof GoField ? unsealed(to) : to
  const name = `*${inner.name}`
  return builder<Value | null>(name, {
    encode: (value) => {
      if (value === null) return Uint8Array.of(NIL)
      const bytes = inner.encode(value as Value)
      const whole = concat(Uint8Array.of(PRESENT), bytes)
      wipe(bytes)
      return whole
    },
    decode: (bytes) => {
      const [marker] = bytes
      if (marker === PRESENT) return inner.decode(bytes.subarray(1))
      if (marker !== NIL) throw malformed(name, marker === undefined ? "is cut short" : "is neither nil nor a value")
      end(name, bytes.subarray(1))
      return null
    },
    isAbsent: (value) => value === null,
  })()
}

function unsealed<Value>({ type, spec }: GoField<Value>): GoType<Value> {
  if (!spec.encrypted && !spec.hashedBasic && !spec.hashedSecure) return type
  throw new InvalidConfiguration(`Cannot use a Go pointer: its ${type.name} is sealed already`, {
    hint: "seal the pointer: pointer(goString()).encrypt()",
  })
}

// --- One value ---

/**
 * The bytes of a value, as `encx.SerializeValue` gives them.
 *
 * @throws {InvalidInput} when the value is none of the type; the message does not hold it
 */
export function serializeValue<Value>(type: GoType<Value>, value: NoInfer<Value>): Uint8Array {
  return type.encode(value)
}

/**
 * The value of bytes that `encx.SerializeValue` gave.
 *
 * @throws {InvalidFormat} when they are none of the type; the message does not hold them
 * @throws {TypeError} when they are not a `Uint8Array`
 */
export function deserializeValue<Value>(type: GoType<Value>, bytes: Uint8Array): Value {
  abytes(bytes, undefined, "bytes")
  return type.decode(bytes)
}

// --- Helpers ---

/** Refuses bytes that follow a value. @internal */
export function end(name: string, rest: Uint8Array): void {
  if (rest.length > 0) throw malformed(name, "is followed by more bytes")
}

/** The error of a value that is none of its type. @internal */
export function unfit(name: string, state: string): InvalidInput {
  return new InvalidInput(`Cannot serialise a Go ${name}: it ${state}`)
}

/** The error of bytes that are none of their type. @internal */
export function malformed(name: string, state: string): InvalidFormat {
  return new InvalidFormat(`Cannot read a Go ${name}: it ${state}`)
}
