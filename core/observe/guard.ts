/**
 * Watchers that cannot hurt: what one throws, or what a promise of it is rejected with, is dropped and told once.
 *
 * @module
 */
import type { Logger, MetricsCollector, ObservabilityHook } from "../contracts.ts"

/** Told of the first failure of a watcher. @internal */
export type Dropped = (watcher: string, error: unknown) => void

type Method = (...args: never[]) => unknown

/** Guards the methods of one watcher; one that it lacks does nothing. */
function guard<Watcher extends object>(
  watcher: Watcher,
  names: readonly string[],
  drop: (error: unknown) => void,
): object {
  let told = false
  const once = (error: unknown): void => {
    if (told) return
    told = true
    drop(error)
  }
  const guarded = (name: string): [string, Method] => {
    const method = (watcher as Record<string, unknown>)[name]
    if (typeof method !== "function") return [name, () => undefined]
    return [
      name,
      (...args) => {
        try {
          const result: unknown = Reflect.apply(method, watcher, args)
          // A promise is not awaited; one that is rejected would end the program.
          return isThenable(result) ? Promise.resolve(result).then(() => undefined, once) : undefined
        } catch (error) {
          return once(error)
        }
      },
    ]
  }
  return Object.fromEntries(names.map(guarded))
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"
}

/** A collector that throws nothing. @internal */
export function guardMetrics(metrics: MetricsCollector, dropped: Dropped): Required<MetricsCollector> {
  const names = ["incrementCounter", "incrementCounterBy", "setGauge", "recordTiming", "recordValue", "flush"]
  return guard(metrics, names, (error) => dropped("metrics", error)) as Required<MetricsCollector>
}

/** A hook that throws nothing. @internal */
export function guardHook(hook: ObservabilityHook, dropped: Dropped): Required<ObservabilityHook> {
  const names = ["onProcessStart", "onProcessComplete", "onError", "onKeyOperation"]
  return guard(hook, names, (error) => dropped("hook", error)) as Required<ObservabilityHook>
}

/** A logger that throws nothing; nobody is left who could be told. @internal */
export function guardLogger(logger: Logger): Logger {
  return guard(logger, ["debug", "info", "warn", "error"], () => {}) as Logger
}
