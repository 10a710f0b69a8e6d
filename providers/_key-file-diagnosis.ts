/** What is to be said of a key file before it is used. */
import { statSync } from "node:fs"
import { dirname } from "node:path"
import process from "node:process"
import type { CallOptions, Diagnosis } from "../core/contracts.ts"
import { EncxError, InvalidInput, KeyNotFound, SecretNotFound } from "../core/errors.ts"
import type { LocalServices } from "./_key-store.ts"
import { withSafeFile } from "./_safe-file.ts"

/** Looks at the file, its folder, and what it keeps under an alias; nothing is made or locked. */
export async function* diagnoseKeyFile(
  path: string,
  hasPassphrase: boolean,
  services: LocalServices,
  alias: string,
  options: CallOptions = {},
): AsyncGenerator<Diagnosis, void, undefined> {
  options.signal?.throwIfAborted()
  const file = await diagnosed("key file", async () => describeFile(path))
  yield file
  if (!file.ok) return
  const opened = await diagnosed("alias", async () => describeAlias(services, alias, options))
  options.signal?.throwIfAborted()
  yield opened
  const detail = hasPassphrase
    ? "sealed under a passphrase"
    : "no passphrase: whoever can read the file, or a copy of it, has its keys"
  if (opened.ok) yield { check: "protection", ok: true, detail }
}

type Found = Omit<Diagnosis, "check">

async function diagnosed(check: string, look: () => Promise<Found>): Promise<Diagnosis> {
  try {
    return { check, ...(await look()) }
  } catch (error) {
    if (error instanceof EncxError) {
      const { message: detail, hint } = error
      return { check, ok: false, detail, ...(hint === undefined ? {} : { hint }) }
    }
    const code = (error as { code?: unknown } | null)?.code
    if (typeof code !== "string") throw error
    return { check, ok: false, detail: `Cannot use the key file: the system says ${code}` }
  }
}

function describeFile(path: string): Found {
  const modes = withSafeFile(path, () => `mode ${modeOf(path)}, in a folder of mode ${modeOf(dirname(path))}`)
  if (modes === undefined) return { ok: false, detail: `there is none at "${path}"`, hint: "make it: encx keys create" }
  // Windows keeps permissions elsewhere; its modes say nothing.
  return { ok: true, detail: process.platform === "win32" ? `"${path}"` : `"${path}", ${modes}` }
}

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8)

// A file may be the KMS, the secret store or both: which of the three must be there, only the program knows.
async function describeAlias(services: LocalServices, alias: string, options: CallOptions): Promise<Found> {
  const kept = [
    ...((await isThere(services.getKeyID(alias, options))) ? ["a key"] : []),
    ...((await isThere(services.pepperExists(alias, options))) ? ["a pepper"] : []),
    ...((await isThere(services.getIndexRoot(alias, options))) ? ["an index root"] : []),
  ]
  if (kept.length === 0) return { ok: false, detail: `the file keeps nothing under "${alias}"` }
  return { ok: true, detail: `the file keeps ${kept.join(", ")} under "${alias}"` }
}

async function isThere(looking: Promise<unknown>): Promise<boolean> {
  try {
    return (await looking) !== false
  } catch (error) {
    // The alias of a key may be one that no secret has.
    if (error instanceof KeyNotFound || error instanceof SecretNotFound || error instanceof InvalidInput) return false
    throw error
  }
}
