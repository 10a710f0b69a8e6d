/**
 * What may watch a program, looked at before it starts: a collector, hooks and a logger that lack a method would fail later, silently.
 *
 * @module
 */
import type { Logger, MetricsCollector, ObservabilityHook } from "../contracts.ts"
import type { Configuration } from "../options.ts"

const METRICS: readonly (keyof MetricsCollector)[] = [
  "incrementCounter",
  "incrementCounterBy",
  "setGauge",
  "recordTiming",
  "recordValue",
]
const LOGGER: readonly (keyof Logger)[] = ["debug", "info", "warn", "error"]
const HOOK: readonly (keyof ObservabilityHook)[] = ["onProcessStart", "onProcessComplete", "onError", "onKeyOperation"]

/** What keeps the watchers of a configuration from watching, a sentence each. */
export function watcherProblems({ metrics, logger, hooks = [] }: Configuration): string[] {
  return [
    ...lacks("the metrics collector", metrics, METRICS),
    ...lacks("the logger", logger, LOGGER),
    ...hooks.flatMap((hook) => hookProblems(hook)),
  ]
}

const methodOf = (watcher: object, name: string): unknown => (watcher as Readonly<Record<string, unknown>>)[name]

function lacks(what: string, watcher: object | undefined, names: readonly string[]): string[] {
  if (watcher === undefined) return []
  if (!isObject(watcher)) return [`Cannot use ${what}: it is no object`]
  const missing = names.filter((name) => typeof methodOf(watcher, name) !== "function")
  return missing.length === 0 ? [] : [`Cannot use ${what}: it has no method ${missing.join(", ")}`]
}

function hookProblems(hook: ObservabilityHook): string[] {
  if (!isObject(hook)) return ["Cannot use a hook: it is no object"]
  const named = HOOK.filter((name) => methodOf(hook, name) !== undefined)
  if (named.length === 0) return [`Cannot use a hook: it has none of the methods ${HOOK.join(", ")}`]
  return lacks("a hook", hook, named)
}

const isObject = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function"
