import assert from "node:assert/strict"
import { randomInt } from "node:crypto"
import { after, test } from "node:test"
import { concat, fromHex, hex, randomBytes } from "../../core/bytes.ts"
import { openMessage, sealMessage } from "../../core/cipher/cobblestone.ts"
import { bodyContext, type KeyEntry, parseEnvelope } from "../../core/cipher/envelope.ts"
import { encodeContext, newCrypto, withKEKAlias, withKMSService } from "../../mod.ts"
import { memory } from "../../providers/memory.ts"
import { needsPeer, type Peer, startPeer } from "./_peer.ts"

// Cobblestone-256 written from the specification in Go: it seals what we open, and opens what we seal.

const MESSAGES = 300
const CHUNK = 16_384

const options = needsPeer("cobblestone-go")

let started: Peer | undefined
after(() => started?.close())

function peer(): Peer {
  started ??= startPeer("cobblestone-go")
  return started
}

/** What the peer opens, in hex; it rejects when the peer refuses. */
async function open(key: Uint8Array, context: Uint8Array, message: Uint8Array): Promise<string> {
  const question = { key: hex(key), context: hex(context), data: hex(message) }
  return (await peer().ask<{ data: string }>("open", question)).data
}

async function refuses(key: Uint8Array, context: Uint8Array, message: Uint8Array): Promise<void> {
  await assert.rejects(open(key, context, message), /^Error: the peer: /)
}

interface Message {
  readonly key: Uint8Array
  readonly context: Uint8Array
  readonly plaintext: Uint8Array
}

function* messages(): Generator<Message> {
  for (let i = 0; i < MESSAGES; i++) {
    const about = CHUNK * (i % 4) + [-1, 0, 1, 100][Math.floor(i / 4) % 4]!
    const length = i % 3 === 0 ? randomInt(0, 3 * CHUNK) : Math.max(0, about)
    yield {
      key: randomBytes(32),
      context: randomBytes(i % 5 === 0 ? 0 : randomInt(1, 300)),
      plaintext: randomBytes(length),
    }
  }
}

// --- Both ways ---

test("sealMessage() writes what the Go peer opens when lengths are about whole chunks", options, async () => {
  let opened = 0
  for (const { key, context, plaintext } of messages()) {
    const data = await open(key, context, sealMessage(key, context, plaintext))
    assert.ok(data === hex(plaintext), `${plaintext.length} bytes differ`)
    opened++
  }
  assert.equal(opened, MESSAGES)
})

test("openMessage() opens what the Go peer seals when lengths are about whole chunks", options, async () => {
  let opened = 0
  for (const { key, context, plaintext } of messages()) {
    const question = { key: hex(key), context: hex(context), data: hex(plaintext) }
    const { data } = await peer().ask<{ data: string }>("seal", question)
    const message = fromHex(data, "a message")
    const back = openMessage(key, context, message)
    assert.ok(back && hex(back) === hex(plaintext), `${plaintext.length} bytes differ`)
    assert.ok(hex(sealMessage(key, context, plaintext, undefined, message.slice(0, 24))) === data, "another message")
    opened++
  }
  assert.equal(opened, MESSAGES)
})

test("sealMessage() writes what the Go peer refuses when it was changed", options, async () => {
  const [key, context] = [randomBytes(32), randomBytes(20)]
  let refused = 0
  for (const length of [0, 1, CHUNK, CHUNK + 1]) {
    const message = sealMessage(key, context, randomBytes(length))
    await open(key, context, message)
    const changes = [
      message.subarray(0, -1),
      concat(message, Uint8Array.of(0)),
      message.with(-1, (message.at(-1) as number) ^ 1),
      message.with(0, (message[0] as number) ^ 1),
      message.with(24, (message[24] as number) ^ 1),
    ]
    for (const changed of changes) {
      await refuses(key, context, changed)
      refused++
    }
    await refuses(key, randomBytes(20), message)
    await refuses(randomBytes(32), context, message)
    refused += 2
  }
  assert.equal(refused, 28)
})

test(
  "seal() writes an envelope whose body the Go peer opens when it gets the data key and what is bound",
  options,
  async () => {
    const kms = memory()
    await kms.createKey("app")
    const crypto = await newCrypto(withKMSService(kms), withKEKAlias("app"))
    for (const context of [{}, { tenant: "acme", city: "Zürich", "\u{10000}": "a", "\uffff": "b" }]) {
      const plaintext = randomBytes(2 * CHUNK)
      const parsed = parseEnvelope(await crypto.seal(plaintext, context))
      const [{ wrapped, ref, version }] = parsed.keys as [KeyEntry]
      const dek = await crypto.decryptDEK({ ciphertext: wrapped, keyID: ref, version, dekID: hex(parsed.dekID) })
      assert.ok(
        (await open(dek, concat(...bodyContext(parsed, encodeContext(context))), parsed.body)) === hex(plaintext),
      )
      await refuses(dek, concat(...bodyContext(parsed, encodeContext({ tenant: "other" }))), parsed.body)
    }
  },
)
