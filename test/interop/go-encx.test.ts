import assert from "node:assert/strict"
import { randomInt } from "node:crypto"
import process from "node:process"
import { after, describe, it } from "node:test"
import fc from "fast-check"
import { concat, equal, fromHex, hex, randomBytes } from "../../core/bytes.ts"
import { decryptData, encryptData } from "../../core/cipher/aes-gcm.ts"
import { DecryptionFailed, InvalidFormat } from "../../core/errors.ts"
import { compareBasic, hashBasic } from "../../core/go-encx/basic-hash.ts"
import {
  decryptGoStream,
  deserializeValue,
  encryptGoStream,
  goDate,
  goTime,
  goUUID,
  serializeValue,
} from "../../core/go-encx/mod.ts"
import { PasswordHasher } from "../../core/hash/password.ts"
import { Peppers } from "../../core/hash/pepper.ts"
import { patterned, through } from "../go-encx/_streams.ts"
import { anyBytes, spellingOf, VALUES } from "../go-encx/_values.ts"
import { needsPeer, type Peer, startPeer } from "./_peer.ts"

// Values, streams and hashes, both ways. The peer agrees with the Go library itself; its README says how that was found.

// Of each of 54 types, each way; npm run test:go asks for 1,000.
const EACH = Number(process.env.ENCX_GO_VALUES || 60)
const STREAMS = 100
const HASHES = 50

const bytes = (digits: unknown): Uint8Array => fromHex(digits as string, "an answer")

let started: Peer | undefined
const peer = (): Peer => {
  started ??= startPeer("go-encx")
  return started
}
after(() => started?.close())

/** Random values of every type, pointers to them, and pointers to those: as they are, and as the peer has them. */
function* values(): Generator<{ name: string; value: unknown; spelled: unknown }> {
  for (const [base, arbitrary] of Object.entries(VALUES)) {
    for (const [name, all] of [
      [base, arbitrary],
      [`*${base}`, fc.option(arbitrary)],
      // Of a pointer to a nil pointer there is no spelling.
      [`**${base}`, arbitrary],
    ] as const) {
      for (const value of fc.sample(all, EACH)) yield { name, value, spelled: spellingOf(name).write(value) }
    }
  }
}

describe("the Go peer, and values of every type", needsPeer("go-encx"), () => {
  it("serialises, hashes and encrypts what is read here", async () => {
    const dek = randomBytes(32)
    const all = [...values()]
    assert.equal(all.length, 18 * 3 * EACH)
    const answers = await Promise.all(
      all.map(async ({ name, spelled }) => {
        const question = { type: name, value: spelled }
        const [field, { hash }] = await Promise.all([
          peer().ask("encryptField", { ...question, dek: hex(dek) }),
          peer().ask("hashBasic", question),
        ])
        return { ...field, hash: hash as string }
      }),
    )
    for (const [i, answer] of answers.entries()) {
      const { name, value } = all[i] as (typeof all)[number]
      const { type } = spellingOf(name)
      const { serialized, ciphertext, hash } = answer as Record<"serialized" | "ciphertext" | "hash", string>
      assert.equal(hex(serializeValue(type, value)), serialized, name)
      const opened = decryptData(bytes(ciphertext), dek)
      assert.equal(hex(opened), serialized)
      assert.deepEqual(deserializeValue(type, opened), value, name)
      assert.ok(compareBasic(opened, hash))
    }
  })

  it("decrypts, reads and compares what is written here", async () => {
    const dek = randomBytes(32)
    const all = [...values()]
    const answers = await Promise.all(
      all.map(async ({ name, value }) => {
        const { type } = spellingOf(name)
        const serialised = serializeValue(type, value)
        const [{ value: read }, { match }] = await Promise.all([
          peer().ask("decryptField", { type: name, dek: hex(dek), ciphertext: hex(encryptData(serialised, dek)) }),
          peer().ask("compareBasic", { hex: hex(serialised), hash: hashBasic(serialised) }),
        ])
        return { read, match }
      }),
    )
    for (const [i, { read, match }] of answers.entries()) {
      const { name, spelled } = all[i] as (typeof all)[number]
      assert.deepEqual(read, spelled, name)
      assert.equal(match, true)
    }
  })

  it("has the same bytes for UUIDs and for Dates", async () => {
    for (let i = 0; i < 50; i++) {
      const id = globalThis.crypto.randomUUID()
      const { hex: array } = await peer().ask("serialize", { type: "[16]byte", value: id.replaceAll("-", "") })
      assert.equal(deserializeValue(goUUID(), bytes(array)), id)
      assert.equal(hex(serializeValue(goUUID(), id)), array)
      const nanoseconds = BigInt.asIntN(64, BigInt(`0x${hex(randomBytes(8))}`))
      const { hex: time } = await peer().ask("serialize", { type: "time.Time", value: String(nanoseconds) })
      const date = deserializeValue(goDate(), bytes(time)) as Date
      assert.equal(
        BigInt(date.getTime()),
        (nanoseconds - BigInt.asUintN(64, ((nanoseconds % 1_000_000n) + 1_000_000n) % 1_000_000n)) / 1_000_000n,
      )
      assert.equal(deserializeValue(goTime(), bytes(time)), nanoseconds)
    }
  })

  it("reads whatever is read here to the same value: here no more is read than there", async () => {
    const names = Object.keys(VALUES).flatMap((name) => [name, `*${name}`])
    const garbage = names.flatMap((name) =>
      fc.sample(anyBytes(24), EACH).map((data) => {
        // Half of it begins as it might.
        const all = VALUES[name.replace("*", "")] as fc.Arbitrary<unknown>
        const [value] = fc.sample(all, 1)
        const sound = serializeValue(spellingOf(name).type, value)
        const at = randomInt(sound.length)
        const changed = sound.with(at, randomInt(256))
        return { name, data: data.length % 2 === 0 ? data : changed }
      }),
    )
    const refusedThere = await Promise.all(
      garbage.map(({ name, data }) =>
        peer()
          .ask("deserialize", { type: name, hex: hex(data) })
          .then(
            ({ value }) => ({ value }),
            () => undefined,
          ),
      ),
    )
    let [read, refused] = [0, 0]
    for (const [i, there] of refusedThere.entries()) {
      const { name, data } = garbage[i] as (typeof garbage)[number]
      const { type, write } = spellingOf(name)
      let here: unknown
      try {
        here = deserializeValue(type, data)
      } catch (error) {
        assert.ok(error instanceof InvalidFormat)
        refused++
        continue
      }
      read++
      assert.ok(there, `${name} ${hex(data)} is refused there`)
      // Of the NaNs one is written here.
      if (!Number.isNaN(here)) assert.deepEqual(there.value, write(here), `${name} ${hex(data)}`)
    }
    assert.ok(read > 100 && refused > 100, `${read} read, ${refused} refused`)
  })

  it("refuses what was changed, as is refused here", async () => {
    const dek = randomBytes(32)
    for (let i = 0; i < 40; i++) {
      const sealed = encryptData(serializeValue(spellingOf("string").type, "x".repeat(i)), dek)
      const at = randomInt(sealed.length)
      for (const changed of [sealed.with(at, (sealed[at] as number) ^ 1), sealed.slice(0, at)]) {
        assert.throws(() => decryptData(changed, dek), DecryptionFailed)
        await assert.rejects(() => peer().ask("decryptData", { dek: hex(dek), ciphertext: hex(changed) }))
      }
    }
  })
})

describe("the Go peer, and streams", needsPeer("go-encx"), () => {
  const size = (i: number): number => (i % 4 === 0 ? 4096 * (i % 16) + randomInt(3) : randomInt(60_000))

  it("reads what is written here, in pieces of any size", async () => {
    for (let i = 0; i < STREAMS; i++) {
      const [dek, plaintext] = [randomBytes(32), patterned(size(i))]
      const largest = randomInt(1, 20_000)
      const sealed = await through(encryptGoStream(dek), plaintext, () => randomInt(1, largest + 1))
      const { data } = await peer().ask("decryptStream", { dek: hex(dek), data: hex(sealed) })
      assert.ok(equal(bytes(data), plaintext), `${plaintext.length} bytes by ${largest}`)
    }
  })

  it("writes what is read here, whatever its source gave at a time", async () => {
    for (let i = 0; i < STREAMS; i++) {
      const [dek, plaintext] = [randomBytes(32), patterned(size(i))]
      // The Go library's chunks are what one read of its source gave, up to 4,096 bytes; the peer can write larger ones.
      const read = i % 10 === 0 ? randomInt(4097, 30_000) : randomInt(50, 4097)
      const { data } = await peer().ask("encryptStream", { dek: hex(dek), data: hex(plaintext), read })
      const stream = decryptGoStream(dek)
      const largest = randomInt(1, 20_000)
      assert.ok(
        equal(await through(stream, bytes(data), () => randomInt(1, largest + 1)), plaintext),
        `${plaintext.length} bytes by ${read}`,
      )
      const { chunks, integrity } = await stream.result
      assert.deepEqual([chunks, integrity], [Math.ceil(plaintext.length / read), "per-chunk"])
    }
  })

  it("refuses what is refused here, but for the beginning of a header at the end", async () => {
    const dek = randomBytes(32)
    const sealed = await through(encryptGoStream(dek), patterned(5000))
    const there = (data: Uint8Array): Promise<unknown> =>
      peer().ask("decryptStream", { dek: hex(dek), data: hex(data) })
    const broken = [
      sealed.with(0, 1),
      sealed.with(20, (sealed[20] as number) ^ 1),
      sealed.slice(0, -1),
      sealed.slice(0, 2000),
      concat(sealed, new Uint8Array(4)),
      concat(sealed, Uint8Array.of(0, 0, 0, 27), new Uint8Array(27)),
      concat(sealed, Uint8Array.of(0, 160, 0, 1)),
    ]
    for (const data of broken) {
      await assert.rejects(() => there(data))
      await assert.rejects(() => through(decryptGoStream(dek), data))
    }
    for (const more of [1, 2, 3]) {
      const data = concat(sealed, new Uint8Array(more))
      await there(data)
      await assert.rejects(() => through(decryptGoStream(dek), data), InvalidFormat)
    }
  })
})

describe("the Go peer, and password hashes", needsPeer("go-encx"), () => {
  const password = (): string => fc.sample(VALUES.string as fc.Arbitrary<string>, 1)[0] as string
  const { type } = spellingOf("string")

  it("makes hashes of any cost that verify here", async () => {
    for (let i = 0; i < HASHES; i++) {
      const [pepper, value, p] = [randomBytes(32), password(), randomInt(1, 9)]
      const cost = { m: randomInt(8 * p, 400), t: randomInt(1, 5), p, salt: randomInt(8, 65), key: randomInt(16, 129) }
      const { hash } = await peer().ask("hashSecure", { type: "string", value, pepper: hex(pepper), ...cost })
      const hasher = new PasswordHasher(new Peppers([randomBytes(32), pepper]), {})
      assert.equal(await hasher.verifyGo(serializeValue(type, value), hash as string), true, JSON.stringify(cost))
      assert.equal(await hasher.verifyGo(serializeValue(type, `${value}x`), hash as string), false)
      assert.equal(hasher.needsRehash(hash as string), true)
    }
  })

  it("verifies the hashes that are made here", async () => {
    for (let i = 0; i < HASHES; i++) {
      const [pepper, value] = [randomBytes(32), password()]
      // As cheap as a test wants it: newCrypto refuses such a cost.
      const hasher = new PasswordHasher(new Peppers([pepper, randomBytes(32)]), {
        memoryKiB: 64 * (1 + (i % 4)),
        iterations: 1 + (i % 3),
        parallelism: 1 + (i % 4),
      })
      const hash = await hasher.hashGo(serializeValue(type, value))
      const ask = async (given: string, with_: Uint8Array): Promise<unknown> =>
        (await peer().ask("compareSecure", { type: "string", value: given, pepper: hex(with_), hash })).match
      assert.deepEqual(
        [await ask(value, pepper), await ask(`${value}x`, pepper), await ask(value, randomBytes(32))],
        [true, false, false],
        hash,
      )
    }
  })
})
