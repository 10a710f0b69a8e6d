/**
 * A typed value as bytes: `type byte ‖ value`. FORMATS §4.
 *
 * @module
 */
import { concat, text, u32, utf8 } from "../bytes.ts"
import { InvalidFormat, InvalidInput } from "../errors.ts"

/** The types a sealed column can have; `integer` is a `number` in JavaScript and `bigint` a `bigint`, with the same bytes. */
export type ValueType = "text" | "bytes" | "boolean" | "integer" | "bigint" | "number" | "date" | "json" | "padded"

interface Codec {
  readonly byte: number
  encode(value: unknown): Uint8Array
  decode(bytes: Uint8Array): unknown
}

const NULL = 0x00
const TEXT = 0x01
const PADDED = 0x08
const CANONICAL_NAN = 0x7ff8_0000_0000_0000n
const MAX_DATE = 8.64e15

// --- The types ---

const int64: Codec = {
  byte: 0x04,
  encode: (value) => {
    if (typeof value === "number" ? !Number.isSafeInteger(value) : typeof value !== "bigint")
      throw unfit("is not a whole number within ±(2^53 − 1)")
    const wide = BigInt(value as number | bigint)
    if (BigInt.asIntN(64, wide) !== wide) throw unfit("does not fit into 64 bits")
    return eight((view) => view.setBigInt64(0, wide))
  },
  decode: (bytes) => sized(bytes, 8).getBigInt64(0),
}

const CODECS: Readonly<Record<ValueType, Codec>> = Object.assign(Object.create(null), {
  text: {
    byte: TEXT,
    encode: (value) => utf8(value as string, "text"),
    decode: (bytes) => text(bytes, "a sealed text"),
  },
  bytes: {
    byte: 0x02,
    encode: (value) => {
      if (!(value instanceof Uint8Array)) throw unfit("is not a Uint8Array")
      return value
    },
    decode: (bytes) => bytes.slice(),
  },
  boolean: {
    byte: 0x03,
    encode: (value) => {
      if (typeof value !== "boolean") throw unfit("is not true or false")
      return Uint8Array.of(value ? 1 : 0)
    },
    decode: (bytes) => {
      const byte = sized(bytes, 1).getUint8(0)
      if (byte > 1) throw malformed("a boolean is neither 0 nor 1")
      return byte === 1
    },
  },
  integer: {
    ...int64,
    decode: (bytes) => {
      const wide = int64.decode(bytes) as bigint
      const value = Number(wide)
      if (!Number.isSafeInteger(value)) throw malformed("an integer is beyond ±(2^53 − 1): read it as bigint()")
      return value
    },
  },
  bigint: int64,
  number: {
    byte: 0x05,
    encode: (value) => {
      if (typeof value !== "number") throw unfit("is not a number")
      return eight((view) => (Number.isNaN(value) ? view.setBigUint64(0, CANONICAL_NAN) : view.setFloat64(0, value)))
    },
    decode: (bytes) => {
      const view = sized(bytes, 8)
      const value = view.getFloat64(0)
      if (Number.isNaN(value) && view.getBigUint64(0) !== CANONICAL_NAN)
        throw malformed("a NaN is not the canonical one")
      return value
    },
  },
  date: {
    byte: 0x06,
    encode: (value) => {
      if (!(value instanceof Date) || Number.isNaN(value.getTime())) throw unfit("is not a valid date")
      return eight((view) => view.setBigInt64(0, BigInt(value.getTime())))
    },
    decode: (bytes) => {
      const milliseconds = Number(sized(bytes, 8).getBigInt64(0))
      if (Math.abs(milliseconds) > MAX_DATE) throw malformed("a date is out of range")
      return new Date(milliseconds)
    },
  },
  json: {
    byte: 0x07,
    encode: (value) => utf8(stringify(value), "JSON"),
    decode: (bytes) => {
      const json = text(bytes, "a sealed JSON")
      try {
        return JSON.parse(json)
      } catch {
        // The parser's message quotes what it read.
        throw malformed("JSON does not parse")
      }
    },
  },
  padded: {
    byte: PADDED,
    encode: (value) => {
      const bytes = utf8(value as string, "text")
      const padded = new Uint8Array(padme(4 + bytes.length))
      padded.set(u32(bytes.length))
      padded.set(bytes, 4)
      return padded
    },
    decode: (bytes) => {
      if (bytes.length < 4) throw malformed("a padded text is cut short")
      const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)
      if (bytes.length !== padme(4 + length)) throw malformed("a padded text has another length than it says")
      if (bytes.subarray(4 + length).some((byte) => byte !== 0))
        throw malformed("a padded text is padded with other than zeros")
      return text(bytes.subarray(4, 4 + length), "a sealed text")
    },
  },
} satisfies Record<ValueType, Codec>)

// --- Encoding and decoding ---

/**
 * The bytes of a value.
 *
 * @throws {InvalidInput} when the value is not of the type; the message does not hold it
 */
export function encodeValue(type: ValueType, value: unknown): Uint8Array {
  const codec: Codec | undefined = CODECS[type]
  if (codec === undefined) throw new InvalidInput(`Cannot seal a value: its type "${type}" is unknown`)
  const { byte, encode } = codec
  return concat(Uint8Array.of(byte), encode(value))
}

/** The bytes that a blind index covers: padded text without its padding, −0 as 0. FORMATS §5. */
export function encodeForIndex(type: ValueType, value: unknown): Uint8Array {
  return encodeValue(type === "padded" ? "text" : type, Object.is(value, -0) ? 0 : value)
}

/** The bytes of a sealed NULL. */
export const SEALED_NULL: Uint8Array = Uint8Array.of(NULL)

/**
 * The value of bytes that were authenticated.
 *
 * @param sealNull whether the schema seals NULL
 * @throws {InvalidFormat} when they are of another type, or no value of it
 */
export function decodeValue(type: ValueType, bytes: Uint8Array, sealNull: boolean): unknown {
  const byte = bytes[0]
  const value = bytes.subarray(1)
  if (byte === NULL && sealNull) {
    if (value.length > 0) throw malformed("bytes follow a NULL")
    return null
  }
  const isText = (each: number | undefined): boolean => each === TEXT || each === PADDED
  if (isText(byte) && isText(CODECS[type].byte)) return CODECS[byte === TEXT ? "text" : "padded"].decode(value)
  if (byte !== CODECS[type].byte) throw malformed(`its type is ${byte ?? "missing"}, the schema says ${type}`)
  return CODECS[type].decode(value)
}

// --- Helpers ---

/** Padmé (Nikitin et al., PETS 2019, §4): the smallest length that hides all but the leading bits of the length. */
export function padme(length: number): number {
  if (length < 2) return length
  const exponent = Math.floor(Math.log2(length))
  const unit = 2 ** (exponent - Math.floor(Math.log2(exponent)) - 1)
  return Math.ceil(length / unit) * unit
}

function stringify(value: unknown): string {
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch {
    // The reason (a cycle, a bigint) is told with names of the value's own properties.
    throw unfit("cannot be written as JSON")
  }
  if (json === undefined) throw unfit("cannot be written as JSON")
  return json
}

function eight(write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(8)
  write(new DataView(bytes.buffer))
  return bytes
}

function sized(bytes: Uint8Array, length: number): DataView {
  if (bytes.length !== length) throw malformed(`it has ${bytes.length} bytes, not ${length}`)
  return new DataView(bytes.buffer, bytes.byteOffset, length)
}

function unfit(state: string): InvalidInput {
  return new InvalidInput(`Cannot seal a value: it ${state}`)
}

function malformed(state: string): InvalidFormat {
  return new InvalidFormat(`Cannot read a sealed value: ${state}`)
}
