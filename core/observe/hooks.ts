/**
 * Hooks for `withObservabilityHook`: one that counts, one that logs, and several as one.
 *
 * @module
 */
import type { Logger, MetricsCollector, ObservabilityHook, Tags } from "../contracts.ts"
import { EncxError } from "../errors.ts"

// --- Errors, told without their messages ---

const BUILT_IN: ReadonlyMap<string, string> = new Map([
  ["AbortError", "ABORTED"],
  ["TimeoutError", "TIMEOUT"],
  ["TypeError", "TypeError"],
  ["RangeError", "RangeError"],
])

const GIVEN_UP: readonly string[] = ["ABORTED", "TIMEOUT"]

/** Whether a caller gave up: that is no failure of anybody. @internal */
export const isAbort = (error: unknown): boolean => GIVEN_UP.includes(errorCode(error))

/**
 * What an error is, in one word that holds nothing of a program's data: the code of an `EncxError`, `ABORTED`, `TIMEOUT`,
 * `TypeError`, `RangeError`, or `UNKNOWN`. A message may name keys and fields; this does not.
 */
export function errorCode(error: unknown): string {
  if (error instanceof EncxError) return /^[A-Z][A-Z0-9_]{0,63}$/.test(error.code) ? error.code : "UNKNOWN"
  return (error instanceof Error && BUILT_IN.get(error.name)) || "UNKNOWN"
}

/** A time for a log line. @internal */
export const formatMs = (milliseconds: number): string => milliseconds.toFixed(3)

// --- Metrics ---

/** More operations than there are; beyond them tags are made anew. */
const MAX_CACHED = 1_000

interface OperationTags {
  readonly metadata: Tags
  readonly started: Tags
  readonly success: Tags
  readonly error: Tags
  /** By the code of the error. */
  readonly errors: Map<string, Tags>
}

/**
 * A hook that counts and times operations in a collector, under the names of the Go library: `encx.process.started`, `.succeeded`,
 * `.failed`, `.duration`, `encx.errors`, `encx.key_operations`. `withMetricsCollector` has it already.
 */
export function metricsHook(collector: MetricsCollector): ObservabilityHook {
  const known = new Map<string, OperationTags>()

  const tagsOf = (operation: string, metadata: Tags): OperationTags => {
    const found = known.get(operation)
    if (found?.metadata === metadata) return found
    const type = metadata["operation_type"]
    const started = Object.freeze({ operation, ...(type === undefined ? {} : { operation_type: type }) })
    const made: OperationTags = {
      metadata,
      started,
      success: Object.freeze({ ...started, status: "success" }),
      error: Object.freeze({ ...started, status: "error" }),
      errors: new Map(),
    }
    if (found || known.size < MAX_CACHED) known.set(operation, made)
    return made
  }

  return {
    onProcessStart(operation, metadata) {
      collector.incrementCounter("encx.process.started", tagsOf(operation, metadata).started)
    },

    onProcessComplete(operation, milliseconds, error, metadata) {
      const { success, error: failure } = tagsOf(operation, metadata)
      const tags = error === undefined ? success : failure
      collector.incrementCounter(error === undefined ? "encx.process.succeeded" : "encx.process.failed", tags)
      collector.recordTiming("encx.process.duration", milliseconds, tags)
    },

    onError(operation, error, metadata) {
      const { errors } = tagsOf(operation, metadata)
      const code = errorCode(error)
      const tags = errors.get(code) ?? Object.freeze({ operation, error: code })
      if (errors.size < MAX_CACHED) errors.set(code, tags)
      collector.incrementCounter("encx.errors", tags)
    },

    onKeyOperation(operation, alias, version) {
      collector.incrementCounter("encx.key_operations", { operation, key_alias: alias, key_version: String(version) })
    },
  }
}

// --- Logs ---

/**
 * A hook that logs: operations at `debug`, failed ones at `error` with their code, what changes a key at `info`, a data key
 * that is used past its age at `warn`. `withLogger` has it already.
 *
 * @example Log lines as JSON
 * ```ts
 * const lines: string[] = []
 * const log = (level: string) => (message: string, fields = {}) => {
 *   lines.push(JSON.stringify({ level, message, ...fields }))
 * }
 * const logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") }
 * const crypto = await newCrypto(
 *   withKMSService("memory"),
 *   withKEKAlias("app"),
 *   withBootstrap({ createKEK: true }),
 *   withLogger(logger),
 * )
 * await crypto.rotateKEK()
 * assertEquals(lines.some((line) => line.includes('"level":"info"') && line.includes('"operation":"rotate"')), true)
 * ```
 */
export function loggingHook(logger: Logger = console): ObservabilityHook {
  return {
    onProcessStart(operation, metadata) {
      logger.debug("Operation started", { operation, ...metadata })
    },

    onProcessComplete(operation, milliseconds, error, metadata) {
      const fields = { operation, ...metadata, duration_ms: formatMs(milliseconds) }
      if (error === undefined) logger.debug("Operation completed", fields)
      else if (isAbort(error)) logger.debug("Operation aborted", fields)
      else logger.error("Operation failed", { ...fields, error: errorCode(error) })
    },

    onKeyOperation(operation, alias, version, metadata) {
      const fields = { operation, key_alias: alias, key_version: String(version), ...metadata }
      // Every alias is resolved every few minutes; what changes a key is rare; a key that is used past its age is no good sign.
      if (operation === "resolve") logger.debug("Key operation", fields)
      else if (operation === "stale") logger.warn("Key operation", fields)
      else logger.info("Key operation", fields)
    },
  }
}

// --- Several ---

/** Several hooks as one, told in their order. One that throws keeps the next from nothing; the first of what they threw is thrown after all. */
export function compositeHook(...hooks: readonly ObservabilityHook[]): ObservabilityHook {
  // Whoever tells this hook looks at what it returns: a promise may be rejected.
  const tell = (call: (hook: ObservabilityHook) => unknown): unknown => {
    const failures: unknown[] = []
    const pending: unknown[] = []
    for (const hook of hooks) {
      try {
        pending.push(call(hook))
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) {
      // What the others promised may be rejected, too.
      void Promise.allSettled(pending)
      throw failures[0]
    }
    return pending.some((each) => each !== undefined) ? Promise.all(pending) : undefined
  }
  return {
    onProcessStart: (operation, metadata) => tell((hook) => hook.onProcessStart?.(operation, metadata)),
    onProcessComplete: (operation, milliseconds, error, metadata) =>
      tell((hook) => hook.onProcessComplete?.(operation, milliseconds, error, metadata)),
    onError: (operation, error, metadata) => tell((hook) => hook.onError?.(operation, error, metadata)),
    onKeyOperation: (operation, alias, version, metadata) =>
      tell((hook) => hook.onKeyOperation?.(operation, alias, version, metadata)),
  }
}
