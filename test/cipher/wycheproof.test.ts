import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { test } from "node:test"
import { inflateSync } from "node:zlib"
import { concat, fromHex, hex } from "../../core/bytes.ts"
import { encryptWithNonce } from "../../core/cipher/aes-gcm.ts"
import { openMessage, sealMessage } from "../../core/cipher/cobblestone.ts"
import { type Hash, hkdf, hmac } from "../../core/cipher/derive.ts"
import { DecryptionFailed, decryptData, encryptData } from "../../mod.ts"
import { needsVectors, readWycheproof, type WycheproofTest } from "../vectors.ts"

const bytes = (encoded: string): Uint8Array => fromHex(encoded, "a vector")
const file = (name: string): string => `wycheproof/${name}`
const count = (tests: readonly WycheproofTest[], result: string): number =>
  tests.filter((test) => test.result === result).length

// --- Cobblestone-256 ---

const COBBLESTONE = "c2sp_chunked_encryption_aes_256_gcm_test.json"

interface CobblestoneVector {
  readonly key: string
  readonly ctx: string
  readonly ct: string
  readonly msgLength?: number
  readonly msgSha512?: string
}

function opensAsSaid({ key, ctx, ct, msgLength, msgSha512 }: CobblestoneVector): void {
  const message = new Uint8Array(inflateSync(bytes(ct)))
  const plaintext = openMessage(bytes(key), bytes(ctx), message)
  assert.ok(plaintext)
  assert.equal(plaintext.length, msgLength)
  assert.equal(createHash("sha512").update(plaintext).digest("hex"), msgSha512)
  const resealed = sealMessage(bytes(key), bytes(ctx), plaintext, undefined, message.slice(0, 24))
  assert.ok(Buffer.compare(resealed, message) === 0, "resealed with its salt, it is another message")
}

function isRefused({ key, ctx, ct }: CobblestoneVector): void {
  const message = new Uint8Array(inflateSync(bytes(ct)))
  const open = (): Uint8Array | undefined => openMessage(bytes(key), bytes(ctx), message)
  if (key.length !== 64) {
    assert.throws(open, RangeError)
    return
  }
  // Not committed to this key, or changed: two answers for those who call it, and neither is a plaintext.
  try {
    assert.equal(open(), undefined)
  } catch (error) {
    assert.ok(error instanceof DecryptionFailed, String(error))
  }
}

test("openMessage() does what Wycheproof says when it gets its 35 messages", needsVectors(file(COBBLESTONE)), () => {
  const vectors = readWycheproof<CobblestoneVector>(COBBLESTONE)
  assert.equal(vectors.length, 35)
  assert.equal(count(vectors, "valid"), 10)
  assert.equal(count(vectors, "invalid"), 25)
  for (const vector of vectors) {
    try {
      if (vector.result === "valid") opensAsSaid(vector)
      else isRefused(vector)
    } catch (cause) {
      throw new Error(`tcId ${vector.tcId}: ${vector.comment}`, { cause })
    }
  }
})

test("sealMessage() refuses a key when it has not 32 bytes", () => {
  const none = new Uint8Array(0)
  assert.equal(sealMessage(new Uint8Array(32), none, none).length, 72)
  for (const length of [0, 16, 24, 31, 33, 64]) {
    assert.throws(() => sealMessage(new Uint8Array(length), none, none), RangeError, `${length} bytes`)
  }
})

// --- AES-256-GCM ---

const GCM = "aes_gcm_test.json"

interface GCMVector {
  readonly key: string
  readonly iv: string
  readonly aad: string
  readonly msg: string
  readonly ct: string
  readonly tag: string
  readonly keySize: number
  readonly ivSize: number
  readonly tagSize: number
}

const isOurs = ({ keySize, ivSize, tagSize }: GCMVector): boolean => keySize === 256 && ivSize === 96 && tagSize === 128

test("decryptData() does what Wycheproof says when key, IV and tag have its sizes", needsVectors(file(GCM)), () => {
  const vectors = readWycheproof<GCMVector>(GCM).filter(isOurs)
  assert.equal(vectors.length, 66)
  assert.equal(count(vectors, "valid"), 39)
  assert.equal(count(vectors, "invalid"), 27)
  for (const { tcId, key, iv, aad, msg, ct, tag, result } of vectors) {
    const options = { additionalData: bytes(aad) }
    const stored = bytes(iv + ct + tag)
    if (result === "invalid") {
      assert.throws(() => decryptData(stored, bytes(key), options), DecryptionFailed, `tcId ${tcId}`)
      continue
    }
    assert.equal(hex(decryptData(stored, bytes(key), options)), msg, `tcId ${tcId}`)
    assert.equal(hex(encryptWithNonce(bytes(msg), bytes(key), bytes(iv), options)), iv + ct + tag, `tcId ${tcId}`)
    const again = encryptData(bytes(msg), bytes(key), options)
    assert.equal(hex(decryptData(again, bytes(key), options)), msg, `tcId ${tcId}`)
  }
})

test("decryptData() refuses what Wycheproof has when key or IV have other sizes", needsVectors(file(GCM)), () => {
  const vectors = readWycheproof<GCMVector>(GCM).filter((vector) => !isOurs(vector))
  assert.equal(vectors.length, 250)
  const refused = { key: 0, iv: 0 }
  for (const { tcId, key, iv, aad, msg, ct, tag, keySize } of vectors) {
    const options = { additionalData: bytes(aad) }
    const stored = concat(bytes(iv), bytes(ct), bytes(tag))
    if (keySize !== 256) {
      assert.throws(() => decryptData(stored, bytes(key), options), RangeError, `tcId ${tcId}`)
      assert.throws(() => encryptData(bytes(msg), bytes(key), options), RangeError, `tcId ${tcId}`)
      refused.key++
      continue
    }
    assert.throws(() => decryptData(stored, bytes(key), options), DecryptionFailed, `tcId ${tcId}`)
    assert.throws(() => encryptWithNonce(bytes(msg), bytes(key), bytes(iv), options), RangeError, `tcId ${tcId}`)
    refused.iv++
  }
  assert.deepEqual(refused, { key: 211, iv: 39 })
})

// --- HMAC and HKDF ---

interface HMACVector {
  readonly key: string
  readonly msg: string
  readonly tag: string
  readonly tagSize: number
}

for (const hash of ["sha256", "sha512"] as const satisfies readonly Hash[]) {
  const name = `hmac_${hash}_test.json`
  test(`hmac() does what Wycheproof says when the hash is ${hash}`, needsVectors(file(name)), () => {
    const vectors = readWycheproof<HMACVector>(name)
    assert.equal(vectors.length, 174)
    assert.equal(count(vectors, "valid"), 66)
    assert.equal(count(vectors, "invalid"), 108)
    for (const { tcId, key, msg, tag, tagSize, result } of vectors) {
      const mac = hex(hmac(hash, bytes(key), bytes(msg)).subarray(0, tagSize / 8))
      assert.equal(mac === tag, result === "valid", `tcId ${tcId}`)
    }
  })
}

interface HKDFVector {
  readonly ikm: string
  readonly salt: string
  readonly info: string
  readonly size: number
  readonly okm: string
}

for (const [hash, total] of [
  ["sha256", 86],
  ["sha512", 83],
] as const) {
  const name = `hkdf_${hash}_test.json`
  test(`hkdf() does what Wycheproof says when the hash is ${hash}`, needsVectors(file(name)), () => {
    const vectors = readWycheproof<HKDFVector>(name)
    assert.equal(vectors.length, total)
    assert.equal(count(vectors, "invalid"), 3)
    for (const { tcId, ikm, salt, info, size, okm, flags, result } of vectors) {
      const derive = (): string => hex(hkdf(hash, bytes(ikm), bytes(salt), bytes(info), size))
      if (result === "valid") {
        assert.equal(derive(), okm, `tcId ${tcId}`)
        continue
      }
      assert.deepEqual(flags, ["SizeTooLarge"])
      assert.throws(derive, RangeError, `tcId ${tcId}`)
    }
  })
}
