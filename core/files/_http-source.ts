/** Range requests: every answer is checked before its body is read, and every body is bounded by what was asked for. */
import { inspect } from "node:util"
import { concat } from "../bytes.ts"
import type { CallOptions } from "../contracts.ts"
import { FileError, FileNotFound, InvalidInput } from "../errors.ts"
import type { RangeSource } from "../stream-types.ts"
import type { HTTPRangeOptions, RangeFetch, RangeResponse } from "./http-range.ts"

/** What is asked for with the size: the beginning, which is what is read next. */
const FIRST = 4096

/** One version of an object. */
interface Version {
  readonly size: number
  readonly etag: string | null
  readonly lastModified: string | null
  readonly beginning: Uint8Array
}

/** What one answer says. */
interface Part {
  readonly bytes: Uint8Array
  readonly size: number
  readonly etag: string | null
  readonly lastModified: string | null
}

/** An object on a server. */
export function httpSource(
  url: string,
  { headers = {}, fetch = globalThis.fetch as RangeFetch }: HTTPRangeOptions,
): RangeSource {
  const name = nameOf(url)
  checkHeaders(headers)
  let version: Version | undefined

  const ask = async (offset: number, length: number, { signal }: CallOptions): Promise<Part> => {
    signal?.throwIfAborted()
    const init = {
      headers: headersOf(headers, `bytes=${offset}-${offset + length - 1}`, version?.etag),
      // What is sent along is for this server and no other.
      redirect: Object.keys(headers).length > 0 ? "manual" : "follow",
      ...(signal && { signal }),
    } as const
    try {
      const response = await fetch(url, init)
      const accepted = acceptedOf(response, name, offset, length)
      if (accepted instanceof Error) {
        await drop(response)
        throw accepted
      }
      return { ...accepted, bytes: await bodyOf(response, name, accepted.length) }
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof FileError || error instanceof FileNotFound) throw error
      throw new FileError(`Cannot read "${name}": the server cannot be asked`, {
        retryable: true,
        ...causeOf(error, url),
      })
    }
  }

  const first = async (call: CallOptions): Promise<Version> => {
    if (version) return version
    const { bytes, ...found } = await ask(0, FIRST, call)
    version ??= { ...found, beginning: bytes }
    return version
  }

  return {
    size: async (call = {}) => (await first(call)).size,
    read: async (offset, length, call = {}) => {
      const known = await first(call)
      if (length === 0) return new Uint8Array(0)
      if (offset + length <= known.beginning.length) return known.beginning.slice(offset, offset + length)
      const { bytes, size, etag, lastModified } = await ask(offset, length, call)
      if (size !== known.size || etag !== known.etag || lastModified !== known.lastModified) throw changed(name)
      if (bytes.length !== length) throw cutShort(name)
      return bytes
    },
  }
}

// --- Asking ---

/** The address as errors show it: a query may hold a signature. */
function nameOf(url: string): string {
  const { protocol, origin, pathname, username, password } = URL.parse(url) ?? refuse("it is no URL")
  if (protocol !== "https:" && protocol !== "http:") refuse("it is no http: or https: URL")
  if (username || password) refuse("it holds a password", "send it in a header: { authorization: … }")
  return origin + pathname
}

/** What no request can carry would fail like a server that cannot be asked, and some runtimes show the value. */
function checkHeaders(headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) {
    try {
      new Headers([[name, value]])
    } catch {
      throw new InvalidInput(`Cannot use the header ${JSON.stringify(name)}: no request can carry it, or its value`)
    }
  }
}

function refuse(state: string, hint?: string): never {
  throw new InvalidInput(`Cannot use an address: ${state}`, { hint })
}

function headersOf(
  own: Readonly<Record<string, string>>,
  range: string,
  etag: string | null | undefined,
): Record<string, string> {
  const lower = Object.entries(own).map(([name, value]) => [name.toLowerCase(), value] as const)
  // Only a strong tag matches: RFC 9110 §13.1.1.
  const match = etag && !etag.startsWith("W/") ? { "if-match": etag } : {}
  return { ...Object.fromEntries(lower), range, "accept-encoding": "identity", ...match }
}

// What some runtimes say of a failure holds the whole address.
function causeOf(error: unknown, url: string): { cause?: unknown } {
  const { search } = new URL(url)
  return search !== "" && inspect(error, { depth: null }).includes(search) ? {} : { cause: error }
}

// --- The answer ---

interface Accepted extends Omit<Part, "bytes"> {
  readonly length: number
}

const RANGE = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/

function acceptedOf(
  { status, headers }: RangeResponse,
  name: string,
  offset: number,
  length: number,
): Accepted | Error {
  const etag = headers.get("etag")
  const lastModified = headers.get("last-modified")
  const range = headers.get("content-range")
  // An object without a byte has no range either.
  if (status === 416 && range === "bytes */0" && offset === 0) return { size: 0, length: 0, etag, lastModified }
  if (status !== 206) return refusal(status, name)
  const encoding = headers.get("content-encoding")
  if (encoding !== null && encoding.toLowerCase() !== "identity")
    return new FileError(`Cannot read "${name}": the server compresses it, and parts of that are of no use`)
  const [from, to, size] =
    RANGE.exec(range ?? "")
      ?.slice(1)
      .map(Number) ?? []
  if (
    from === undefined ||
    to === undefined ||
    size === undefined ||
    !Number.isSafeInteger(size) ||
    from !== offset ||
    to !== Math.min(offset + length, size) - 1
  )
    return new FileError(`Cannot read "${name}": the server answers with another range than it was asked for`)
  return { size, length: to - from + 1, etag, lastModified }
}

function refusal(status: number, name: string): Error {
  if (status === 404 || status === 410) return new FileNotFound(`Cannot read "${name}": there is no such object`)
  if (status === 412 || status === 416) return changed(name)
  const message = `Cannot read "${name}": the server ${STATES[status] ?? `answers ${status}`}`
  if (status === 200)
    return new FileError(message, {
      hint: "fetch the whole and open it: body.pipeThrough(crypto.decryptStream(context))",
    })
  // Some runtimes hide a redirect behind the status 0.
  if (status === 0 || (status >= 300 && status < 400))
    return new FileError(`Cannot read "${name}": the server sends elsewhere, where the headers do not belong`, {
      hint: "give the address that it leads to, or no headers",
    })
  return new FileError(message, { retryable: status === 408 || status === 429 || status >= 500 })
}

const STATES: Readonly<Record<number, string>> = {
  200: "gives no ranges",
  401: "wants other credentials",
  403: "denies permission",
}

async function bodyOf(response: RangeResponse, name: string, length: number): Promise<Uint8Array> {
  if (length === 0) {
    await drop(response)
    return new Uint8Array(0)
  }
  const parts: Uint8Array[] = []
  let left = length
  const reader = response.body?.getReader()
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true }
    if (done || !value) break
    parts.push(value)
    left -= value.length
    if (left >= 0) continue
    await reader?.cancel().catch(() => undefined)
    throw new FileError(`Cannot read "${name}": the server sends more bytes than it says`)
  }
  if (left > 0) throw cutShort(name)
  return concat(...parts)
}

/** Lets go of a body that is not read. */
async function drop({ body }: RangeResponse): Promise<void> {
  await body
    ?.getReader()
    .cancel()
    .catch(() => undefined)
}

function changed(name: string): FileError {
  return new FileError(`Cannot read "${name}": it was changed while it was read`, {
    hint: "begin again with another httpRange",
  })
}

function cutShort(name: string): FileError {
  return new FileError(`Cannot read "${name}": the answer is cut short`, { retryable: true })
}
