/** A certificate that nobody trusts: it is made here, and signed by itself. */
import { Buffer } from "node:buffer"
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto"

/** A server's key and certificate, in PEM. */
export interface Certificate {
  readonly key: string
  readonly cert: string
}

/** Makes one for a host; it is valid for a day on either side of now. */
export function selfSigned(host: string): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const name = sequence(set(sequence(oid(2, 5, 4, 3), der(0x0c, Buffer.from(host)))))
  const days = [-1, 1].map((day) => time(new Date(Date.now() + day * 86_400_000)))
  const signed = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    ECDSA_SHA256,
    name,
    sequence(...days),
    name,
    publicKey.export({ format: "der", type: "spki" }),
  )
  const signature = sign("sha256", signed, privateKey as KeyObject)
  const cert = sequence(signed, ECDSA_SHA256, der(0x03, Buffer.of(0), signature))
  const lines = cert.toString("base64").replace(/.{64}/g, "$&\n").trimEnd()
  return {
    key: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
  }
}

// --- DER, X.690 ---

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  const { length: size } = body
  const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 255]
  return Buffer.concat([Buffer.of(tag, ...length), body])
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts)
const set = (...parts: readonly Uint8Array[]): Buffer => der(0x31, ...parts)
const time = (date: Date): Buffer => der(0x17, Buffer.from(`${date.toISOString().replace(/[-:T]/g, "").slice(2, 14)}Z`))

function oid(first: number, second: number, ...rest: readonly number[]): Buffer {
  const groups = (value: number): number[] => (value < 128 ? [value] : [...high(value >> 7), value & 127])
  const high = (value: number): number[] => groups(value).map((each) => each | 128)
  return der(0x06, Buffer.of(first * 40 + second, ...rest.flatMap(groups)))
}

const ECDSA_SHA256 = sequence(oid(1, 2, 840, 10045, 4, 3, 2))
