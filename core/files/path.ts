/**
 * Paths, as programs give them.
 *
 * @module
 */
import { fileURLToPath } from "node:url"
import { InvalidInput } from "../errors.ts"

// As a path it would be read as folders that hardly anybody has.
const ADDRESS = /^(https?|file):\/\//i

/**
 * The path that a program means.
 *
 * @throws {InvalidInput} when it is a URL of another scheme than `file:`, the text of a URL, or no path
 */
export function pathOf(location: string | URL, name: string): string {
  if (typeof location === "string" && location !== "" && !location.includes("\0") && !ADDRESS.test(location))
    return location
  if (location instanceof URL && location.protocol === "file:") return fileURLToPath(location)
  throw new InvalidInput(`Cannot use ${name}: it is neither a path nor a URL object of file:`, {
    hint: "parts of what a server has come from httpRange(url), the whole through decryptStream",
  })
}
