// Seals a file on its way to an object store, reads the end of it there, and brings it back. Neither the network nor the store sees what
// is in it, and no file is ever held in memory whole. The key is one of `encx keys create`; the store is one that takes PUT and ranges:
//
//   export ENCX_KMS=local://$HOME/.encx/keys.json ENCX_KEK_ALIAS=app OBJECT_STORE=https://objects.example.org/backups
//   node examples/backup.ts put app.sql
//   node examples/backup.ts tail app.sql
//   node examples/backup.ts get app.sql
import { createReadStream, createWriteStream } from "node:fs"
import { rename, rm, stat } from "node:fs/promises"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { httpRange, newCryptoFromEnv } from "encx"

const crypto = await newCryptoFromEnv()

// The context is bound and not stored: what the store gives under another name does not open.
const contextOf = (name: string) => ({ backup: name })
const addressOf = (name: string) => `${process.env.OBJECT_STORE}/${encodeURIComponent(name)}.encx`

async function put(name: string): Promise<void> {
  const { size } = await stat(name)
  const sealedSize = await crypto.sealedSize(size)
  const response = await fetch(addressOf(name), {
    method: "PUT",
    body: Readable.toWeb(createReadStream(name)).pipeThrough(crypto.encryptStream(contextOf(name), { size })),
    // Stores want to know the length before the first byte. Deno's fetch sends none.
    headers: { "content-length": String(sealedSize) },
    duplex: "half",
  })
  if (!response.ok) throw new Error(`Cannot store "${name}": the store answers ${response.status}`)
  console.log(`Stored ${size} bytes in ${sealedSize}`)
}

async function tail(name: string): Promise<void> {
  // What is asked for is the head of the object and its last chunk, whatever its size; its end is known to be the real one.
  const end = await crypto.openRange(httpRange(addressOf(name)), { offset: -200 }, contextOf(name))
  console.log(new TextDecoder().decode(end))
}

async function get(name: string): Promise<void> {
  const { ok, status, body } = await fetch(addressOf(name))
  if (!ok || !body) throw new Error(`Cannot fetch "${name}": the store answers ${status}`)
  // Every byte that comes is authentic, but that all of them came is known at the end: only then has the file its name.
  const unfinished = `${name}.part`
  try {
    const opened = body.pipeThrough(crypto.decryptStream(contextOf(name)))
    await pipeline(opened, createWriteStream(unfinished, { mode: 0o600, flush: true }))
    await rename(unfinished, name)
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
  console.log(`Brought "${name}" back`)
}

const [verb = "", name] = process.argv.slice(2)
const command = { put, tail, get }[verb]
if (!command || name === undefined) throw new Error("Cannot run: say put, tail or get, and the name of a file")
try {
  await command(name)
} finally {
  await crypto.close()
}
