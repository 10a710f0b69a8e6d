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
import { createRegistry } from "../providers/registry.ts"
import { usage } from "./_errors.ts"
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

/** Opens the services, lends them, and closes them. */
export async function withOpenServices<Result>(
  io: IO,
  options: ServiceOptions,
  use: (services: Services) => Promise<Result>,
): Promise<Result> {
  const alias = options.alias ?? (io.env.ENCX_KEK_ALIAS || "default")
  const kmsURI = options.kms ?? (io.env.ENCX_KMS || defaultURI(io))
  const secretsURI = options.secrets ?? (io.env.ENCX_SECRETS || undefined)
  const registry = createRegistry()
  const opened: Opened[] = []
  const open = async (uri: string): Promise<Opened> => {
    const service = await registry.open(uri)
    opened.push(service)
    return service
  }
  try {
    const kms = await open(kmsURI)
    if (!isKMS(kms)) throw usage("Cannot use --kms: it is not a key management service")
    const store = secretsURI === undefined || secretsURI === kmsURI ? kms : await open(secretsURI)
    if (store !== kms && !isSecretStore(store)) throw usage("Cannot use --secrets: it is not a secret store")
    const secrets = isSecretStore(store) ? store : undefined
    return await use({
      kms,
      alias,
      secrets,
      pepperAlias: options.pepperAlias ?? (io.env.ENCX_PEPPER_ALIAS || alias),
    })
  } finally {
    await Promise.all(opened.map((service) => service.close?.()))
  }
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
  if (secrets === undefined)
    throw usage(
      "Cannot find the pepper and the index root: this KMS keeps no secrets",
      "name a store that does: --secrets",
    )
  return [...keys, withPepper(secrets, pepperAlias)]
}

/** The URI of a key file. */
export function localURI(path: string): string {
  return `local://${path.split("/").map(encodeURIComponent).join("/")}`
}

function defaultURI(io: IO): string {
  return localURI(join(io.env.HOME || homedir(), ".encx", "keys.json"))
}
