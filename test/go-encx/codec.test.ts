import assert from "node:assert/strict"
import { randomInt } from "node:crypto"
import { describe, it } from "node:test"
import fc from "fast-check"
import { concat, hex } from "../../core/bytes.ts"
import { InvalidConfiguration, InvalidFormat, InvalidInput } from "../../core/errors.ts"
import {
  deserializeValue,
  type GoType,
  goBool,
  goByteArray,
  goBytes,
  goDate,
  goFloat32,
  goFloat64,
  goInt8,
  goInt16,
  goInt32,
  goInt64,
  goString,
  goStrings,
  goTime,
  goUint8,
  goUint32,
  goUint64,
  goUUID,
  pointer,
  serializeValue,
} from "../../core/go-encx/mod.ts"
import { anyBytes as bytes, spellingOf, VALUES } from "./_values.ts"

const ALL = Object.entries(VALUES).flatMap(([name, values]): [string, fc.Arbitrary<unknown>][] => [
  [name, values],
  [`*${name}`, fc.option(values)],
])

const refused = (act: () => unknown, message?: RegExp): void =>
  assert.throws(
    act,
    (error) => error instanceof InvalidFormat && (message === undefined || message.test(error.message)),
  )
const unfit = (act: () => unknown, message?: RegExp): void =>
  assert.throws(act, (error) => error instanceof InvalidInput && (message === undefined || message.test(error.message)))
const le = (value: number): Uint8Array => serializeValue(goUint32(), value)

describe("deserializeValue()", () => {
  for (const [name, values] of ALL) {
    it(`gives back what serializeValue() took, and nothing else has these bytes: ${name}`, () => {
      const { type } = spellingOf(name)
      fc.assert(
        fc.property(values, bytes(4, 1), (value, more) => {
          const serialised = serializeValue(type, value)
          assert.deepEqual(deserializeValue(type, serialised), value)
          // As a view of something larger, too.
          const larger = concat(Uint8Array.of(7), serialised, Uint8Array.of(7))
          assert.deepEqual(deserializeValue(type, larger.subarray(1, -1)), value)
          refused(() => deserializeValue(type, concat(serialised, more)))
          for (let length = 0; length < serialised.length; length++)
            refused(() => deserializeValue(type, serialised.subarray(0, length)))
        }),
        { numRuns: 60 },
      )
    })
  }

  it("refuses, or reads a value that has exactly these bytes, when any bit was changed", () => {
    for (const [name, values] of ALL) {
      // A NaN has many bits, and JavaScript one NaN.
      if (name.includes("float")) continue
      const { type } = spellingOf(name)
      for (const value of fc.sample(values, { numRuns: 12, seed: 1 })) {
        const serialised = serializeValue(type, value)
        for (let bit = 0; bit < serialised.length * 8; bit++) {
          const changed = Uint8Array.from(serialised)
          changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
          try {
            assert.equal(hex(serializeValue(type, deserializeValue(type, changed))), hex(changed), name)
          } catch (error) {
            assert.ok(error instanceof InvalidFormat, `${name}: ${error}`)
          }
        }
      }
    }
  })

  it("reads any bytes to a value that has them, or refuses them", () => {
    for (const [name] of ALL) {
      if (name.includes("float")) continue
      const { type } = spellingOf(name)
      fc.assert(
        fc.property(bytes(24), (garbage) => {
          let value: unknown
          try {
            value = deserializeValue(type, garbage)
          } catch (error) {
            return assert.ok(error instanceof InvalidFormat, `${name}: ${error}`)
          }
          assert.equal(hex(serializeValue(type, value)), hex(garbage), name)
        }),
      )
    }
  })

  it("defect 13: makes nothing of a count or a length that the bytes do not hold", () => {
    const before = process.memoryUsage()
    for (const count of [1, 2 ** 20, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 4, 2 ** 32 - 1]) {
      for (const more of [0, 3]) {
        const claimed = concat(le(count), new Uint8Array(more))
        refused(() => deserializeValue(goStrings(), claimed), /counts more strings than the bytes that are there hold/)
        refused(() => deserializeValue(pointer(goStrings()), concat(Uint8Array.of(1), claimed)))
      }
      refused(() => deserializeValue(goString(), le(count)), /longer than the bytes that are there/)
      refused(() => deserializeValue(goBytes(), le(count)), /longer than the bytes that are there/)
      refused(() => deserializeValue(goStrings(), concat(le(1), le(count))))
    }
    // The largest count that bytes can hold: every string is empty.
    assert.equal(deserializeValue(goStrings(), concat(le(1000), new Uint8Array(4000))).length, 1000)
    refused(() => deserializeValue(goStrings(), concat(le(1001), new Uint8Array(4003))))
    const after = process.memoryUsage()
    assert.ok(after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers < 64 * 2 ** 20)
  })

  it("defect 13: refuses what the Go library takes for something else", () => {
    for (const byte of [2, 0x7f, 0xff])
      refused(() => deserializeValue(goBool(), Uint8Array.of(byte)), /neither 00 nor 01/)
    for (const [type, value] of [
      [goInt8(), 128],
      [goInt8(), -129],
      [goInt16(), 32_768],
      [goInt16(), 65_536],
    ] as const)
      refused(() => deserializeValue(type, serializeValue(goInt32(), value)), /out of range/)
    refused(() => deserializeValue(goUint8(), le(256)), /out of range/)
    for (const marker of [2, 0xff])
      refused(() => deserializeValue(pointer(goBool()), Uint8Array.of(marker, 1)), /neither nil nor a value/)
    refused(() => deserializeValue(pointer(goBool()), Uint8Array.of(0, 1)), /followed by more bytes/)
    refused(() => deserializeValue(goByteArray(16), serializeValue(goBytes(), new Uint8Array(15))), /15 bytes, not 16/)
    refused(() => deserializeValue(goUUID(), serializeValue(goBytes(), new Uint8Array(17))), /17 bytes, not 16/)
  })

  it("refuses text that is not UTF-8, and says what reads it", () => {
    for (const broken of [
      [0xff],
      [0xc3, 0x28],
      [0xc0, 0x80],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xe2, 0x82],
    ]) {
      const serialised = serializeValue(goBytes(), Uint8Array.from(broken))
      assert.throws(
        () => deserializeValue(goString(), serialised),
        (error) => error instanceof InvalidFormat && /goBytes\(\)/.test(error.hint ?? ""),
      )
      assert.deepEqual([...deserializeValue(goBytes(), serialised)], broken)
      refused(() => deserializeValue(goStrings(), concat(le(1), serialised)))
    }
    // A byte order mark is a character like any other.
    assert.equal(deserializeValue(goString(), serializeValue(goString(), "\ufeffa")), "\ufeffa")
  })

  it("gives bytes that are nobody else's", () => {
    for (const type of [goBytes(), goByteArray(3)]) {
      const given = Buffer.from([1, 2, 3])
      const serialised = Buffer.from(serializeValue(type, given))
      const value = deserializeValue(type, serialised)
      serialised.fill(0)
      given.fill(0)
      assert.deepEqual([...value], [1, 2, 3])
    }
  })

  it("refuses what is no bytes", () => {
    for (const wrong of ["00", [0], null, undefined, new ArrayBuffer(4)])
      assert.throws(() => deserializeValue(goString(), wrong as unknown as Uint8Array), TypeError)
  })
})

describe("serializeValue()", () => {
  it("refuses values of another type, and does not repeat them", () => {
    const secret = "5ecret"
    const wrong: readonly (readonly [GoType<unknown>, readonly unknown[]])[] = [
      [goString(), [1, null, undefined, new Uint8Array(1), `${secret}\ud800`]],
      [goBytes(), [secret, null, [1], new ArrayBuffer(1)]],
      [goByteArray(2), [new Uint8Array(1), new Uint8Array(3), secret]],
      [goStrings(), [secret, null, [1], [undefined], new Array(2), ["a", `${secret}\udc00`]]],
      [goBool(), [0, 1, secret, null]],
      [goInt64(), [1, secret, null, 2n ** 63n, -(2n ** 63n) - 1n]],
      [goUint64(), [1, -1n, 2n ** 64n]],
      [goInt32(), [1n, 1.5, Number.NaN, 2 ** 31, -(2 ** 31) - 1, secret]],
      [goUint32(), [-1, 2 ** 32, "1"]],
      [goInt16(), [32_768, -32_769]],
      [goInt8(), [128, -129]],
      [goUint8(), [256, -1]],
      [goFloat64(), [1n, secret, null]],
      [goFloat32(), [1e39, -1e39, secret]],
      [goTime(), [1, secret, new Date(), 2n ** 63n]],
      [goDate(), [1, secret, new Date(Number.NaN), new Date(8.64e15), new Date("0001-01-01T00:00:00Z")]],
      [
        goUUID(),
        [secret, "", undefined, 1, "00000000000000000000000000000000", "00000000-0000-0000-0000-00000000000g"],
      ],
      [pointer(goBool()), [undefined, 1, secret]],
    ]
    for (const [type, values] of wrong) {
      for (const value of values) {
        assert.throws(
          () => serializeValue(type, value),
          (error) => error instanceof InvalidInput && !error.message.includes(secret),
          `${type.name}: ${String(value)}`,
        )
      }
    }
  })

  it("writes as many strings as there are", () => {
    const many = Array.from({ length: 200_000 }, (_, i) => String(i % 10))
    const serialised = serializeValue(goStrings(), many)
    assert.equal(serialised.length, 4 + many.length * 5)
    assert.deepEqual(deserializeValue(goStrings(), serialised), many)
  })

  it("writes the edges of numbers as Go does", () => {
    const cases: readonly (readonly [GoType<unknown>, unknown, string])[] = [
      [goFloat64(), -0, "0000000000000080"],
      [goFloat64(), Number.NaN, "010000000000f87f"],
      [goFloat64(), Number.POSITIVE_INFINITY, "000000000000f07f"],
      [goFloat32(), Number.NaN, "0000c07f"],
      [goFloat32(), Number.NEGATIVE_INFINITY, "000080ff"],
      [goFloat32(), 0.1, "cdcccc3d"],
      [goFloat32(), 1e-50, "00000000"],
      [goFloat32(), 3.4028234663852886e38, "ffff7f7f"],
      [goInt32(), -0, "00000000"],
      [goInt8(), -128, "80ffffff"],
      [goUint64(), 2n ** 64n - 1n, "ffffffffffffffff"],
      [goTime(), -1n, "ffffffffffffffff"],
    ]
    for (const [type, value, expected] of cases)
      assert.equal(hex(serializeValue(type, value)), expected, `${type.name} ${String(value)}`)
  })
})

describe("goDate()", () => {
  const read = (nanoseconds: bigint): number =>
    (deserializeValue(goDate(), serializeValue(goTime(), nanoseconds)) as Date).getTime()

  it("cuts what is finer than a millisecond off, towards the past", () => {
    assert.deepEqual(
      [0n, 1n, 999_999n, 1_000_000n, -1n, -999_999n, -1_000_000n, -1_000_001n].map(read),
      [0, 0, 0, 1, -1, -1, -1, -2],
    )
    assert.equal(read(2n ** 63n - 1n), 9_223_372_036_854)
    assert.equal(read(-(2n ** 63n)), -9_223_372_036_855)
  })

  it("gives back every Date that the format holds", () => {
    for (const ms of [
      0,
      -1,
      1,
      9_223_372_036_854,
      -9_223_372_036_854,
      ...Array.from({ length: 100 }, () => randomInt(2 ** 42)),
    ]) {
      const date = new Date(ms)
      assert.deepEqual(deserializeValue(goDate(), serializeValue(goDate(), date)), date)
      assert.equal(deserializeValue(goTime(), serializeValue(goDate(), date)), BigInt(ms) * 1_000_000n)
    }
    unfit(() => serializeValue(goDate(), new Date(9_223_372_036_855)), /out of range/)
  })
})

describe("goUUID()", () => {
  it("has the bytes of [16]byte, and null for the nil UUID", () => {
    const uuid = "9b2ac2e1-00ff-4a6b-8c7d-0123456789ab"
    const serialised = serializeValue(goUUID(), uuid.toUpperCase())
    assert.equal(hex(serialised), `10000000${uuid.replaceAll("-", "")}`)
    assert.equal(deserializeValue(goUUID(), serialised), uuid)
    assert.equal(hex(serializeValue(goUUID(), null)), `10000000${"00".repeat(16)}`)
    assert.equal(deserializeValue(goUUID(), serializeValue(goByteArray(16), new Uint8Array(16))), null)
  })
})

describe("a value that rows leave out", () => {
  it("is null, of a pointer, a time or a UUID", () => {
    const isAbsent = (type: GoType<unknown>, value: unknown): boolean | undefined => type.isAbsent?.(value)
    for (const type of [pointer(goString()), goTime(), goDate(), goUUID()]) {
      assert.equal(isAbsent(type, null), true, type.name)
      assert.equal(isAbsent(type, "x"), false, type.name)
    }
    assert.equal(isAbsent(goUUID(), "00000000-0000-0000-0000-000000000000"), true)
    // The zero of Go is no absence: an empty text is sealed like any other.
    for (const type of [goString(), goBytes(), goStrings(), goInt64(), goFloat64(), goBool()])
      assert.equal(type.isAbsent, undefined, type.name)
    for (const type of [goTime(), goDate()]) unfit(() => type.encode(null), /zero time/)
  })
})

describe("pointer()", () => {
  it("is not its value: *string and string have other bytes", () => {
    assert.equal(hex(serializeValue(pointer(goString()), "a")), "010100000061")
    assert.equal(hex(serializeValue(pointer(pointer(goString())), "a")), "01010100000061")
    assert.equal(hex(serializeValue(pointer(goString()), null)), "00")
    assert.equal(pointer(pointer(goInt8())).name, "**int8")
    // JavaScript has one null for a nil pointer and for a pointer to one.
    assert.equal(deserializeValue(pointer(pointer(goString())), Uint8Array.of(1, 0)), null)
  })

  it("refuses a field that is sealed already: what seals it would be lost", () => {
    for (const field of [goString().encrypt(), goString().hashBasic(), goString().hashSecure()])
      assert.throws(() => pointer(field), InvalidConfiguration)
  })
})

describe("goByteArray()", () => {
  it("refuses a length that is none", () => {
    for (const length of [-1, 1.5, Number.NaN, 2 ** 32, "16"])
      assert.throws(() => goByteArray(length as number), InvalidConfiguration)
    assert.equal(goByteArray(0).name, "[0]byte")
  })
})
