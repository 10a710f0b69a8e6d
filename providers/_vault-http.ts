/** Vault over HTTP: `fetch` where that is enough, and `node:https` where certificates are given, which no `fetch` takes on all runtimes. */
import { readFile } from "node:fs/promises"
import type { Agent, RequestOptions } from "node:https"
import process from "node:process"
import { concat } from "../core/bytes.ts"
import { Closed, InvalidConfiguration } from "../core/errors.ts"
import type { TLSSettings, VaultFetch } from "./_vault-options.ts"

/** A request, ready to be sent. */
export interface HTTPRequest {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal: AbortSignal
  /** The longest answer that makes sense, in bytes. */
  readonly maxBytes: number
}

/** An answer, read. */
export interface HTTPAnswer {
  readonly status: number
  readonly location: string | null
  readonly text: string
}

/** How requests are sent. */
export interface Transport {
  send(url: string, request: HTTPRequest): Promise<HTTPAnswer>
  /** Reads certificates anew, where they are files. */
  refresh(): Promise<void>
  /** For good. */
  close(): void
}

const MAX_SOCKETS = 50
/** A request that is aborted on a connection that was used before hangs there for ever on Deno (2.9). */
const KEEPS_CONNECTIONS = process.versions["deno"] === undefined

/** By `fetch`. */
export function fetchTransport(fetch: VaultFetch): Transport {
  return {
    async send(url, { method, headers, body, signal, maxBytes }) {
      const init = { method, headers, redirect: "manual", signal, ...(body === undefined ? {} : { body }) } as const
      const response = await fetch(url, init)
      const chunks: Uint8Array[] = []
      const reader = response.body?.getReader()
      for (let length = 0; reader; ) {
        const { done, value } = await reader.read()
        if (done || !value) break
        length += value.length
        if (length > maxBytes) {
          // That the rest is not wanted is all there is to say.
          await reader.cancel().catch(() => undefined)
          throw tooLong(maxBytes)
        }
        chunks.push(value)
      }
      return { status: response.status, location: response.headers.get("location"), text: decoded(chunks) }
    },
    refresh: async () => undefined,
    close: () => undefined,
  }
}

/** By `node:https`, with certificates. */
export function tlsTransport(provider: string, settings: TLSSettings): Transport {
  let agent: Promise<Agent> | undefined
  let used = ""
  let closed = false
  const open = async (): Promise<Agent> => {
    const { Agent } = await import("node:https")
    const [ca, cert, key] = await Promise.all([
      pem(provider, settings.ca, "the CA's certificates"),
      pem(provider, settings.cert, "the client's certificate"),
      pem(provider, settings.key, "the client's key"),
    ])
    used = JSON.stringify([ca, cert, key])
    const { serverName, skipVerify } = settings
    return new Agent({
      keepAlive: KEEPS_CONNECTIONS,
      maxSockets: MAX_SOCKETS,
      minVersion: "TLSv1.2",
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert, key }),
      ...(serverName === undefined ? {} : { servername: serverName }),
      // Said, so that NODE_TLS_REJECT_UNAUTHORIZED says nothing.
      rejectUnauthorized: !skipVerify,
    })
  }
  const close = (): void => {
    closed = true
    agent?.then(
      (each) => each.destroy(),
      () => undefined,
    )
    agent = undefined
  }
  const current = (): Promise<Agent> => {
    agent ??= open().catch((error: unknown) => {
      agent = undefined
      throw error
    })
    return agent
  }
  const refuseIfClosed = (): void => {
    if (closed) throw new Closed(`Cannot use ${provider}: it was closed`)
  }
  return {
    async send(url, request) {
      if (new URL(url).protocol !== "https:")
        throw new InvalidConfiguration(`Cannot use ${provider}: its address is plain HTTP, and certificates are given`)
      refuseIfClosed()
      const opened = await current()
      refuseIfClosed()
      return await ask(url, request, opened)
    },
    async refresh() {
      const before = used
      if (!agent) return
      const next = await open()
      const last = agent
      if (used === before || !last) return next.destroy()
      agent = Promise.resolve(next)
      await last.then(retire, () => undefined)
    },
    close,
  }
}

/** Ends the connections that nobody uses; others end with their answers. */
function retire(agent: Agent): void {
  // Node looks at it when a connection has become free.
  Object.assign(agent, { keepAlive: false })
  for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy()
}

async function ask(url: string, request: HTTPRequest, agent: Agent): Promise<HTTPAnswer> {
  const https = await import("node:https")
  const { method, headers, body, signal, maxBytes } = request
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<HTTPAnswer>()
  const options: RequestOptions = { method, headers: { ...headers }, agent }
  const call = https.request(url, options, (response) => {
    const chunks: Uint8Array[] = []
    let length = 0
    response.on("data", (chunk: Uint8Array) => {
      length += chunk.length
      if (length > maxBytes) {
        reject(tooLong(maxBytes))
        call.destroy()
      } else chunks.push(chunk)
    })
    response.on("end", () => {
      const { statusCode = 0, headers } = response
      resolve({ status: statusCode, location: headers.location ?? null, text: decoded(chunks) })
    })
    response.on("error", reject)
    // What was cut off ends without an end.
    response.on("close", () => reject(Object.assign(new Error("The answer was cut off"), { code: "ECONNRESET" })))
  })
  const leave = (): void => {
    reject(signal.reason)
    call.destroy()
  }
  signal.addEventListener("abort", leave, { once: true })
  call.on("error", reject)
  call.end(body)
  try {
    return await promise
  } finally {
    signal.removeEventListener("abort", leave)
  }
}

/** PEM, or what the file of that path holds. */
async function pem(provider: string, given: string | undefined, what: string): Promise<string | undefined> {
  if (given === undefined || given.includes("-----BEGIN ")) return given
  try {
    const text = await readFile(given, "utf8")
    if (text.includes("-----BEGIN ")) return text
  } catch (error) {
    const { code = "nothing more" } = error as { code?: string }
    throw new InvalidConfiguration(
      `Cannot use ${provider}: the file of ${what} cannot be read, the system says ${code}`,
    )
  }
  throw new InvalidConfiguration(`Cannot use ${provider}: the file of ${what} is not PEM`)
}

/** Of an answer that is longer than it may be. */
export const TOO_LONG = "EMSGSIZE"
const tooLong = (bytes: number): Error =>
  Object.assign(new Error(`It is longer than ${bytes} bytes`), { code: TOO_LONG })
const decoded = (chunks: readonly Uint8Array[]): string => new TextDecoder().decode(concat(...chunks))
