/** What the tests of Vault share: clients, what an operator sets up for them, and a `fetch` that notes what is asked. */
import assert from "node:assert/strict"
import { randomUUID } from "node:crypto"
import { inspect } from "node:util"
import { EncxError } from "../core/errors.ts"
import { type VaultKV, type VaultKVOptions, vaultKV } from "../providers/vault-kv.ts"
import {
  type VaultFetch,
  type VaultResponse,
  type VaultTransit,
  type VaultTransitOptions,
  vaultTransit,
} from "../providers/vault-transit.ts"
import type { Vault } from "./servers/index.ts"

// --- What is asked ---

/** What was asked, and how it was answered. */
export interface Asked {
  readonly method: string
  /** What follows `/v1/`. */
  readonly path: string
  readonly token: string | undefined
  readonly status: number
}

/** A `fetch` that notes what is asked. */
export interface Recorder {
  readonly fetch: VaultFetch
  /** `POST transit/encrypt/app`, in order. */
  readonly calls: string[]
  readonly headers: Readonly<Record<string, string>>[]
  /** Those that were answered. */
  readonly asked: readonly Asked[]
  /** How many were answered, in this way. */
  count(path: RegExp, status?: number): number
}

/** Asks, and notes it. */
export function recorder(
  ask: VaultFetch = (url, init) => globalThis.fetch(url, init) as unknown as Promise<VaultResponse>,
): Recorder {
  const calls: string[] = []
  const headers: Readonly<Record<string, string>>[] = []
  const asked: Asked[] = []
  const fetch: VaultFetch = async (url, init) => {
    const { method } = init
    calls.push(`${method} ${url.replace(/^.*?\/v1\//, "")}`)
    headers.push(init.headers)
    const answer = await ask(url, init)
    const path = new URL(url).pathname.replace(/^\/v1\//, "")
    asked.push({ method, path, token: init.headers["X-Vault-Token"], status: answer.status })
    return answer
  }
  const count: Recorder["count"] = (path, status) =>
    asked.filter((each) => path.test(each.path) && (status === undefined || each.status === status)).length
  return { fetch, calls, headers, asked, count }
}

/** An answer that nobody gave. */
export function answerOf(status: number, body: string | object, headers: Record<string, string> = {}): VaultResponse {
  return new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers }) as never
}

/** What Vault says of the key `app`. */
export const KEY = { keys: { "1": 1 }, latest_version: 1, name: "app", type: "aes256-gcm96" } as const

/** The data of an answer. */
export function dataOf(answer: Record<string, unknown>): Record<string, unknown> {
  return (answer["data"] ?? {}) as Record<string, unknown>
}

/** What a call rejects with. */
export async function errorOf(call: Promise<unknown>): Promise<EncxError> {
  const [result] = await Promise.allSettled([call])
  assert.equal(result.status, "rejected", "it must reject")
  const { reason } = result as PromiseRejectedResult
  assert.ok(reason instanceof EncxError, String(reason))
  return reason
}

/** Everything that an error shows, and what it holds. */
export function shown(error: EncxError): string {
  return `${inspect(error, { depth: 10, showHidden: true })} ${error.hint} ${JSON.stringify(error)}`
}

// --- Clients ---

/** One attempt, and no circuit that opens. */
export const ONCE = { attempts: 1, breaker: false } as const

/** Transit as root, or as the options say; nothing of the environment. */
export function transitOf(vault: Vault, options: VaultTransitOptions = {}): VaultTransit {
  const token = options.auth === undefined && options.token === undefined ? { token: vault.token } : {}
  return vaultTransit({ address: vault.url, environment: {}, ...token, ...options })
}

/** KV as root, or as the options say; nothing of the environment. */
export function secretsOf(vault: Vault, options: VaultKVOptions = {}): VaultKV {
  return vaultKV({ address: vault.url, token: vault.token, environment: {}, ...options })
}

/** Wraps a data key under a key, and opens it. */
export async function goesRound(kms: VaultTransit, name: string): Promise<void> {
  const context = { table: "users" }
  const made = await kms.generateDEK(await kms.getKeyID(name), context)
  assert.deepEqual(await kms.decryptDEK(made, context), made.plaintext)
}

// --- What an operator sets up ---

/** Capabilities by path. */
type Paths = Readonly<Record<string, readonly string[]>>

/** What a program needs of transit. */
export const TRANSIT: Paths = {
  "transit/keys/*": ["read"],
  "transit/encrypt/*": ["update"],
  "transit/decrypt/*": ["update"],
  "transit/rewrap/*": ["update"],
}

/** A key of its own. */
export async function newKey(vault: Vault): Promise<string> {
  const name = `app-${randomUUID()}`
  await vault.request("POST", `transit/keys/${name}`)
  return name
}

/** A policy's name. */
async function newPolicy(vault: Vault, paths: Paths, name = `policy-${randomUUID()}`): Promise<string> {
  const lines = Object.entries(paths).map(
    ([path, capabilities]) => `path "${path}" { capabilities = ${JSON.stringify(capabilities)} }`,
  )
  await vault.request("POST", `sys/policies/acl/${name}`, { policy: lines.join("\n") })
  return name
}

/** A policy that lets every transit key be used. */
export const allowTransit = (vault: Vault): Promise<string> => newPolicy(vault, TRANSIT, "uses-transit")

/** A token that may do this and no more. */
export async function newToken(vault: Vault, paths: Paths, options: object = {}): Promise<string> {
  const policies = [await newPolicy(vault, paths)]
  const made = await vault.request("POST", "auth/token/create", { policies, ttl: "1h", ...options })
  return String((made["auth"] as { client_token: string }).client_token)
}

/** Enables an auth method where it is not. */
export async function enableAuth(vault: Vault, type: string, path: string = type): Promise<void> {
  const { data } = (await vault.request("GET", "sys/auth")) as { data: Record<string, unknown> }
  if (!(`${path}/` in data)) await vault.request("POST", `sys/auth/${path}`, { type })
}

/** What an AppRole logs in with. */
export interface AppRole {
  readonly role: string
  readonly roleID: string
  readonly secretID: string
  readonly auth: { readonly method: "approle"; readonly roleID: string; readonly secretID: string }
}

/** An AppRole that may use transit. */
export async function newAppRole(vault: Vault, settings: Readonly<Record<string, unknown>> = {}): Promise<AppRole> {
  const role = `role-${randomUUID()}`
  const path = `auth/approle/role/${role}`
  await enableAuth(vault, "approle")
  await vault.request("POST", path, { token_policies: [await allowTransit(vault)], ...settings })
  const roleID = String(dataOf(await vault.request("GET", `${path}/role-id`))["role_id"])
  const secretID = String(dataOf(await vault.request("POST", `${path}/secret-id`))["secret_id"])
  return { role, roleID, secretID, auth: { method: "approle", roleID, secretID } }
}
