/**
 * The limits of the data-key cache: their names, their defaults, and what they may be.
 *
 * @module
 */

/** The limits of the cache; each is hard. */
export interface DEKCacheOptions {
  /** How long a key is used, from when it came; not from its last use. @default {300_000} */
  readonly maxAgeMs?: number
  /** How many messages a key seals; one `seal` or one record is one message, an update of a record none. @default {1_048_576} */
  readonly maxMessages?: number
  /** How many bytes a key seals; a message of more gets a key of its own. @default {68_719_476_736} */
  readonly maxBytes?: number
  /** How many keys each side holds; the one that was not used for longest leaves first. @default {1_000} */
  readonly capacity?: number
  /** How long before its end a key that is in use is replaced in the background; 0 is never. @default {10_000, at most half of maxAgeMs} */
  readonly refreshAheadMs?: number
  /** How long past its age a key still seals while the KMS cannot be asked; 0 is never. It opens nothing, and each use is told. @default {0} */
  readonly staleIfErrorMs?: number
  /** How long an answer that says no (no such key, no permission, disabled) is believed, up to 5,000; 0 is not at all. @default {1_000} */
  readonly negativeMs?: number
  /** How many keys are fetched at once; other fetches wait in a queue. @default {20} */
  readonly maxFlights?: number
  /** How long one fetch may take before those who wait get an error that may be tried again. @default {20_000} */
  readonly flightTimeoutMs?: number
}

/** The limits where the program names none. */
export const DEK_CACHE_DEFAULTS: Required<DEKCacheOptions> = {
  maxAgeMs: 300_000,
  maxMessages: 2 ** 20,
  maxBytes: 2 ** 36,
  capacity: 1000,
  refreshAheadMs: 10_000,
  staleIfErrorMs: 0,
  negativeMs: 1_000,
  maxFlights: 20,
  flightTimeoutMs: 20_000,
}

/** Those that may be 0. */
const FROM_ZERO: readonly string[] = ["refreshAheadMs", "staleIfErrorMs", "negativeMs"]

/** The most that some may be: what the cipher carries (FORMATS §6), what is still a pause, what `setTimeout` takes. */
const CEILINGS: Readonly<Record<string, readonly [most: number, shown: string]>> = {
  maxMessages: [2 ** 32, "2^32"],
  maxBytes: [2 ** 50, "2^50"],
  negativeMs: [5_000, "5,000"],
  flightTimeoutMs: [2 ** 31 - 1, "2^31 - 1"],
}

/** The limits in force. */
export function dekCacheLimits(options: DEKCacheOptions): Required<DEKCacheOptions> {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const limits = { ...DEK_CACHE_DEFAULTS, ...given }
  return { ...limits, refreshAheadMs: Math.min(limits.refreshAheadMs, Math.floor(limits.maxAgeMs / 2)) }
}

/** What keeps limits from being used, by name. */
export function dekCacheProblems(options: DEKCacheOptions): (readonly [name: string, state: string])[] {
  return Object.entries(options).flatMap(([name, value]: [string, unknown]) => {
    const state = problemOf(name, value, options.maxAgeMs ?? DEK_CACHE_DEFAULTS.maxAgeMs)
    return state === undefined ? [] : [[name, state] as const]
  })
}

function problemOf(name: string, value: unknown, maxAgeMs: number): string | undefined {
  if (!Object.hasOwn(DEK_CACHE_DEFAULTS, name)) return "there is no limit of this name"
  if (value === undefined) return undefined
  const least = FROM_ZERO.includes(name) ? 0 : 1
  if (!Number.isSafeInteger(value) || (value as number) < least) return `it is not a whole number from ${least}`
  const [most, shown] = CEILINGS[name] ?? [Number.MAX_SAFE_INTEGER]
  if ((value as number) > most) return `it is more than ${shown}`
  return name === "refreshAheadMs" && (value as number) > maxAgeMs / 2 ? "it is more than half of maxAgeMs" : undefined
}
