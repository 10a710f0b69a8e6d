/**
 * Options from the environment: the one table of its variables.
 *
 * @module
 */
import process from "node:process"
import { type Crypto, newCrypto } from "./crypto.ts"
import { InvalidConfiguration } from "./errors.ts"
import { type Option, withKEKAlias, withKMSService, withPepper } from "./options.ts"
import { keyOf } from "./uri.ts"

/** The variables, and what each is for. */
export const VARIABLES = {
  ENCX_KMS: "the KMS, as a URI: awskms:///alias/app?region=eu-west-1, local:///home/ada/.encx/keys.json",
  ENCX_KEK_ALIAS: "the alias of the key-encryption key, unless the URI of the KMS names it",
  ENCX_SECRETS:
    "the secret store, as a URI: awssecretsmanager:///?region=eu-west-1; without it, the KMS where that keeps secrets, too",
  ENCX_PEPPER_ALIAS: "the alias of the pepper and the index root; without it, this program hashes and indexes nothing",
} as const

/** The variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/**
 * The options that the environment names.
 *
 * @throws {InvalidConfiguration} with every variable that is missing
 */
export function configFromEnv(environment: Environment = process.env): Option[] {
  const named = keyOf(environment["ENCX_KMS"]) !== undefined
  const missing = REQUIRED.filter((name) => !environment[name] && !(named && name === "ENCX_KEK_ALIAS"))
  if (missing.length === 0) return present(environment)
  throw new InvalidConfiguration(
    missing.map((name) => `Cannot read the environment: ${name} is not set (${VARIABLES[name]})`),
  )
}

/** `newCrypto` with the options of the environment; options given here win, and what they name need not be set there. */
export async function newCryptoFromEnv(...options: readonly Option[]): Promise<Crypto> {
  const given = new Set(options.flatMap((option) => Object.keys(option)))
  const complete = given.has("kms") && given.has("kekAlias")
  return await newCrypto(...(complete ? present(process.env) : configFromEnv(process.env)), ...options)
}

const REQUIRED = ["ENCX_KMS", "ENCX_KEK_ALIAS"] as const

function present(environment: Environment): Option[] {
  const value = (name: keyof typeof VARIABLES): string | undefined => environment[name] || undefined
  const kms = value("ENCX_KMS")
  const alias = value("ENCX_KEK_ALIAS")
  const pepper = value("ENCX_PEPPER_ALIAS")
  const store = value("ENCX_SECRETS") ?? kms
  if (value("ENCX_SECRETS") !== undefined && pepper === undefined) {
    throw new InvalidConfiguration("Cannot read the environment: ENCX_SECRETS is set, and ENCX_PEPPER_ALIAS is not")
  }
  return [
    ...(kms === undefined ? [] : [withKMSService(kms)]),
    ...(alias === undefined ? [] : [withKEKAlias(alias)]),
    ...(pepper === undefined || store === undefined ? [] : [withPepper(store, pepper)]),
  ]
}
