/** `encx keys`: make, show, copy and rotate. */
import { Command } from "commander"
import { type KeyDescription, KeyExists, type KeyManagementService } from "../mod.ts"
import type { AWSKMS } from "../providers/aws-kms.ts"
import { verb, withSecrets, withServices } from "./_command.ts"
import { usage } from "./_errors.ts"
import type { IO } from "./_io.ts"
import { type OutputOptions, printResult, table } from "./_output.ts"
import { createSecrets } from "./_secrets.ts"
import { type ServiceOptions, withCrypto, withOpenServices } from "./_services.ts"

type KeysOptions = ServiceOptions & OutputOptions

/** The verb, with its five. */
export function keysVerb(io: IO): Command {
  return new Command("keys")
    .description("Make, show, copy and rotate keys.")
    .addCommand(createVerb(io))
    .addCommand(listVerb(io))
    .addCommand(describeVerb(io))
    .addCommand(replicateVerb(io))
    .addCommand(rotateVerb(io))
    .addHelpText("after", "\nExample:\n  $ encx keys create")
}

// --- Create ---

interface CreateOptions extends KeysOptions {
  readonly pepper: boolean
  readonly multiRegion?: boolean
}

function createVerb(io: IO): Command {
  const command = verb(
    "create",
    "Make a key, and beside it a pepper for passwords and a root for blind indexes. What is there stays.",
    ["encx keys create", "encx keys create app --kms local:///srv/keys.json", "encx keys create app --multi-region"],
  )
  return withSecrets(command)
    .argument("[ALIAS]", "the key's name; the same as --alias")
    .option("--no-pepper", "the key alone: nothing will be hashed or searched with it")
    .option(
      "--multi-region",
      "a key that can be copied to other regions, where the KMS has them; no key becomes one later",
    )
    .action((alias: string | undefined, options: CreateOptions) => create(io, named(alias, options)))
}

async function create(io: IO, options: CreateOptions): Promise<void> {
  const { pepper: wantsPepper, multiRegion = false } = options
  await withOpenServices(io, options, async (services) => {
    const { alias, kms } = services
    if (!kms.createKey)
      throw usage(`Cannot create a key: the provider "${kms.provider}" does not make keys here`, "make it there")
    if (multiRegion) requireRegions(kms, "create a multi-region key")
    const { secrets } = services
    if (wantsPepper && secrets === undefined)
      throw usage(
        "Cannot create a pepper: this KMS keeps no secrets",
        "name a store that does, --secrets, or say --no-pepper",
      )
    // An alias that the store refuses is refused before there is a key.
    if (wantsPepper) secrets?.getStoragePath(services.pepperAlias)
    const made = [
      ...(await createKey(kms, alias, multiRegion, io)),
      ...(wantsPepper && secrets ? (await createSecrets(services, secrets, io)).created : []),
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

async function createKey(
  kms: KeyManagementService,
  alias: string,
  multiRegion: boolean,
  { signal }: IO,
): Promise<string[]> {
  try {
    await (multiRegion && hasRegions(kms)
      ? kms.createKey(alias, { signal, multiRegion })
      : kms.createKey?.(alias, { signal }))
    return ["key"]
  } catch (error) {
    // A key that is there may be of one region, and none becomes another kind.
    if (!(error instanceof KeyExists) || multiRegion) throw error
    return []
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
      table(["alias", "key", ...COLUMNS], keys.flatMap(rowsOf)),
    )
  })
}

type NamedKey = KeyDescription & { readonly alias: string }
const COLUMNS = ["version", "state", "created"] as const

function rowsOf({ alias, keyID, ...key }: NamedKey): string[][] {
  if (key.versions.length === 0) return [[alias, keyID, "kept by the KMS", "", ""]]
  return versionRows(key).map((row) => [alias, keyID, ...row])
}

function versionRows({ currentVersion, versions }: Pick<KeyDescription, "currentVersion" | "versions">): string[][] {
  return versions.map(({ version, state, createdAt }) => {
    const current = version === currentVersion ? " (current)" : ""
    return [`${version}${current}`, state, createdAt?.toISOString() ?? ""]
  })
}

// --- Describe ---

function describeVerb(io: IO): Command {
  return withServices(
    verb("describe", "Show one key: what its alias stands for, and its versions.", [
      "encx keys describe",
      "encx keys describe app --json",
    ]),
  )
    .argument("[ALIAS]", "the key's name or its id; the same as --alias")
    .action((alias: string | undefined, options: KeysOptions) => describe(io, named(alias, options)))
}

async function describe(io: IO, options: KeysOptions): Promise<void> {
  const { signal } = io
  await withOpenServices(io, options, async ({ kms, alias }) => {
    const key = await kms.describeKey(await kms.getKeyID(alias, { signal }), { signal })
    await printResult(io, options, { provider: kms.provider, alias, ...key }, () => {
      const facts = [
        ["provider", kms.provider],
        ["alias", alias],
        ["key", key.keyID],
      ]
      const versions =
        key.versions.length === 0 ? "The KMS keeps its versions to itself." : table(COLUMNS, versionRows(key))
      return `${table([], facts)}\n\n${versions}`
    })
  })
}

// --- Replicate ---

type RegionalKMS = Pick<AWSKMS, "createKey" | "replicateKey"> & KeyManagementService
const hasRegions = (kms: KeyManagementService): kms is RegionalKMS => "replicateKey" in kms

function requireRegions(kms: KeyManagementService, what: string): asserts kms is RegionalKMS {
  if (hasRegions(kms)) return
  throw usage(
    `Cannot ${what}: the provider "${kms.provider}" has no regions`,
    "name one that has: --kms awskms:///?region=…",
  )
}

function replicateVerb(io: IO): Command {
  return withServices(
    verb("replicate", "Copy a multi-region key to another region. What either of the two wrapped, the other opens.", [
      "encx keys replicate eu-west-1",
      "encx keys replicate eu-west-1 --alias app",
    ]),
  )
    .argument("<REGION>", "where the copy is to be")
    .action((region: string, options: KeysOptions) => replicate(io, region, options))
}

async function replicate(io: IO, region: string, options: KeysOptions): Promise<void> {
  const { signal } = io
  await withOpenServices(io, options, async ({ kms, alias }) => {
    requireRegions(kms, "copy a key to another region")
    const keyID = await kms.getKeyID(alias, { signal })
    const copy = await kms.replicateKey(keyID, region, { signal })
    await printResult(io, options, { provider: kms.provider, alias, keyID, region, copy }, () => {
      return `Copied "${alias}" to ${region}: ${copy}\nIt has no alias there yet.`
    })
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
    await printResult(io, options, { alias: crypto.alias, keyID: key.keyID, currentVersion: key.currentVersion }, () =>
      describeRotation(crypto.alias, key),
    )
  })
}

function describeRotation(alias: string, { currentVersion }: KeyDescription): string {
  if (currentVersion === 0)
    return `Rotated "${alias}". The KMS keeps its versions to itself, and opens what older ones wrapped.`
  return `Rotated "${alias}" to version ${currentVersion}.\nRe-wrap what older versions sealed: encx rewrap DB.sqlite --table T`
}

function named<Options extends KeysOptions>(alias: string | undefined, options: Options): Options {
  if (alias === undefined) return options
  if (options.alias !== undefined && options.alias !== alias)
    throw usage("Cannot use two names for one key: the argument and --alias differ")
  return { ...options, alias }
}
