/** `encx keys`: make, show and rotate. */
import { Command } from "commander"
import {
  type KeyDescription,
  KeyExists,
  type KeyManagementService,
  newCrypto,
  type SecretManagementService,
  SecretNotFound,
  withBootstrap,
} from "../mod.ts"
import { verb, withSecrets, withServices } from "./_command.ts"
import { usage } from "./_errors.ts"
import type { IO } from "./_io.ts"
import { type OutputOptions, printResult, table } from "./_output.ts"
import { optionsOf, type ServiceOptions, type Services, withCrypto, withOpenServices } from "./_services.ts"

type KeysOptions = ServiceOptions & OutputOptions

/** The verb, with its three. */
export function keysVerb(io: IO): Command {
  return new Command("keys")
    .description("Make, show and rotate keys.")
    .addCommand(createVerb(io))
    .addCommand(listVerb(io))
    .addCommand(rotateVerb(io))
    .addHelpText("after", "\nExample:\n  $ encx keys create")
}

// --- Create ---

function createVerb(io: IO): Command {
  const command = verb(
    "create",
    "Make a key, and beside it a pepper for passwords and a root for blind indexes. What is there stays.",
    ["encx keys create", "encx keys create app --kms local:///srv/keys.json"],
  )
  return withSecrets(command)
    .argument("[ALIAS]", "the key's name; the same as --alias")
    .option("--no-pepper", "the key alone: nothing will be hashed or searched with it")
    .action((alias: string | undefined, options: KeysOptions & { readonly pepper: boolean }) =>
      create(io, named(alias, options), options.pepper),
    )
}

async function create(io: IO, options: KeysOptions, wantsPepper: boolean): Promise<void> {
  await withOpenServices(io, options, async (services) => {
    const { alias, kms } = services
    if (!kms.createKey)
      throw usage(`Cannot create a key: the provider "${kms.provider}" does not make keys here`, "make it there")
    const { secrets } = services
    if (wantsPepper && secrets === undefined)
      throw usage(
        "Cannot create a pepper: this KMS keeps no secrets",
        "name a store that does, --secrets, or say --no-pepper",
      )
    // An alias that the store refuses is refused before there is a key.
    if (wantsPepper) secrets?.getStoragePath(services.pepperAlias)
    const made = [
      ...(await createKey(kms, alias, io)),
      ...(wantsPepper && secrets ? await createSecrets(services, secrets, io) : []),
    ]
    if (made.length === 0) {
      throw new KeyExists(`Cannot create the key "${alias}": it is there already, and nothing is missing beside it`, {
        provider: kms.provider,
        operation: "createKey",
        hint: "give another name, or make a new version of it: encx keys rotate",
      })
    }
    await printResult(io, options, { alias, created: made }, () => `Created ${made.join(", ")} under "${alias}".`)
  })
}

async function createKey(kms: KeyManagementService, alias: string, { signal }: IO): Promise<string[]> {
  try {
    await kms.createKey?.(alias, { signal })
    return ["key"]
  } catch (error) {
    if (!(error instanceof KeyExists)) throw error
    return []
  }
}

async function createSecrets(services: Services, store: SecretManagementService, { signal }: IO): Promise<string[]> {
  const { pepperAlias } = services
  const missing = [
    ...((await store.pepperExists(pepperAlias, { signal })) ? [] : ["pepper"]),
    ...((await hasIndexRoot(store, pepperAlias, signal)) ? [] : ["index root"]),
  ]
  if (missing.length === 0) return []
  const crypto = await newCrypto(...optionsOf(services, "keys and secrets"), withBootstrap({ createPepper: true }))
  await crypto.close()
  return missing
}

async function hasIndexRoot(store: SecretManagementService, alias: string, signal: AbortSignal): Promise<boolean> {
  try {
    await store.getIndexRoot(alias, { signal })
    return true
  } catch (error) {
    if (error instanceof SecretNotFound) return false
    throw error
  }
}

// --- List ---

function listVerb(io: IO): Command {
  return withSecrets(
    verb("list", "Show keys and their versions.", ["encx keys list", "encx keys list app billing --json"]),
  )
    .argument("[ALIAS...]", "the keys' names; the same as --alias")
    .action((aliases: string[], options: KeysOptions) => list(io, aliases, options))
}

async function list(io: IO, aliases: readonly string[], options: KeysOptions): Promise<void> {
  await withOpenServices(io, options, async ({ kms, alias }) => {
    const keys: NamedKey[] = []
    for (const each of aliases.length > 0 ? aliases : [alias]) {
      const key = await kms.describeKey(await kms.getKeyID(each, { signal: io.signal }), { signal: io.signal })
      keys.push({ alias: each, ...key })
    }
    await printResult(io, options, { provider: kms.provider, keys }, () =>
      table(["alias", "key", "version", "state", "created"], keys.flatMap(rowsOf)),
    )
  })
}

type NamedKey = KeyDescription & { readonly alias: string }

function rowsOf({ alias, keyID, currentVersion, versions }: NamedKey): string[][] {
  if (versions.length === 0) return [[alias, keyID, "kept by the KMS", "", ""]]
  return versions.map(({ version, state, createdAt }) => {
    return [
      alias,
      keyID,
      `${version}${version === currentVersion ? " (current)" : ""}`,
      state,
      createdAt?.toISOString() ?? "",
    ]
  })
}

// --- Rotate ---

function rotateVerb(io: IO): Command {
  return withServices(
    verb("rotate", "Make a new version of a key. What older versions sealed still opens.", ["encx keys rotate"]),
  )
    .argument("[ALIAS]", "the key's name; the same as --alias")
    .action((alias: string | undefined, options: KeysOptions) => rotate(io, named(alias, options)))
}

async function rotate(io: IO, options: KeysOptions): Promise<void> {
  await withCrypto(io, options, "keys", async (crypto) => {
    const key = await crypto.rotateKEK({ signal: io.signal })
    await printResult(
      io,
      options,
      { alias: crypto.alias, keyID: key.keyID, currentVersion: key.currentVersion },
      () => {
        return `Rotated "${crypto.alias}" to version ${key.currentVersion}.\nRe-wrap what older versions sealed: encx rewrap DB.sqlite --table T`
      },
    )
  })
}

function named<Options extends KeysOptions>(alias: string | undefined, options: Options): Options {
  if (alias === undefined) return options
  if (options.alias !== undefined && options.alias !== alias)
    throw usage("Cannot use two names for one key: the argument and --alias differ")
  return { ...options, alias }
}
