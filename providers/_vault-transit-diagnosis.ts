/** What is looked at before Vault is used, step by step: each has a way out. */
import { randomBytes, wipe } from "../core/bytes.ts"
import type { CallOptions, Context, Diagnosis, KeyManagementService } from "../core/contracts.ts"
import { AccessDenied } from "../core/errors.ts"
import { attempt, failed } from "./_diagnosis.ts"
import { type Answer, type Connection, recordOf } from "./_vault.ts"
import { badAnswer, vaultError } from "./_vault-errors.ts"
import { type KeyPlace, keyIDOf, MAX_KEY, type TransitKey, transitKey, usable } from "./_vault-keys.ts"

/** That of data keys. No data key has this id. */
const CONTEXT: Context = { purpose: "encx.v2.dek", dek_id: "0".repeat(32) }
const SLOW_MS = 500
const DAY_MS = 86_400_000

const STATES: Readonly<Record<number, string>> = { 501: "not initialized", 503: "Vault is sealed" }

interface Patient {
  readonly connection: Connection
  readonly kms: KeyManagementService
  readonly place: KeyPlace
  readonly name: string
}

/** Looks at one key and the way to it. */
export async function* diagnoseTransit(
  patient: Patient,
  options?: CallOptions,
): AsyncGenerator<Diagnosis, void, undefined> {
  const { connection, place, name } = patient
  if (!(yield* diagnoseServer(connection, options))) return
  if (!(yield* diagnoseToken(connection, options))) return
  const start = performance.now()
  const found = await attempt(() => lookAt(patient, options))
  if ("error" in found) return yield failed("key", found.error)
  const latencyMs = performance.now() - start
  yield { check: "key", ok: true, detail: `${name} → ${keyIDOf(place, name)}` }
  const slow = latencyMs > SLOW_MS
  const hint = slow ? { hint: "use a server that is near, or a performance standby" } : {}
  yield { check: "latency", ok: !slow, detail: `${latencyMs.toFixed(0)} ms`, ...hint }
  yield* diagnoseKey(place, found.value)
  yield* diagnoseUpsert(patient, options)
  yield* diagnosePermissions(patient, options)
}

/** The server and its state, which it tells anybody. */
export async function* diagnoseServer(
  connection: Connection,
  options?: CallOptions,
): AsyncGenerator<Diagnosis, boolean, undefined> {
  options?.signal?.throwIfAborted()
  const opened = await attempt(async () => connection.open().settings)
  if ("error" in opened) {
    yield failed("server", opened.error)
    return false
  }
  const { address, namespace } = opened.value
  const found = await attempt(() =>
    connection.send({
      operation: "diagnose",
      method: "GET",
      path: "sys/health",
      query: "?standbyok=true&perfstandbyok=true",
      target: "sys/health",
      open: true,
      // It says in JSON what its status stands for.
      takes: ({ status }) => status in STATES,
      read: ({ status, whole }) => {
        const { initialized, sealed, version } = whole
        const request = { operation: "diagnose", method: "GET", path: "sys/health", target: "sys/health" } as const
        const ready = status === 200 && initialized !== false && sealed !== true
        if (!ready) throw vaultError(connection.service, request, { status, errors: [STATES[status] ?? ""] })
        if (typeof version !== "string") throw badAnswer(connection.service, "diagnose", "no health")
        return whole
      },
      options,
    }),
  )
  if ("error" in found) {
    yield failed("server", found.error)
    return false
  }
  const { version, standby } = found.value
  const where = `${address}${namespace === undefined ? "" : `, namespace ${namespace}`}`
  yield { check: "server", ok: true, detail: `${String(version)} at ${where}${standby === true ? ", a standby" : ""}` }
  return true
}

/** The token: what it may do, and for how long. */
export async function* diagnoseToken(
  connection: Connection,
  options?: CallOptions,
): AsyncGenerator<Diagnosis, boolean, undefined> {
  const found = await attempt(() => get(connection, "auth/token/lookup-self", options))
  // Programs need no permission to look.
  if ("error" in found && found.error instanceof AccessDenied) {
    yield { check: "token", ok: true, detail: "it may not look itself up" }
    return true
  }
  if ("error" in found) {
    yield failed("token", found.error)
    return false
  }
  const { policies, ttl, renewable, type } = found.value
  const names = Array.isArray(policies) ? policies.map(String) : []
  const seconds = Number(ttl ?? 0)
  const life =
    seconds > 0 ? `ends in ${duration(seconds * 1_000)}${renewable === true ? ", renewable" : ""}` : "without an end"
  yield {
    check: "token",
    ok: true,
    detail: `${String(type ?? "service")}, ${life}, policies ${names.join(", ") || "none"}`,
    ...(names.includes("root")
      ? { hint: "it may do everything: give the program a login and a policy of its own" }
      : {}),
  }
  return true
}

async function lookAt({ connection, place, name }: Patient, options?: CallOptions): Promise<TransitKey> {
  return await connection.send({
    operation: "diagnose",
    method: "GET",
    path: `${place.mount}/keys/${name}`,
    target: name,
    read: ({ data }: Answer) => {
      const key = transitKey(name, data)
      if (!key) throw badAnswer(connection.service, "diagnose", `no description of the key "${name}"`)
      return usable(key)
    },
    maxBytes: MAX_KEY,
    options,
  })
}

function* diagnoseKey({ mount }: KeyPlace, key: TransitKey): Generator<Diagnosis, void, undefined> {
  const { name, type, latest, minDecryption, exportable, deletable, rotationMs = 0 } = key
  const closed = minDecryption > 1 ? `, those before ${minDecryption} do not open` : ""
  yield { check: "key type", ok: true, detail: `${type}, version ${latest}${closed}` }
  yield exportable
    ? {
        check: "key export",
        ok: false,
        detail: "its material can be read by whoever may export or back it up",
        hint: "that cannot be taken back: create another key, and re-wrap",
      }
    : { check: "key export", ok: true, detail: "its material stays in Vault" }
  if (deletable)
    yield {
      check: "key deletion",
      ok: true,
      detail: "allowed: with it, all that it wrapped would be lost",
      hint: `forbid it: vault write ${mount}/keys/${name}/config deletion_allowed=false`,
    }
  yield rotationMs > 0
    ? { check: "rotation", ok: true, detail: `every ${duration(rotationMs)}` }
    : {
        check: "rotation",
        ok: true,
        detail: "off: the key works, and its material stays the same",
        hint: `switch it on: vault write ${mount}/keys/${name}/config auto_rotate_period=8760h`,
      }
}

/** Whether `encrypt` could make a key under the name of one that was deleted. */
async function* diagnoseUpsert(
  { connection, place, name }: Patient,
  options?: CallOptions,
): AsyncGenerator<Diagnosis, void, undefined> {
  const path = `${place.mount}/encrypt/${name}`
  const config = await attempt(() => get(connection, `${place.mount}/config/keys`, options))
  if ("value" in config && config.value["disable_upsert"] === true) {
    yield { check: "no silent creation", ok: true, detail: "disable_upsert is set" }
    return
  }
  const capabilities = await attempt(() =>
    connection.send({
      operation: "diagnose",
      method: "POST",
      path: "sys/capabilities-self",
      target: name,
      body: () => ({ paths: [path] }),
      read: ({ data }) => (Array.isArray(data[path]) ? data[path].map(String) : []),
      options,
    }),
  )
  if ("error" in capabilities) {
    if (!(capabilities.error instanceof AccessDenied)) yield failed("no silent creation", capabilities.error)
    return
  }
  const creates = capabilities.value.some((each) => each === "create" || each === "root")
  yield creates
    ? {
        check: "no silent creation",
        ok: true,
        detail: `this token may create on ${path}: if the key were deleted, encrypting would make another`,
        hint: `vault write ${place.mount}/config/keys disable_upsert=true, or give the token "update" alone`,
      }
    : { check: "no silent creation", ok: true, detail: "the token may not create keys by encrypting" }
}

async function* diagnosePermissions(
  { kms, place, name }: Patient,
  options?: CallOptions,
): AsyncGenerator<Diagnosis, void, undefined> {
  const [encrypt, decrypt] = [`update ${place.mount}/encrypt/${name}`, `update ${place.mount}/decrypt/${name}`]
  const encrypted = await attempt(() => kms.encryptDEK(name, randomBytes(32), CONTEXT, options))
  yield "error" in encrypted ? failed(encrypt, encrypted.error) : { check: encrypt, ok: true, detail: "allowed" }
  if ("error" in encrypted) {
    const detail = "not looked at: there is nothing to decrypt"
    return yield { check: decrypt, ok: false, detail, hint: `first allow ${encrypt}` }
  }
  const decrypted = await attempt(() => kms.decryptDEK(encrypted.value, CONTEXT, options))
  if ("value" in decrypted) wipe(decrypted.value)
  yield "error" in decrypted ? failed(decrypt, decrypted.error) : { check: decrypt, ok: true, detail: "allowed" }
}

// --- Diagnoses ---

/** What can be read at a path. */
export function get(connection: Connection, path: string, options?: CallOptions): Promise<Record<string, unknown>> {
  return connection.send({
    operation: "diagnose",
    method: "GET",
    path,
    target: path,
    read: ({ data }) => recordOf(data),
    options,
  })
}

function duration(timeMs: number): string {
  if (timeMs >= 2 * DAY_MS) return `${Math.floor(timeMs / DAY_MS)} days`
  return timeMs >= 7_200_000 ? `${Math.floor(timeMs / 3_600_000)} hours` : `${Math.ceil(timeMs / 60_000)} minutes`
}
