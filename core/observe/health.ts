/**
 * Whether the services of a program can be asked, now: for the probe of a load balancer, or a person.
 *
 * @module
 */
import type { ResolvedConfiguration, ResolvedKEK, ResolvedSecret } from "../configuration.ts"
import type { CallOptions, KEKVersionStore, ServiceEvent } from "../contracts.ts"
import { InvalidInput, isRetryableError } from "../errors.ts"
import type { DataKeys } from "../keys/data-keys.ts"
import { errorCode } from "./hooks.ts"

/** How a program or a part of it is: `degraded` still does what it is asked for, or most of it. */
export type HealthStatus = "healthy" | "degraded" | "unhealthy"

/** What was looked at. */
export type HealthSubject = "kms" | "additional-kms" | "retired-kms" | "secrets" | "database" | "circuits" | "cache"

/** How one check ended. Nothing in it is secret: no key, no path, no message of an error. */
export interface HealthCheck {
  /** What was looked at. */
  readonly check: HealthSubject
  /** How it is. */
  readonly status: HealthStatus
  /** The service's name, where one was asked. */
  readonly provider?: string
  /** The alias that was asked for. */
  readonly alias?: string
  /** What was found, for people. */
  readonly detail: string
  /** The code of the error, or `TIMEOUT`, where it failed. */
  readonly code?: string
  /** How long that took, in milliseconds. */
  readonly durationMs: number
}

/** How a program is. */
export interface Health {
  /** The worst of the checks. */
  readonly status: HealthStatus
  /** The first key, the other keys, the secrets, the database, the circuits, the cache: those that there are, in this order. */
  readonly checks: readonly HealthCheck[]
}

/** Options of `health`. */
export interface HealthOptions extends CallOptions {
  /** How long all checks may take together, in milliseconds; whatever has not answered then is told as that. @default {5_000} */
  readonly timeoutMs?: number
}

/** What is looked at. @internal */
export interface HealthParts extends Pick<ResolvedConfiguration, "keks" | "pepper" | "indexRoot" | "database"> {
  readonly dataKeys: DataKeys
  /** How many circuits are known to be open. */
  readonly openCircuits: () => number
}

const TIMEOUT_MS = 5_000
/** setTimeout() takes no more. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1
const RANK: Readonly<Record<HealthStatus, number>> = { healthy: 0, degraded: 1, unhealthy: 2 }

/** What a check finds when its service answers. */
interface Found {
  readonly status?: HealthStatus
  readonly detail: string
  readonly code?: string
}

interface Subject {
  readonly check: HealthSubject
  readonly provider?: string
  readonly alias?: string
  /** What it means when this fails. */
  readonly failed: HealthStatus
  readonly look: (options: CallOptions) => Promise<Found>
}

/** Looks at every part, all at once. @internal */
export async function checkHealth(
  parts: HealthParts,
  { signal, timeoutMs = TIMEOUT_MS }: HealthOptions = {},
): Promise<Health> {
  if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > MAX_TIMEOUT_MS)
    throw new InvalidInput(`Cannot check the health: timeoutMs is not a whole number from 1 to ${MAX_TIMEOUT_MS}`)
  signal?.throwIfAborted()
  const ended = new AbortController()
  const abort = (): void => ended.abort(signal?.reason)
  signal?.addEventListener("abort", abort, { once: true })
  const timer = setTimeout(
    () => ended.abort(new DOMException("The time for all checks is over", "TimeoutError")),
    timeoutMs,
  )
  // A service may be deaf to its signal.
  const late = new Promise<never>((_, reject) => {
    ended.signal.addEventListener("abort", () => reject(ended.signal.reason), { once: true })
  })
  const open = new Set<string>()
  const watch = (event: ServiceEvent): void => {
    if (event.kind === "circuit" && event.open) open.add(event.key)
  }
  try {
    const asked = subjectsOf(parts).map((subject) => look(subject, { signal: ended.signal, watch }, late, timeoutMs))
    const services = await Promise.all(asked)
    signal?.throwIfAborted()
    const checks = [...services, circuits(Math.max(open.size, parts.openCircuits())), cache(parts.dataKeys)]
    const status = checks.reduce<HealthStatus>(
      (worst, each) => (RANK[each.status] > RANK[worst] ? each.status : worst),
      "healthy",
    )
    return { status, checks }
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener("abort", abort)
  }
}

async function look(
  { look: find, failed, ...subject }: Subject,
  options: CallOptions,
  late: Promise<never>,
  timeoutMs: number,
): Promise<HealthCheck> {
  const began = performance.now()
  const told = (found: Found): HealthCheck => ({
    ...subject,
    status: "healthy",
    ...found,
    durationMs: performance.now() - began,
  })
  try {
    return told(await Promise.race([find(options), late]))
  } catch (error) {
    const code = errorCode(error)
    if (code === "TIMEOUT") return told({ status: failed, code, detail: `it did not answer within ${timeoutMs} ms` })
    return told({ status: failed, code, detail: isRetryableError(error) ? "it cannot be asked for now" : "it refused" })
  }
}

// --- Parts ---

function subjectsOf({ keks, pepper, indexRoot, database, dataKeys }: HealthParts): Subject[] {
  const [first, ...others] = keks
  return [
    firstKEK(first, dataKeys),
    ...others.map(otherKEK),
    ...storeOf(pepper).map(pepperStore),
    ...(isSame(pepper, indexRoot) ? [] : storeOf(indexRoot).map(indexRootStore)),
    ...(database ? [versions(database, first.alias)] : []),
  ]
}

type Stored = Extract<ResolvedSecret, { readonly store: unknown }>

const storeOf = (source: ResolvedSecret | undefined): Stored[] => (source && "store" in source ? [source] : [])
const isSame = (a: ResolvedSecret | undefined, b: ResolvedSecret | undefined): boolean =>
  a !== undefined && b !== undefined && "store" in a && "store" in b && a.store === b.store && a.alias === b.alias

function firstKEK({ kms, alias }: ResolvedKEK, dataKeys: DataKeys): Subject {
  return {
    check: "kms",
    provider: kms.provider,
    alias,
    failed: "unhealthy",
    look: async (options) => {
      const { keyID } = await dataKeys.keyring.primary(options)
      return described(await kms.describeKey(keyID, options), "unhealthy")
    },
  }
}

// Whatever it wrapped opens with another, or is not asked for now.
function otherKEK({ kms, alias, wraps }: ResolvedKEK): Subject {
  return {
    check: wraps ? "additional-kms" : "retired-kms",
    provider: kms.provider,
    alias,
    failed: "degraded",
    look: async (options) => {
      const description = await kms.describeKey(await kms.getKeyID(alias, options), options)
      return described(description, wraps ? "degraded" : "healthy")
    },
  }
}

function described(
  { currentVersion, versions }: Awaited<ReturnType<ResolvedKEK["kms"]["describeKey"]>>,
  unusable: HealthStatus,
): Found {
  if (currentVersion === 0 && versions.length > 0)
    return { status: unusable, code: "KEY_DISABLED", detail: "none of its versions may wrap" }
  return { detail: "it answered" }
}

// The program holds what it read at its start: the next start is what needs the store.
function pepperStore({ store, alias }: Stored): Subject {
  return {
    check: "secrets",
    provider: store.provider,
    alias,
    failed: "degraded",
    look: async (options) => {
      if (await store.pepperExists(alias, options)) return { detail: "it answered" }
      return { status: "degraded", code: "SECRET_NOT_FOUND", detail: "it says that there is no pepper" }
    },
  }
}

// There is no other question about it; what is stored is sealed.
function indexRootStore({ store, alias }: Stored): Subject {
  return {
    check: "secrets",
    provider: store.provider,
    alias,
    failed: "degraded",
    look: async (options) => {
      await store.getIndexRoot(alias, options)
      return { detail: "it answered" }
    },
  }
}

function versions(database: KEKVersionStore, alias: string): Subject {
  return {
    check: "database",
    provider: database.provider,
    alias,
    failed: "unhealthy",
    look: async (options) => {
      const listed = await database.listVersions(alias, options)
      if (listed.some(({ deprecated }) => !deprecated)) return { detail: "it answered" }
      return { status: "unhealthy", code: "KEY_ROTATION_REQUIRED", detail: "it records no version that may wrap" }
    },
  }
}

function circuits(open: number): HealthCheck {
  return open === 0
    ? { check: "circuits", status: "healthy", detail: "none is open", durationMs: 0 }
    : { check: "circuits", status: "degraded", detail: `${open} open: not asked for a while`, durationMs: 0 }
}

function cache({ cache }: DataKeys): HealthCheck {
  const { size, hits, misses } = cache.stats()
  const { stale } = cache
  if (stale > 0) {
    const detail = `keys that seal past their age: ${stale}; the KMS could not be asked for others`
    return { check: "cache", status: "degraded", code: "KMS_UNAVAILABLE", detail, durationMs: 0 }
  }
  return { check: "cache", status: "healthy", detail: `${size} keys, ${hits} hits, ${misses} misses`, durationMs: 0 }
}
