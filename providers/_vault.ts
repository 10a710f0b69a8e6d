/** What the Vault providers share: requests behind a token, time-outs, retries and circuits. */
import type { CallOptions } from "../core/contracts.ts"
import { Closed, EncxError } from "../core/errors.ts"
import { type Resilience, resilient } from "../core/resilience.ts"
import {
  badAnswer,
  isThrottled,
  isTokenRefused,
  notUnderstood,
  redirected,
  unavailable,
  unreachable,
  type VaultAnswer,
  type VaultRequest,
  type VaultService,
  vaultError,
} from "./_vault-errors.ts"
import { fetchTransport, type HTTPAnswer, TOO_LONG, type Transport, tlsTransport } from "./_vault-http.ts"
import { checkOptions, type Settings, settingsOf, type VaultFetch, type VaultOptions } from "./_vault-options.ts"
import { isLease, Session, type TokenAnswer } from "./_vault-session.ts"

/** One call. */
export interface Call<Result> extends VaultRequest {
  /** What follows the path: `?version=1`. */
  readonly query?: string
  /** Made for each attempt. */
  body?(): object
  /** Reads the answer, and throws when it makes no sense. */
  read(answer: Answer): Result
  /** Whether an error is an answer, too: a batch of which some items fail. */
  takes?(answer: VaultAnswer): boolean
  /** The longest answer that makes sense. @default {131_072} */
  readonly maxBytes?: number
  /** It needs no token. */
  readonly open?: boolean
  readonly options?: (CallOptions & { readonly once?: boolean }) | undefined
}

/** What Vault answered, with nothing in it believed. */
export interface Answer {
  readonly status: number
  readonly data: Record<string, unknown>
  readonly warnings: readonly string[]
  /** The whole of it. */
  readonly whole: Record<string, unknown>
}

/** Where requests go, and by what: as it was when the connection was opened, whatever the environment says later. */
interface Way {
  readonly settings: Settings
  readonly transport: Transport
}

interface Opened extends Way {
  readonly session: Session
}

/** The longest answer of any call but a batch is a few kilobytes. */
const MAX_ANSWER = 128 * 1024
const MAX_HOPS = 2
const MAX_ERROR = 300
/** What is shorter is no secret, and may be a word. */
const MIN_SECRET = 12

/** The connection to one engine of one server. */
export class Connection {
  readonly service: VaultService
  readonly #options: VaultOptions
  readonly #resilience: Resilience
  #opened: Opened | undefined
  #closed = false

  /** @throws {InvalidConfiguration} when an option cannot be used */
  constructor(service: VaultService, options: VaultOptions) {
    this.service = service
    this.#options = options
    checkOptions(service.provider, options, service.options)
    this.#resilience = resilient(
      {
        isThrottled,
        unavailable: (operation, state, cause) =>
          unavailable(service, operation, state, cause === undefined ? {} : { cause }),
      },
      options,
    )
  }

  /** Asks, and again where that may help; with another token where this one has ended. */
  async send<Result>(call: Call<Result>): Promise<Result> {
    const { signal, watch, once = false } = call.options ?? {}
    signal?.throwIfAborted()
    const opened = this.open()
    const { session } = opened
    for (let logins = 0; ; logins++) {
      const token = call.open ? undefined : await session.current(signal)
      try {
        return await this.#resilience.call(
          call.target,
          call.operation,
          async (within) => {
            this.#refuseIfClosed()
            return await this.#ask(opened, call, token, within)
          },
          { signal, watch, once },
        )
      } catch (error) {
        // Refused before anything was done: what must not happen twice has not happened.
        if (token === undefined || logins > 0 || !(await mayBeToken(session, error, token, signal))) throw error
      }
    }
  }

  /**
   * What the environment and the options come to.
   *
   * @throws {InvalidConfiguration} when there is no address, or the environment says what cannot be
   * @throws {Closed} when it was closed
   */
  open(): Opened {
    this.#refuseIfClosed()
    if (this.#opened) return this.#opened
    const { provider } = this.service
    const settings = settingsOf(provider, this.#options)
    const transport = settings.tls
      ? tlsTransport(provider, settings.tls)
      : fetchTransport(this.#options.fetch ?? (globalThis.fetch as unknown as VaultFetch))
    const session = new Session(provider, settings, this.#requests({ settings, transport }), this.#options)
    this.#opened = { settings, transport, session }
    return this.#opened
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw new Closed(`Cannot use ${this.service.provider}: it was closed`)
  }

  /** Closes it for good: calls that come later, and attempts of those under way, find it closed. */
  async close(): Promise<void> {
    this.#closed = true
    const opened = this.#opened
    this.#opened = undefined
    await opened?.session.close()
    opened?.transport.close()
  }

  #requests(way: Way) {
    const ask = (
      operation: string,
      method: "GET" | "POST",
      path: string,
      token?: string,
      body?: object,
      { once = false, read = (answer: Answer): Answer => answer } = {},
    ) =>
      this.#resilience.call(
        path,
        operation,
        (signal) => {
          const request = { operation, method, path, target: path, read }
          return this.#ask(way, body ? { ...request, body: () => body } : request, token, signal)
        },
        { once },
      )
    return {
      login: async (path: string, body: object): Promise<TokenAnswer> => {
        await way.transport.refresh()
        const { auth } = (await ask("login", "POST", path, undefined, body)).whole
        return recordOf(auth)
      },
      renew: async (token: string): Promise<TokenAnswer> => {
        const read = (answer: Answer): Answer => {
          if (isLease(recordOf(answer.whole["auth"])["lease_duration"])) return answer
          throw badAnswer(this.service, "renew", "without saying how long the token lasts")
        }
        return recordOf((await ask("renew", "POST", "auth/token/renew-self", token, {}, { read })).whole["auth"])
      },
      lookUp: async (token: string): Promise<TokenAnswer> =>
        (await ask("login", "GET", "auth/token/lookup-self", token)).data,
      revoke: async (token: string): Promise<void> => {
        await ask("close", "POST", "auth/token/revoke-self", token, {}, { once: true })
      },
      unavailable: (state: string): EncxError => unavailable(this.service, "login", state),
    }
  }

  /** One attempt. */
  async #ask<Result>(way: Way, call: Call<Result>, token: string | undefined, signal: AbortSignal): Promise<Result> {
    const body = call.body?.()
    const { status, text } = await this.#exchange(way, call, token, body, signal)
    const whole = parsed(text)
    if (whole === undefined) {
      if (status < 300) throw badAnswer(this.service, call.operation, "no JSON")
      // The same request would be refused again: a server that speaks TLS says so to who does not.
      if (status === 400) throw notUnderstood(this.service)
      // The page of a proxy, which is not the server's word: that may be there the next time.
      if (status === 404 || status === 405) throw badAnswer(this.service, call.operation, `HTTP ${status}, and no JSON`)
    }
    const { errors, warnings, data } = whole ?? {}
    const answer: VaultAnswer = {
      status,
      errors: errorsOf(errors ?? warnings, [token ?? "", ...stringsOf(body)]),
      data,
    }
    if (status !== 200 && status !== 204 && !call.takes?.(answer)) {
      // Vault's own has a list, if an empty one; without, it is of somebody on the way, and nothing is known to be absent.
      if (status === 404 && !Array.isArray(errors ?? warnings))
        throw badAnswer(this.service, call.operation, "HTTP 404, and not as Vault does")
      throw vaultError(this.service, call, answer)
    }
    return call.read({
      status,
      data: recordOf(data),
      warnings: Array.isArray(warnings) ? warnings.map(String) : [],
      whole: whole ?? {},
    })
  }

  async #exchange(
    { settings, transport }: Way,
    call: VaultRequest & Pick<Call<unknown>, "maxBytes" | "query">,
    token: string | undefined,
    body: object | undefined,
    signal: AbortSignal,
  ): Promise<HTTPAnswer> {
    const { address, namespace, redirects } = settings
    const headers = {
      "X-Vault-Request": "true",
      Accept: "application/json",
      ...(token === undefined ? {} : { "X-Vault-Token": token }),
      ...(namespace === undefined ? {} : { "X-Vault-Namespace": namespace }),
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    }
    const request = {
      method: call.method,
      headers,
      signal,
      maxBytes: call.maxBytes ?? MAX_ANSWER,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }
    let url = `${address}/v1/${call.path.split("/").map(encodeURIComponent).join("/")}${call.query ?? ""}`
    for (let hops = 0; ; hops++) {
      const answer = await this.#sent(transport, url, request, call.operation)
      if (answer.status < 300 || answer.status > 399) return answer
      const next = URL.canParse(answer.location ?? "", url) ? new URL(answer.location ?? "", url) : undefined
      const allowed = [new URL(address).origin, ...redirects]
      const keeps = answer.status === 307 || answer.status === 308
      if (!next || !keeps || hops === MAX_HOPS || !allowed.includes(next.origin))
        throw redirected(this.service, call.operation, next?.origin)
      url = next.href
    }
  }

  async #sent(
    transport: Transport,
    url: string,
    request: Parameters<Transport["send"]>[1],
    operation: string,
  ): Promise<HTTPAnswer> {
    try {
      return await transport.send(url, request)
    } catch (error) {
      // The reason of whoever aborted is told by whoever holds the signal.
      request.signal.throwIfAborted()
      if (error instanceof EncxError) throw error
      if ((error as { code?: unknown } | undefined)?.code === TOO_LONG)
        throw badAnswer(this.service, operation, `with more than ${request.maxBytes} bytes`)
      throw unreachable(this.service, operation, error)
    }
  }
}

async function mayBeToken(
  session: Session,
  error: unknown,
  token: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (isTokenRefused(error)) return session.refused(token)
  return error instanceof EncxError && error.code === "ACCESS_DENIED" && (await session.doubts(token, signal))
}

/** What must be a number of versions, from 1. */
export function isVersion(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) < 2 ** 31
}

/** An object, or an empty one. */
export function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

function parsed(text: string): Record<string, unknown> | undefined {
  if (text.trim() === "") return {}
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    // Its message quotes what it stumbles on, which may be the secret.
    return undefined
  }
}

/** What the server says, on one line each, without what we sent: a proxy may echo it. */
export function errorsOf(errors: unknown, sent: readonly string[]): string[] {
  if (!Array.isArray(errors)) return []
  const secrets = sent.filter((each) => each.length >= MIN_SECRET)
  return errors.map((each) =>
    secrets
      .reduce((text, secret) => text.replaceAll(secret, "…"), String(each))
      .replace(/^\d+ errors? occurred:/, "")
      .replace(/\s+/g, " ")
      .trim()
      .slice(0, MAX_ERROR),
  )
}

/** Every text in what we sent. */
export function stringsOf(value: unknown): string[] {
  if (typeof value === "string") return [value]
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(stringsOf) : []
}
