/**
 * Go's times: nanoseconds since 1970 in 64 bits, without a zone. FORMATS §9.
 *
 * @module
 */
import { builder, type GoValue, unfit } from "./codec.ts"
import { signed64 } from "./numbers.ts"

const TIME = "time.Time"
const nanoseconds = signed64(TIME)
const NANOSECONDS_PER_MS = 1_000_000n

// The zero time, year 1, does not fit into the format; rows leave it out.
function isZeroTime(value: unknown): value is null {
  return value === null
}

function refuseZeroTime(value: unknown): void {
  if (isZeroTime(value)) throw unfit(TIME, "is null, the zero time: rows leave it out, and the format cannot hold it")
}

/** `time.Time` as nanoseconds since 1970, of the years 1677 to 2262; `null` is the zero time, which rows leave out. */
export const goTime: () => GoValue<bigint | null> = builder<bigint | null>(TIME, {
  encode: (value) => {
    refuseZeroTime(value)
    return nanoseconds.encode(value as bigint)
  },
  decode: nanoseconds.decode,
  isAbsent: isZeroTime,
})

/**
 * `time.Time` as a `Date`, of the years 1677 to 2262; `null` is the zero time, which rows leave out. What is finer than a
 * millisecond is cut off when it is read, towards the past: where it matters, and where a value of Go's is looked up by its
 * hash, use {@link goTime}.
 */
export const goDate: () => GoValue<Date | null> = builder<Date | null>(TIME, {
  encode: (value) => {
    refuseZeroTime(value)
    const milliseconds = value instanceof Date ? value.getTime() : Number.NaN
    if (Number.isNaN(milliseconds)) throw unfit(TIME, "is not a valid Date")
    return nanoseconds.encode(BigInt(milliseconds) * NANOSECONDS_PER_MS)
  },
  decode: (bytes) => {
    const value = nanoseconds.decode(bytes)
    const cut = ((value % NANOSECONDS_PER_MS) + NANOSECONDS_PER_MS) % NANOSECONDS_PER_MS
    return new Date(Number((value - cut) / NANOSECONDS_PER_MS))
  },
  isAbsent: isZeroTime,
})
