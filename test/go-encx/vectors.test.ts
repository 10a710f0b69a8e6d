import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { ascii, concat, equal, fromBase64, fromHex, hex, utf8 } from "../../core/bytes.ts"
import { decryptData, encryptWithNonce } from "../../core/cipher/aes-gcm.ts"
import { DecryptionFailed, InvalidFormat } from "../../core/errors.ts"
import { hashBasic } from "../../core/go-encx/basic-hash.ts"
import { parseGoHash } from "../../core/go-encx/hash.ts"
import { formatMetadata } from "../../core/go-encx/metadata.ts"
import {
  decryptGoStream,
  deserializeValue,
  encryptGoStream,
  parseMetadata,
  serializeValue,
  stringifyMetadata,
} from "../../core/go-encx/mod.ts"
import { PasswordHasher } from "../../core/hash/password.ts"
import { Peppers } from "../../core/hash/pepper.ts"
import { patterned, through } from "./_streams.ts"
import { holdsNoText, plaintextOf, spellingOf } from "./_values.ts"

// Bytes that the Go library itself wrote. Their rows are read in rows.test.ts.

interface First {
  readonly serialization: readonly { goType: string; hex: string; hashBasic: string; value: unknown }[]
  readonly encryptData: readonly {
    dek: string
    ciphertext: string
    plaintextUtf8?: string
    serializedGoString?: string
  }[]
  readonly encryptStream: readonly { dek: string; plaintext: string; stream: string }[]
  readonly hashSecure: readonly {
    hash: string
    pepper: string
    goString?: string
    serialized?: string
    rawBytes?: string
  }[]
  readonly testKmsWrappedDek: { readonly dek: string; readonly kek: string; readonly wrapped: string }
  readonly metadataJson: string
}

interface Second {
  readonly fields: readonly {
    type: string
    value: unknown
    dek: string
    ciphertext: string
    hashBasic: string
    serialized?: string
  }[]
  readonly streams: readonly { size: number; dek: string; stream: string; read?: number }[]
  readonly hashes: readonly { type: string; value: unknown; pepper: string; hash: string; match?: boolean }[]
  readonly refused: readonly (
    | { op: "decryptData"; dek: string; ciphertext: string }
    | { op: "decryptStream"; dek: string; data: string }
    | { op: "deserialize"; type: string; hex: string }
  )[]
  readonly tolerated: readonly {
    type?: string
    hex?: string
    stream?: string
    dek?: string
    plainSha256?: string
  }[]
}

const load = <File>(name: string): File =>
  JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8")) as File
const first = load<First>("encx-go")
const second = load<Second>("encx-go-2")
const bytes = (digits: string): Uint8Array => fromHex(digits, "a vector")
const unbase64 = (encoded: string): Uint8Array => fromBase64(encoded, "a vector")

// The spelling of the first file, where it is not that of the second.
function goldenValue(goType: string, value: unknown): unknown {
  if (goType === "float64") return Number(value)
  if (goType === "float32") return Math.fround(Number.parseFloat(value as string))
  if (goType !== "time.Time") return spellingOf(goType).read(value)
  const [, seconds, fraction = ""] = /^(.*:\d\d)(?:\.(\d+))?Z$/.exec(value as string) as unknown as string[]
  return BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, "0"))
}

describe("the Go library's values", () => {
  it("are written and read byte for byte, when they stand alone", () => {
    assert.equal(first.serialization.length, 33)
    for (const { goType, hex: serialised, hashBasic: hash, value } of first.serialization) {
      const { type } = spellingOf(goType)
      assert.equal(hex(serializeValue(type, goldenValue(goType, value))), serialised, goType)
      assert.deepEqual(deserializeValue(type, bytes(serialised)), goldenValue(goType, value), goType)
      assert.equal(hashBasic(bytes(serialised)), hash)
    }
  })

  it("are written and read byte for byte, when they are encrypted", () => {
    assert.equal(second.fields.length, 111)
    let [unreadable, otherNaNs, shortKeys] = [0, 0, 0]
    for (const { type: name, value: spelled, dek, ciphertext, hashBasic: hash, serialized } of second.fields) {
      const { type, read, write } = spellingOf(name)
      const sealed = unbase64(ciphertext)
      if (dek.length !== 64) {
        // AES-128 or AES-192: nothing but the length of the key tells.
        assert.throws(() => decryptData(sealed, bytes(dek)), /^RangeError: .* bytes, not 32$/)
        shortKeys++
        continue
      }
      const opened = decryptData(sealed, bytes(dek))
      assert.ok(serialized === undefined || hex(opened) === serialized, name)
      assert.equal(hashBasic(opened), hash)
      const value = read(spelled)
      if (holdsNoText(value)) {
        // Text that is not UTF-8 is refused: JavaScript has no text for it.
        assert.throws(() => deserializeValue(type, opened), InvalidFormat)
        unreadable++
        continue
      }
      assert.deepEqual(deserializeValue(type, opened), value, name)
      if (Number.isNaN(value) && write(value) !== spelled) {
        otherNaNs++
        continue
      }
      assert.ok(equal(serializeValue(type, value), opened), name)
      assert.ok(equal(encryptWithNonce(opened, bytes(dek), sealed.slice(0, 12)), sealed), name)
    }
    // "\xc3\x28", "a\xffb", ["\xff"]; a NaN with its sign.
    assert.deepEqual([unreadable, otherNaNs, shortKeys], [3, 1, 1])
  })

  it("are decrypted, when they are bytes of no type", () => {
    assert.equal(first.encryptData.length, 3)
    for (const { dek, ciphertext, plaintextUtf8, serializedGoString } of first.encryptData) {
      const opened = decryptData(bytes(ciphertext), bytes(dek))
      if (plaintextUtf8 !== undefined) assert.deepEqual(opened, utf8(plaintextUtf8, "a vector"))
      else assert.deepEqual(opened, serializeValue(spellingOf("string").type, serializedGoString))
    }
    const { dek, kek, wrapped } = first.testKmsWrappedDek
    assert.equal(hex(decryptData(bytes(wrapped), bytes(kek))), dek)
  })
})

describe("the Go library's streams", () => {
  const streams = [
    ...first.encryptStream.map(({ dek, plaintext, stream }) => ({
      dek,
      plaintext: ascii(plaintextOf(plaintext)),
      stream: bytes(stream),
      isFilled: !/short reads/.test(JSON.stringify(first.encryptStream.find((each) => each.stream === stream))),
    })),
    ...second.streams.map(({ dek, size, stream, read }) => ({
      dek,
      plaintext: patterned(size),
      stream: unbase64(stream),
      isFilled: read === undefined,
    })),
  ]

  it("are read, however they arrive", async () => {
    assert.equal(streams.length, 18)
    for (const { dek, plaintext, stream } of streams) {
      for (const size of [stream.length + 1, 4096, 1000, ...(stream.length < 10_000 ? [1] : [])]) {
        const decrypted = decryptGoStream(bytes(dek))
        assert.ok(equal(await through(decrypted, stream, size), plaintext), `${plaintext.length} bytes by ${size}`)
        const { integrity, bytes: length } = await decrypted.result
        assert.deepEqual([integrity, length], ["per-chunk", plaintext.length])
      }
    }
  })

  it("have the chunks that are written here, where the Go program's source filled them", async () => {
    const headersOf = (stream: Uint8Array): number[] => {
      const lengths: number[] = []
      const view = new DataView(stream.buffer, stream.byteOffset)
      for (let at = 0; at < stream.length; at += 4 + (lengths.at(-1) as number)) lengths.push(view.getUint32(at))
      return lengths
    }
    const filled = streams.filter(({ isFilled }) => isFilled)
    assert.equal(filled.length, 15)
    for (const { dek, plaintext, stream } of filled) {
      const written = await through(encryptGoStream(bytes(dek)), plaintext, 999)
      assert.deepEqual(headersOf(written), headersOf(stream))
    }
  })
})

describe("the Go library's password hashes", () => {
  const hasherOf = (pepper: string): PasswordHasher => new PasswordHasher(new Peppers([bytes(pepper)]), {})
  const hashes = [
    ...first.hashSecure.map(({ hash, pepper, goString, serialized, rawBytes }) => {
      if (goString !== undefined)
        assert.equal(hex(serializeValue(spellingOf("string").type, goString)), serialized as string)
      return { hash, pepper, serialised: bytes(serialized ?? (rawBytes as string)), match: true }
    }),
    ...second.hashes.map(({ type: name, value, pepper, hash, match = true }) => {
      const { type, read } = spellingOf(name)
      return { hash, pepper, serialised: serializeValue(type, read(value)), match }
    }),
  ]

  it("verify, with their own value and pepper alone", async () => {
    assert.equal(hashes.length, 22)
    assert.equal(hashes.filter(({ match }) => match).length, 20)
    for (const { hash, pepper, serialised, match } of hashes) {
      assert.equal(await hasherOf(pepper).verifyGo(serialised, hash), match, hash)
      // Another pepper, another value: for those that cost little.
      if (parseGoHash(hash).memoryKiB > 8192) continue
      assert.equal(await hasherOf("ab".repeat(32)).verifyGo(serialised, hash), false, hash)
      assert.equal(await hasherOf(pepper).verifyGo(concat(serialised, Uint8Array.of(0)), hash), false, hash)
    }
  })

  it("are written byte for byte, at their cost and with their salt", async () => {
    let written = 0
    for (const { hash, pepper, serialised, match } of hashes) {
      const { salt, hash: output, ...cost } = parseGoHash(hash)
      // New hashes have 32 bytes.
      if (!match || output.length !== 32) continue
      const hasher = new PasswordHasher(new Peppers([bytes(pepper)]), cost)
      assert.equal(await hasher.hashGo(serialised, {}, salt), hash)
      written++
    }
    assert.equal(written, 12)
  })
})

describe("the Go library's metadata", () => {
  it("is written and read byte for byte", () => {
    const metadata = parseMetadata(first.metadataJson)
    assert.deepEqual(metadata, {
      pepper_version: 0,
      kek_alias: "alias/x<y>&z",
      encryption_time: 1_700_000_000,
      generator_version: "1.0.0",
    })
    assert.equal(stringifyMetadata(metadata), first.metadataJson)
    assert.equal(formatMetadata({ alias: "alias/x<y>&z", at: new Date(1_700_000_000_999) }), first.metadataJson)
  })
})

describe("what the Go library refuses", () => {
  it("is refused here", async () => {
    assert.equal(second.refused.length, 11)
    for (const vector of second.refused) {
      if (vector.op === "decryptData") {
        assert.throws(() => decryptData(bytes(vector.ciphertext), bytes(vector.dek)), DecryptionFailed)
      } else if (vector.op === "deserialize") {
        assert.throws(() => deserializeValue(spellingOf(vector.type).type, bytes(vector.hex)), InvalidFormat)
      } else {
        await assert.rejects(
          () => through(decryptGoStream(bytes(vector.dek)), bytes(vector.data)),
          (error) => error instanceof DecryptionFailed || error instanceof InvalidFormat,
        )
      }
    }
  })

  it("is refused here where it is tolerated there, but for chunks that are missing or out of order", async () => {
    assert.equal(second.tolerated.length, 5)
    const states: string[] = []
    for (const { type, hex: digits, stream, dek, plainSha256 } of second.tolerated) {
      if (type !== undefined) {
        assert.throws(
          () => deserializeValue(spellingOf(type).type, bytes(digits as string)),
          (error) => error instanceof InvalidFormat && states.push(error.message) > 0,
        )
        continue
      }
      // The format cannot tell; the result says so.
      const decrypted = decryptGoStream(bytes(dek as string))
      const plaintext = await through(decrypted, unbase64(stream as string))
      assert.equal(createHash("sha256").update(plaintext).digest("hex"), plainSha256)
      assert.equal((await decrypted.result).integrity, "per-chunk")
    }
    assert.deepEqual(states, [
      "Cannot read a Go bool: it is neither 00 nor 01",
      "Cannot read a Go int16: it is out of range",
      "Cannot read a Go []string: it is followed by more bytes",
    ])
  })
})
