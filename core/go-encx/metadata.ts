/**
 * What the Go library's rows say of themselves: `{"pepper_version":0,"kek_alias":…,"encryption_time":…,"generator_version":"1.0.0"}`.
 * Nothing of it is authenticated, and nothing is decided by it. FORMATS §9.
 *
 * @module
 */
import { text, utf8 } from "../bytes.ts"
import { InvalidFormat, InvalidInput } from "../errors.ts"

/** What `metadata` says of a row. */
export interface EncryptionMetadata {
  /** The generator counts no peppers and writes 0. */
  readonly pepper_version: number
  readonly kek_alias: string
  /** Seconds since 1970. */
  readonly encryption_time: number
  readonly generator_version: string
}

const PEPPER_VERSION = 0
/** What the Go library's generator calls itself. */
const GENERATOR_VERSION = "1.0.0"
const NAMES = ["pepper_version", "kek_alias", "encryption_time", "generator_version"] as const
const STRINGS = 6
// An alias has at most 256 bytes; as JSON each may take six.
const MAX_LENGTH = 4096

// --- Writing ---

/** The metadata of a row that is sealed now. */
export function formatMetadata({ alias, at }: { readonly alias: string; readonly at: Date }): string {
  return stringifyMetadata({
    pepper_version: PEPPER_VERSION,
    kek_alias: alias,
    encryption_time: Math.floor(at.getTime() / 1000),
    generator_version: GENERATOR_VERSION,
  })
}

/**
 * Writes metadata as Go's `json.Marshal` does, byte for byte.
 *
 * @throws {InvalidInput} when a number is not whole, a text is empty or holds a lone surrogate
 */
export function stringifyMetadata(metadata: EncryptionMetadata): string {
  for (const name of ["kek_alias", "generator_version"] as const) {
    if (utf8(metadata[name], name).length === 0) throw new InvalidInput(`Cannot write metadata: its ${name} is empty`)
  }
  for (const name of ["pepper_version", "encryption_time"] as const) {
    if (!Number.isSafeInteger(metadata[name]))
      throw new InvalidInput(`Cannot write metadata: its ${name} is not a whole number`)
  }
  return goJSON(JSON.stringify(Object.fromEntries(NAMES.map((name) => [name, metadata[name]]))))
}

// JSON.stringify, but for what encoding/json keeps from HTML and from JavaScript before 2019.
function goJSON(json: string): string {
  return json.replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )
}

// --- Reading ---

/**
 * Reads metadata, as a database gives it: text, its UTF-8, or the object that a JSON column was parsed into.
 *
 * @throws {InvalidFormat} when it is anything but the four properties, each of its type; the message does not hold them
 */
export function parseMetadata(stored: unknown): EncryptionMetadata {
  const value = typeof stored === "string" || stored instanceof Uint8Array ? parse(stored) : stored
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed("it is not a JSON object")
  const metadata = value as Readonly<Record<string, unknown>>
  const names = Object.keys(metadata)
  if (names.length !== NAMES.length || !NAMES.every((name) => Object.hasOwn(metadata, name)))
    throw malformed(`its properties are not ${NAMES.join(", ")}`)
  const { pepper_version, kek_alias, encryption_time, generator_version } = metadata
  if (!isCount(pepper_version)) throw malformed("its pepper_version is not a whole number from 0")
  if (!isText(kek_alias)) throw malformed("its kek_alias is no text, or empty")
  if (!Number.isSafeInteger(encryption_time)) throw malformed("its encryption_time is not a whole number")
  if (!isText(generator_version)) throw malformed("its generator_version is no text, or empty")
  return { pepper_version, kek_alias, encryption_time: encryption_time as number, generator_version }
}

const isText = (value: unknown): value is string => typeof value === "string" && value !== ""
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function parse(stored: string | Uint8Array): unknown {
  if (stored.length > MAX_LENGTH) throw malformed(`it is longer than ${MAX_LENGTH}`)
  const json = typeof stored === "string" ? stored : text(stored, "metadata")
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    // The parser's message quotes what it read.
    throw malformed("it does not parse as JSON")
  }
  // Four names and two texts: where there are more, a property is there twice, and parsing took the last.
  if ((json.match(/"(?:[^"\\]|\\.)*"/g)?.length ?? 0) > STRINGS)
    throw malformed("a property is repeated, or there are too many")
  return value
}

function malformed(state: string): InvalidFormat {
  return new InvalidFormat(`Cannot read metadata: ${state}`)
}
