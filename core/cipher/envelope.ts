/**
 * The envelope, version 2: a header with the wrapped data key, and a Cobblestone-256 body. FORMATS §3.
 * The header alone is also what a row keeps in `dek_encrypted` (§4).
 *
 * @module
 */
import { compareBytes, concat, copyOf, lp, text, u16, u32, utf8 } from "../bytes.ts"
import { InvalidFormat, InvalidInput } from "../errors.ts"
import { openedSize } from "./chunks.ts"
import { labelled } from "./derive.ts"

/** How a header begins, and no wrap of another library. */
export const MAGIC: Uint8Array = Uint8Array.of(0x8e, 0x45, 0x4e, 0x58)
const VERSION = 2
/** Suite 01 is Cobblestone-256. */
export const SUITE = 1
const FLAG_KEYS = 1
const FLAG_CONTEXT = 2
/** Bytes of a `dek_id`. */
export const DEK_ID = 16
// magic[4] ‖ version ‖ suite ‖ flags ‖ reserved ‖ dek_id[16]
const CORE = 24
const AT = { version: 4, suite: 5, flags: 6, reserved: 7, dekID: 8 } as const
const BLOCK = { min: 27, max: 32_768 } as const
/** How many keys one envelope can hold. */
export const MAX_KEYS = 8
const REF = { min: 1, max: 512 } as const
const WRAPPED = { min: 16, max: 6144 } as const
const MAX_KEK_VERSION = 2 ** 31 - 1

/** The providers that have a number of their own; all others are {@link OTHER}. */
export const PROVIDERS: Readonly<Record<string, number>> = Object.assign(Object.create(null), {
  "aws-kms": 0x01,
  "vault-transit": 0x02,
  "gcp-kms": 0x03,
  "azure-key-vault": 0x04,
  local: 0x05,
  pkcs11: 0x06,
  memory: 0x07,
  env: 0x08,
})
const OTHER = 0x7f
const NAMES = new Map(Object.entries(PROVIDERS).map(([name, code]) => [code, name]))
const SCHEME = /^[a-z][a-z0-9+.-]*$/

/** One wrap of a data key. */
export interface KeyEntry {
  /** The provider's number. */
  readonly provider: number
  /** The resolved key; under 7F it begins with the provider's name and a colon. */
  readonly ref: string
  /** The version of the key-encryption key, 0 where there is none. */
  readonly version: number
  /** What the KMS returned. */
  readonly wrapped: Uint8Array
}

/** What stands before the body. */
export interface Header {
  /** 16 random bytes, made with the data key. */
  readonly dekID: Uint8Array
  /** Whether the context has at least one pair. */
  readonly hasContext: boolean
  /** The wraps, or none when the key is kept elsewhere (K = 0). */
  readonly keys: readonly KeyEntry[]
}

/** A header, and where the body begins. */
export interface ParsedEnvelope extends Header {
  /** The bytes after the header; empty in a row's `dek_encrypted`. */
  readonly body: Uint8Array
}

// --- Providers ---

/** Whether a provider may be called so. */
export function isProviderName(name: string): boolean {
  return SCHEME.test(name)
}

/** How a provider's key is written: its number, and the ref, with the name in front where it has no number. */
export function keyName(provider: string, keyID: string): Pick<KeyEntry, "provider" | "ref"> {
  const code = PROVIDERS[provider]
  if (code !== undefined) return { provider: code, ref: keyID }
  if (!SCHEME.test(provider))
    throw new InvalidInput(`Cannot use the provider "${provider}": its name is not a URI scheme`)
  return { provider: OTHER, ref: `${provider}:${keyID}` }
}

/** The provider's name and key id of an entry: the way back from {@link keyName}. */
export function providerOf({ provider, ref }: Pick<KeyEntry, "provider" | "ref">): { name: string; keyID: string } {
  const name = NAMES.get(provider)
  if (name !== undefined) return { name, keyID: ref }
  const colon = ref.indexOf(":")
  return { name: ref.slice(0, colon), keyID: ref.slice(colon + 1) }
}

// --- Writing ---

/**
 * Writes a header.
 *
 * @throws {InvalidInput} when an entry does not fit the format, or a key stands there twice
 */
export function encodeHeader({ dekID, hasContext, keys }: Header): Uint8Array {
  const core = encodeCore(dekID, hasContext, keys.length > 0)
  if (keys.length === 0) return core
  if (keys.length > MAX_KEYS)
    throw new InvalidInput(`Cannot write an envelope: it has ${keys.length} keys, more than ${MAX_KEYS}`)
  const entries = keys.map(encodeEntry).sort(compareEntries)
  const block = concat(Uint8Array.of(keys.length), ...entries.map(({ bytes }) => bytes))
  entries.forEach((entry, i) => {
    const before = entries[i - 1]
    if (before && compareEntries(before, entry) === 0)
      throw new InvalidInput(`Cannot write an envelope: the key "${entry.name}" stands there twice`)
  })
  if (block.length > BLOCK.max)
    throw new InvalidInput(`Cannot write an envelope: its keys take ${block.length} bytes, more than ${BLOCK.max}`)
  return concat(core, u16(block.length), block)
}

function encodeCore(dekID: Uint8Array, hasContext: boolean, hasKeys: boolean): Uint8Array {
  const core = new Uint8Array(MAGIC.length + 4 + DEK_ID)
  core.set(MAGIC)
  core[4] = VERSION
  core[5] = SUITE
  core[6] = (hasKeys ? FLAG_KEYS : 0) | (hasContext ? FLAG_CONTEXT : 0)
  core.set(dekID, MAGIC.length + 4)
  return core
}

function encodeEntry({ provider, ref, version, wrapped }: KeyEntry): {
  provider: number
  ref: Uint8Array
  name: string
  bytes: Uint8Array
} {
  const problem = entryProblem({ provider, ref, version, wrapped })
  if (problem) throw new InvalidInput(`Cannot write an envelope: ${problem}`)
  const refBytes = utf8(ref, "a key's name")
  const bytes = concat(
    Uint8Array.of(provider),
    lp(refBytes, "a key's name"),
    u32(version),
    lp(wrapped, "a wrapped key"),
  )
  return { provider, ref: refBytes, name: ref, bytes }
}

function compareEntries(a: { provider: number; ref: Uint8Array }, b: { provider: number; ref: Uint8Array }): number {
  return a.provider - b.provider || compareBytes(a.ref, b.ref)
}

/** Why an entry does not fit the format, or `undefined`: one set of rules for writing and for reading, so that what is written can be read. */
export function entryProblem({ provider, ref, version, wrapped }: KeyEntry): string | undefined {
  const length = utf8(ref, "a key's name").length
  if (provider !== OTHER && !NAMES.has(provider)) return `the provider ${provider} is unknown`
  if (length < REF.min || length > REF.max) return `a key's name has ${length} bytes, not ${REF.min} to ${REF.max}`
  if (provider === OTHER && !(ref.includes(":") && SCHEME.test(providerOf({ provider, ref }).name)))
    return "a key's name does not begin with its provider's"
  if (!Number.isInteger(version) || version < 0 || version > MAX_KEK_VERSION)
    return `the key version ${version} is out of range`
  if (wrapped.length < WRAPPED.min || wrapped.length > WRAPPED.max) {
    return `a wrapped key has ${wrapped.length} bytes, not ${WRAPPED.min} to ${WRAPPED.max}`
  }
  return undefined
}

// --- Reading ---

/**
 * Reads an envelope's header and finds its body. Every length is checked before anything is copied.
 *
 * @throws {InvalidFormat} when one byte of it is not as the format says
 */
export function parseEnvelope(envelope: Uint8Array): ParsedEnvelope {
  const parsed = parseHeader(envelope)
  if (openedSize(parsed.body.length) === undefined) throw malformed("its body is cut short")
  return parsed
}

/**
 * Reads a header that stands alone, as a row keeps it: with keys, without a context, nothing after it.
 *
 * @throws {InvalidFormat} when it is anything else
 */
export function parseRowKey(dekEncrypted: Uint8Array): Header {
  const { body, ...header } = parseHeader(dekEncrypted)
  if (header.keys.length === 0) throw malformed("it has no keys")
  if (header.hasContext) throw malformed("it says that it has a context")
  if (body.length > 0) throw malformed("bytes follow it")
  return header
}

// The last headers that were read, one for each first byte of a dek_id: what a program opens has few of them, and reading one
// costs more than finding it. Headers that are long, which a stranger may have made so, are read anew each time.
const REMEMBERED = 1024
const read: (ReadHeader | undefined)[] = new Array(256)

interface ReadHeader extends Header {
  /** All of it, byte for byte. */
  readonly bytes: Uint8Array
}

/** Reads a header, whatever follows it. What is returned may be returned again, and is not to be changed. */
export function parseHeader(bytes: Uint8Array): ParsedEnvelope {
  const slot = bytes[AT.dekID] ?? 0
  const known = read[slot]
  if (known && beginsWith(bytes, known.bytes)) return withBody(known, bytes, known.bytes.length)
  const { body, ...header } = readHeader(bytes)
  const length = bytes.length - body.length
  if (header.keys.length > 0 && length <= REMEMBERED)
    read[slot] = { ...header, bytes: copyOf(bytes.subarray(0, length)) }
  return { ...header, body }
}

function beginsWith(bytes: Uint8Array, beginning: Uint8Array): boolean {
  if (bytes.length < beginning.length) return false
  for (let i = 0; i < beginning.length; i++) if (bytes[i] !== beginning[i]) return false
  return true
}

const withBody = ({ dekID, hasContext, keys }: Header, bytes: Uint8Array, end: number): ParsedEnvelope => ({
  dekID,
  hasContext,
  keys,
  body: bytes.subarray(end),
})

function readHeader(bytes: Uint8Array): ParsedEnvelope {
  if (bytes.length < CORE) throw malformed("its header is cut short")
  if (compareBytes(bytes.subarray(0, MAGIC.length), MAGIC) !== 0) throw malformed("it does not begin as one")
  const flags = bytes[AT.flags] as number
  if (bytes[AT.version] !== VERSION) throw malformed(`its version is ${bytes[AT.version]}, not ${VERSION}`)
  if (bytes[AT.suite] !== SUITE) throw malformed(`its suite ${bytes[AT.suite]} is unknown`)
  if ((flags & ~(FLAG_KEYS | FLAG_CONTEXT)) !== 0) throw malformed("it has an unknown flag")
  if (bytes[AT.reserved] !== 0) throw malformed("its reserved byte is set")
  const dekID = copyOf(bytes.subarray(AT.dekID, CORE))
  const hasContext = (flags & FLAG_CONTEXT) !== 0
  if ((flags & FLAG_KEYS) === 0) return { dekID, hasContext, keys: [], body: bytes.subarray(CORE) }

  if (bytes.length < CORE + 2) throw malformed("its keys are cut short")
  const end = CORE + 2 + blockLength(bytes)
  if (bytes.length < end) throw malformed("its keys are cut short")
  return { dekID, hasContext, keys: parseKeys(bytes.subarray(CORE + 2, end)), body: bytes.subarray(end) }
}

/**
 * How many bytes a header has, as far as its beginning tells: when it is no longer than that, this is its length.
 *
 * @throws {InvalidFormat} when no header begins so
 */
export function headerLength(bytes: Uint8Array): number {
  if (bytes.length < CORE) return CORE
  const core = copyOf(bytes.subarray(0, CORE))
  core[AT.flags] = (core[AT.flags] as number) & ~FLAG_KEYS
  parseHeader(core)
  if (core[AT.flags] === bytes[AT.flags]) return CORE
  if (bytes.length < CORE + 2) return CORE + 2
  return CORE + 2 + blockLength(bytes)
}

function blockLength(bytes: Uint8Array): number {
  const length = ((bytes[CORE] as number) << 8) | (bytes[CORE + 1] as number)
  if (length < BLOCK.min || length > BLOCK.max) throw malformed(`its keys take ${length} bytes`)
  return length
}

function parseKeys(block: Uint8Array): KeyEntry[] {
  let offset = 0
  const take = (length: number): Uint8Array => {
    if (offset + length > block.length) throw malformed("its keys are cut short")
    offset += length
    return block.subarray(offset - length, offset)
  }
  const number = (length: number): number => take(length).reduce((value, byte) => value * 256 + byte, 0)

  const count = number(1)
  if (count < 1 || count > MAX_KEYS) throw malformed(`it has ${count} keys`)
  const keys: KeyEntry[] = []
  let before: { provider: number; ref: Uint8Array } | undefined
  for (let i = 0; i < count; i++) {
    const provider = number(1)
    const refBytes = take(number(2))
    const ref = text(refBytes, "an envelope's key")
    const version = number(4)
    const wrapped = take(number(2))
    const problem = entryProblem({ provider, ref, version, wrapped })
    if (problem) throw malformed(problem)
    const entry = { provider, ref: refBytes }
    if (before && compareEntries(before, entry) >= 0) throw malformed("its keys are out of order")
    before = entry
    keys.push({ provider, ref, version, wrapped: copyOf(wrapped) })
  }
  if (offset !== block.length) throw malformed("bytes follow its keys")
  return keys
}

function malformed(state: string): InvalidFormat {
  return new InvalidFormat(`Cannot read an envelope: ${state}`)
}

// --- What is bound ---

const BODY_LABEL = labelled("encx.v2.data")

/**
 * The Cobblestone context of an envelope's body, in parts: the core with K masked to 0, so that a re-wrap never touches the body.
 */
export function bodyContext({ dekID, hasContext }: Omit<Header, "keys">, encodedContext: Uint8Array): Uint8Array[] {
  return [BODY_LABEL, encodeCore(dekID, hasContext, false), u32(encodedContext.length), encodedContext]
}
