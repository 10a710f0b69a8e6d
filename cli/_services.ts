/** From options and environment to keys. Nothing is created here. */
import { homedir } from "node:os"
import { join } from "node:path"
import {
  type Crypto,
  type KeyManagementService,
  newCrypto,
  type Option,
  type SecretManagementService,
  withKEKAlias,
  withKMSService,
  withPepper,
} from "../mod.ts"
import { createRegistry, keyOf } from "../providers/registry.ts"
import { type CommandError, usage } from "./_errors.ts"
import type { IO } from "./_io.ts"

/** What commander gives. */
export interface ServiceOptions {
  readonly kms?: string
  readonly alias?: string
  readonly secrets?: string
  readonly pepperAlias?: string
}

/** The services, opened, and the names in them. */
export interface Services {
  readonly kms: KeyManagementService
  readonly alias: string
  /** None where the KMS keeps no secrets and no other store was named. */
  readonly secrets: SecretManagementService | undefined
  readonly pepperAlias: string
}

type Opened = KeyManagementService | SecretManagementService
const isKMS = (service: Opened): service is KeyManagementService => "encryptDEK" in service
const isSecretStore = (service: Opened): service is SecretManagementService => "getPepper" in service

/** A setting that is in force, and what put it there. */
export interface Setting {
  readonly value: string
  /** An option, a variable, or what it follows from. */
  readonly from: string
}

/** What the options and the environment come to. */
export interface Settings {
  readonly kms: Setting
  readonly alias: Setting
  /** None where no store was named: the KMS is asked, where it keeps secrets. */
  readonly secrets: Setting | undefined
  readonly pepperAlias: Setting
}

/** Options win over the environment, and that over the defaults. */
export function settingsOf(io: IO, options: ServiceOptions): Settings {
  const setting = (option: keyof ServiceOptions, flag: string, variable: string): Setting | undefined => {
    const given = options[option]
    if (given !== undefined) return { value: given, from: flag }
    const value = io.env[variable]
    return value ? { value, from: variable } : undefined
  }
  const kms = setting("kms", "--kms", "ENCX_KMS") ?? { value: defaultURI(io), from: "default" }
  const named = keyOf(kms.value)
  const alias =
    setting("alias", "--alias", "ENCX_KEK_ALIAS") ??
    (named === undefined ? { value: "default", from: "default" } : { value: named, from: kms.from })
  return {
    kms,
    alias,
    secrets: setting("secrets", "--secrets", "ENCX_SECRETS"),
    pepperAlias: setting("pepperAlias", "--pepper-alias", "ENCX_PEPPER_ALIAS") ?? {
      value: alias.value,
      from: "the key's alias",
    },
  }
}

type Open = (uri: string) => Promise<Opened>

async function withOpener<Result>(use: (open: Open) => Promise<Result>): Promise<Result> {
  const registry = createRegistry()
  const opened: Opened[] = []
  try {
    return await use(async (uri) => {
      const service = await registry.open(uri)
      opened.push(service)
      return service
    })
  } finally {
    await Promise.all(opened.map((service) => service.close?.()))
  }
}

/** Opens the services, lends them, and closes them. */
export async function withOpenServices<Result>(
  io: IO,
  options: ServiceOptions,
  use: (services: Services) => Promise<Result>,
): Promise<Result> {
  const { kms: named, alias, secrets: other, pepperAlias } = settingsOf(io, options)
  return await withOpener(async (open) => {
    const kms = await open(named.value)
    if (!isKMS(kms)) throw usage("Cannot use --kms: it is not a key management service")
    const store = other === undefined || other.value === named.value ? kms : await open(other.value)
    if (store !== kms && !isSecretStore(store)) throw usage("Cannot use --secrets: it is not a secret store")
    const secrets = isSecretStore(store) ? store : undefined
    return await use({ kms, alias: alias.value, secrets, pepperAlias: pepperAlias.value })
  })
}

/** Opens the secret store alone: what only reads or renews a pepper needs no key. */
export async function withSecretStore<Result>(
  io: IO,
  options: ServiceOptions,
  use: (store: SecretManagementService, alias: string) => Promise<Result>,
): Promise<Result> {
  const { kms, secrets, pepperAlias } = settingsOf(io, options)
  return await withOpener(async (open) => {
    const store = await open((secrets ?? kms).value)
    if (!isSecretStore(store)) throw noStore()
    return await use(store, pepperAlias.value)
  })
}

/** Which secrets a verb needs: without any, a key file that has only keys will do. */
export type Needs = "keys" | "keys and secrets"

/** Lends a Crypto over the services that the options name. */
export async function withCrypto<Result>(
  io: IO,
  options: ServiceOptions,
  needs: Needs,
  use: (crypto: Crypto) => Promise<Result>,
): Promise<Result> {
  return await withOpenServices(io, options, async (services) => {
    const crypto = await newCrypto(...optionsOf(services, needs))
    // No «await using»: Node 22 does not know it.
    try {
      return await use(crypto)
    } finally {
      await crypto.close()
    }
  })
}

/** The services as options of `newCrypto`. */
export function optionsOf({ kms, alias, secrets, pepperAlias }: Services, needs: Needs): Option[] {
  const keys = [withKMSService(kms), withKEKAlias(alias)]
  if (needs === "keys") return keys
  if (secrets === undefined) throw noStore()
  return [...keys, withPepper(secrets, pepperAlias)]
}

/** A verb needs secrets, and no store of them was named. */
export function noStore(): CommandError {
  return usage(
    "Cannot find the pepper and the index root: this KMS keeps no secrets",
    "name a store that does: --secrets",
  )
}

/** The URI of a key file. */
export function localURI(path: string): string {
  return `local://${path.split("/").map(encodeURIComponent).join("/")}`
}

function defaultURI(io: IO): string {
  return localURI(join(io.env.HOME || homedir(), ".encx", "keys.json"))
}
