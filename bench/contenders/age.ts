/** age-encryption (typage) with one X25519 recipient: streams and files. It is not made for many small messages. */
import { createReadStream, createWriteStream } from "node:fs"
import { open } from "node:fs/promises"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import type { ReadableStream as NodeReadableStream } from "node:stream/web"
import { type Contender, type Files, type Pipe, readableOf } from "../contender.ts"

type Convert = (source: ReadableStream<Uint8Array>) => Promise<ReadableStream<Uint8Array>>

/** As much of it as is used here: it is not installed where the types are checked. */
interface Age {
  readonly generateX25519Identity: () => Promise<string>
  readonly identityToRecipient: (identity: string) => Promise<string>
  readonly Encrypter: new () => { addRecipient(recipient: string): void; encrypt: Convert }
  readonly Decrypter: new () => { addIdentity(identity: string): void; decrypt: Convert }
}

// Not a literal: it is not installed where the types are checked.
const specifier = "age-encryption"
const age = (await import(specifier)) as Age
const identity = await age.generateX25519Identity()
const encrypter = new age.Encrypter()
encrypter.addRecipient(await age.identityToRecipient(identity))
const decrypter = new age.Decrypter()
decrypter.addIdentity(identity)

const piped =
  (convert: Convert): Pipe =>
  async (source, sink) =>
    await (await convert(readableOf(source))).pipeTo(new WritableStream({ write: sink }))

const through =
  (convert: Convert): Files["seal"] =>
  async (source, target) => {
    const from = Readable.toWeb(createReadStream(source)) as unknown as ReadableStream<Uint8Array>
    const out = Readable.fromWeb((await convert(from)) as unknown as NodeReadableStream)
    await pipeline(out, createWriteStream(target, { mode: 0o600 }))
    const written = await open(target, "r+")
    await written.sync()
    await written.close()
  }

const seal: Convert = (source) => encrypter.encrypt(source)
const unseal: Convert = (source) => decrypter.decrypt(source)
const contender: Contender = {
  streams: () => ({ seal: piped(seal), open: piped(unseal) }),
  files: () => ({ seal: through(seal), open: through(unseal) }),
}
export default contender
