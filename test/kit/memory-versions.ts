/**
 * The versions of key-encryption keys in memory, for tests.
 *
 * @module
 */
import type { CallOptions, KEKVersion, KEKVersionStore } from "../../core/contracts.ts"

/** Keeps which key each version is, as long as the process runs. It starts empty. */
export function memoryKEKVersions(): KEKVersionStore {
  const versions = new Map<string, readonly KEKVersion[]>()
  const listed = (alias: string): readonly KEKVersion[] => versions.get(alias) ?? []
  const add = (alias: string, keyID: string): KEKVersion => {
    const before = listed(alias).map((each) => ({ ...each, deprecated: true }))
    const added = { version: before.length + 1, keyID, deprecated: false, createdAt: new Date() }
    versions.set(alias, [...before, added])
    return added
  }
  const ask = async <Result>({ signal }: CallOptions, answer: () => Result): Promise<Result> => {
    signal?.throwIfAborted()
    return answer()
  }
  return {
    provider: "memory",
    listVersions: (alias, options = {}) => ask(options, () => listed(alias)),
    ensureVersion: (alias, keyID, options = {}) =>
      ask(options, () => {
        if (listed(alias).length === 0) add(alias, keyID)
        return listed(alias)
      }),
    addVersion: (alias, keyID, options = {}) => ask(options, () => add(alias, keyID)),
    async close() {},
  }
}
