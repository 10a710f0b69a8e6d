/**
 * Metrics and spans of a program in OpenTelemetry, through `@opentelemetry/api`: what it has no SDK for does nothing.
 *
 * @module
 */
import type { MetricsCollector, ObservabilityHook, Tags } from "../core/contracts.ts"
import { InvalidConfiguration, MissingDependency } from "../core/errors.ts"
import { errorCode } from "../core/observe/hooks.ts"

/** Attributes, as the API takes them. */
type Attributes = Record<string, string | number>

/** The part of a `Meter` that is used. */
export interface OpenTelemetryMeter {
  createCounter(name: string, options?: object): { add(value: number, attributes?: Attributes): void }
  createGauge(name: string, options?: object): { record(value: number, attributes?: Attributes): void }
  createHistogram(name: string, options?: object): { record(value: number, attributes?: Attributes): void }
}

/** The part of a `Span` that is used. */
export interface OpenTelemetrySpan {
  setStatus(status: { code: number; message?: string }): unknown
  end(endTime?: number): void
}

/** The part of a `Tracer` that is used. */
export interface OpenTelemetryTracer {
  startSpan(name: string, options?: { startTime?: number; attributes?: Attributes }): OpenTelemetrySpan
}

/** Options of {@link openTelemetry}. */
export interface OpenTelemetryOptions {
  /** Where measurements go. @default {metrics.getMeter("encx")} */
  readonly meter?: OpenTelemetryMeter
  /** Where spans go. @default {trace.getTracer("encx")} */
  readonly tracer?: OpenTelemetryTracer
}

/** What `withMetricsCollector` and `withObservabilityHook` take. */
export interface OpenTelemetry {
  readonly metrics: MetricsCollector
  readonly hook: ObservabilityHook
}

const NAME = "encx"
const PACKAGE = "@opentelemetry/api"
// SpanStatusCode.ERROR
const ERROR = 2

/**
 * The adapters of OpenTelemetry. Counters, gauges and histograms (milliseconds) have the names of this library's metrics. Each
 * operation is a span `encx.<operation>`, made when it ends, below the one that is active then.
 *
 * @throws {InvalidConfiguration} when an option has another name
 * @throws {MissingDependency} when a meter or a tracer is not given and `@opentelemetry/api` is not installed
 *
 * @example A program that is traced
 * ```ts
 * const { metrics, hook } = await openTelemetry()
 * const crypto = await newCrypto(
 *   withKMSService("memory"),
 *   withKEKAlias("app"),
 *   withBootstrap({ createKEK: true }),
 *   withMetricsCollector(metrics),
 *   withObservabilityHook(hook),
 * )
 * await crypto.seal(new Uint8Array(3))
 * ```
 */
export async function openTelemetry(options: OpenTelemetryOptions = {}): Promise<OpenTelemetry> {
  const { meter, tracer, ...others } = options
  const unknown = Object.keys(others).map((name) => `Cannot use OpenTelemetry: there is no option "${name}"`)
  if (unknown.length > 0) throw new InvalidConfiguration(unknown)
  if (meter && tracer) return { metrics: metricsOf(meter), hook: hookOf(tracer) }
  const api = await load()
  return {
    metrics: metricsOf(meter ?? (api.metrics.getMeter(NAME) as OpenTelemetryMeter)),
    hook: hookOf(tracer ?? (api.trace.getTracer(NAME) as OpenTelemetryTracer)),
  }
}

async function load(): Promise<typeof import("@opentelemetry/api")> {
  try {
    return await import("@opentelemetry/api")
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code !== "ERR_MODULE_NOT_FOUND") throw error
    throw new MissingDependency(`Cannot use OpenTelemetry: the package "${PACKAGE}" is not installed`, {
      hint: `npm install ${PACKAGE}`,
      cause: error,
    })
  }
}

// --- Metrics ---

function metricsOf(meter: OpenTelemetryMeter): MetricsCollector {
  const counter = once((name) => meter.createCounter(name))
  const gauge = once((name) => meter.createGauge(name))
  const timing = once((name) => meter.createHistogram(name, { unit: "ms" }))
  const value = once((name) => meter.createHistogram(name))
  return {
    incrementCounter: (name, tags) => counter(name).add(1, tags),
    incrementCounterBy: (name, count, tags) => counter(name).add(count, tags),
    setGauge: (name, number, tags) => gauge(name).record(number, tags),
    recordTiming: (name, milliseconds, tags) => timing(name).record(milliseconds, tags),
    recordValue: (name, number, tags) => value(name).record(number, tags),
  }
}

/** Each instrument is made with its first use. */
function once<Instrument>(make: (name: string) => Instrument): (name: string) => Instrument {
  const made = new Map<string, Instrument>()
  return (name) => {
    const instrument = made.get(name) ?? make(name)
    made.set(name, instrument)
    return instrument
  }
}

// --- Spans ---

const attributesOf = (tags: Tags): Attributes =>
  Object.fromEntries(Object.entries(tags).map(([key, value]) => [`encx.${key}`, value]))

function hookOf(tracer: OpenTelemetryTracer): ObservabilityHook {
  return {
    // A hook is told of a beginning and an end and not which belong together: the span is made with the end, which knows its length.
    onProcessComplete(operation, milliseconds, error, metadata) {
      const ended = Date.now()
      const attributes = attributesOf({ operation, ...metadata })
      if (error !== undefined) attributes["error.type"] = errorCode(error)
      const span = tracer.startSpan(`encx.${operation}`, { startTime: ended - milliseconds, attributes })
      if (error !== undefined) span.setStatus({ code: ERROR, message: errorCode(error) })
      span.end(ended)
    },

    onKeyOperation(operation, alias, version, metadata) {
      const attributes = { ...attributesOf({ key_alias: alias, ...metadata }), "encx.key_version": version }
      tracer.startSpan(`encx.key.${operation}`, { attributes }).end()
    },
  }
}
