/**
 * Go's numbers and truth values, little-endian; what is smaller than 32 bits takes 4 bytes all the same. FORMATS §9.
 *
 * @module
 */
import { builder, end, type GoType, type GoValue, malformed, unfit } from "./codec.ts"

function fixed<Value>(
  name: string,
  length: number,
  check: (value: unknown) => string | undefined,
  write: (view: DataView, value: Value) => void,
  read: (view: DataView) => Value,
): Omit<GoType<Value>, "name"> {
  return {
    encode: (value) => {
      const problem = check(value)
      if (problem) throw unfit(name, problem)
      const bytes = new Uint8Array(length)
      write(new DataView(bytes.buffer), value)
      return bytes
    },
    decode: (bytes) => {
      if (bytes.length < length) throw malformed(name, "is cut short")
      end(name, bytes.subarray(length))
      return read(new DataView(bytes.buffer, bytes.byteOffset, length))
    },
  }
}

/** A whole number of 64 bits with a sign. @internal */
export const signed64 = (name: string): Omit<GoType<bigint>, "name"> =>
  fixed(
    name,
    8,
    (value) => (typeof value !== "bigint" ? "is not a bigint" : outside(BigInt.asIntN(64, value) !== value)),
    (view, value) => view.setBigInt64(0, value, true),
    (view) => view.getBigInt64(0, true),
  )

const unsigned64 = (name: string): Omit<GoType<bigint>, "name"> =>
  fixed(
    name,
    8,
    (value) => (typeof value !== "bigint" ? "is not a bigint" : outside(BigInt.asUintN(64, value) !== value)),
    (view, value) => view.setBigUint64(0, value, true),
    (view) => view.getBigUint64(0, true),
  )

const outside = (is: boolean): string | undefined => (is ? "is out of range" : undefined)

// Up to 32 bits: all take 4 bytes, and the Go library cuts what does not fit when it reads.
function small(bits: 8 | 16 | 32, isSigned: boolean): () => GoValue<number> {
  const name = `${isSigned ? "" : "u"}int${bits}`
  const min = isSigned ? -(2 ** (bits - 1)) : 0
  const max = 2 ** (isSigned ? bits - 1 : bits) - 1
  const isOutside = (value: number): boolean => value < min || value > max
  return builder(
    name,
    fixed(
      name,
      4,
      (value) => (Number.isInteger(value) ? outside(isOutside(value as number)) : "is not a whole number"),
      (view, value) => (isSigned ? view.setInt32(0, value, true) : view.setUint32(0, value, true)),
      (view) => {
        const value = isSigned ? view.getInt32(0, true) : view.getUint32(0, true)
        if (isOutside(value)) throw malformed(name, "is out of range")
        return value
      },
    ),
  )
}

/** `bool`. */
export const goBool: () => GoValue<boolean> = builder(
  "bool",
  fixed(
    "bool",
    1,
    (value) => (typeof value === "boolean" ? undefined : "is not true or false"),
    (view, value) => view.setUint8(0, value ? 1 : 0),
    (view) => {
      const byte = view.getUint8(0)
      if (byte > 1) throw malformed("bool", "is neither 00 nor 01")
      return byte === 1
    },
  ),
)

/** `int`, of 64 bits. */
export const goInt: () => GoValue<bigint> = builder("int", signed64("int"))
/** `int64`, and what is one underneath, such as `time.Duration`. */
export const goInt64: () => GoValue<bigint> = builder("int64", signed64("int64"))
/** `int32`, and `rune`. */
export const goInt32: () => GoValue<number> = small(32, true)
/** `int16`. */
export const goInt16: () => GoValue<number> = small(16, true)
/** `int8`. */
export const goInt8: () => GoValue<number> = small(8, true)
/** `uint`, of 64 bits. */
export const goUint: () => GoValue<bigint> = builder("uint", unsigned64("uint"))
/** `uint64`. */
export const goUint64: () => GoValue<bigint> = builder("uint64", unsigned64("uint64"))
/** `uint32`. */
export const goUint32: () => GoValue<number> = small(32, false)
/** `uint16`. */
export const goUint16: () => GoValue<number> = small(16, false)
/** `uint8`, and `byte`. */
export const goUint8: () => GoValue<number> = small(8, false)

// Go's math.NaN(). JavaScript has one NaN; those of other bits are read as it, and cannot be written.
const NAN_64 = 0x7ff8_0000_0000_0001n
const NAN_32 = 0x7fc0_0000

/** `float64`. `NaN` is written as Go's `math.NaN()`. */
export const goFloat64: () => GoValue<number> = builder(
  "float64",
  fixed(
    "float64",
    8,
    (value) => (typeof value === "number" ? undefined : "is not a number"),
    (view, value) => (Number.isNaN(value) ? view.setBigUint64(0, NAN_64, true) : view.setFloat64(0, value, true)),
    (view) => view.getFloat64(0, true),
  ),
)

/** `float32`: written as the nearest one, as Go's conversion does; finite numbers beyond it are refused. */
export const goFloat32: () => GoValue<number> = builder(
  "float32",
  fixed(
    "float32",
    4,
    (value) =>
      typeof value !== "number"
        ? "is not a number"
        : outside(Number.isFinite(value) && !Number.isFinite(Math.fround(value))),
    (view, value) => (Number.isNaN(value) ? view.setUint32(0, NAN_32, true) : view.setFloat32(0, value, true)),
    (view) => view.getFloat32(0, true),
  ),
)
