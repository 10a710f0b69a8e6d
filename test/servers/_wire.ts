/**
 * HTTP/1.1 by hand: no server of a runtime sends a header byte by byte, or half a body and then a reset. It reads what
 * clients of AWS send, bodies with a length; to the emulator it is a client of `node:http`.
 */
import { Agent, request as httpRequest, STATUS_CODES } from "node:http"

export interface WireRequest {
  readonly method: string
  readonly path: string
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: Uint8Array
}

export interface WireAnswer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: Uint8Array
}

const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "content-length",
  "proxy-connection",
  "te",
  "upgrade",
])
const HEAD_LIMIT = 64 * 1024

/** Takes a connection's bytes as they come and gives its requests. */
export function requestReader(give: (request: WireRequest) => void, refuse: () => void): (chunk: Uint8Array) => void {
  let bytes = new Uint8Array(0)
  return (chunk) => {
    bytes = concat([bytes, chunk])
    for (;;) {
      const end = endOfHead(bytes)
      if (end < 0) return bytes.length > HEAD_LIMIT ? refuse() : undefined
      const [first = "", ...lines] = new TextDecoder("latin1").decode(bytes.subarray(0, end)).split("\r\n")
      const [method = "", path = ""] = first.split(" ")
      const headers = new Map(lines.filter(Boolean).map(header))
      const length = Number(headers.get("content-length") ?? 0)
      if (path === "" || !Number.isSafeInteger(length) || headers.has("transfer-encoding")) return refuse()
      if (bytes.length < end + 4 + length) return
      give({ method, path, headers, body: bytes.slice(end + 4, end + 4 + length) })
      bytes = bytes.slice(end + 4 + length)
    }
  }
}

function endOfHead(bytes: Uint8Array): number {
  for (let at = bytes.indexOf(13); at >= 0; at = bytes.indexOf(13, at + 1)) {
    if (bytes[at + 1] === 10 && bytes[at + 2] === 13 && bytes[at + 3] === 10) return at
  }
  return -1
}

function header(line: string): [string, string] {
  const colon = line.indexOf(":")
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
}

/** The head of an answer; without a length, its body is chunked. */
export function head({ status, headers }: WireAnswer, length: number | undefined): Uint8Array {
  const lines = [...headers].filter(([name]) => !HOP_BY_HOP.has(name)).map(([name, value]) => `${name}: ${value}`)
  const framing = length === undefined ? "transfer-encoding: chunked" : `content-length: ${length}`
  return ascii([`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`, ...lines, framing, "", ""].join("\r\n"))
}

/** One chunk of a chunked body; the empty one ends it. */
export function chunk(bytes: Uint8Array): Uint8Array {
  return concat([ascii(`${bytes.length.toString(16)}\r\n`), bytes, ascii("\r\n")])
}

/** Sends a request on to the emulator, with the host that the client has signed. */
export function forward(
  { method, path, headers, body }: WireRequest,
  to: URL,
  signal: AbortSignal,
): Promise<WireAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<WireAnswer>()
  const kept = [...headers].filter(([name]) => !HOP_BY_HOP.has(name))
  const call = httpRequest(
    {
      host: to.hostname,
      port: to.port,
      method,
      path,
      // A connection for each: none is left in the process that counts its own.
      agent: new Agent({ keepAlive: false }),
      signal,
      headers: Object.fromEntries([...kept, ["content-length", String(body.length)]]),
    },
    (answer) => {
      const chunks: Uint8Array[] = []
      answer.on("data", (each: Uint8Array) => chunks.push(each))
      answer.on("error", reject)
      answer.on("end", () => {
        const all = Object.entries(answer.headers).map(([name, value]): [string, string] => [name, String(value)])
        resolve({ status: answer.statusCode ?? 0, headers: new Map(all), body: concat(chunks) })
      })
    },
  )
  call.on("error", reject)
  call.end(body)
  return promise
}

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

export function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
