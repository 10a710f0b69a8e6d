/** Tokens: got by logging in, renewed while that helps, followed by others, and revoked at the end. No timers: whoever needs one looks at the clock. */
import { readFile } from "node:fs/promises"
import type { Clock } from "../core/contracts.ts"
import { AuthenticationFailed, Closed, EncxError, isRetryableError } from "../core/errors.ts"
import { KUBERNETES_TOKEN, type Settings, type VaultAuth, type VaultSecret } from "./_vault-options.ts"

/** What an answer says of a token. */
export interface TokenAnswer {
  readonly client_token?: unknown
  readonly lease_duration?: unknown
  readonly renewable?: unknown
  readonly token_type?: unknown
  readonly ttl?: unknown
  readonly type?: unknown
}

/** How a session asks. Each rejects with an error of ours. */
export interface SessionRequests {
  /** A login: a POST without a token. */
  login(path: string, body: object): Promise<TokenAnswer>
  renew(token: string): Promise<TokenAnswer>
  lookUp(token: string): Promise<TokenAnswer>
  revoke(token: string): Promise<void>
  /** The error for who cannot be asked. */
  unavailable(state: string): EncxError
}

/** The time that a session has. */
export interface SessionTime {
  readonly clock?: Clock | undefined
  /** How long what gives a secret may take. @default {15_000} */
  readonly deadlineMs?: number | undefined
}

interface Held {
  readonly token: string
  /** Whether we made it: then it is ours to revoke. */
  readonly made: boolean
  readonly renewable: boolean
  readonly ttlMs: number
  readonly renewAt: number
  readonly endsAt: number
  /** Whether it may be one that the server does not know: another is asked for, and as long as there is none, it is used. */
  readonly doubted?: boolean
}

/** A token is renewed in the last third of its life, by whoever needs it then. */
const FRESH = 2 / 3
/** A renewal that gives less than this part of the first life has met the limit of all renewals. */
const CAPPED = 1 / 2
/** After a renewal failed, the token that still holds is used for this part of what is left before the next. */
const PAUSE = 1 / 4
/** A login that does not say how long its token lasts is followed by a renewal, or by another, within so many seconds. */
const UNSAID_S = 300
/** How often a denial may be taken for a token that has gone: servers before Vault 1.14 say no more than «permission denied». */
const DOUBT_MS = 60_000
const DEADLINE_MS = 15_000
/** What a header takes; `fetch` quotes what it refuses. */
const TOKEN = /^[\x21-\x7e]{1,16384}$/

/** The token of one connection. */
export class Session {
  readonly #provider: string
  readonly #settings: Pick<Settings, "token" | "auth">
  readonly #requests: SessionRequests
  readonly #clock: Clock
  readonly #deadlineMs: number
  #held: Held | undefined
  #flight: Promise<string> | undefined
  readonly #closing = new AbortController()
  #doubtedAt = Number.NEGATIVE_INFINITY
  /** A look at a token that was denied something: the code of what it came to. */
  #look: { readonly token: string; readonly code: Promise<string | undefined> } | undefined

  constructor(
    provider: string,
    settings: Pick<Settings, "token" | "auth">,
    requests: SessionRequests,
    { clock = performance, deadlineMs = DEADLINE_MS }: SessionTime = {},
  ) {
    this.#provider = provider
    this.#settings = settings
    this.#requests = requests
    this.#clock = clock
    this.#deadlineMs = deadlineMs
  }

  /** A token that holds. Of many at once, one sees to it; whoever leaves drops nobody else. */
  async current(signal?: AbortSignal): Promise<string> {
    signal?.throwIfAborted()
    this.#closing.signal.throwIfAborted()
    const held = this.#held
    if (held && this.#clock.now() < held.renewAt) return held.token
    if (!this.#flight) {
      const flight = this.#next().finally(() => {
        if (this.#flight === flight) this.#flight = undefined
      })
      // All who waited for it may have left.
      flight.catch(() => undefined)
      this.#flight = flight
    }
    return await within(this.#flight, signal)
  }

  /** Drops a token that the server does not know. @returns whether there may be another */
  refused(token: string): boolean {
    if (this.#held && this.#held.token !== token) return true
    this.#held = undefined
    return this.#canLogin
  }

  /** Whether a denial may have been of the token, and not of what it may do. It asks, at most once a minute, for all who were denied. */
  async doubts(token: string, signal?: AbortSignal): Promise<boolean> {
    if (!this.#canLogin) return false
    // Somebody else has found out already.
    if (this.#held?.token !== token || this.#held.doubted) return true
    const now = this.#clock.now()
    if (this.#look?.token !== token) {
      if (now < this.#doubtedAt + DOUBT_MS) return false
      this.#doubtedAt = now
      const look = { token, code: this.#refusal(token) }
      this.#look = look
      look.code.finally(() => {
        if (this.#look === look) this.#look = undefined
      })
    }
    const code = await within(this.#look.code, signal)
    if (code === undefined) return false
    const held = this.#held
    if (code !== "ACCESS_DENIED" || held?.token !== token) return this.refused(token)
    // Or one that may not look itself up: it is not dropped before there is another.
    this.#held = { ...held, renewAt: Number.NEGATIVE_INFINITY, doubted: true }
    return true
  }

  async #refusal(token: string): Promise<string | undefined> {
    try {
      await this.#requests.lookUp(token)
      return undefined
    } catch (error) {
      return error instanceof EncxError && !error.retryable ? error.code : undefined
    }
  }

  /** Revokes the token where we made it. That it ends by itself is enough where the server cannot be asked. */
  async close(): Promise<void> {
    this.#closing.abort(new Closed(`Cannot use ${this.#provider}: it was closed`))
    await this.#flight?.catch(() => undefined)
    const held = this.#held
    this.#held = undefined
    if (!held?.made) return
    await this.#requests.revoke(held.token).catch((error: unknown) => {
      if (!(error instanceof EncxError)) throw error
    })
  }

  get #canLogin(): boolean {
    const { auth, token } = this.#settings
    return !this.#closing.signal.aborted && (auth !== undefined || typeof token === "function")
  }

  async #next(): Promise<string> {
    const held = this.#held
    const now = this.#clock.now()
    const holds = held !== undefined && now < held.endsAt
    try {
      const renews = holds && held.renewable && !held.doubted
      const next = (renews ? await this.#renewed(held) : undefined) ?? (await this.#another(held))
      this.#held = next
      return next.token
    } catch (error) {
      // Whatever keeps us from another, such as a secret id that is used up, is told when this one has ended.
      if (!holds || this.#held?.token !== held.token) throw error
      this.#held = { ...held, doubted: false, renewAt: now + (held.endsAt - now) * PAUSE }
      return held.token
    }
  }

  /** The token with a longer life; `undefined` where it has none, and another can be had. */
  async #renewed(held: Held): Promise<Held | undefined> {
    const asked = this.#clock.now()
    try {
      const answer = await this.#requests.renew(held.token)
      const next = this.#hold(held.token, answer, asked, held.made)
      if (this.#canLogin && next.ttlMs < held.ttlMs * CAPPED) return undefined
      return { ...next, ttlMs: Math.max(next.ttlMs, held.ttlMs) }
    } catch (error) {
      if (isRetryableError(error) || !(error instanceof EncxError)) throw error
      return undefined
    }
  }

  async #another(held: Held | undefined): Promise<Held> {
    // A token that was given once is used until the server refuses it.
    if (held && !this.#canLogin) return { ...held, renewAt: Number.POSITIVE_INFINITY }
    const { auth, token } = this.#settings
    const asked = this.#clock.now()
    if (auth) {
      const answer = await this.#requests.login(`auth/${auth.mount ?? auth.method}/login`, await this.#body(auth))
      const lease_duration = isLease(answer.lease_duration) ? answer.lease_duration : UNSAID_S
      return this.#hold(this.#checked(answer.client_token), { ...answer, lease_duration }, asked, true)
    }
    if (token === undefined)
      throw new AuthenticationFailed(`Cannot sign in to ${this.#provider}: there is no token and no login`, {
        provider: this.#provider,
        operation: "login",
        hint: "set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID, or say so: { auth: { method: … } }",
      })
    const given = this.#checked(await this.#given(token))
    const answer = await this.#requests.lookUp(given).catch((error: unknown): TokenAnswer => {
      // Who may not look it up does not know how long it lasts.
      if (error instanceof EncxError && error.code === "ACCESS_DENIED") return {}
      throw error
    })
    return this.#hold(given, { ...answer, lease_duration: answer.ttl, token_type: answer.type }, asked, false)
  }

  async #body(auth: VaultAuth): Promise<object> {
    if (auth.method === "approle") {
      const secret = auth.secretID === undefined ? {} : { secret_id: await this.#given(auth.secretID) }
      return { role_id: auth.roleID, ...secret }
    }
    if (auth.method === "cert") return auth.name === undefined ? {} : { name: auth.name }
    const jwt =
      auth.method === "jwt" && auth.jwt !== undefined
        ? await this.#given(auth.jwt)
        : await this.#file(auth.path ?? KUBERNETES_TOKEN)
    return { ...(auth.role === undefined ? {} : { role: auth.role }), jwt }
  }

  /** A secret that was given, or is given now; neither `close()` nor a caller waits for a function that never ends. */
  async #given(secret: VaultSecret): Promise<string> {
    if (typeof secret === "string") return secret
    const late = new AbortController()
    const silence = `what gives its token or secret did not do so within ${this.#deadlineMs} ms`
    const timer = setTimeout(() => late.abort(this.#requests.unavailable(silence)), this.#deadlineMs)
    const signal = AbortSignal.any([this.#closing.signal, late.signal])
    const asked = async (): Promise<string> => await secret({ signal })
    try {
      return await within(asked(), signal)
    } catch (error) {
      if (error instanceof EncxError) throw error
      throw new AuthenticationFailed(
        `Cannot sign in to ${this.#provider}: the function that gives its token or secret failed`,
        { provider: this.#provider, operation: "login", hint: "see its cause", cause: error },
      )
    } finally {
      clearTimeout(timer)
    }
  }

  async #file(path: string): Promise<string> {
    try {
      return (await readFile(path, "utf8")).trim()
    } catch (error) {
      const { code = "nothing more" } = error as { code?: string }
      throw new AuthenticationFailed(
        `Cannot sign in to ${this.#provider}: the file "${path}" cannot be read, the system says ${code}`,
        { provider: this.#provider, operation: "login", hint: "mount it, or name another: { auth: { path } }" },
      )
    }
  }

  #hold(token: string, answer: TokenAnswer, asked: number, made: boolean): Held {
    const seconds = Number(answer.lease_duration ?? 0)
    // A life of 0 is one without an end.
    const ttlMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : Number.POSITIVE_INFINITY
    const batch = answer.token_type === "batch"
    return {
      token,
      made: made && !batch,
      renewable: answer.renewable === true && !batch,
      ttlMs,
      renewAt: asked + ttlMs * FRESH,
      endsAt: asked + ttlMs,
    }
  }

  #checked(token: unknown): string {
    if (typeof token === "string" && TOKEN.test(token.trim())) return token.trim()
    throw new AuthenticationFailed(`Cannot sign in to ${this.#provider}: what was given for a token is none`, {
      provider: this.#provider,
      operation: "login",
      hint: "check VAULT_TOKEN, or what the login answers: it may be wrapped",
    })
  }
}

/** Whether an answer says how long a token lasts, in seconds: 0 is without an end. */
export const isLease = (value: unknown): value is number => Number.isFinite(value) && (value as number) >= 0

/** The promise's end, or the signal's, whichever is first. */
async function within<Result>(promise: Promise<Result>, signal: AbortSignal | undefined): Promise<Result> {
  if (!signal) return await promise
  const { promise: left, reject } = Promise.withResolvers<never>()
  const leave = (): void => reject(signal.reason)
  signal.addEventListener("abort", leave, { once: true })
  try {
    signal.throwIfAborted()
    return await Promise.race([promise, left])
  } finally {
    signal.removeEventListener("abort", leave)
  }
}
