/** What the tests of Vault share: tokens with policies, and a `fetch` that notes what is asked. */
import assert from "node:assert/strict"
import { randomUUID } from "node:crypto"
import { inspect } from "node:util"
import { EncxError } from "../core/errors.ts"
import type { VaultFetch, VaultResponse } from "../providers/vault-transit.ts"
import type { Vault } from "./servers/index.ts"

/** A `fetch` that notes what is asked. */
export interface Recorder {
  readonly fetch: VaultFetch
  /** `POST transit/encrypt/app`, in order. */
  readonly calls: string[]
  readonly headers: Readonly<Record<string, string>>[]
}

/** Asks, and notes it. */
export function recorder(
  ask: VaultFetch = (url, init) => globalThis.fetch(url, init) as unknown as Promise<VaultResponse>,
): Recorder {
  const calls: string[] = []
  const headers: Readonly<Record<string, string>>[] = []
  const fetch: VaultFetch = (url, init) => {
    calls.push(`${init.method} ${url.replace(/^.*?\/v1\//, "")}`)
    headers.push(init.headers)
    return ask(url, init)
  }
  return { fetch, calls, headers }
}

/** An answer that nobody gave. */
export function answerOf(status: number, body: string | object, headers: Record<string, string> = {}): VaultResponse {
  return new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers }) as never
}

/** A policy's name. */
export async function newPolicy(vault: Vault, paths: Readonly<Record<string, readonly string[]>>): Promise<string> {
  const name = `policy-${randomUUID()}`
  const lines = Object.entries(paths).map(
    ([path, capabilities]) => `path "${path}" { capabilities = ${JSON.stringify(capabilities)} }`,
  )
  await vault.request("POST", `sys/policies/acl/${name}`, { policy: lines.join("\n") })
  return name
}

/** A token that may do this and no more. */
export async function newToken(
  vault: Vault,
  paths: Readonly<Record<string, readonly string[]>>,
  options: object = {},
): Promise<string> {
  const policies = [await newPolicy(vault, paths)]
  const made = await vault.request("POST", "auth/token/create", { policies, ttl: "1h", ...options })
  return String((made["auth"] as { client_token: string }).client_token)
}

/** A role of AppRole, and what logs in with it. */
export async function newAppRole(
  vault: Vault,
  paths: Readonly<Record<string, readonly string[]>>,
  options: object = {},
): Promise<{ roleID: string; secretID: string; role: string }> {
  const enabled = (await vault.request("GET", "sys/auth"))["data"] as object
  if (!("approle/" in enabled)) await vault.request("POST", "sys/auth/approle", { type: "approle" })
  const [role, token_policies] = [`role-${randomUUID()}`, [await newPolicy(vault, paths)]]
  await vault.request("POST", `auth/approle/role/${role}`, { token_policies, ...options })
  const roleID = dataOf(await vault.request("GET", `auth/approle/role/${role}/role-id`))["role_id"] as string
  const secretID = dataOf(await vault.request("POST", `auth/approle/role/${role}/secret-id`))["secret_id"] as string
  return { roleID, secretID, role }
}

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
