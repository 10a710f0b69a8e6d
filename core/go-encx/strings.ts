/**
 * Go's text and bytes: `u32 length ‖ bytes`, and lists of them. FORMATS §9.
 *
 * @module
 */
import { copyOf, fromHex, hex, text, utf8, wipe } from "../bytes.ts"
import { InvalidConfiguration, InvalidFormat } from "../errors.ts"
import { builder, end, type GoValue, malformed, unfit } from "./codec.ts"

const MAX_LENGTH = 2 ** 32 - 1
// Bytes of a length, and of a count.
const LENGTH = 4

const lengthOf = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset, LENGTH).getUint32(0, true)

function prefixed(name: string, bytes: Uint8Array): Uint8Array {
  if (bytes.length > MAX_LENGTH) throw unfit(name, "has more than 2^32 − 1 bytes")
  const whole = new Uint8Array(LENGTH + bytes.length)
  new DataView(whole.buffer).setUint32(0, bytes.length, true)
  whole.set(bytes, LENGTH)
  return whole
}

// The bytes after the length that they begin with; they are a view, and what follows them is `rest`.
function take(name: string, bytes: Uint8Array): { value: Uint8Array; rest: Uint8Array } {
  if (bytes.length < LENGTH) throw malformed(name, "is cut short")
  const length = lengthOf(bytes)
  if (length > bytes.length - LENGTH) throw malformed(name, "is longer than the bytes that are there")
  return { value: bytes.subarray(LENGTH, LENGTH + length), rest: bytes.subarray(LENGTH + length) }
}

function takeAll(name: string, bytes: Uint8Array): Uint8Array {
  const { value, rest } = take(name, bytes)
  end(name, rest)
  return value
}

function encodeText(name: string, value: unknown): Uint8Array {
  const bytes = utf8(value as string, `a Go ${name}`)
  const whole = prefixed(name, bytes)
  wipe(bytes)
  return whole
}

function decodeText(name: string, bytes: Uint8Array): string {
  try {
    return text(bytes, `a Go ${name}`)
  } catch (error) {
    // Go's strings hold any bytes, JavaScript's do not.
    const other = name === "string" ? "goBytes() reads it: its bytes are the same" : undefined
    throw error instanceof InvalidFormat ? new InvalidFormat(error.message, { hint: other }) : error
  }
}

function encodeBytes(name: string, value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw unfit(name, "is not a Uint8Array")
  return prefixed(name, value)
}

/** `string`: well-formed text. */
export const goString: () => GoValue<string> = builder("string", {
  encode: (value) => encodeText("string", value),
  decode: (bytes) => decodeText("string", takeAll("string", bytes)),
})

/** `[]byte`; nil is empty. */
export const goBytes: () => GoValue<Uint8Array> = builder("[]byte", {
  encode: (value) => encodeBytes("[]byte", value),
  decode: (bytes) => copyOf(takeAll("[]byte", bytes)),
})

/**
 * `[N]byte`: so many bytes and no other number.
 *
 * @throws {InvalidConfiguration} when `length` is not a whole number from 0
 */
export function goByteArray(length: number): GoValue<Uint8Array> {
  if (!Number.isInteger(length) || length < 0 || length > MAX_LENGTH)
    throw new InvalidConfiguration(`Cannot use a Go array: its length is ${length}`)
  const name = `[${length}]byte`
  return builder<Uint8Array>(name, {
    encode: (value) => {
      const bytes = encodeBytes(name, value)
      if (value.length !== length) throw unfit(name, `has ${value.length} bytes, not ${length}`)
      return bytes
    },
    decode: (bytes) => copyOf(takeArray(name, length, bytes)),
  })()
}

function takeArray(name: string, length: number, bytes: Uint8Array): Uint8Array {
  const value = takeAll(name, bytes)
  if (value.length !== length) throw malformed(name, `has ${value.length} bytes, not ${length}`)
  return value
}

const UUID = "uuid.UUID"
const NIL_UUID = "00000000-0000-0000-0000-000000000000"

/** `uuid.UUID`: text such as `9b2ac2e1-…`, read in lower case; `null` is the nil UUID, which rows leave out. */
export const goUUID: () => GoValue<string | null> = builder(UUID, {
  encode: (value) => {
    const whole = typeof value === "string" ? value.toLowerCase() : value === null ? NIL_UUID : undefined
    if (whole === undefined || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(whole))
      throw unfit(UUID, "is not 32 hex digits in groups of 8, 4, 4, 4 and 12")
    return prefixed(UUID, fromHex(whole.replaceAll("-", ""), "a UUID"))
  },
  decode: (bytes) => {
    const digits = hex(takeArray(UUID, 16, bytes))
    const value = digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")
    return value === NIL_UUID ? null : value
  },
  isAbsent: (value) => value === null || value === NIL_UUID,
})

/** `[]string`: a list of well-formed text; nil is empty. */
export const goStrings: () => GoValue<readonly string[]> = builder("[]string", {
  encode: (value) => {
    if (!Array.isArray(value)) throw unfit("[]string", "is not an array")
    const parts = Array.from(value, (each) => encodeText("[]string", each))
    const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, LENGTH))
    new DataView(whole.buffer).setUint32(0, parts.length, true)
    // Not as arguments of one call: of those there may be some ten thousands, of strings as many as there are.
    let offset = LENGTH
    for (const part of parts) {
      whole.set(part, offset)
      offset += part.length
      wipe(part)
    }
    return whole
  },
  decode: (bytes) => {
    if (bytes.length < LENGTH) throw malformed("[]string", "is cut short")
    const count = lengthOf(bytes)
    let left = bytes.subarray(LENGTH)
    if (count > left.length / LENGTH)
      throw malformed("[]string", "counts more strings than the bytes that are there hold")
    const values: string[] = []
    for (let i = 0; i < count; i++) {
      const { value, rest } = take("[]string", left)
      values.push(decodeText("[]string", value))
      left = rest
    }
    end("[]string", left)
    return values
  },
})

/** The bytes of a text, or of bytes, which have the same in Go. @internal */
export function serializeText(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? goBytes().encode(value) : goString().encode(value as string)
}
