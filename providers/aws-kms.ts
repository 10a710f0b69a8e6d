/**
 * AWS Key Management Service: `encx/aws-kms`. It needs `@aws-sdk/client-kms` and `@smithy/node-http-handler`, which are imported
 * with the first call.
 *
 * The SDK sends and receives data keys as text in JSON, which cannot be wiped from memory; what this module holds is.
 *
 * @module
 */
import { abytes, ascii, base64, copyOf, fromBase64, latin1, wipe } from "../core/bytes.ts"
import type { CallOptions, Context, Diagnosis, KeyManagementService, WrappedDEK } from "../core/contracts.ts"
import {
  DecryptionFailed,
  InvalidConfiguration,
  InvalidFormat,
  KeyExists,
  KeyNotFound,
  KMSUnavailable,
} from "../core/errors.ts"
import { type AWSClient, type AWSCredentials, type AWSOptions, badAnswer, Connection } from "./_aws.ts"
import { answers, isAlias, keyIdentifier, parseARN, sameKey } from "./_aws-arn.ts"
import type { AWSService } from "./_aws-errors.ts"
import { diagnoseKMS } from "./_aws-kms-diagnosis.ts"
import { kmsKeys, VERSION } from "./_aws-kms-keys.ts"

/** Options of {@link awsKMS}. */
export interface AWSKMSOptions extends AWSOptions {
  /** How a wrap is stored: as KMS returned it, or as text in base64, as the Go library stores it. @default {"raw"} */
  readonly encoding?: "raw" | "base64"
}

/** Options of `createKey`. */
export interface CreateKeyOptions extends CallOptions {
  /** A key that can be copied to other regions. That cannot be changed later. @default {false} */
  readonly multiRegion?: boolean
}

/** What {@link awsKMS} returns: the contract, and what AWS has beyond it. */
export interface AWSKMS extends KeyManagementService {
  /** `aws-kms` */
  readonly provider: "aws-kms"
  /** Makes a data key and wraps it (`GenerateDataKey`). */
  generateDEK: NonNullable<KeyManagementService["generateDEK"]>
  /** Wraps under another key without letting the data key out of KMS (`ReEncrypt`). */
  reencryptDEK: NonNullable<KeyManagementService["reencryptDEK"]>
  /** Whether two ARNs are of one key: equal, or copies of a multi-region key. */
  sameKey(keyID: string, other: string): boolean
  /** Makes a key and its alias (`CreateKey`, `CreateAlias`). Who loses a race schedules the deletion of the key it made, in seven days. */
  createKey(alias: string, options?: CreateKeyOptions): Promise<string>
  /** Renews the key's material (`RotateKeyOnDemand`). KMS does so some time later, and keeps its versions to itself. */
  rotateKey: NonNullable<KeyManagementService["rotateKey"]>
  /** Looks whether this service can be used with the key under an alias. */
  diagnose(alias: string, options?: CallOptions): AsyncIterable<Diagnosis>
  /** Closes the connections, for good: whatever is asked later rejects with `Closed`. */
  close(): Promise<void>

  /**
   * Points an alias at another key (`UpdateAlias`). Programs that run notice within ten minutes.
   *
   * @throws {KeyNotFound} when there is no such alias or key
   */
  moveAlias(alias: string, toKeyID: string, options?: CallOptions): Promise<void>

  /**
   * Copies a multi-region key to another region (`ReplicateKey`). The copy has no alias yet.
   *
   * @returns the copy's ARN
   * @throws {KeyNotFound} when there is no such key
   * @throws {KeyExists} when that region has a copy
   */
  replicateKey(keyID: string, toRegion: string, options?: CallOptions): Promise<string>
}

const PROVIDER = "aws-kms"
const SDK = { name: "@aws-sdk/client-kms", client: "KMSClient", load: () => import("@aws-sdk/client-kms") } as const
const SERVICE: AWSService = {
  provider: PROVIDER,
  prefix: "kms",
  keeps: "key",
  creation: "encx keys create",
  options: ["encoding"],
  Unavailable: KMSUnavailable,
  NotFound: KeyNotFound,
  Exists: KeyExists,
}
const DEK_LENGTH = 32
/** KMS takes 1 to 6,144 bytes of ciphertext; what it cannot have made is not sent. */
const MAX_CIPHERTEXT = 6_144

/**
 * A key management service over AWS KMS. Keys are named by alias (`alias/app`, or `app`), alias ARN, key id or key ARN; what is
 * stored with the data is the key's ARN. Wraps are bound to their context, which CloudTrail shows in clear.
 *
 * @throws {InvalidConfiguration} when an option cannot be used
 *
 * @example A key in Ireland
 * ```ts
 * import { awsKMS } from "encx/aws-kms"
 * const kms = awsKMS({ region: "eu-west-1" })
 * assertEquals(kms.provider, "aws-kms")
 * await kms.close()
 * ```
 */
export function awsKMS(options: AWSKMSOptions = {}): AWSKMS {
  const encoding = ENCODINGS[options.encoding ?? "raw"]
  if (!encoding)
    throw new InvalidConfiguration(`Cannot use ${PROVIDER}: the option "encoding" is neither raw nor base64`)
  const connection = new Connection(SERVICE, SDK, options)
  const { identify, ...keys } = kmsKeys(connection)

  interface WrapAnswer {
    readonly KeyId?: string
    readonly CiphertextBlob?: Uint8Array
  }
  const readWrap = (target: string, operation: string, { KeyId = "", CiphertextBlob }: WrapAnswer): WrappedDEK => {
    if (!answers(target, KeyId)) throw badAnswer(SERVICE, operation, `for the key "${KeyId}", not "${target}"`)
    if (!CiphertextBlob?.length) throw badAnswer(SERVICE, operation, "without a ciphertext")
    const keyID = parseARN(target) && !isAlias(target) ? target : KeyId
    return { ciphertext: encoding.encode(CiphertextBlob), keyID, version: VERSION }
  }
  const readPlaintext = (plaintext: Uint8Array | undefined, operation: string): Uint8Array => {
    // The SDK's bytes may lie in memory that Node shares among many.
    const own = copyOf(plaintext ?? new Uint8Array())
    wipe(...(plaintext ? [plaintext] : []))
    if (own.length === DEK_LENGTH) return own
    wipe(own)
    throw badAnswer(SERVICE, operation, `with a data key of ${own.length} bytes, not ${DEK_LENGTH}`)
  }
  /** The blob that KMS returned, or the failure that KMS would answer with. */
  const blobOf = ({ ciphertext }: WrappedDEK): Uint8Array => {
    const blob = encoding.decode(ciphertext)
    if (blob && blob.length > 0 && blob.length <= MAX_CIPHERTEXT) return blob
    throw new DecryptionFailed()
  }

  const kms: AWSKMS = {
    provider: PROVIDER,
    sameKey,
    ...keys,

    async encryptDEK(keyID, dek, context, options) {
      abytes(dek, DEK_LENGTH, "dek")
      options?.signal?.throwIfAborted()
      const own = copyOf(dek)
      try {
        const target = await identify(keyID)
        return await connection.send({
          operation: "encryptDEK",
          command: "Encrypt",
          target,
          input: { KeyId: target, Plaintext: own, ...pairs("EncryptionContext", context) },
          read: (answer: WrapAnswer) => readWrap(target, "encryptDEK", answer),
          options,
        })
      } finally {
        wipe(own)
      }
    },

    async decryptDEK(wrapped, context, options) {
      options?.signal?.throwIfAborted()
      const blob = blobOf(wrapped)
      const target = await identify(wrapped.keyID)
      return await connection.send({
        operation: "decryptDEK",
        command: "Decrypt",
        target,
        input: { KeyId: target, CiphertextBlob: blob, ...pairs("EncryptionContext", context) },
        read: ({ KeyId = "", Plaintext }: { KeyId?: string; Plaintext?: Uint8Array }) => {
          if (answers(target, KeyId)) return readPlaintext(Plaintext, "decryptDEK")
          wipe(...(Plaintext ? [Plaintext] : []))
          throw badAnswer(SERVICE, "decryptDEK", `for the key "${KeyId}", not "${target}"`)
        },
        options,
      })
    },

    async generateDEK(keyID, context, options) {
      options?.signal?.throwIfAborted()
      const target = await identify(keyID)
      return await connection.send({
        operation: "generateDEK",
        command: "GenerateDataKey",
        target,
        input: { KeyId: target, NumberOfBytes: DEK_LENGTH, ...pairs("EncryptionContext", context) },
        read: ({ Plaintext, ...answer }: WrapAnswer & { Plaintext?: Uint8Array }) => {
          const plaintext = readPlaintext(Plaintext, "generateDEK")
          try {
            return { ...readWrap(target, "generateDEK", answer), plaintext }
          } catch (error) {
            wipe(plaintext)
            throw error
          }
        },
        options,
      })
    },

    async reencryptDEK(wrapped, context, toKeyID, options) {
      options?.signal?.throwIfAborted()
      const blob = blobOf(wrapped)
      const [from, to] = [await identify(wrapped.keyID), await identify(toKeyID)]
      return await connection.send({
        operation: "reencryptDEK",
        command: "ReEncrypt",
        target: to,
        input: {
          CiphertextBlob: blob,
          SourceKeyId: from,
          DestinationKeyId: to,
          ...pairs("SourceEncryptionContext", context),
          ...pairs("DestinationEncryptionContext", context),
        },
        read: ({ SourceKeyId = "", ...answer }: WrapAnswer & { SourceKeyId?: string }) => {
          if (answers(from, SourceKeyId)) return readWrap(to, "reencryptDEK", answer)
          throw badAnswer(SERVICE, "reencryptDEK", `for the key "${SourceKeyId}", not "${from}"`)
        },
        options,
      })
    },

    diagnose: (alias, options) => diagnoseKMS(connection, kms, keyIdentifier(alias), options),

    async close() {
      await connection.close()
    },
  }
  return kms
}

// An empty context is none.
function pairs(name: string, context: Context): object {
  return Object.keys(context).length === 0 ? {} : { [name]: { ...context } }
}

interface Encoding {
  encode(blob: Uint8Array): Uint8Array
  decode(stored: Uint8Array): Uint8Array | undefined
}

const ENCODINGS: Readonly<Record<string, Encoding>> = Object.assign(Object.create(null), {
  raw: { encode: copyOf, decode: copyOf },
  base64: {
    encode: (blob) => ascii(base64(blob)),
    decode: (stored) => {
      try {
        return fromBase64(latin1(stored), "a wrapped data key")
      } catch (error) {
        if (error instanceof InvalidFormat) return undefined
        throw error
      }
    },
  },
} satisfies Record<string, Encoding>)

export type { AWSClient, AWSCredentials, AWSOptions }
