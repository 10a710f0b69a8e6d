import assert from "node:assert/strict"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { createHash, randomInt } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { createInterface } from "node:readline"
import { after, test } from "node:test"
import { concat, fromHex, hex, randomBytes } from "../../core/bytes.ts"
import { openMessage, sealMessage } from "../../core/cipher/cobblestone.ts"
import { bodyContext, type KeyEntry, parseEnvelope } from "../../core/cipher/envelope.ts"
import { encodeContext, newCrypto, withKEKAlias, withKMSService } from "../../mod.ts"
import { memory } from "../../providers/memory.ts"
import { PEERS, skipIf } from "../vectors.ts"

// Cobblestone-256 written from the specification in Go: it seals what we open, and opens what we seal.

const SOURCES = join(PEERS, "cobblestone-go")
const MESSAGES = 300
const CHUNK = 16_384

const hasSources = existsSync(join(SOURCES, "go.mod"))
const hasGo = spawnSync("go", ["version"]).status === 0
const options = skipIf(
  !(hasSources && hasGo),
  `${hasSources ? "Go is not installed" : `${SOURCES} is absent (ENCX_PEERS names its folder)`}`,
)

interface Answer {
  readonly ok: boolean
  readonly data?: string
  readonly error?: string
}

// --- The peer ---

// Built once for each state of its sources, and outside of the checkout.
function build(): string {
  const digest = createHash("sha256")
  for (const file of readdirSync(SOURCES).toSorted())
    digest.update(`${file}\0`).update(readFileSync(join(SOURCES, file)))
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "encx")
  const binary = join(
    folder,
    `cobblestone-go-${digest.digest("hex").slice(0, 16)}${process.platform === "win32" ? ".exe" : ""}`,
  )
  if (existsSync(binary)) return binary
  mkdirSync(folder, { recursive: true })
  const unfinished = `${binary}.${process.pid}`
  const { status, stderr, error } = spawnSync("go", ["build", "-buildvcs=false", "-o", unfinished, "."], {
    cwd: SOURCES,
    encoding: "utf8",
  })
  assert.equal(status, 0, `go build: ${error ?? stderr}`)
  renameSync(unfinished, binary)
  return binary
}

let peer: ChildProcess | undefined
const asked: { resolve(answer: Answer): void; reject(error: Error): void }[] = []

function start(): ChildProcess {
  assert.ok(hasSources && hasGo, "ENCX_REQUIRE_SERVERS=1, and Go or the peer's sources are absent")
  const child = spawn(build(), [], { stdio: ["pipe", "pipe", "inherit"] })
  // It answers in the order in which it is asked.
  createInterface({ input: child.stdout }).on("line", (line) => {
    asked.shift()?.resolve(JSON.parse(line) as Answer)
  })
  const fail = (error: Error): void => {
    for (const { reject } of asked.splice(0)) reject(error)
  }
  child.on("error", fail)
  child.on("exit", (code) => fail(new Error(`the peer ended with ${code}`)))
  return child
}

after(() => {
  peer?.stdin?.end()
  peer?.kill()
})

function ask(question: Readonly<Record<string, string>>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    peer ??= start()
    asked.push({ resolve, reject })
    peer.stdin?.write(`${JSON.stringify(question)}\n`)
  })
}

const open = (key: Uint8Array, context: Uint8Array, message: Uint8Array): Promise<Answer> =>
  ask({ op: "open", key: hex(key), context: hex(context), data: hex(message) })

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
    const answer = await open(key, context, sealMessage(key, context, plaintext))
    assert.ok(answer.ok, `${plaintext.length} bytes: ${answer.error}`)
    assert.ok(answer.data === hex(plaintext), `${plaintext.length} bytes differ`)
    opened++
  }
  assert.equal(opened, MESSAGES)
})

test("openMessage() opens what the Go peer seals when lengths are about whole chunks", options, async () => {
  let opened = 0
  for (const { key, context, plaintext } of messages()) {
    const answer = await ask({ op: "seal", key: hex(key), context: hex(context), data: hex(plaintext) })
    assert.ok(answer.ok, answer.error)
    const message = fromHex(answer.data as string, "a message")
    const back = openMessage(key, context, message)
    assert.ok(back && hex(back) === hex(plaintext), `${plaintext.length} bytes differ`)
    assert.ok(
      hex(sealMessage(key, context, plaintext, undefined, message.slice(0, 24))) === answer.data,
      "another message",
    )
    opened++
  }
  assert.equal(opened, MESSAGES)
})

test("sealMessage() writes what the Go peer refuses when it was changed", options, async () => {
  const [key, context] = [randomBytes(32), randomBytes(20)]
  let refused = 0
  for (const length of [0, 1, CHUNK, CHUNK + 1]) {
    const message = sealMessage(key, context, randomBytes(length))
    assert.ok((await open(key, context, message)).ok)
    const changes = [
      message.subarray(0, -1),
      concat(message, Uint8Array.of(0)),
      message.with(-1, (message.at(-1) as number) ^ 1),
      message.with(0, (message[0] as number) ^ 1),
      message.with(24, (message[24] as number) ^ 1),
    ]
    for (const changed of changes) {
      assert.equal((await open(key, context, changed)).ok, false)
      refused++
    }
    assert.equal((await open(key, randomBytes(20), message)).ok, false)
    assert.equal((await open(randomBytes(32), context, message)).ok, false)
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
      const answer = await open(dek, bodyContext(parsed, encodeContext(context)), parsed.body)
      assert.ok(answer.ok, answer.error)
      assert.ok(answer.data === hex(plaintext))
      assert.equal((await open(dek, bodyContext(parsed, encodeContext({ tenant: "other" })), parsed.body)).ok, false)
    }
  },
)
