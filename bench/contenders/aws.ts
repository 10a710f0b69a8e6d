/**
 * The AWS Encryption SDK for JavaScript behind its caching materials manager, with the limits that encx's cache has. The keyring is a raw
 * AES key, so that no KMS is waited for; where calls are counted it takes as long as encx's.
 */
import { Buffer } from "node:buffer"
import { createHmac, createSecretKey, randomBytes } from "node:crypto"
import { createReadStream, createWriteStream } from "node:fs"
import { open } from "node:fs/promises"
import { Readable, type Transform, Writable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { setTimeout } from "node:timers/promises"
import { type Contender, type Files, KMS_MS, type Person, type Pipe, type Records } from "../contender.ts"

/** As much of the SDK as is used here: it is not installed where the types are checked. */
interface SDK {
  readonly buildClient: (policy: unknown) => {
    readonly encrypt: (cmm: unknown, plaintext: Uint8Array, options: object) => Promise<{ result: Uint8Array }>
    readonly decrypt: (cmm: unknown, sealed: Uint8Array) => Promise<{ plaintext: Uint8Array }>
    readonly encryptStream: (cmm: unknown, options: object) => Transform
    readonly decryptStream: (cmm: unknown) => Transform
  }
  readonly CommitmentPolicy: Readonly<Record<string, unknown>>
  readonly AlgorithmSuiteIdentifier: Readonly<Record<string, unknown>>
  readonly RawAesWrappingSuiteIdentifier: Readonly<Record<string, unknown>>
  readonly RawAesKeyringNode: new (options: object) => object
  readonly NodeCachingMaterialsManager: new (options: object) => object
  readonly getLocalCryptographicMaterialsCache: (capacity: number) => unknown
}

/** Its default suite, with signatures, and the one without; both commit to their key. */
const SUITES = {
  signed: "ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY_ECDSA_P384",
  unsigned: "ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY",
} as const
// Its fastest: the default of 4 KiB reaches a tenth of it in streams.
const FRAME = 1024 * 1024
const BLOCK = 64 * 1024

/** The SDK with one of its suites. */
export async function aws(name: keyof typeof SUITES): Promise<Contender> {
  // Not a literal: it is not installed where the types are checked.
  const specifier = "@aws-crypto/client-node"
  const sdk = (await import(specifier)) as SDK
  const suiteId = sdk.AlgorithmSuiteIdentifier[SUITES[name]]
  const client = sdk.buildClient(sdk.CommitmentPolicy["REQUIRE_ENCRYPT_REQUIRE_DECRYPT"])
  const masterKey = randomBytes(32)
  const indexKey = createSecretKey(randomBytes(32))

  const keyring = (): Record<"_onEncrypt" | "_onDecrypt", (...args: unknown[]) => Promise<unknown>> =>
    new sdk.RawAesKeyringNode({
      keyName: "app",
      keyNamespace: "bench",
      unencryptedMasterKey: Uint8Array.from(masterKey),
      wrappingSuite: sdk.RawAesWrappingSuiteIdentifier["AES256_GCM_IV12_TAG16_NO_PADDING"],
    }) as ReturnType<typeof keyring>
  const caching = (backingMaterials: object): object =>
    new sdk.NodeCachingMaterialsManager({
      backingMaterials,
      cache: sdk.getLocalCryptographicMaterialsCache(1000),
      maxAge: 300_000,
      maxMessagesEncrypted: 2 ** 20,
      maxBytesEncrypted: 2 ** 36,
    })
  const cmm = caching(keyring())

  const seal = async (plaintext: Uint8Array, options: object = {}): Promise<Uint8Array> =>
    (await client.encrypt(cmm, plaintext, { suiteId, frameLength: FRAME, ...options })).result
  const unseal = async (sealed: Uint8Array): Promise<Uint8Array> => (await client.decrypt(cmm, sealed)).plaintext

  const text = async (sealed: Uint8Array): Promise<string> => Buffer.from(await unseal(sealed)).toString()
  const records: Records = {
    seal: async ({ email, name, phone, note }: Person) => ({
      email: await seal(Buffer.from(email)),
      name: await seal(Buffer.from(name)),
      phone: await seal(Buffer.from(phone)),
      note: await seal(Buffer.from(note)),
      email_index: createHmac("sha256", indexKey).update(email).digest(),
    }),
    open: async (row) => {
      const { email, name, phone, note } = row as Record<keyof Omit<Person, "id">, Uint8Array>
      return {
        email: await text(email),
        name: await text(name),
        phone: await text(phone),
        note: await text(note),
      }
    },
  }

  // Without the length a stream has a data key of its own. With it, the SDK counts what is left over of a block twice, and refuses it.
  const encrypting = (): Transform => client.encryptStream(cmm, { suiteId, frameLength: FRAME })
  const piped =
    (transform: () => Transform): Pipe =>
    async (source, sink) => {
      const out = new Writable({
        write: (piece: Uint8Array, _, done) => {
          sink(piece)
          done()
        },
      })
      await pipeline(Readable.from(source, { objectMode: false, highWaterMark: BLOCK }), transform(), out)
    }
  const through =
    (transform: () => Transform): Files["seal"] =>
    async (source, target) => {
      const to = createWriteStream(target, { mode: 0o600, highWaterMark: 16 * BLOCK })
      await pipeline(createReadStream(source, { highWaterMark: BLOCK }), transform(), to)
      const written = await open(target, "r+")
      await written.sync()
      await written.close()
    }

  // The keyring is what asks the KMS.
  const counted = async (callers: number): Promise<{ ns: number; calls: number }> => {
    let calls = 0
    const asked = keyring()
    const original = asked._onEncrypt
    Object.defineProperty(asked, "_onEncrypt", {
      value: async function (this: unknown, ...args: unknown[]) {
        calls += 1
        await setTimeout(KMS_MS)
        return await original.apply(this, args)
      },
    })
    const cold = caching(asked)
    const plaintext = new Uint8Array(64)
    const start = performance.now()
    await Promise.all(Array.from({ length: callers }, () => client.encrypt(cold, plaintext, { suiteId })))
    return { ns: Math.round((performance.now() - start) * 1e6), calls }
  }

  return {
    values: (encryptionContext) => ({
      seal: (plaintext) => seal(plaintext as Uint8Array, encryptionContext && { encryptionContext }),
      open: (sealed) => unseal(sealed as Uint8Array),
    }),
    records: () => records,
    streams: () => ({ seal: piped(encrypting), open: piped(() => client.decryptStream(cmm)) }),
    files: () => ({ seal: through(encrypting), open: through(() => client.decryptStream(cmm)) }),
    // The cache is the same for both suites.
    ...(name === "unsigned" && { misses: counted }),
  }
}
