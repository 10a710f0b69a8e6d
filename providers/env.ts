/**
 * A key-encryption key in an environment variable: for places that have secrets and no KMS.
 *
 * @module
 */
import process from "node:process"
import { fromBase64, wipe } from "../core/bytes.ts"
import { unwrapDEK, wrapDEK } from "../core/cipher/dek-wrap.ts"
import type { KeyManagementService } from "../core/contracts.ts"
import { InvalidFormat, KeyNotFound } from "../core/errors.ts"
import { checkNames, type ProductionOptions, refuseInProduction } from "./_production.ts"

/** Options of {@link env}. */
export interface EnvOptions extends ProductionOptions {
  /** The variables. @default {process.env} */
  readonly variables?: Readonly<Record<string, string | undefined>>
}

const PROVIDER = "env"
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
const KEK_LENGTH = 32
/** 32 bytes in hex, or in base64 that happens to be letters and digits alone. */
const KEY_LIKE = /^(?:[0-9a-fA-F]{64}|(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9]{43})$/
const VERSION = 1

/**
 * A key management service whose keys are environment variables: the alias is the variable's name, its value 32 bytes in base64
 * (`openssl rand -base64 32`). It neither creates nor rotates keys: name a new variable, and the old one with `withRetiredKEK`.
 *
 * @throws {InvalidConfiguration} when an option has another name, or under `NODE_ENV=production`, unless `allowInProduction` says so
 *
 * @example A key in `ENCX_KEK`
 * ```ts
 * const crypto = await newCrypto(withKMSService(env()), withKEKAlias("ENCX_KEK"))
 * ```
 */
export function env(options: EnvOptions = {}): KeyManagementService {
  checkNames(PROVIDER, options, ["variables", "allowInProduction"])
  refuseInProduction(PROVIDER, options, "use a KMS")
  const { variables = process.env } = options

  const read = (name: string, operation: string): Uint8Array => {
    const possible = NAME.test(name)
    const encoded = possible && Object.hasOwn(variables, name) ? variables[name] : undefined
    if (encoded === undefined || encoded === "") {
      // What cannot be a name may be the key itself, given for its variable: it is not quoted.
      const shown = possible && !KEY_LIKE.test(name)
      const quoted = shown ? ` "${name}"` : ""
      throw new KeyNotFound(`Cannot find the key${quoted}: there is no environment variable of this name`, {
        provider: PROVIDER,
        operation,
        hint: `set it to 32 bytes in base64: export ${shown ? name : "ENCX_KEK"}="$(openssl rand -base64 32)"`,
      })
    }
    const kek = fromBase64(encoded, `the environment variable "${name}"`)
    if (kek.length === KEK_LENGTH) return kek
    wipe(kek)
    throw new InvalidFormat(
      `Cannot read the environment variable "${name}": it holds ${kek.length} bytes, not ${KEK_LENGTH}`,
    )
  }

  return {
    provider: PROVIDER,

    async getKeyID(alias, { signal } = {}) {
      signal?.throwIfAborted()
      wipe(read(alias, "getKeyID"))
      return alias
    },

    async describeKey(keyID, { signal } = {}) {
      signal?.throwIfAborted()
      wipe(read(keyID, "describeKey"))
      return { keyID, currentVersion: VERSION, versions: [{ version: VERSION, state: "enabled" }] }
    },

    async encryptDEK(keyID, dek, context, { signal } = {}) {
      signal?.throwIfAborted()
      const kek = read(keyID, "encryptDEK")
      try {
        return { ciphertext: wrapDEK({ kek, ref: keyID, version: VERSION }, context, dek), keyID, version: VERSION }
      } finally {
        wipe(kek)
      }
    },

    async decryptDEK({ ciphertext, keyID, version }, context, { signal } = {}) {
      signal?.throwIfAborted()
      const kek = read(keyID, "decryptDEK")
      try {
        if (version === VERSION || version === 0)
          return unwrapDEK({ kek, ref: keyID, version: VERSION }, context, ciphertext)
      } finally {
        wipe(kek)
      }
      throw new KeyNotFound(`Cannot use the key "${keyID}": it has no version ${version}`, {
        provider: PROVIDER,
        operation: "decryptDEK",
      })
    },
  }
}
