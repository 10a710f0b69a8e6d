/** Values of Go types, as the vectors and the Go peer spell them. */
import fc from "fast-check"
import { fromHex, hex } from "../../core/bytes.ts"
import {
  type GoType,
  goBool,
  goByteArray,
  goBytes,
  goFloat32,
  goFloat64,
  goInt,
  goInt8,
  goInt16,
  goInt32,
  goInt64,
  goString,
  goStrings,
  goTime,
  goUint,
  goUint8,
  goUint16,
  goUint32,
  goUint64,
  pointer,
} from "../../core/go-encx/mod.ts"

/** A Go type, and its values as JSON has them. */
export interface Spelling {
  readonly type: GoType<unknown>
  read(spelled: unknown): unknown
  write(value: unknown): unknown
}

/** What {@link Spelling.read} gives for text that is not UTF-8, which JavaScript's cannot hold. */
export class NotText {
  readonly bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }
}

const bytesOf = (digits: unknown): Uint8Array => fromHex(digits as string, "a vector")

function readText(spelled: unknown): string | NotText {
  if (typeof spelled === "string") return spelled
  const { hex: digits, repeat, n } = spelled as { hex?: string; repeat?: string; n?: number }
  return digits === undefined ? (repeat as string).repeat(n as number) : new NotText(bytesOf(digits))
}

function bits(length: 4 | 8): { read(spelled: unknown): number; write(value: unknown): string } {
  const view = new DataView(new ArrayBuffer(8))
  return {
    read(spelled) {
      view.setBigUint64(0, BigInt(`0x${spelled}`))
      return length === 8 ? view.getFloat64(0) : view.getFloat32(4)
    },
    write(value) {
      view.setBigUint64(0, 0n)
      if (length === 8) view.setFloat64(0, value as number)
      else view.setFloat32(4, value as number)
      // JavaScript's NaN is written as Go's math.NaN().
      if (Number.isNaN(value)) return length === 8 ? "7ff8000000000001" : "7fc00000"
      return view
        .getBigUint64(0)
        .toString(16)
        .padStart(2 * length, "0")
        .slice(-2 * length)
    },
  }
}

const same = { read: (spelled: unknown) => spelled, write: (value: unknown) => value }
const digits = { read: bytesOf, write: (value: unknown) => hex(value as Uint8Array) }
const wide = { read: (spelled: unknown) => BigInt(spelled as string), write: (value: unknown) => String(value) }
const narrow = { read: (spelled: unknown) => Number(spelled), write: (value: unknown) => String(value) }
const strings = { read: readText, write: (value: unknown) => value }
const lists = { read: (spelled: unknown) => (spelled as unknown[]).map(readText), write: (value: unknown) => value }

const of = <Value>(type: GoType<Value>, spelling: Omit<Spelling, "type">): Spelling => ({
  type: type as GoType<unknown>,
  ...spelling,
})

const SPELLINGS: ReadonlyMap<string, Spelling> = new Map(
  [
    of(goString(), strings),
    of(goBytes(), digits),
    of(goByteArray(16), digits),
    of(goStrings(), lists),
    of(goBool(), same),
    of(goInt(), wide),
    of(goInt64(), wide),
    of(goInt32(), narrow),
    of(goInt16(), narrow),
    of(goInt8(), narrow),
    of(goUint(), wide),
    of(goUint64(), wide),
    of(goUint32(), narrow),
    of(goUint16(), narrow),
    of(goUint8(), narrow),
    of(goFloat64(), bits(8)),
    of(goFloat32(), bits(4)),
    of(goTime(), wide),
  ].map((spelling) => [spelling.type.name, spelling]),
)

/** A Go type by its name in Go. */
export function spellingOf(name: string): Spelling {
  const known = SPELLINGS.get(name)
  if (known) return known
  if (!name.startsWith("*")) throw new Error(`the vectors have a type that is unknown here: ${name}`)
  const { type, read, write } = spellingOf(name.slice(1))
  return of(pointer(type), {
    read: (spelled) => (spelled === null ? null : read(spelled)),
    write: (value) => (value === null ? null : write(value)),
  })
}

/** Whether a value holds what JavaScript's text cannot. */
export function holdsNoText(value: unknown): boolean {
  return value instanceof NotText || (Array.isArray(value) && value.some(holdsNoText))
}

/** The text of a golden file's `repeat:A:n`, or text as it is. */
export function plaintextOf(spelled: string): string {
  const [, letter, n] = /^repeat:(.):(\d+)$/.exec(spelled) ?? []
  return letter === undefined ? spelled : letter.repeat(Number(n))
}

// --- Values to choose from ---

const text = fc.string({ unit: "binary", maxLength: 40 }).filter((value) => value.isWellFormed())
/** Bytes in memory of their own. */
export const anyBytes = (maxLength = 40, minLength = 0): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength, maxLength }).map((value) => new Uint8Array(value))
const signed = (bits: number) => fc.bigInt({ min: -(2n ** BigInt(bits - 1)), max: 2n ** BigInt(bits - 1) - 1n })
const unsigned = (bits: number) => fc.bigInt({ min: 0n, max: 2n ** BigInt(bits) - 1n })

/** Values of every type. */
export const VALUES: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  string: text,
  "[]byte": anyBytes(),
  "[16]byte": anyBytes(16, 16),
  "[]string": fc.array(text, { maxLength: 6 }),
  bool: fc.boolean(),
  int: signed(64),
  int64: signed(64),
  int32: signed(32).map(Number),
  int16: signed(16).map(Number),
  int8: signed(8).map(Number),
  uint: unsigned(64),
  uint64: unsigned(64),
  uint32: unsigned(32).map(Number),
  uint16: unsigned(16).map(Number),
  uint8: unsigned(8).map(Number),
  float64: fc.double(),
  float32: fc.float(),
  "time.Time": signed(64),
}
