/** What Vault answers, as the errors of this library: each says what to do. */
import {
  AccessDenied,
  AuthenticationFailed,
  DecryptionFailed,
  type EncxError,
  InvalidConfiguration,
  InvalidInput,
  KeyDisabled,
  type ProviderFailure,
  SecretDeleted,
  SecretEmpty,
} from "../core/errors.ts"
import { tlsProblem } from "./_tls.ts"

type FailureClass = new (message: string, failure: ProviderFailure) => EncxError

/** A secrets engine: its name for people, and the classes of what may happen there. */
export interface VaultService {
  /** `vault-transit` */
  readonly provider: string
  /** What it keeps: `key`. */
  readonly keeps: string
  /** The engine's type: `transit`, `kv`. */
  readonly engine: string
  readonly Unavailable: FailureClass
  readonly NotFound: FailureClass
  readonly Exists: FailureClass
  /** How what is absent is made. */
  readonly creation: string
  /** Options that are its own. */
  readonly options: readonly string[]
}

/** The request that failed. */
export interface VaultRequest {
  /** The method of the contract. */
  readonly operation: string
  readonly method: "GET" | "POST" | "DELETE"
  /** What follows `/v1/`, as policies name it. */
  readonly path: string
  /** The key or the secret, for people. */
  readonly target: string
}

/** An answer that is none to the question. */
export interface VaultAnswer {
  readonly status: number
  /** What the server says, without what we sent. */
  readonly errors: readonly string[]
  readonly data?: unknown
}

interface Failed extends VaultRequest, VaultAnswer {
  readonly service: VaultService
  readonly text: string
}

type Kind = (failed: Failed) => EncxError

const throttledErrors = new WeakSet<object>()
const refusedTokens = new WeakSet<object>()
const isIn = (set: WeakSet<object>, error: unknown): boolean =>
  typeof error === "object" && error !== null && set.has(error)

/** Whether Vault refused because it is asked too often. */
export const isThrottled = (error: unknown): boolean => isIn(throttledErrors, error)
/** Whether Vault says that it does not know the token. */
export const isTokenRefused = (error: unknown): boolean => isIn(refusedTokens, error)

/** The error of this library for an answer of Vault. */
export function vaultError(service: VaultService, request: VaultRequest, answer: VaultAnswer): EncxError {
  const text = answer.errors.join("; ")
  return kindOf(request, answer, text)({ ...request, ...answer, service, text })
}

/** That a server cannot be asked, or that its answer makes no sense. */
export function unavailable(
  service: VaultService,
  operation: string,
  state: string,
  more: { cause?: unknown; hint?: string } = {},
): EncxError {
  return new service.Unavailable(`Cannot use ${service.provider}: ${state}`, {
    provider: service.provider,
    operation,
    ...more,
  })
}

/** The error for an answer that is not one to the question. Whoever gave it, it was not the server, which may answer the next time. */
export function badAnswer(service: VaultService, operation: string, state: string): EncxError {
  return unavailable(service, operation, `it answered ${state}`, {
    hint: "check that the address is that of the server",
  })
}

/** That whoever is there, and is no Vault, does not understand what it is asked. */
export function notUnderstood({ provider }: VaultService): InvalidConfiguration {
  return new InvalidConfiguration(`Cannot use ${provider}: its address does not understand requests (HTTP 400)`, {
    hint: "check VAULT_ADDR: its port, and whether it is https: or http:",
  })
}

/** That there is no connection; or why asking again would give none, as for a certificate that is not trusted. */
export function unreachable(service: VaultService, operation: string, error: unknown): EncxError {
  const { code, cause, name, message } = (error ?? {}) as {
    [key: string]: unknown
    cause?: { code?: unknown; message?: unknown }
  }
  const words = `${message} ${cause?.message}`
  const found =
    [cause?.code, code].find((each) => typeof each === "string") ??
    WORDS.find(([said]) => said.test(words))?.[1] ??
    String(name ?? "no reason")
  const said = `${found} ${words}`
  const problem = ALERT.test(said) ? undefined : tlsProblem(String(found), words)
  if (problem) {
    const hint = TLS_HINTS.find(([state]) => state.test(problem.state))?.[1] ?? problem.hint
    return new InvalidConfiguration(`Cannot use ${service.provider}: ${problem.state}`, { hint, cause: error })
  }
  const hint = /SSL|TLS_|\balert\b/.test(said)
    ? "name the server's certificate authority in VAULT_CACERT; where it asks for a client's certificate, VAULT_CLIENT_CERT and VAULT_CLIENT_KEY"
    : "check the network, and VAULT_ADDR"
  return unavailable(service, operation, `there is no connection (${found})`, { cause: error, hint })
}

/** Deno's `fetch` gives no codes: what it says, as the code that its `node:https` gives. */
const WORDS: readonly (readonly [RegExp, string])[] = [
  [/peer certificate:.*(expired|not ?valid ?yet)/i, "CERT_HAS_EXPIRED"],
  [/peer certificate:.*not ?valid ?for ?name/i, "ERR_TLS_CERT_ALTNAME_INVALID"],
  [/peer certificate:/i, "CERT_UNTRUSTED"],
  [/corrupt message of type InvalidContentType/i, "ERR_SSL_WRONG_VERSION_NUMBER"],
]
/** What the server says of us, such as that it wants a certificate. */
const ALERT = /\balert:? (?!protocol|number)|_ALERT_(?!PROTOCOL)/i
const TLS_HINTS: readonly (readonly [RegExp, string])[] = [
  [/not trusted/, "somebody else may answer in its place; if the authority is your own, name it in VAULT_CACERT"],
  [/another host/, "check VAULT_ADDR: its host must be one that the certificate names, or VAULT_TLS_SERVER_NAME"],
]

/** That a standby, or a proxy, sends us elsewhere. */
export function redirected(service: VaultService, operation: string, origin: string | undefined): EncxError {
  const where = origin === undefined ? "another address" : `"${origin}"`
  return unavailable(service, operation, `it sends requests on to ${where}, which is not allowed`, {
    hint: `ask the active server itself, or allow it: { redirects: [${origin === undefined ? "…" : JSON.stringify(origin)}] }`,
  })
}

/** That a secret's current version is gone, and the secret is not absent. */
export function secretGone(path: string, operation: string, version: number, destroyed: boolean): EncxError {
  const named = path.replace("/data/", " ")
  const failure = { provider: "vault-kv", operation }
  if (destroyed)
    return new SecretEmpty(`Cannot use the secret "${path}": its version ${version} was destroyed`, {
      ...failure,
      hint: `put the value back from a copy, as a new version: vault kv put -mount=${named} value=BASE64; without it, what it protects is lost`,
    })
  return new SecretDeleted(
    `Cannot use the secret "${path}": its version ${version} was deleted, and can still be restored`,
    {
      ...failure,
      hint: `restore it: vault kv undelete -versions=${version} -mount=${named}`,
    },
  )
}

function kindOf({ path }: VaultRequest, { status }: VaultAnswer, text: string): Kind {
  const row = ROWS.find(([statuses, words]) => statuses.includes(status) && words.test(text))?.[2]
  if (/^auth\/.*login$/.test(path) && status >= 400 && status < 500 && status !== 429) return login
  return row ?? STATUSES[status] ?? (status < 500 && status >= 400 ? refused : broken)
}

const failure = ({ service, operation, status, text }: Failed, hint?: string): ProviderFailure => ({
  provider: service.provider,
  operation,
  cause: new Error(`HTTP ${status}${text === "" ? "" : `: ${text}`}`),
  ...(hint === undefined ? {} : { hint }),
})
const quoted = ({ service, target }: Failed): string => `the ${service.keeps} "${target}"`
const mountIn = ({ path }: Failed): string =>
  path.replace(/\/(data|metadata|keys|encrypt|decrypt|rewrap|config)\b.*$/, "")

// --- The kinds ---

const undecryptable: Kind = () => new DecryptionFailed()

const absent: Kind = (failed) =>
  new failed.service.NotFound(
    `Cannot find ${quoted(failed)}: ${failed.service.provider} has none of this name`,
    failure(failed, `check the name, the mount and the namespace; or create it: ${failed.service.creation}`),
  )

const exists: Kind = (failed) =>
  new failed.service.Exists(`Cannot store ${quoted(failed)}: there is one already`, failure(failed, "use it"))

const tooOld: Kind = (failed) =>
  new KeyDisabled(
    `Cannot use ${quoted(failed)}: the version that wrapped this is below its min_decryption_version`,
    failure(
      failed,
      `lower it, re-wrap, and raise it again: vault write ${mountIn(failed)}/keys/… min_decryption_version=N`,
    ),
  )

const derived: Kind = (failed) =>
  new InvalidConfiguration(`Cannot use ${quoted(failed)}: it derives keys from a context of its own`, {
    hint: "create one that does not: encx keys create",
    cause: failure(failed).cause,
  })

const CAPABILITIES = { GET: ["read"], POST: ["update"], DELETE: ["delete"] } as const

const denied: Kind = (failed) => {
  const { method, path, service } = failed
  // In KV, storing what is not there yet is another capability.
  const capabilities = method === "POST" && service.engine === "kv" ? ["create", "update"] : CAPABILITIES[method]
  return new AccessDenied(
    `Cannot ${method === "GET" ? "read" : "call"} ${path}: access denied to ${quoted(failed)}`,
    failure(failed, `add to the token's policy: path "${path}" { capabilities = ${JSON.stringify(capabilities)} }`),
  )
}

const refusedToken: Kind = (failed) => {
  const error = new AuthenticationFailed(
    `Cannot sign in to ${failed.service.provider}: the token is refused`,
    failure(failed, "it is wrong, has ended, was revoked or is used up: give another, or a login that gets them"),
  )
  refusedTokens.add(error)
  return error
}

const login: Kind = (failed) =>
  new AuthenticationFailed(
    `Cannot sign in to ${failed.service.provider}: ${failed.path} refuses it`,
    failure(
      failed,
      LOGIN_HINTS.find(([words]) => words.test(failed.text))?.[1] ?? "check the role and its credentials",
    ),
  )

const LOGIN_HINTS: readonly (readonly [RegExp, string])[] = [
  [
    /invalid role or secret id|invalid role_?id/i,
    "check VAULT_ROLE_ID, and give a new secret id: the old one is wrong, has ended or is used up",
  ],
  [/role ".*" could not be found|invalid role name/i, "check the role's name and the login's mount"],
  [
    /error validating token|validating claims|audience|expired/i,
    "check the JWT's issuer, audience and time against the role's",
  ],
  [/no handler for route|unsupported path/i, "enable the method there, or name its mount: { mount }"],
  [/certificate/i, "give the client's certificate and key: VAULT_CLIENT_CERT, VAULT_CLIENT_KEY"],
  [
    /permission denied/i,
    "check that the method is mounted there, { mount }; for Kubernetes, that Vault reaches its API and may review tokens",
  ],
]

const noMount: Kind = (failed) =>
  new InvalidConfiguration(
    `Cannot use ${failed.service.provider}: there is no ${failed.service.engine} engine at "${mountIn(failed)}/"`,
    {
      hint: `name its mount: { mount }; or enable it: vault secrets enable -path=${mountIn(failed)} ${failed.service.engine === "kv" ? "-version=2 kv" : failed.service.engine}`,
      cause: failure(failed).cause,
    },
  )

const throttled: Kind = (failed) => {
  const error = new failed.service.Unavailable(
    `Cannot use ${failed.service.provider}: it is asked too often`,
    failure(
      failed,
      "cache data keys for longer (withDEKCache), or raise the rate quota: vault read sys/quotas/rate-limit/…",
    ),
  )
  throttledErrors.add(error)
  return error
}

const sealed: Kind = (failed) =>
  new failed.service.Unavailable(
    `Cannot use ${failed.service.provider}: Vault is sealed`,
    failure(failed, "unseal it: vault operator unseal"),
  )

const broken: Kind = (failed) =>
  new failed.service.Unavailable(
    `Cannot use ${failed.service.provider}: it fails with HTTP ${failed.status}`,
    failure(failed, STATES[failed.status]),
  )

const STATES: Readonly<Record<number, string>> = {
  412: "the server is behind the others of its cluster: it catches up by itself",
  472: "it is a secondary for disaster recovery: ask the primary",
  473: "it is a standby: ask the active server, or a load balancer before them",
  501: "initialise it: vault operator init",
}

const refused: Kind = (failed) =>
  new InvalidInput(`Cannot call ${failed.path} on ${quoted(failed)}: the request is refused (HTTP ${failed.status})`, {
    ...(failed.text === "" ? {} : { hint: failed.text }),
    cause: failure(failed).cause,
  })

// --- The tables ---

const ROWS: readonly (readonly [readonly number[], RegExp, Kind])[] = [
  [
    [400],
    /message authentication failed|invalid ciphertext|version is too new|ciphertext is too short/i,
    undecryptable,
  ],
  [[400], /disallowed by policy \(too old\)/i, tooOld],
  [[400, 404], /key not found|could not delete key; not found|no existing key named/i, absent],
  [[400], /missing 'context' for key derivation/i, derived],
  [[400], /check-and-set parameter/i, exists],
  [[403], /invalid token|bad token/i, refusedToken],
  [[404], /no handler for route|unsupported path|invalid path for a versioned/i, noMount],
  [[405], /unsupported operation|^$/i, noMount],
  // Vault's own word for a caller's mistake, too, is 500: the same request fails again.
  [
    [500],
    /illegal base64 data|invalid character|JSON string value exceeds|failed to parse JSON|unexpected end of JSON/i,
    refused,
  ],
  [[503], /sealed/i, sealed],
]

const STATUSES: Readonly<Record<number, Kind>> = {
  403: denied,
  404: absent,
  412: broken,
  429: throttled,
  472: broken,
  473: broken,
}
