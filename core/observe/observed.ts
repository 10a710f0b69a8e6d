/**
 * The services of a program, watched: the one place where calls of a KMS, a secret store and a database pass the observer.
 *
 * @module
 */
import type { ResolvedConfiguration, ResolvedKEK, ResolvedSecret } from "../configuration.ts"
import { around, CALLS, type Service } from "../service.ts"
import type { Observer, ServiceKind } from "./observer.ts"

/** What of a configuration asks services. */
type Asking = Pick<ResolvedConfiguration, "keks" | "pepper" | "indexRoot" | "database">

/** The configuration, with every service told to the observer; without one it stays as it is. */
export function observedServices<Configuration extends Asking>(
  configuration: Configuration,
  observer: Observer | undefined,
): Configuration {
  if (!observer) return configuration
  const { keks, pepper, indexRoot, database } = configuration
  const aliases = new Set(keks.map(({ alias }) => alias))
  const known = new Map<string, Map<object, object>>()
  // One service stays one, however often it is named.
  const observed = <Asked extends Service>(service: Asked, kind: ServiceKind): Asked => {
    const ofKind = known.get(kind) ?? new Map<object, object>()
    known.set(kind, ofKind)
    const made = (ofKind.get(service) as Asked | undefined) ?? watched(service, kind, observer, aliases)
    ofKind.set(service, made)
    return made
  }
  const kek = (each: ResolvedKEK): ResolvedKEK => ({ ...each, kms: observed(each.kms, "kms") })
  const secrets = new Map<ResolvedSecret, ResolvedSecret>()
  const secret = (source: ResolvedSecret | undefined): ResolvedSecret | undefined => {
    if (!source || "values" in source) return source
    const made = secrets.get(source) ?? { ...source, store: observed(source.store, "secrets") }
    secrets.set(source, made)
    return made
  }
  const [first, ...others] = keks
  return {
    ...configuration,
    keks: [kek(first), ...others.map(kek)],
    pepper: secret(pepper),
    indexRoot: secret(indexRoot),
    database: database && observed(database, "database"),
  }
}

function watched<Asked extends Service>(
  service: Asked,
  kind: ServiceKind,
  observer: Observer,
  aliases: ReadonlySet<string>,
): Asked {
  const { provider } = service
  return around(service, CALLS[kind], async ({ method, args, options, make }) => {
    const watch = (event: Parameters<Observer["serviceEvent"]>[2]): void => {
      options.watch?.(event)
      observer.serviceEvent(kind, provider, event)
    }
    const result = await observer.call(provider, method, () => make({ ...options, watch }), kind)
    // An id that a database recorded is resolved as well, and is nobody's business.
    const [alias] = args
    if (typeof alias !== "string" || !aliases.has(alias)) return result
    if (method === "getKeyID") observer.key("resolve", alias, 0)
    if (method === "createKey") observer.key("create", alias, 1)
    return result
  })
}
