/**
 * Keys and secrets in one file: for development, for a single machine, and under a passphrase for more. FORMATS §8.
 *
 * The file is 0600 in a folder that only its owner may write to; links and loose permissions are refused. Writers take turns,
 * in any number of processes, and a crash leaves the file as it was or as it was to become.
 *
 * @module
 */
import { isAbsolute } from "node:path"
import { InvalidConfiguration } from "../core/errors.ts"
import { keyFile } from "./_key-file.ts"
import { diagnoseKeyFile } from "./_key-file-diagnosis.ts"
import { keyStoreServices, type LocalServices } from "./_key-store.ts"
import { checkNames, type ProductionOptions, refuseInProduction } from "./_production.ts"

/** Options of {@link local}. */
export interface LocalOptions extends ProductionOptions {
  /** Where the key file is, or is to be; absolute. */
  readonly path: string
  /** Seals the file (Argon2id, Cobblestone-256). It is text, and text cannot be wiped from memory. @default {none} */
  readonly passphrase?: string
}

/**
 * A key management service and a secret store in one file. Nothing is created before `createKey` or `storePepper` is called.
 *
 * @throws {InvalidConfiguration} when the path is not absolute or an option has another name, or under `NODE_ENV=production` without a passphrase, unless `allowInProduction` says so
 *
 * @example A key file in the home folder
 * ```ts
 * const keys = local({ path: "/home/ada/.encx/keys.json" })
 * const crypto = await newCrypto(withKMSService(keys), withKEKAlias("app"), withBootstrap({ createKEK: true }))
 * ```
 */
export function local(options: LocalOptions): LocalServices {
  checkNames("local", options, ["path", "passphrase", "allowInProduction"])
  const { path, passphrase } = options
  if (typeof path !== "string" || !isAbsolute(path))
    throw new InvalidConfiguration(`Cannot use the key file "${path}": its path is not absolute`)
  if (path.includes("\0")) throw new InvalidConfiguration("Cannot use a key file: its path holds a zero byte")
  if (passphrase === undefined) refuseInProduction("local", options, "give it a passphrase, use a KMS")
  const services = keyStoreServices(
    "local",
    keyFile(path, passphrase),
    `check the alias, or create it first: encx keys create, or withBootstrap({ createKEK: true }); the key file is "${path}"`,
  )
  return {
    ...services,
    diagnose: (alias, options) => diagnoseKeyFile(path, passphrase !== undefined, services, alias, options),
  }
}

export type { LocalServices }
