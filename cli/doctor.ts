/** `encx doctor`: whether keys and secrets can be used from here, and what to do where they cannot. */
import { timingSafeEqual } from "node:crypto"
import type { Command } from "commander"
import {
  type Crypto,
  type Diagnosis,
  type KeyDescription,
  newCrypto,
  type SecretManagementService,
  type WrappedDEKWithID,
  withDEKCache,
} from "../mod.ts"
import { Checkup, type Found, failure } from "./_checkup.ts"
import { verb, withSecrets } from "./_command.ts"
import { Told, usage } from "./_errors.ts"
import type { IO } from "./_io.ts"
import type { OutputOptions } from "./_output.ts"
import { INDEX_ROOT_CONTEXT, pepperVersions, sealedIndexRoot } from "./_secrets.ts"
import {
  optionsOf,
  type ServiceOptions,
  type Services,
  type Setting,
  settingsOf,
  withOpenServices,
} from "./_services.ts"

/** What the verb takes. */
export type DoctorOptions = ServiceOptions & OutputOptions & { readonly pepper: boolean }

/** Enough that one slow call does not make the median. */
const WRAPS = 5

/** The verb. */
export function doctorVerb(io: IO): Command {
  const summary =
    "Check that keys and secrets can be used from here: a line for each check, and what to do where one fails. Nothing is created and no secret is shown. Exit code 1 when something is wrong."
  return withSecrets(
    verb("doctor", summary, ["encx doctor", "encx doctor --kms local:///srv/keys.json --alias app --json"]),
  )
    .option("--no-pepper", "the key alone: nothing is hashed or searched with it")
    .action((options: DoctorOptions) => doctor(io, options))
}

async function doctor(io: IO, options: DoctorOptions): Promise<void> {
  const checkup = new Checkup(io, options.json ?? false)
  let provider: string | undefined
  try {
    refuseKeys(io, options)
    await withOpenServices(io, options, async (services) => {
      provider = services.kms.provider
      await checkup.run("configuration", async () => describeSettings(services, io, options))
      await examine(checkup, services, io, options)
    })
  } catch (error) {
    io.signal.throwIfAborted()
    await checkup.add(failure("configuration", error))
  }
  await checkup.finish(provider === undefined ? {} : { provider })
  if (!checkup.ok) throw new Told()
}

/** Checks open services. */
export async function examine(checkup: Checkup, services: Services, io: IO, options: DoctorOptions): Promise<void> {
  await checkKey(checkup, services, io)
  await checkSecrets(checkup, services, io, options)
}

// --- Configuration ---

// The schemes whose opener takes every part of the URI, so that none of it can be a key that was put there by mistake.
const SHOWN = /^(?:local|awskms|aws-kms|arn|awssecretsmanager):[^?]*|^[a-z][a-z0-9+.-]*:/i
// 32 bytes in base64 or hex.
const KEY_LIKE = /^(?:[A-Za-z0-9+/_-]{43}=|(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+/_-]{43}|[0-9a-fA-F]{64})$/

// A key that was given for the name of one would be quoted in paths and errors.
function refuseKeys(io: IO, options: DoctorOptions): void {
  const { alias, pepperAlias } = settingsOf(io, options)
  const key = [alias, pepperAlias].find(({ value }) => KEY_LIKE.test(value))
  if (key !== undefined)
    throw usage(
      `Cannot use ${key.from}: it looks like a key, not like the name of one`,
      "name the key; put no key there",
    )
}

function describeSettings(services: Services, io: IO, options: DoctorOptions): string {
  const { kms, alias, secrets, pepperAlias } = settingsOf(io, options)
  const uri = ({ value, from }: Setting): string => `${SHOWN.exec(value)?.[0] ?? "a URI"} (${from})`
  const name = ({ value, from }: Setting): string => `"${value}" (${from})`
  const parts = [`KMS ${uri(kms)}`, `key ${name(alias)}`]
  if (options.pepper && services.secrets) {
    parts.push(`secrets ${secrets ? uri(secrets) : "in the KMS"}`, `pepper ${name(pepperAlias)}`)
  }
  return parts.join(", ")
}

// --- The key ---

async function checkKey(checkup: Checkup, services: Services, io: IO): Promise<void> {
  const { kms, alias } = services
  const { signal } = io
  await diagnose(checkup, () => kms.diagnose?.(alias, { signal }), "provider", io)
  let keyID: string | undefined
  const resolved = await checkup.run("key", async () => {
    keyID = await kms.getKeyID(alias, { signal })
    return keyID === alias ? keyID : `"${alias}" → ${keyID}`
  })
  if (!resolved || keyID === undefined)
    return checkup.skip("key version", ...(kms.generateDEK ? ["generate"] : []), "wrap", "unwrap", "wrap latency")
  const named = keyID
  await checkup.run("key version", async () => describeVersion(await kms.describeKey(named, { signal })))
  const crypto = await newCrypto(...optionsOf(services, "keys"), withDEKCache(false))
  try {
    await checkUse(checkup, crypto, kms.generateDEK !== undefined, signal)
  } finally {
    await crypto.close()
  }
}

function describeVersion({ currentVersion, versions }: KeyDescription): Found {
  if (versions.length === 0) return "the KMS keeps its versions to itself"
  const current = versions.find(({ version }) => version === currentVersion)
  if (!current) {
    const detail = `none of its ${versions.length} versions may wrap`
    return { ok: false, detail, hint: "enable one, or make a new one: encx keys rotate" }
  }
  const made = current.createdAt === undefined ? "" : `, made ${current.createdAt.toISOString()}`
  const unusable = versions
    .filter(({ state }) => state !== "enabled")
    .map(({ version, state }) => `${version} ${state}`)
  const rest = unusable.length === 0 ? "" : `; what these wrapped does not open: ${unusable.join(", ")}`
  return `${currentVersion} of ${versions.length}${made}${rest}`
}

// A throw-away data key goes all the ways that programs go.
async function checkUse(checkup: Checkup, crypto: Crypto, generates: boolean, signal: AbortSignal): Promise<void> {
  if (generates) {
    await checkup.run("generate", async () => {
      await crypto.seal(new Uint8Array(0), {}, { signal })
      return "the KMS makes data keys: new data can be sealed"
    })
  }
  const dek = crypto.generateDEK()
  try {
    let wrapped: WrappedDEKWithID | undefined
    await checkup.run("wrap", async () => {
      wrapped = await crypto.encryptDEK(dek, { signal })
      return `a data key was wrapped in ${wrapped.ciphertext.length} bytes`
    })
    const made = wrapped
    if (made === undefined) return checkup.skip("unwrap", "wrap latency")
    await checkup.run("unwrap", async () => {
      const opened = await crypto.decryptDEK(made, { signal })
      const same = timingSafeEqual(opened, dek)
      opened.fill(0)
      if (same) return "it was unwrapped again, and is the same"
      return { ok: false, detail: "it was unwrapped, and is another", hint: "do not seal with this KMS" }
    })
    await checkup.run("wrap latency", () => measure(() => crypto.encryptDEK(dek, { signal })))
  } finally {
    dek.fill(0)
  }
}

async function measure(wrap: () => Promise<unknown>): Promise<string> {
  const times: number[] = []
  for (let i = 0; i < WRAPS; i++) {
    const started = performance.now()
    await wrap()
    times.push(performance.now() - started)
  }
  const [fastest, , median, , slowest] = times.sort((a, b) => a - b).map((ms) => ms.toFixed(1))
  return `${median} ms, the median of ${WRAPS} (${fastest} to ${slowest})`
}

// --- Secrets ---

async function checkSecrets(checkup: Checkup, services: Services, io: IO, options: DoctorOptions): Promise<void> {
  const { kms, secrets: store, pepperAlias: alias } = services
  if (!options.pepper) return
  if (store === undefined) {
    const asked = settingsOf(io, options).pepperAlias.from !== "the key's alias"
    const detail = "this KMS keeps no secrets, and no store of them is named: nothing can be hashed or indexed"
    return await checkup.add({
      check: "pepper",
      ok: !asked,
      detail,
      ...(asked ? { hint: "name a store: --secrets; or say --no-pepper" } : {}),
    })
  }
  if ((store as unknown) !== kms)
    await diagnose(checkup, () => store.diagnose?.(alias, { signal: io.signal }), "secret store", io)
  await checkup.run("pepper", async () => await describePepper(store, alias, io))
  await checkup.run("index root", async () => await openIndexRoot(services, store, io))
}

async function describePepper(store: SecretManagementService, alias: string, io: IO): Promise<Found> {
  const path = store.getStoragePath(alias)
  const versions = await pepperVersions(store, alias, io)
  const [current, ...older] = versions
  if (current === undefined)
    return {
      ok: false,
      detail: `absent: the store says that there is none at "${path}"`,
      hint: "make it: encx pepper init",
    }
  const unsound = versions.find((each) => each.problem !== undefined)
  if (current.stage !== "current" || unsound !== undefined) {
    const problem = unsound === undefined ? "none is current" : `version ${unsound.version}: ${unsound.problem}`
    const detail = `the pepper at "${path}" cannot be used: ${problem}`
    return { ok: false, detail, hint: "no program starts with it: mend that version in the store" }
  }
  const before = older.length === 0 ? "" : `, and ${older.map(({ id }) => id).join(", ")} of before`
  return `version ${current.version} (${current.id}) at "${path}"${before}`
}

async function openIndexRoot(services: Services, store: SecretManagementService, io: IO): Promise<Found> {
  const { pepperAlias: alias } = services
  const path = store.getStoragePath(alias, "index-root")
  const sealed = await sealedIndexRoot(store, alias, io)
  if (sealed === undefined)
    return {
      ok: false,
      detail: `absent: the store says that there is none at "${path}"`,
      hint: "make it: encx pepper init",
    }
  const crypto = await newCrypto(...optionsOf(services, "keys"))
  try {
    const root = await crypto.open(sealed, INDEX_ROOT_CONTEXT, { signal: io.signal })
    root.fill(0)
    return `at "${path}", and the key opens it`
  } finally {
    await crypto.close()
  }
}

// --- Providers ---

async function diagnose(
  checkup: Checkup,
  begin: () => AsyncIterable<Diagnosis> | undefined,
  name: string,
  io: IO,
): Promise<void> {
  try {
    for await (const diagnosis of begin() ?? []) await checkup.addNew(diagnosis)
  } catch (error) {
    io.signal.throwIfAborted()
    await checkup.addNew(failure(name, error))
  }
}
