/**
 * Services by URI: `local:///home/ada/.encx/keys.json`, `awskms:///alias/app?region=eu-west-1`, `vaulttransit:///app`, `memory://`, or a scheme of your own. A provider's module is
 * imported when its scheme is first used. A registry is an object; there is no other.
 *
 * @module
 */
import type { KeyManagementService, SecretManagementService } from "../core/contracts.ts"
import { InvalidConfiguration } from "../core/errors.ts"
import { isScheme, type ProviderURI, parseURI } from "../core/uri.ts"
import { AWS_PARAMETERS, flag, KMS_PARAMETERS, kmsOptions, secretsManagerOptions } from "./_aws-uri.ts"
import { KV_PARAMETERS, kvOptions, TRANSIT_PARAMETERS, transitOptions } from "./_vault-uri.ts"

/** A service that was opened: a KMS, a secret store, or both. */
export type Provider = KeyManagementService | SecretManagementService | (KeyManagementService & SecretManagementService)

/** How a scheme is opened. */
export interface ProviderOpener {
  /** The query parameters it takes; others are refused. */
  readonly parameters: readonly string[]
  /** Opens it. */
  open(uri: ProviderURI): Promise<Provider>
}

const awsKMS: ProviderOpener = {
  parameters: KMS_PARAMETERS,
  open: async (uri) => (await import("./aws-kms.ts")).awsKMS(kmsOptions(uri)),
}
const awsSecretsManager: ProviderOpener = {
  parameters: AWS_PARAMETERS,
  open: async (uri) => (await import("./aws-secrets-manager.ts")).awsSecretsManager(secretsManagerOptions(uri)),
}
const vaultTransit: ProviderOpener = {
  parameters: TRANSIT_PARAMETERS,
  open: async (uri) => (await import("./vault-transit.ts")).vaultTransit(transitOptions(uri)),
}
const vaultKV: ProviderOpener = {
  parameters: KV_PARAMETERS,
  open: async (uri) => (await import("./vault-kv.ts")).vaultKV(kvOptions(uri)),
}

const BUILT_IN: Readonly<Record<string, ProviderOpener>> = {
  local: {
    parameters: ["allowInProduction"],
    open: async ({ host, path, query }) => {
      if (host !== "")
        throw new InvalidConfiguration("Cannot use a local: URI: its path is not absolute", {
          hint: "write three slashes: local:///home/ada/keys.json",
        })
      return (await import("./local.ts")).local({ path, allowInProduction: flag(query.get("allowInProduction")) })
    },
  },
  memory: {
    parameters: ["allowInProduction"],
    open: async ({ query }) =>
      (await import("./memory.ts")).memory({ allowInProduction: flag(query.get("allowInProduction")) }),
  },
  env: {
    parameters: ["allowInProduction"],
    open: async ({ query }) =>
      (await import("./env.ts")).env({ allowInProduction: flag(query.get("allowInProduction")) }),
  },
  awskms: awsKMS,
  // Tink's and Confluent's spelling, and a key's own name
  "aws-kms": awsKMS,
  arn: awsKMS,
  awssecretsmanager: awsSecretsManager,
  vaulttransit: vaultTransit,
  // Go CDK's and sigstore's spelling, and Tink's and Confluent's
  hashivault: vaultTransit,
  openbao: vaultTransit,
  hcvault: vaultTransit,
  vaultkv: vaultKV,
}

const MAX_SHOWN = 20

/** Schemes and how they are opened. */
export class Registry {
  readonly #openers = new Map<string, ProviderOpener>(Object.entries(BUILT_IN))

  /**
   * Adds a scheme of your own to this registry.
   *
   * @throws {InvalidConfiguration} when the scheme is taken, or is none
   */
  add(scheme: string, opener: ProviderOpener): this {
    if (!isScheme(scheme))
      throw new InvalidConfiguration(
        `Cannot add the scheme "${scheme}": it is not lower-case letters, digits, "+", "-" and "."`,
      )
    if (this.#openers.has(scheme)) throw new InvalidConfiguration(`Cannot add the scheme "${scheme}": it is taken`)
    this.#openers.set(scheme, opener)
    return this
  }

  /** The schemes, sorted. */
  get schemes(): string[] {
    return [...this.#openers.keys()].sort()
  }

  /**
   * Opens what a URI, or a bare scheme, names. Errors say the scheme and no more: a URI may bear a key.
   *
   * @throws {InvalidConfiguration} when the scheme is unknown, or the URI malformed
   */
  async open(uri: string): Promise<Provider> {
    const { query, ...parsed } = parseURI(uri)
    const opener = this.#openers.get(parsed.scheme)
    if (!opener) {
      // What has no colon may be a key that was given for a URI.
      const named = uri.includes(":") && parsed.scheme.length <= MAX_SHOWN ? ` "${parsed.scheme}"` : ""
      throw new InvalidConfiguration(`Cannot use a provider URI: its scheme${named} is unknown`, {
        hint: `known are ${this.schemes.join(", ")}`,
      })
    }
    for (const name of query.keys()) {
      if (opener.parameters.includes(name)) continue
      throw new InvalidConfiguration(`Cannot use a ${parsed.scheme}: URI: it has an unknown query parameter`, {
        hint: opener.parameters.length > 0 ? `known are ${opener.parameters.join(", ")}` : "it takes none",
      })
    }
    return await opener.open({ ...parsed, query })
  }
}

/** A new registry, with the schemes that are built in. */
export function createRegistry(): Registry {
  return new Registry()
}

/** @internal */
export { keyOf } from "../core/uri.ts"
export type { ProviderURI }
