/**
 * Paths, as programs give them.
 *
 * @module
 */
import { isAbsolute, resolve } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { InvalidInput } from "../errors.ts"
import { named } from "./system-errors.ts"

// As a path it would be read as folders that hardly anybody has.
const ADDRESS = /^(https?|file):\/\//i

/**
 * The path that a program means at the call, whichever folder it goes to later.
 *
 * @throws {InvalidInput} when it is a URL of another scheme than `file:`, the text of a URL, or no path
 */
export function pathOf(location: string | URL, name: string): string {
  if (typeof location === "string" && location !== "" && !location.includes("\0") && !ADDRESS.test(location))
    return fromHere(location)
  if (location instanceof URL && location.protocol === "file:") return fileURLToPath(location)
  throw new InvalidInput(`Cannot use ${name}: it is neither a path nor a URL object of file:`, {
    hint: "parts of what a server has come from httpRange(url), the whole through decryptStream",
  })
}

function fromHere(path: string): string {
  if (isAbsolute(path)) return path
  try {
    // To take `..` out of a path is to ask for another file, where what stands before it is a link.
    return process.platform === "win32" ? resolve(path) : `${process.cwd()}/${path}`
  } catch (error) {
    // The folder itself was removed.
    throw named("find", path, error)
  }
}
