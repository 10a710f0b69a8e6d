/** What the AWS providers share: their options, and the SDK's client behind time-outs, retries and circuits. */
import process from "node:process"
import type { CallOptions, Clock } from "../core/contracts.ts"
import { Closed, type EncxError, InvalidConfiguration, MissingDependency } from "../core/errors.ts"
import { type BreakerOptions, type Resilience, resilient } from "../core/resilience.ts"
import { askedFor } from "./_aws-credentials.ts"
import { type AWSRequest, type AWSService, awsError, isThrottled, unavailable } from "./_aws-errors.ts"
import { Fresh } from "./_aws-fresh.ts"
import { isLoopback, limitedHandler, type RequestHandler } from "./_aws-http.ts"

/** Credentials, spelled out. */
export interface AWSCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  readonly expiration?: Date
}

/** A client of the SDK (`KMSClient`, `SecretsManagerClient`), as far as it is used. */
export interface AWSClient {
  /** Sends a command of the client's package. */
  send(command: never, options?: { readonly abortSignal?: AbortSignal }): Promise<unknown>
  /** Closes its connections. */
  destroy?(): void
  /** What it was made with. */
  readonly config?: {
    readonly region?: () => Promise<string>
    readonly credentials?: () => Promise<{ readonly accessKeyId: string; readonly expiration?: Date }>
    readonly maxAttempts?: () => Promise<number>
    readonly systemClockOffset?: number
  }
}

/** Options of both AWS providers. */
export interface AWSOptions {
  /** The region. @default {AWS_REGION, or the profile's} */
  readonly region?: string
  /** Where the service is, when it is not at AWS's own address: a URL, or a function that gives one for a region. */
  readonly endpoint?: string | ((region: string) => string)
  /** Credentials, or what gives them whenever they are needed. @default {the SDK's chain: variables, profile, web identity, container, instance} */
  readonly credentials?: AWSCredentials | (() => Promise<AWSCredentials>)
  /** A profile of `~/.aws/config`. @default {AWS_PROFILE} */
  readonly profile?: string
  /** Use the FIPS 140 endpoints. @default {false} */
  readonly useFipsEndpoint?: boolean
  /** Use the endpoints that have IPv6, too. @default {false} */
  readonly useDualstackEndpoint?: boolean
  /** Allow `http:` to other machines than this one. @default {false} */
  readonly allowInsecure?: boolean
  /** How long one attempt may take. @default {5_000} */
  readonly requestTimeoutMs?: number
  /** How long connecting may take. @default {1_000} */
  readonly connectionTimeoutMs?: number
  /** Connections at once; on Node and Bun they are kept open for the next requests. @default {50} */
  readonly maxSockets?: number
  /** How long a call may take, attempts and pauses together. @default {15_000} */
  readonly deadlineMs?: number
  /** Attempts of one call, the first included. @default {3} */
  readonly attempts?: number
  /** The circuit breaker of each key; `false` for none. @default {{ failures: 5, openMs: 30_000, successes: 2 }} */
  readonly breaker?: BreakerOptions | false
  /**
   * A client of your own: the options of the connection are then its matter. Switch its retries off (`maxAttempts: 1`): else it
   * repeats what must not happen twice, too, and its attempts, which are one to us, stand in place of ours.
   */
  readonly client?: AWSClient
  /** The clock of deadlines and open circuits. @default {performance} */
  readonly clock?: Clock
  /** A number from 0 to less than 1, for the length of pauses between attempts. */
  readonly random?: () => number
}

/** A package of the SDK: its client, and its commands by name. */
export interface SDK {
  readonly name: string
  load(): Promise<object>
  readonly client: string
}

/** One call. */
export interface Call<Output, Result> extends AWSRequest {
  readonly input: object
  /** Reads the answer, and throws when it makes no sense. */
  read(output: Output): Result
  readonly options?: (CallOptions & { readonly once?: boolean }) | undefined
}

interface Opened {
  readonly client: AWSClient
  readonly commands: Readonly<Record<string, new (input: object) => never>>
  readonly region: string | undefined
  readonly resilience: Resilience
}

type ClientClass = new (configuration: object) => AWSClient

const HANDLER = "@smithy/node-http-handler"
const REQUEST_TIMEOUT_MS = 5_000
const CONNECTION_TIMEOUT_MS = 1_000
const MAX_SOCKETS = 50
const DEADLINE_MS = 15_000
/**
 * Not on Deno (2.9): a request that is aborted on a connection that was used before stays on it for ever, takes one of maxSockets
 * with it, and is sent again on another when the agent is destroyed.
 */
const KEEPS_CONNECTIONS = process.versions["deno"] === undefined

/** The connection to one service in one region. */
export class Connection {
  readonly service: AWSService
  readonly #sdk: SDK
  readonly #options: AWSOptions
  readonly #resilience: Resilience
  readonly #fresh: Fresh
  #opening: Promise<Opened> | undefined
  #closed = false

  constructor(service: AWSService, sdk: SDK, options: AWSOptions) {
    this.service = service
    this.#sdk = sdk
    this.#options = options
    checkOptions(service, options)
    this.#resilience = this.#resilient(options)
    this.#fresh = new Fresh(options.clock ?? performance)
  }

  #resilient(options: AWSOptions): Resilience {
    const { service } = this
    return resilient(
      { isThrottled, unavailable: (operation, state, cause) => unavailable(service, operation, state, cause) },
      options,
    )
  }

  /** Asks, and again where that may help. */
  async send<Output extends object, Result>(call: Call<Output, Result>): Promise<Result> {
    const { signal, watch, once = false } = call.options ?? {}
    signal?.throwIfAborted()
    const { client, commands, region, resilience } = await this.open()
    const Command = commands[`${call.command}Command`] as new (input: object) => never
    const run = async (abortSignal: AbortSignal): Promise<Result> => {
      this.#refuseIfClosed()
      try {
        return call.read((await client.send(new Command(call.input), { abortSignal })) as Output)
      } catch (error) {
        // The reason of whoever aborted is told by whoever holds the signal.
        abortSignal.throwIfAborted()
        throw awsError(this.service, region, call, error)
      }
    }
    return await this.#fresh.ask({
      target: call.target,
      deadlineMs: this.#options.deadlineMs ?? DEADLINE_MS,
      signal,
      run: (withinMs) => resilience.call(call.target, call.operation, run, { signal, watch, once, withinMs }),
      isAbsent: (error) => error instanceof this.service.NotFound,
    })
  }

  /** Says what was made a moment ago: that it is not there is then not believed at once. */
  made(...names: readonly string[]): void {
    this.#fresh.add(...names)
  }

  /** Takes back that something was made. */
  unmade(name: string): void {
    this.#fresh.delete(name)
  }

  /** The client and its region, made with the first call; what could not be made is tried again. */
  async open(): Promise<Opened> {
    this.#refuseIfClosed()
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = undefined
      throw this.explain("open", error)
    })
    return await this.#opening
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw new Closed(`Cannot use ${this.service.provider}: it was closed`)
  }

  /** What the SDK threw outside of a call, as an error of ours. */
  explain(operation: string, error: unknown): EncxError {
    return awsError(this.service, this.#options.region, { operation, command: "", target: "" }, error)
  }

  /** Closes it for good: calls that come later, and attempts of those under way, find it closed. */
  async close(): Promise<void> {
    this.#closed = true
    const opening = this.#opening
    this.#opening = undefined
    // A client of the program's own is not ours to close; one that could not be made holds nothing.
    const opened = this.#options.client ? undefined : await opening?.catch(() => undefined)
    opened?.client.destroy?.()
  }

  async #open(): Promise<Opened> {
    const commands = (await this.#load(this.#sdk.name, this.#sdk.load)) as Opened["commands"]
    if (this.#options.client) {
      const { client } = this.#options
      const own = (await client.config?.maxAttempts?.()) ?? 1
      const resilience = own > 1 ? this.#resilient(oneAttempt(this.#options)) : this.#resilience
      return { client, commands, region: await client.config?.region?.(), resilience }
    }
    const handler = (await this.#load(HANDLER, () => import("@smithy/node-http-handler"))) as {
      NodeHttpHandler: new (options: object) => RequestHandler
    }
    const Client = commands[this.#sdk.client] as unknown as ClientClass
    const configuration = this.#configuration(handler.NodeHttpHandler)
    const client = new Client(configuration)
    const region = await client.config?.region?.()
    const { endpoint, allowInsecure } = this.#options
    const resilience = this.#resilience
    if (typeof endpoint !== "function" || region === undefined) return { client, commands, region, resilience }
    client.destroy?.()
    const found = endpoint(region)
    checkURL(this.service, found, allowInsecure)
    const here = { ...this.#configuration(handler.NodeHttpHandler), region, endpoint: found }
    return { client: new Client(here), commands, region, resilience }
  }

  #configuration(Handler: new (options: object) => RequestHandler): object {
    const { region, endpoint, profile, useFipsEndpoint, useDualstackEndpoint } = this.#options
    const { credentials: given } = this.#options
    const credentials = typeof given === "function" ? askedFor(this.service, given) : given
    const {
      requestTimeoutMs: requestTimeout = REQUEST_TIMEOUT_MS,
      connectionTimeoutMs: connectionTimeout = CONNECTION_TIMEOUT_MS,
      maxSockets = MAX_SOCKETS,
      allowInsecure = false,
    } = this.#options
    const agent = { keepAlive: KEEPS_CONNECTIONS, maxSockets }
    const inner = new Handler({
      requestTimeout,
      connectionTimeout,
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: agent,
      logger: SILENT,
    })
    const chosen = { region, credentials, profile, useFipsEndpoint, useDualstackEndpoint }
    return {
      ...Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== undefined)),
      ...(typeof endpoint === "string" ? { endpoint } : {}),
      requestHandler: limitedHandler(inner, this.service.provider, allowInsecure),
      // Ours are the retries: those of the SDK would multiply them.
      maxAttempts: 1,
      logger: SILENT,
    }
  }

  async #load(name: string, load: () => Promise<object>): Promise<object> {
    try {
      return await load()
    } catch (error) {
      if ((error as { code?: unknown } | null)?.code !== "ERR_MODULE_NOT_FOUND") throw error
      throw new MissingDependency(`Cannot use ${this.service.provider}: the package "${name}" is not installed`, {
        hint: `npm install ${this.#sdk.name} ${HANDLER}`,
        cause: error,
      })
    }
  }
}

/** The client makes attempts of its own, within the time of ours. */
function oneAttempt(options: AWSOptions): AWSOptions {
  return { ...options, attempts: 1, requestTimeoutMs: options.deadlineMs ?? DEADLINE_MS }
}

/** A library does not write to the console. */
const SILENT = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }

const NAMES: readonly (keyof AWSOptions)[] = [
  ...(["region", "endpoint", "credentials", "profile", "useFipsEndpoint", "useDualstackEndpoint"] as const),
  ...(["allowInsecure", "requestTimeoutMs", "connectionTimeoutMs", "maxSockets", "deadlineMs", "attempts"] as const),
  ...(["breaker", "client", "clock", "random"] as const),
]

function checkOptions(service: AWSService, options: AWSOptions): void {
  const problems = Object.keys(options)
    .filter((name) => !(NAMES as readonly string[]).includes(name) && !service.options.includes(name))
    .map((name) => `Cannot use ${service.provider}: there is no option "${name}"`)
  for (const name of ["connectionTimeoutMs", "maxSockets"] as const) {
    const value = options[name] ?? 1
    if (Number.isSafeInteger(value) && value >= 1) continue
    problems.push(`Cannot use ${service.provider}: the option "${name}" is not a whole number from 1`)
  }
  if (options.region !== undefined && !/^[a-z0-9-]+$/.test(options.region))
    problems.push(`Cannot use ${service.provider}: "${options.region}" is no region`)
  if (problems.length > 0) throw new InvalidConfiguration(problems)
  if (typeof options.endpoint === "string") checkURL(service, options.endpoint, options.allowInsecure)
}

function checkURL({ provider }: AWSService, endpoint: string, allowInsecure = false): void {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
    throw new InvalidConfiguration(`Cannot use ${provider}: its endpoint is no URL of http: or https:`)
  if (allowInsecure || url.protocol === "https:" || isLoopback(url.hostname)) return
  throw new InvalidConfiguration(`Cannot use ${provider}: its endpoint is plain HTTP and not on this machine`, {
    hint: "use https:, or say allowInsecure: true",
  })
}

/** The error for an answer that is not one to the question. */
export function badAnswer(service: AWSService, operation: string, state: string): EncxError {
  return unavailable(service, operation, `it answered ${state}`)
}
