/** `encx pepper`: make, renew and show the secret that password hashes need. */
import { Command } from "commander"
import { SecretNotFound } from "../mod.ts"
import { verb, withSecrets } from "./_command.ts"
import { CommandError, Told } from "./_errors.ts"
import type { IO } from "./_io.ts"
import { type OutputOptions, printResult, table } from "./_output.ts"
import { createSecrets, type PepperVersion, pepperVersions, sealedIndexRoot, withNewPepper } from "./_secrets.ts"
import { noStore, type ServiceOptions, withOpenServices, withSecretStore } from "./_services.ts"

type PepperOptions = ServiceOptions & OutputOptions

/** The verb, with its three. */
export function pepperVerb(io: IO): Command {
  return new Command("pepper")
    .description("Make, renew and show the pepper of password hashes. Its value is never shown.")
    .addCommand(initVerb(io))
    .addCommand(rotateVerb(io))
    .addCommand(statusVerb(io))
    .addHelpText("after", "\nExample:\n  $ encx pepper status")
}

// --- Init ---

function initVerb(io: IO): Command {
  const summary =
    "Make a pepper for passwords and a root for blind indexes, in the secret store. What is there stays, and the key must be there."
  return withSecrets(
    verb("init", summary, [
      "encx pepper init",
      "encx pepper init --secrets local:///srv/secrets.json --pepper-alias app",
    ]),
  ).action((options: PepperOptions) => init(io, options))
}

async function init(io: IO, options: PepperOptions): Promise<void> {
  await withOpenServices(io, options, async (services) => {
    const { secrets: store, pepperAlias: alias } = services
    if (store === undefined) throw noStore()
    const { created, existing } = await createSecrets(services, store, io)
    const paths = { pepper: store.getStoragePath(alias), indexRoot: store.getStoragePath(alias, "index-root") }
    await printResult(io, options, { provider: store.provider, alias, created, existing, paths }, () => {
      const made = created.length === 0 ? "Created nothing" : `Created ${created.join(", ")} under "${alias}"`
      return `${made}${existing.length === 0 ? "" : `; there already: ${existing.join(", ")}`}.`
    })
  })
}

// --- Rotate ---

interface RotateOptions extends PepperOptions {
  readonly dropOldest?: boolean
}

// Secrets Manager has one stage for the version before the current one; a version without a stage is deleted some day.
const KEEPS_ONE_PREVIOUS: readonly string[] = ["aws-secrets-manager"]

function rotateVerb(io: IO): Command {
  const summary =
    "Make another pepper the current one. Programs take it up when they start; restart all of them. Hashes of the previous one still verify, and are to be renewed."
  return withSecrets(verb("rotate", summary, ["encx pepper rotate", "encx pepper rotate --pepper-alias app"]))
    .option("--drop-oldest", "also where the store has no room for the oldest: its hashes verify no more")
    .action((options: RotateOptions) => rotate(io, options))
}

async function rotate(io: IO, options: RotateOptions): Promise<void> {
  await withSecretStore(io, options, async (store, alias) => {
    const path = store.getStoragePath(alias)
    const before = await pepperVersions(store, alias, io)
    if (before.length === 0) throw absent(store.provider, path)
    const oldest = KEEPS_ONE_PREVIOUS.includes(store.provider) && before.find(({ stage }) => stage === "previous")
    if (oldest && !options.dropOldest) throw full(path, oldest)
    await withNewPepper((pepper) => store.rotatePepper(alias, pepper, { signal: io.signal }))
    const versions = await pepperVersions(store, alias, io)
    const lost = before.map(({ id }) => id).filter((id) => !versions.some((each) => each.id === id))
    await printResult(io, options, { provider: store.provider, alias, path, versions, lost }, () =>
      describeRotation(path, versions, lost),
    )
  })
}

function describeRotation(
  path: string,
  [current, ...older]: readonly PepperVersion[],
  lost: readonly string[],
): string {
  const ids = older.map(({ id }) => id).join(", ")
  return [
    `Rotated the pepper at "${path}" to version ${current?.version} (${current?.id}).`,
    `Restart every program that hashes. Hashes of ${ids} still verify; renew them at the next login: needsRehash.`,
    ...(lost.length === 0 ? [] : [`The store keeps ${lost.join(", ")} no longer: its hashes verify no more.`]),
  ].join("\n")
}

function full(path: string, { id }: PepperVersion): CommandError {
  return new CommandError(
    "PEPPER_WOULD_BE_LOST",
    `Cannot rotate the pepper at "${path}": the store keeps one version before the current one, and hashes of ${id} would verify no more`,
    { hint: `when no hash is left that names ${id}, say --drop-oldest` },
  )
}

function absent(provider: string, path: string): SecretNotFound {
  return new SecretNotFound(`Cannot rotate the pepper: there is none at "${path}"`, {
    provider,
    operation: "rotatePepper",
    hint: "make it: encx pepper init; or name another: --secrets, --pepper-alias",
  })
}

// --- Status ---

function statusVerb(io: IO): Command {
  const summary =
    "Show the versions of the pepper, by the ids that hashes name them by, and where they are stored. Exit code 1 when the pepper or the index root is absent."
  return withSecrets(verb("status", summary, ["encx pepper status", "encx pepper status --json"])).action(
    (options: PepperOptions) => status(io, options),
  )
}

async function status(io: IO, options: PepperOptions): Promise<void> {
  await withSecretStore(io, options, async (store, alias) => {
    const versions = await pepperVersions(store, alias, io)
    const hasRoot = (await sealedIndexRoot(store, alias, io)) !== undefined
    const pepper = { path: store.getStoragePath(alias), exists: versions.length > 0, versions }
    const indexRoot = { path: store.getStoragePath(alias, "index-root"), exists: hasRoot }
    await printResult(io, options, { provider: store.provider, alias, pepper, indexRoot }, () => {
      const peppers = versions.map(({ version, stage, id }) => ["pepper", pepper.path, version, stage, id])
      return [
        table(
          ["secret", "stored at", "version", "stage", "id"],
          [
            ...(pepper.exists ? peppers : [["pepper", pepper.path, "absent", "", ""]]),
            ["index root", indexRoot.path, hasRoot ? "there" : "absent", "", ""],
          ],
        ),
        ...(pepper.exists && hasRoot ? [] : ["\nMake what is absent: encx pepper init"]),
      ].join("\n")
    })
    if (!pepper.exists || !hasRoot) throw new Told()
  })
}
