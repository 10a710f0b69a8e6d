/**
 * Options from the environment: the one table of its variables.
 *
 * @module
 */
import type { SecretManagementService } from "./contracts.ts"
import type { Crypto } from "./crypto.ts"
import { InvalidConfiguration } from "./errors.ts"
import { newCrypto } from "./new-crypto.ts"
import {
  type Configuration,
  type Option,
  type ServiceOrURI,
  withDatabase,
  withDEKCache,
  withKEKAlias,
  withKMSService,
  withPepper,
} from "./options.ts"
import { keyOf } from "./uri.ts"

/** The variables, and what each is for. */
export const VARIABLES = {
  ENCX_KMS:
    "the KMS, as a URI: awskms:///alias/app?region=eu-west-1, vaulttransit:///app, local:///home/ada/.encx/keys.json",
  ENCX_KEK_ALIAS: "the alias of the key-encryption key, unless the URI of the KMS names it",
  ENCX_SECRETS:
    "the secret store, as a URI: awssecretsmanager:///?region=eu-west-1, vaultkv; without it, the KMS where that keeps secrets, too",
  ENCX_PEPPER_ALIAS: "the alias of the pepper and the index root; without it, this program hashes and indexes nothing",
  ENCX_DATABASE: "the database of key versions, as a URL: postgres://…, mysql://…, sqlite:.encx/keys.db",
  ENCX_DB_PATH: "the folder of the Go library's database of key versions; .encx where ENCX_DB_FILENAME alone is set",
  ENCX_DB_FILENAME: "its file there; keys.db where ENCX_DB_PATH alone is set",
  ENCX_DEK_CACHE: "the data-key cache: off, or its limits, as in maxAgeMs=60000&capacity=200",
} as const

/** The variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/**
 * The options that the environment names.
 *
 * @throws {InvalidConfiguration} with every variable that is missing
 */
export function configFromEnv(environment: Environment = ownEnvironment()): Option[] {
  return optionsOf(environment, {})
}

/** `newCrypto` with the options of the environment; options given here win, and what they name need not be set there. */
export async function newCryptoFromEnv(...options: readonly Option[]): Promise<Crypto> {
  const given = options.flatMap((option) => Object.entries(option ?? {})).filter(([, value]) => value !== undefined)
  return await newCrypto(...optionsOf(ownEnvironment(), Object.fromEntries(given)), ...options)
}

// Not node:process, which opens standard input and output when it is imported: 5 ms of a program's start (Node 24).
function ownEnvironment(): Environment {
  return globalThis.process.env
}

function optionsOf(environment: Environment, given: Configuration): Option[] {
  const value = (name: keyof typeof VARIABLES): string | undefined => environment[name] || undefined
  const kms = given.kms ?? value("ENCX_KMS")
  const alias = given.kekAlias ?? value("ENCX_KEK_ALIAS")
  // A URI that names a key names the alias, too.
  const named = alias !== undefined || keyOf(kms) !== undefined
  if (kms === undefined || !named) {
    const missing = [kms === undefined ? "ENCX_KMS" : [], named ? [] : "ENCX_KEK_ALIAS"].flat()
    throw new InvalidConfiguration(
      (missing as (keyof typeof VARIABLES)[]).map(
        (name) => `Cannot read the environment: ${name} is not set (${VARIABLES[name]})`,
      ),
    )
  }
  return [
    withKMSService(kms),
    ...(alias === undefined ? [] : [withKEKAlias(alias)]),
    ...pepperOf(environment, given, kms),
    ...databaseOf(environment, given),
    ...cacheOf(environment, given),
  ]
}

function cacheOf({ ENCX_DEK_CACHE: text }: Environment, given: Configuration): Option[] {
  if (!text || given.dekCache !== undefined) return []
  if (text === "off") return [withDEKCache(false)]
  // What is no number is refused by its name, with what else is wrong.
  const limits = [...new URLSearchParams(text)].map(([name, value]) => [
    name,
    value === "" ? Number.NaN : Number(value),
  ])
  return [withDEKCache(Object.fromEntries(limits))]
}

// The Go library has a file always; here there is none unless a variable says so.
function databaseOf(environment: Environment, given: Configuration): Option[] {
  if (given.database !== undefined) return []
  const { ENCX_DATABASE: url, ENCX_DB_PATH: folder, ENCX_DB_FILENAME: file } = environment
  if (url) return [withDatabase(url)]
  if (!folder && !file) return []
  return [
    withDatabase(
      `sqlite:${encodeURI(`${folder || ".encx"}/${file || "keys.db"}`).replace(/[?#]/g, encodeURIComponent)}`,
    ),
  ]
}

function pepperOf(environment: Environment, given: Configuration, kms: NonNullable<Configuration["kms"]>): Option[] {
  if (given.pepper !== undefined) return []
  const { ENCX_PEPPER_ALIAS: alias, ENCX_SECRETS: store } = environment
  // Whether a KMS keeps secrets, too, is checked when it is open.
  if (alias) return [withPepper(store || (kms as ServiceOrURI<SecretManagementService>), alias)]
  if (!store) return []
  throw new InvalidConfiguration("Cannot read the environment: ENCX_SECRETS is set, and ENCX_PEPPER_ALIAS is not")
}
