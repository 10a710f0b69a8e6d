/**
 * The time-outs, retries and circuit breaker that the library's own remote providers have, for a service of your own.
 *
 * @module
 */
import { copyOf, wipe } from "./bytes.ts"
import type { CallOptions, KeyManagementService, SecretManagementService } from "./contracts.ts"
import { KMSUnavailable, SecretStorageUnavailable } from "./errors.ts"
import type { Resilience, ResilienceOptions } from "./resilience.ts"
import { around, CALLS, type ServiceCall } from "./service.ts"

/** Options of {@link resilientService}. */
export interface ResilientServiceOptions extends ResilienceOptions {
  /**
   * Whether an error says that the service was asked too often: its calls are repeated after longer pauses, and its circuit stays
   * closed. @default {() => false}
   */
  readonly isThrottled?: (error: unknown) => boolean
}

/** What must not happen twice is repeated only where the service said that it did nothing. */
const ONCE: readonly string[] = ["createKey", "rotateKey", "storePepper", "rotatePepper", "storeIndexRoot"]

/**
 * A service with a time limit for each attempt and a deadline for all, few retries of what is retryable, and a circuit for each
 * key. The providers of this library for remote services have all that already; for one of your own, wrap it, let it heed its
 * signal, throw errors of this library, and not retry by itself.
 *
 * @throws {InvalidConfiguration} with the first call, when a limit is not a whole number from 1
 *
 * @example A service of your own
 * ```ts
 * const kms = resilientService(memory(), { attempts: 2, requestTimeoutMs: 1_000 })
 * const crypto = await newCrypto(withKMSService(kms), withKEKAlias("app"), withBootstrap({ createKEK: true }))
 * assertEquals(await crypto.open(await crypto.seal(new Uint8Array(3))), new Uint8Array(3))
 * ```
 */
export function resilientService<Service extends KeyManagementService | SecretManagementService>(
  service: Service,
  options: ResilientServiceOptions = {},
): Service {
  const calls = { ...CALLS.kms, ...CALLS.secrets }
  const { provider } = service
  let loading: Promise<Resilience> | undefined
  const load = async (): Promise<Resilience> => {
    const { isThrottled = () => false, ...limits } = options
    const { resilient } = await import("./resilience.ts")
    return resilient(
      {
        isThrottled,
        unavailable: (operation, state, cause) => {
          const failure = { provider, operation, ...(cause === undefined ? {} : { cause }) }
          return operation in CALLS.kms
            ? new KMSUnavailable(`Cannot use the provider "${provider}": ${state}`, failure)
            : new SecretStorageUnavailable(`Cannot use the provider "${provider}": ${state}`, failure)
        },
      },
      limits,
    )
  }
  return around(service, calls, async (call) => {
    const { signal, watch, ...more } = call.options
    signal?.throwIfAborted()
    // A caller may change what it gave while a later attempt still needs it.
    const own = call.args.map(ownArgument)
    try {
      loading ??= load()
      const run = async (within: AbortSignal): Promise<unknown> => {
        const result = await call.make({ ...more, signal: within } satisfies CallOptions, own)
        if (!within.aborted) return result
        // Nobody waits for it any more.
        wipe(...keysOf(result))
        throw within.reason
      }
      const once = ONCE.includes(call.method)
      return await (await loading).call(circuitOf(call), call.method, run, { signal, watch, once })
    } finally {
      wipe(...own.filter((each) => each instanceof Uint8Array))
    }
  })
}

/** Bytes, a wrapped data key, or a context. */
function ownArgument(argument: unknown): unknown {
  if (argument instanceof Uint8Array) return copyOf(argument)
  if (typeof argument !== "object" || argument === null) return argument
  const entries = Object.entries(argument)
  return Object.fromEntries(entries.map(([name, value]) => [name, value instanceof Uint8Array ? copyOf(value) : value]))
}

/** The data key of an answer: of `decryptDEK`, and of `generateDEK`. */
function keysOf(result: unknown): Uint8Array[] {
  const plain = typeof result === "object" && result !== null && "plaintext" in result ? result.plaintext : result
  return plain instanceof Uint8Array ? [plain] : []
}

/** The key or the alias that a call is about. */
function circuitOf({ args: [first] }: ServiceCall): string {
  const name = typeof first === "object" && first !== null && "keyID" in first ? first.keyID : first
  return typeof name === "string" ? name : ""
}
