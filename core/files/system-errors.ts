/**
 * What the system refused, of which file.
 *
 * @module
 */
import { FileError, FileExists, FileNotFound } from "../errors.ts"

const STATES: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  ENOENT: "there is no such file or folder",
  EEXIST: "it exists already",
  EACCES: "permission denied",
  EPERM: "it is not permitted",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of its path is not a folder",
  ELOOP: "too many symbolic links",
  ENAMETOOLONG: "its name is too long",
  ENOSPC: "the disk is full",
  EDQUOT: "the quota of the disk is used up",
  EFBIG: "the disk takes no file of that size",
  EROFS: "the disk is read-only",
  EMFILE: "too many files are open",
  ENFILE: "too many files are open",
})

/** The code that the system gave an error. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === "string" && /^E[A-Z0-9]+$/.test(code) ? code : undefined
}

/** What the system refused, in words; anything else as it is. */
export function named(verb: string, path: string, error: unknown): unknown {
  const code = systemCode(error)
  if (code === undefined) return error
  const message = `Cannot ${verb} "${path}": ${STATES[code] ?? `the system says ${code}`}`
  if (code === "ENOENT") return new FileNotFound(message, { cause: error })
  if (code === "EEXIST") return new FileExists(message, { cause: error, hint: "replace it, or name another" })
  return new FileError(message, { cause: error })
}

/** Runs, and says what the system refused, of which file. */
export async function withFile<Result>(verb: string, path: string, run: () => Promise<Result>): Promise<Result> {
  try {
    return await run()
  } catch (error) {
    throw named(verb, path, error)
  }
}
