/** Clients of a Vault, and what an operator sets up for them. */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { generateKeyPairSync, randomUUID, sign } from "node:crypto"
import {
  type VaultFetch,
  type VaultTransit,
  type VaultTransitOptions,
  vaultTransit,
} from "../providers/vault-transit.ts"
import type { Vault } from "./servers/index.ts"

/** What was asked, and how it was answered. */
export interface Asked {
  readonly method: string
  /** What follows `/v1/`. */
  readonly path: string
  readonly token: string | undefined
  readonly status: number
}

/** The platform's `fetch`, and what came of it. */
export interface Watch {
  readonly fetch: VaultFetch
  readonly asked: readonly Asked[]
  count(path: RegExp, status?: number): number
}

export function watch(): Watch {
  const asked: Asked[] = []
  return {
    asked,
    fetch: async (url, init) => {
      const answer = await fetch(url, init)
      const path = new URL(url).pathname.replace(/^\/v1\//, "")
      asked.push({ method: init.method, path, token: init.headers["X-Vault-Token"], status: answer.status })
      return answer as Awaited<ReturnType<VaultFetch>>
    },
    count: (path, status) =>
      asked.filter((each) => path.test(each.path) && (status === undefined || each.status === status)).length,
  }
}

/** One attempt, and no circuit that opens. */
export const ONCE = { attempts: 1, breaker: false } as const

/** A key of its own. */
export async function newKey(vault: Vault): Promise<string> {
  const name = `app-${randomUUID()}`
  await vault.request("POST", `transit/keys/${name}`)
  return name
}

/** Transit as root, or as the options say; nothing of the environment. */
export function transitOf(vault: Vault, options: VaultTransitOptions = {}): VaultTransit {
  const token = options.auth === undefined && options.token === undefined ? { token: vault.token } : {}
  return vaultTransit({ address: vault.url, environment: {}, ...token, ...options })
}

/** Wraps a data key under a key, and opens it. */
export async function goesRound(kms: VaultTransit, name: string): Promise<void> {
  const context = { table: "users" }
  const made = await kms.generateDEK(await kms.getKeyID(name), context)
  assert.deepEqual(await kms.decryptDEK(made, context), made.plaintext)
}

/** A policy that lets every transit key be used. */
export async function allowTransit(vault: Vault): Promise<string> {
  const lines = ["keys", "encrypt", "decrypt", "rewrap"].map(
    (each) => `path "transit/${each}/*" { capabilities = ["${each === "keys" ? "read" : "update"}"] }`,
  )
  await vault.request("POST", "sys/policies/acl/uses-transit", { policy: lines.join("\n") })
  return "uses-transit"
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
}

/** An AppRole that may use transit. */
export async function newAppRole(vault: Vault, settings: Readonly<Record<string, unknown>> = {}): Promise<AppRole> {
  const role = `role-${randomUUID()}`
  const path = `auth/approle/role/${role}`
  await enableAuth(vault, "approle")
  await vault.request("POST", path, { token_policies: [await allowTransit(vault)], ...settings })
  const asked = async (method: string, name: string): Promise<Record<string, string>> =>
    (await vault.request(method, `${path}/${name}`))["data"] as Record<string, string>
  const { role_id: roleID = "" } = await asked("GET", "role-id")
  const { secret_id: secretID = "" } = await asked("POST", "secret-id")
  return { role, roleID, secretID }
}

/** An issuer of JWTs, with ES256. */
export interface Issuer {
  /** PEM. */
  readonly publicKey: string
  /** A JWT of ten minutes. */
  issue(claims: Readonly<Record<string, unknown>>): string
}

export function newIssuer(): Issuer {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url")
  return {
    publicKey: publicKey.export({ format: "pem", type: "spki" }).toString(),
    issue: (claims) => {
      const now = Math.floor(Date.now() / 1_000)
      const text = `${encoded({ alg: "ES256", typ: "JWT" })}.${encoded({ iat: now, exp: now + 600, ...claims })}`
      const signature = sign("sha256", Buffer.from(text), { key: privateKey, dsaEncoding: "ieee-p1363" })
      return `${text}.${signature.toString("base64url")}`
    },
  }
}
