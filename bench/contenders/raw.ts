/**
 * The limit: AES-256-GCM of the runtime and nothing else. The key is a KeyObject, nonces come from a block of random bytes, a message has
 * one output; nothing is derived, committed to, framed or kept. On Deno, where node:crypto is slow for large messages, they go to WebCrypto.
 */
import { Buffer } from "node:buffer"
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  randomBytes,
  randomFillSync,
  webcrypto,
} from "node:crypto"
import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs"
import process from "node:process"
import type { Contender, Files, Person, Pipe, Values } from "../contender.ts"

const ALGORITHM = "aes-256-gcm"
const NONCE = 12
const TAG = 16
const OPTIONS = { authTagLength: TAG } as const
const PIECE = 16 * 1024
const BLOCK = 64 * 1024
const sealedOf = (plain: number): number => (plain / PIECE) * (NONCE + PIECE + TAG)
// Where WebCrypto, one call at a time, is faster on Deno.
const LARGE = process.versions["deno"] === undefined ? Number.POSITIVE_INFINITY : PIECE

const secret = randomBytes(32)
const key = createSecretKey(secret)
const indexKey = createSecretKey(randomBytes(32))
const webKey = await webcrypto.subtle.importKey("raw", secret, "AES-GCM", false, ["encrypt", "decrypt"])
const pool = Buffer.alloc(1024 * NONCE)
let used = pool.length

function nonce(): Buffer {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += NONCE
  return pool.subarray(used - NONCE, used)
}

function seal(plaintext: Uint8Array, aad: Uint8Array | undefined): Buffer {
  const iv = nonce()
  const cipher = createCipheriv(ALGORITHM, key, iv, OPTIONS)
  if (aad) cipher.setAAD(aad)
  const out = Buffer.allocUnsafe(NONCE + plaintext.length + TAG)
  out.set(iv)
  out.set(cipher.update(plaintext), NONCE)
  cipher.final()
  out.set(cipher.getAuthTag(), NONCE + plaintext.length)
  return out
}

function open(sealed: Uint8Array, aad: Uint8Array | undefined): Buffer {
  const end = sealed.length - TAG
  const decipher = createDecipheriv(ALGORITHM, key, sealed.subarray(0, NONCE), OPTIONS)
  if (aad) decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(end))
  const plaintext = decipher.update(sealed.subarray(NONCE, end))
  decipher.final()
  return plaintext
}

function webAlgorithm(iv: Uint8Array, aad: Uint8Array | undefined): webcrypto.AesGcmParams {
  return { name: "AES-GCM", iv, ...(aad && { additionalData: aad }) }
}

async function webSeal(plaintext: Uint8Array, aad: Uint8Array | undefined): Promise<Buffer> {
  const iv = Uint8Array.from(nonce())
  const sealed = await webcrypto.subtle.encrypt(webAlgorithm(iv, aad), webKey, plaintext)
  const out = Buffer.allocUnsafe(NONCE + sealed.byteLength)
  out.set(iv)
  out.set(new Uint8Array(sealed), NONCE)
  return out
}

async function webOpen(sealed: Uint8Array, aad: Uint8Array | undefined): Promise<Uint8Array> {
  const algorithm = webAlgorithm(sealed.subarray(0, NONCE), aad)
  return new Uint8Array(await webcrypto.subtle.decrypt(algorithm, webKey, sealed.subarray(NONCE)))
}

function values(context: Readonly<Record<string, string>> | undefined): Values {
  const aad = context && Buffer.from(JSON.stringify(context))
  return {
    seal: (plaintext) => {
      const bytes = plaintext as Uint8Array
      return bytes.length < LARGE ? seal(bytes, aad) : webSeal(bytes, aad)
    },
    open: (sealed) => {
      const bytes = sealed as Uint8Array
      return bytes.length < LARGE ? open(bytes, aad) : webOpen(bytes, aad)
    },
  }
}

// --- Records ---

const FIELDS = ["email", "name", "phone", "note"] as const
type Row = Record<(typeof FIELDS)[number], Uint8Array> & { readonly email_index: Uint8Array }

function sealPerson({ email, name, phone, note }: Person): Row {
  return {
    email: seal(Buffer.from(email), undefined),
    name: seal(Buffer.from(name), undefined),
    phone: seal(Buffer.from(phone), undefined),
    note: seal(Buffer.from(note), undefined),
    email_index: createHmac("sha256", indexKey).update(email).digest(),
  }
}

function openPerson({ email, name, phone, note }: Row): Omit<Person, "id"> {
  return {
    email: open(email, undefined).toString(),
    name: open(name, undefined).toString(),
    phone: open(phone, undefined).toString(),
    note: open(note, undefined).toString(),
  }
}

// --- Streams: every 16 KiB is a message ---

// WebCrypto's calls are in flight together, up to this many.
const FLIGHTS = 32

/** Cuts into pieces of one length; a piece lies in one block of the source, whose blocks are multiples of it. */
function* pieces(source: Iterable<Uint8Array>, length: number): Generator<Uint8Array> {
  let rest: Uint8Array = Buffer.alloc(0)
  for (const block of source) {
    let at = 0
    if (rest.length > 0) {
      at = length - rest.length
      const joined = Buffer.concat([rest, block.subarray(0, at)])
      rest = joined
      if (joined.length < length) continue
      yield joined
    }
    for (; at + length <= block.length; at += length) yield block.subarray(at, at + length)
    rest = block.subarray(at)
  }
  if (rest.length > 0) yield rest
}

function piecewise(
  length: number,
  sync: (piece: Uint8Array, sink: (out: Uint8Array) => void) => void,
  web: (piece: Uint8Array) => Promise<Uint8Array>,
): Pipe {
  if (LARGE > PIECE)
    return async (source, sink) => {
      for (const piece of pieces(source, length)) sync(piece, sink)
    }
  return async (source, sink) => {
    const flying: Promise<Uint8Array>[] = []
    for (const piece of pieces(source, length)) {
      flying.push(web(piece))
      if (flying.length < FLIGHTS) continue
      for (const done of await Promise.all(flying.splice(0))) sink(done)
    }
    for (const done of await Promise.all(flying)) sink(done)
  }
}

function sealPiece(piece: Uint8Array, sink: (out: Uint8Array) => void): void {
  const iv = nonce()
  const cipher = createCipheriv(ALGORITHM, key, iv, OPTIONS)
  // As they come: a limit joins nothing.
  const ciphertext = cipher.update(piece)
  cipher.final()
  sink(Buffer.from(iv))
  sink(ciphertext)
  sink(cipher.getAuthTag())
}

const sealStream = piecewise(PIECE, sealPiece, (piece) => webSeal(piece, undefined))
const openStream = piecewise(
  NONCE + PIECE + TAG,
  (piece, sink) => sink(open(piece, undefined)),
  (piece) => webOpen(piece, undefined),
)

// --- Files ---

function* blocksOf(file: number, length: number): Generator<Uint8Array> {
  for (;;) {
    const block = Buffer.allocUnsafe(length)
    const read = readSync(file, block, 0, length, null)
    if (read > 0) yield block.subarray(0, read)
    if (read < length) return
  }
}

const files: Files = { seal: through(sealStream, BLOCK), open: through(openStream, sealedOf(BLOCK)) }

function through(pipe: Pipe, block: number): Files["seal"] {
  return async (source, target) => {
    const from = openSync(source, "r")
    const to = openSync(target, "w", 0o600)
    const gathered = Buffer.allocUnsafe(16 * BLOCK)
    let filled = 0
    const flush = (): void => {
      for (let at = 0; at < filled; ) at += writeSync(to, gathered, at, filled - at)
      filled = 0
    }
    try {
      await pipe(
        blocksOf(from, block),
        (piece) => {
          if (filled + piece.length > gathered.length) flush()
          gathered.set(piece, filled)
          filled += piece.length
        },
        0,
      )
      flush()
      fsyncSync(to)
    } finally {
      closeSync(from)
      closeSync(to)
    }
  }
}

const raw: Contender = {
  values,
  records: () => ({ seal: sealPerson, open: (row) => openPerson(row as Row) }),
  streams: () => ({ seal: sealStream, open: openStream, sealed: sealedOf }),
  files: () => files,
}
export default raw
