/** JWTs of an issuer that the tests are. */
import { Buffer } from "node:buffer"
import { generateKeyPairSync, sign } from "node:crypto"

/** An issuer of JWTs, with ES256. */
export interface Issuer {
  /** PEM. */
  readonly publicKey: string
  /** A JWT of ten minutes. */
  issue(claims: Readonly<Record<string, unknown>>): string
}

export function newIssuer(): Issuer {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url")
  return {
    publicKey: publicKey.export({ format: "pem", type: "spki" }).toString(),
    issue: (claims) => {
      const now = Math.floor(Date.now() / 1_000)
      const text = `${encoded({ alg: "ES256", typ: "JWT" })}.${encoded({ iat: now, exp: now + 600, ...claims })}`
      const signature = sign("sha256", Buffer.from(text), { key: privateKey, dsaEncoding: "ieee-p1363" })
      return `${text}.${signature.toString("base64url")}`
    },
  }
}
