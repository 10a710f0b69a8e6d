/**
 * Services with something around each of their calls, for those who watch them and those who repeat them.
 *
 * @module
 */
import type { CallOptions, KEKVersionStore, KeyManagementService, SecretManagementService } from "./contracts.ts"

/** Any service that a program asks. @internal */
export type Service = KeyManagementService | SecretManagementService | KEKVersionStore

type Methods = Readonly<Record<string, number>>

/** The methods that ask a service, and which of their arguments the options are. @internal */
export const CALLS: Readonly<Record<"kms" | "secrets" | "database", Methods>> = {
  kms: {
    getKeyID: 1,
    describeKey: 1,
    encryptDEK: 3,
    decryptDEK: 2,
    generateDEK: 2,
    reencryptDEK: 3,
    createKey: 1,
    rotateKey: 1,
  },
  secrets: { getPepper: 1, storePepper: 2, rotatePepper: 2, pepperExists: 1, getIndexRoot: 1, storeIndexRoot: 2 },
  database: { listVersions: 1, ensureVersion: 2, addVersion: 2 },
}

/** One call, as it was made. @internal */
export interface ServiceCall {
  readonly method: string
  readonly args: readonly unknown[]
  /** The last argument, where one was given. */
  readonly options: CallOptions
  /** Makes it, with these options in place of the caller's. */
  readonly make: (options: CallOptions, args?: readonly unknown[]) => Promise<unknown>
}

/**
 * A service that is asked through a function. What is no call is the service's own.
 *
 * @param calls the methods that are calls, and where their options stand
 * @internal
 */
export function around<Asked extends object>(
  service: Asked,
  calls: Methods,
  ask: (call: ServiceCall) => Promise<unknown>,
): Asked {
  const read = (name: PropertyKey): unknown => Reflect.get(service, name)
  const invoke = (name: string, args: readonly unknown[]): unknown =>
    Reflect.apply(read(name) as (...args: unknown[]) => unknown, service, args)
  const asked = (name: string, at: number) => {
    return async (...given: unknown[]): Promise<unknown> => {
      const args = Array.from({ length: at }, (_, i) => given[i])
      const make = async (options: CallOptions, others: readonly unknown[] = args): Promise<unknown> =>
        await invoke(name, [...others, options])
      return await ask({ method: name, args, options: (given[at] ?? {}) as CallOptions, make })
    }
  }
  const result = {}
  for (const name of namesOf(service)) {
    const at = calls[name]
    const isMethod = typeof read(name) === "function"
    Object.defineProperty(result, name, {
      enumerable: true,
      configurable: true,
      ...(isMethod
        ? { writable: true, value: at === undefined ? (...args: unknown[]) => invoke(name, args) : asked(name, at) }
        : { get: () => read(name) }),
    })
  }
  return result as Asked
}

/** The names of an object's properties, those of its classes included. */
function namesOf(object: object): Set<string> {
  const names = new Set<string>()
  for (let at: object | null = object; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) names.add(name)
  }
  names.delete("constructor")
  return names
}
