/**
 * Parts of what a server has, for `openRange`.
 *
 * @module
 */
import type { CallOptions } from "../contracts.ts"
import type { RangeSource } from "../stream-types.ts"

/** The platform's `fetch`, as far as it is used. */
export type RangeFetch = (
  url: string,
  init: {
    readonly headers: Readonly<Record<string, string>>
    readonly redirect: "follow" | "manual"
    readonly signal?: AbortSignal
  },
) => Promise<RangeResponse>

/** What it answers, as far as it is looked at. */
export interface RangeResponse {
  readonly status: number
  readonly headers: { get(name: string): string | null }
  readonly body: RangeBody | null
}

/** A stream of bytes, as far as it is read. */
export interface RangeBody {
  getReader(): {
    read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
    cancel(): Promise<void>
  }
}

/** What {@link httpRange} takes beside the address. */
export interface HTTPRangeOptions {
  /**
   * Sent with each request: `{ authorization: "Bearer …" }`. With them no redirect is followed: they are for this server. Without, one is,
   * wherever it leads.
   */
  readonly headers?: Readonly<Record<string, string>>
  /** A `fetch` of your own, for proxies, certificates, retries. @default {the platform's} */
  readonly fetch?: RangeFetch
}

/**
 * An object on a server, for `crypto.openRange(httpRange(url), { offset: -1024 }, context)`: parts of it are asked for with `Range`
 * requests (RFC 9110 §14). They are of one version of the object: when its `ETag`, its size or its date is another, reading fails, and
 * another `httpRange` reads what is there now. A server that ignores ranges is refused before its answer is read.
 *
 * @param url `http:` or `https:`; errors show it without its query, which may hold a signature
 * @returns reads reject with {@link InvalidInput} when the address or a header cannot be used, {@link FileNotFound} when there is no such object, and
 * {@link FileError} when the server refuses, gives no ranges or another version; that is `retryable` where it may answer later
 */
export function httpRange(url: string | URL, options: HTTPRangeOptions = {}): RangeSource {
  const { headers = {}, fetch } = options
  const own = { headers: { ...headers }, ...(fetch && { fetch }) }
  const address = String(url)
  let source: Promise<RangeSource> | undefined
  const loaded = (): Promise<RangeSource> => {
    source ??= import("./_http-source.ts").then(({ httpSource }) => httpSource(address, own))
    return source
  }
  return {
    size: async (call?: CallOptions) => await (await loaded()).size(call),
    read: async (offset, length, call?: CallOptions) => await (await loaded()).read(offset, length, call),
  }
}
