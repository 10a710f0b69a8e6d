/** The options of both Vault providers, checked, and what the environment adds to them. */
import process from "node:process"
import type { CallOptions, Clock } from "../core/contracts.ts"
import { InvalidConfiguration } from "../core/errors.ts"
import type { BreakerOptions } from "../core/resilience.ts"

/** A secret, or what gives it whenever it is needed. */
export type VaultSecret = string | ((options: CallOptions) => string | Promise<string>)

/** How a token is got. Files are read at each login: who puts them there renews them. */
export type VaultAuth =
  | {
      readonly method: "approle"
      readonly roleID: string
      /** None where the role binds none. */
      readonly secretID?: VaultSecret
      /** @default {"approle"} */
      readonly mount?: string
    }
  | {
      readonly method: "jwt"
      /** @default {the method's default role} */
      readonly role?: string
      /** The JWT; or `path`. */
      readonly jwt?: VaultSecret
      /** The file that holds it. */
      readonly path?: string
      /** @default {"jwt"} */
      readonly mount?: string
    }
  | {
      readonly method: "kubernetes"
      readonly role: string
      /** The file of the service account's token. @default {"/var/run/secrets/kubernetes.io/serviceaccount/token"} */
      readonly path?: string
      /** @default {"kubernetes"} */
      readonly mount?: string
    }
  | {
      /** With the client certificate. */
      readonly method: "cert"
      /** The role; without it, Vault tries all. */
      readonly name?: string
      /** @default {"cert"} */
      readonly mount?: string
    }

/** The platform's `fetch`, as far as it is used. */
export type VaultFetch = (
  url: string,
  init: {
    readonly method: string
    readonly headers: Readonly<Record<string, string>>
    readonly body?: string
    readonly redirect: "manual"
    readonly signal: AbortSignal
  },
) => Promise<VaultResponse>

/** What it answers, as far as it is looked at. */
export interface VaultResponse {
  readonly status: number
  readonly headers: { get(name: string): string | null }
  readonly body: VaultBody | null
}

/** A stream of bytes, as far as it is read. */
export interface VaultBody {
  getReader(): {
    read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
    cancel(): Promise<void>
  }
}

/** Options of both Vault providers. What is not given is taken from the environment, `BAO_…` where there is no `VAULT_…`. */
export interface VaultOptions {
  /** Where the server is. @default {VAULT_ADDR} */
  readonly address?: string
  /** The namespace, of Vault Enterprise and of OpenBao. @default {VAULT_NAMESPACE} */
  readonly namespace?: string
  /** A token; it is looked up once, renewed while it can be, and never revoked. A function is asked again when its token has ended. @default {VAULT_TOKEN} */
  readonly token?: VaultSecret
  /** How a token is got; it is renewed, followed by another, and revoked by `close()`. @default {AppRole, with VAULT_ROLE_ID and VAULT_SECRET_ID} */
  readonly auth?: VaultAuth
  /** The certificates that the server's must come from: PEM, or the path of a file. @default {VAULT_CACERT, VAULT_CACERT_BYTES, or the system's} */
  readonly caCert?: string
  /** The client's certificate: PEM, or the path of a file, which is read again at each login. @default {VAULT_CLIENT_CERT} */
  readonly clientCert?: string
  /** Its key: PEM, or the path of a file. @default {VAULT_CLIENT_KEY} */
  readonly clientKey?: string
  /** The name in the server's certificate, where it is not that of the address. @default {VAULT_TLS_SERVER_NAME} */
  readonly serverName?: string
  /** Allow `http:` to other machines than this one, and heed VAULT_SKIP_VERIFY. @default {false} */
  readonly allowInsecure?: boolean
  /** Other addresses of the same cluster, to which a standby may send us on; the token goes there, too. @default {none} */
  readonly redirects?: readonly string[]
  /** How long one attempt may take. @default {5_000} */
  readonly requestTimeoutMs?: number
  /** How long a call may take, attempts and pauses together; a login that comes first has as long. @default {15_000} */
  readonly deadlineMs?: number
  /** Attempts of one call, the first included. @default {3} */
  readonly attempts?: number
  /** The circuit breaker of each key; `false` for none. @default {{ failures: 5, openMs: 30_000, successes: 2 }} */
  readonly breaker?: BreakerOptions | false
  /** A `fetch` of your own: the options of TLS are then its matter. @default {the platform's} */
  readonly fetch?: VaultFetch
  /** Whose variables are taken where both are set; never some of each. @default {"VAULT"} */
  readonly variables?: "VAULT" | "BAO"
  /** The environment; `{}` for none. @default {process.env} */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** The clock of tokens, deadlines and open circuits. @default {performance} */
  readonly clock?: Clock
  /** A number from 0 to less than 1, for the length of pauses between attempts. */
  readonly random?: () => number
}

/** What a connection is made with. */
export interface Settings {
  /** Without a slash at its end. */
  readonly address: string
  readonly redirects: readonly string[]
  readonly namespace: string | undefined
  readonly token: VaultSecret | undefined
  readonly auth: VaultAuth | undefined
  readonly tls: TLSSettings | undefined
}

/** What `fetch` cannot be told. */
export interface TLSSettings {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly serverName?: string | undefined
  readonly skipVerify: boolean
}

export const KUBERNETES_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
const LOOPBACK = /^(localhost|.*\.localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i
const SEGMENT = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?$/
const FAMILIES = ["VAULT", "BAO"] as const
/** They would change where a token goes, or how; a client that does not heed them must not act as if they were not there. */
const UNHEEDED = ["PROXY_ADDR", "HTTP_PROXY", "CAPATH", "SRV_LOOKUP"] as const

/** Whether a name can be put into a path: no dots alone, nothing that needs escaping. */
export function isPath(path: string): boolean {
  return path.length <= 200 && !path.includes("..") && path.split("/").every((segment) => SEGMENT.test(segment))
}

/** A mount, without slashes around it. */
export function mountOf(provider: string, mount: string, what = "mount"): string {
  const trimmed = mount.replace(/^\/|\/$/g, "")
  if (isPath(trimmed)) return trimmed
  throw new InvalidConfiguration(
    `Cannot use ${provider}: the option "${what}" is not letters, digits, _ . - and single slashes`,
  )
}

const NAMES: readonly (keyof VaultOptions)[] = [
  ...(["address", "namespace", "token", "auth", "caCert", "clientCert", "clientKey", "serverName"] as const),
  ...(["allowInsecure", "redirects", "requestTimeoutMs", "deadlineMs", "attempts", "breaker"] as const),
  ...(["fetch", "variables", "environment", "clock", "random"] as const),
]

/** @throws {InvalidConfiguration} when an option cannot be used */
export function checkOptions(provider: string, options: VaultOptions, own: readonly string[]): void {
  const problems = Object.keys(options)
    .filter((name) => !(NAMES as readonly string[]).includes(name) && !own.includes(name))
    .map((name) => `Cannot use ${provider}: there is no option "${name}"`)
  const { token, auth, clientCert, clientKey, fetch, caCert, serverName } = options
  if (token !== undefined && auth !== undefined) problems.push(`Cannot use ${provider}: it has a token and a login`)
  if ((clientCert === undefined) !== (clientKey === undefined))
    problems.push(`Cannot use ${provider}: a client certificate and its key go together`)
  if (fetch && [caCert, clientCert, serverName].some((each) => each !== undefined))
    problems.push(`Cannot use ${provider}: a fetch of your own has certificates of its own`)
  if (options.variables !== undefined && !FAMILIES.includes(options.variables))
    problems.push(`Cannot use ${provider}: the option "variables" is neither VAULT nor BAO`)
  problems.push(...authProblems(provider, auth))
  const { environment = process.env } = options
  const certified = clientCert ?? FAMILIES.map((family) => environment[`${family}_CLIENT_CERT`]).find(Boolean)
  if (auth?.method === "cert" && !fetch && certified === undefined)
    problems.push(`Cannot use ${provider}: the login by certificate has none: give clientCert and clientKey`)
  if (problems.length > 0) throw new InvalidConfiguration(problems)
  if (options.namespace !== undefined) mountOf(provider, options.namespace, "namespace")
  for (const address of [options.address, ...(options.redirects ?? [])])
    if (address !== undefined) addressOf(provider, address, options.allowInsecure)
}

/** The options of each login. */
const LOGINS: Readonly<Record<VaultAuth["method"], readonly string[]>> = {
  approle: ["roleID", "secretID", "mount"],
  jwt: ["role", "jwt", "path", "mount"],
  kubernetes: ["role", "path", "mount"],
  cert: ["name", "mount"],
}

function authProblems(provider: string, auth: VaultAuth | undefined): string[] {
  if (auth === undefined) return []
  const bad = (what: string): string => `Cannot use ${provider}: the login ${what}`
  if (!Object.hasOwn(LOGINS, auth.method))
    return [bad("has a method that is neither approle, jwt, kubernetes nor cert")]
  const problems = Object.keys(auth)
    .filter((name) => name !== "method" && !LOGINS[auth.method].includes(name))
    .map((name) => bad(`has no option "${name}"`))
  if (auth.method === "approle" && !auth.roleID) problems.push(bad("by AppRole has no roleID"))
  else if (auth.method === "kubernetes" && !auth.role) problems.push(bad("by Kubernetes has no role"))
  else if (auth.method === "jwt" && (auth.jwt === undefined) === (auth.path === undefined))
    problems.push(bad("by JWT has no JWT, or two: give jwt or path"))
  if (auth.mount !== undefined && !isPath(auth.mount)) problems.push(bad("has a mount that is none"))
  return problems
}

/** An origin, or a URL with a path before `/v1`. */
function addressOf(provider: string, address: string, allowInsecure = false): string {
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (url && (url.username !== "" || url.password !== ""))
    throw new InvalidConfiguration(`Cannot use ${provider}: its address has a user name or a password`, {
      hint: "leave them out: a token is VAULT_TOKEN, and a login the option auth",
    })
  const plain = url && url.search === "" && url.hash === ""
  if (!plain || !/^https?:$/.test(url.protocol))
    throw new InvalidConfiguration(`Cannot use ${provider}: its address is no URL of http: or https:`, {
      hint: "write https://vault.example.com:8200",
    })
  if (!allowInsecure && url.protocol !== "https:" && !LOOPBACK.test(url.hostname))
    throw new InvalidConfiguration(`Cannot use ${provider}: its address is plain HTTP and not on this machine`, {
      hint: "use https:, or say allowInsecure: true",
    })
  return url.href.replace(/\/+$/, "")
}

/** The options, with what the environment adds. */
export function settingsOf(provider: string, options: VaultOptions): Settings {
  const { allowInsecure = false, environment = process.env, redirects = [] } = options
  // From one family alone: the token of one server is not for another.
  const set = (family: string, names: readonly string[]): boolean =>
    names.some((name) => environment[`${family}_${name}`])
  const families = options.variables === "BAO" ? FAMILIES.toReversed() : FAMILIES
  const family =
    families.find((each) => set(each, ["ADDR"])) ??
    families.find((each) => set(each, ["TOKEN", "ROLE_ID", "NAMESPACE", "CACERT"])) ??
    FAMILIES[0]
  const value = (name: string): string | undefined => environment[`${family}_${name}`]?.trim() || undefined

  const address = options.address ?? value("ADDR")
  if (address === undefined)
    throw new InvalidConfiguration(`Cannot use ${provider}: no address is configured`, {
      hint: `set VAULT_ADDR, or say so: { address: "https://vault.example.com:8200" }`,
    })
  const unheeded = UNHEEDED.find((name) => value(name) !== undefined)
  if (unheeded)
    throw new InvalidConfiguration(`Cannot use ${provider}: ${family}_${unheeded} is set, and not supported`, {
      hint: UNHEEDED_HINTS[unheeded],
    })
  const namespace = options.namespace ?? value("NAMESPACE")
  const roleID = value("ROLE_ID")
  const given = options.token !== undefined || options.auth !== undefined
  const token = given ? options.token : value("TOKEN")
  const secretID = value("SECRET_ID")
  const appRole: VaultAuth | undefined =
    roleID === undefined ? undefined : { method: "approle", roleID, ...(secretID === undefined ? {} : { secretID }) }
  return {
    address: addressOf(provider, address, allowInsecure),
    redirects: redirects.map((each) => new URL(addressOf(provider, each, allowInsecure)).origin),
    namespace: namespace === undefined ? undefined : mountOf(provider, namespace, "namespace"),
    token,
    auth: given || token !== undefined ? options.auth : appRole,
    tls: options.fetch ? undefined : tlsOf(provider, options, value, `${family}_SKIP_VERIFY`),
  }
}

const UNHEEDED_HINTS: Readonly<Record<(typeof UNHEEDED)[number], string>> = {
  PROXY_ADDR: "unset it; for a proxy, give a fetch of your own",
  HTTP_PROXY: "unset it; for a proxy, give a fetch of your own",
  CAPATH: "put the certificates into one file: VAULT_CACERT",
  SRV_LOOKUP: "write host and port into VAULT_ADDR",
}

function tlsOf(
  provider: string,
  options: VaultOptions,
  value: (name: string) => string | undefined,
  skipName: string,
): TLSSettings | undefined {
  const skip = value("SKIP_VERIFY")
  const skipVerify = skip !== undefined && !/^(0|f|false)$/i.test(skip)
  if (skipVerify && !options.allowInsecure)
    throw new InvalidConfiguration(`Cannot use ${provider}: ${skipName} would let anybody pose as the server`, {
      hint: "name its certificate authority in VAULT_CACERT, or say allowInsecure: true",
    })
  const ca = options.caCert ?? value("CACERT") ?? value("CACERT_BYTES")
  const ownCert = options.clientCert !== undefined
  const cert = ownCert ? options.clientCert : value("CLIENT_CERT")
  const key = ownCert ? options.clientKey : value("CLIENT_KEY")
  if ((cert === undefined) !== (key === undefined))
    throw new InvalidConfiguration(`Cannot use ${provider}: a client certificate and its key go together`, {
      hint: "set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY",
    })
  if (options.auth?.method === "cert" && cert === undefined)
    throw new InvalidConfiguration(`Cannot use ${provider}: the login by certificate has none`, {
      hint: "set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY",
    })
  const serverName = options.serverName ?? value("TLS_SERVER_NAME")
  if ([ca, cert, serverName].every((each) => each === undefined) && !skipVerify) return undefined
  return { ca, cert, key, serverName, skipVerify }
}
