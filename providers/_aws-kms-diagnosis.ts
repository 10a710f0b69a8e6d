/** What is looked at before AWS KMS is used, step by step: each has a way out. */
import { randomBytes, wipe } from "../core/bytes.ts"
import type { CallOptions, Context, Diagnosis, KeyManagementService } from "../core/contracts.ts"
import { AccessDenied } from "../core/errors.ts"
import type { Connection } from "./_aws.ts"
import { attempt, failed } from "./_diagnosis.ts"

/** That of data keys: policies have conditions on it. No data key has this id. */
const CONTEXT: Context = { purpose: "encx.v2.dek", dek_id: "0".repeat(32) }
const SKEW_LIMIT_MS = 60_000
const SLOW_MS = 500

interface KeyMetadata {
  readonly Arn?: string
  readonly KeyState?: string
  readonly KeySpec?: string
  readonly KeyUsage?: string
  readonly MultiRegion?: boolean
}

/** Looks at one key and the way to it. */
export async function* diagnoseKMS(
  connection: Connection,
  kms: KeyManagementService & Required<Pick<KeyManagementService, "generateDEK">>,
  alias: string,
  options?: CallOptions,
): AsyncGenerator<Diagnosis, void, undefined> {
  const place = yield* diagnosePlace(connection, options)
  if (!place) return
  const key = yield* diagnoseKey(connection, kms, alias, options)
  yield* diagnoseClock(connection)
  if (!key) return
  yield* diagnoseRotation(connection, key, options)
  yield* diagnosePermissions(kms, key, options)
}

/** Region and credentials, of any service of AWS. */
export async function* diagnosePlace(
  connection: Connection,
  { signal }: CallOptions = {},
): AsyncGenerator<Diagnosis, boolean, undefined> {
  signal?.throwIfAborted()
  const opened = await attempt(() => connection.open())
  if ("error" in opened) {
    yield failed("region", opened.error)
    return false
  }
  const { client, region } = opened.value
  yield { check: "region", ok: true, detail: region ?? "that of the given client" }
  const found = await attempt(async () => await client.config?.credentials?.())
  if ("error" in found) {
    yield failed("credentials", connection.explain("diagnose", found.error))
    return false
  }
  const { accessKeyId = "", expiration } = found.value ?? {}
  const until = expiration ? `, until ${expiration.toISOString()}` : ""
  yield { check: "credentials", ok: true, detail: `access key …${accessKeyId.slice(-4)}${until}` }
  return true
}

/** The clock, which the SDK compares with each answer's. */
export async function* diagnoseClock(connection: Connection): AsyncGenerator<Diagnosis, void, undefined> {
  const { client } = await connection.open()
  const offsetMs = client.config?.systemClockOffset ?? 0
  const ok = Math.abs(offsetMs) < SKEW_LIMIT_MS
  const detail = `${(offsetMs / 1000).toFixed(0)} s from AWS's`
  yield { check: "clock", ok, detail, ...(ok ? {} : { hint: "set it, by NTP: timedatectl set-ntp true" }) }
}

async function* diagnoseKey(
  connection: Connection,
  kms: KeyManagementService,
  alias: string,
  options?: CallOptions,
): AsyncGenerator<Diagnosis, string | undefined, undefined> {
  const resolved = await attempt(() => kms.getKeyID(alias, options))
  if ("error" in resolved) {
    yield failed("key", resolved.error)
    return undefined
  }
  const keyID = resolved.value
  yield { check: "key", ok: true, detail: alias === keyID ? keyID : `${alias} → ${keyID}` }
  // Not the first request: what that takes is the loading of packages and the making of a connection.
  const start = performance.now()
  const described = await attempt(() =>
    connection.send({
      operation: "diagnose",
      command: "DescribeKey",
      target: keyID,
      input: { KeyId: keyID },
      read: (answer: { KeyMetadata?: KeyMetadata }) => answer.KeyMetadata ?? {},
      options,
    }),
  )
  if ("error" in described) {
    yield failed("key state", described.error)
    return undefined
  }
  const latencyMs = performance.now() - start
  const slow = latencyMs > SLOW_MS
  yield {
    check: "latency",
    ok: !slow,
    detail: `${latencyMs.toFixed(0)} ms`,
    ...(slow ? { hint: "use a region that is near, or a VPC endpoint" } : {}),
  }
  const { KeyState = "unknown", KeySpec = "unknown", KeyUsage = "unknown", MultiRegion = false } = described.value
  const ok = KeyState === "Enabled"
  yield {
    check: "key state",
    ok,
    detail: KeyState,
    ...(ok ? {} : { hint: STATES[KeyState] ?? "wait, and look again" }),
  }
  yield { check: "key spec", ok: true, detail: `${KeySpec}, ${KeyUsage}${MultiRegion ? ", multi-region" : ""}` }
  return keyID
}

const STATES: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  Disabled: "enable it: aws kms enable-key --key-id KEY-ID",
  PendingDeletion: "cancel it: aws kms cancel-key-deletion --key-id KEY-ID, then aws kms enable-key --key-id KEY-ID",
  PendingImport: "import its key material: aws kms import-key-material",
})

async function* diagnoseRotation(
  connection: Connection,
  keyID: string,
  options?: CallOptions,
): AsyncGenerator<Diagnosis, void, undefined> {
  const status = await attempt(() =>
    connection.send({
      operation: "diagnose",
      command: "GetKeyRotationStatus",
      target: keyID,
      input: { KeyId: keyID },
      read: (answer: { KeyRotationEnabled?: boolean; RotationPeriodInDays?: number }) => answer,
      options,
    }),
  )
  // Programs need no permission to look.
  if ("error" in status && status.error instanceof AccessDenied)
    return yield { check: "rotation", ok: true, detail: "not known: kms:GetKeyRotationStatus is not allowed" }
  if ("error" in status) return yield failed("rotation", status.error)
  const { KeyRotationEnabled: enabled = false, RotationPeriodInDays: days = 365 } = status.value
  yield enabled
    ? { check: "rotation", ok: true, detail: `every ${days} days` }
    : {
        check: "rotation",
        ok: true,
        detail: "off: the key works, and its material stays the same",
        hint: `switch it on: aws kms enable-key-rotation --key-id ${keyID}`,
      }
}

async function* diagnosePermissions(
  kms: KeyManagementService & Required<Pick<KeyManagementService, "generateDEK">>,
  keyID: string,
  options?: CallOptions,
): AsyncGenerator<Diagnosis, void, undefined> {
  const generated = await attempt(() => kms.generateDEK(keyID, CONTEXT, options))
  if ("value" in generated) wipe(generated.value.plaintext)
  yield permission("kms:GenerateDataKey", generated)
  const encrypted = await attempt(() => kms.encryptDEK(keyID, randomBytes(32), CONTEXT, options))
  yield permission("kms:Encrypt", encrypted)
  const wrapped = "value" in generated ? generated : encrypted
  if ("error" in wrapped) {
    yield {
      check: "kms:Decrypt",
      ok: false,
      detail: "not looked at: there is nothing to decrypt",
      hint: "first allow kms:GenerateDataKey or kms:Encrypt",
    }
    return
  }
  const decrypted = await attempt(() => kms.decryptDEK(wrapped.value, CONTEXT, options))
  if ("value" in decrypted) wipe(decrypted.value)
  yield permission("kms:Decrypt", decrypted)
}

// --- Diagnoses ---

function permission(check: string, result: { value: unknown } | { error: unknown }): Diagnosis {
  return "error" in result ? failed(check, result.error) : { check, ok: true, detail: "allowed" }
}
