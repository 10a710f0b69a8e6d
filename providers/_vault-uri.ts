/** Vault by URI: what the parameters of a URI mean. Never a token: URIs are logged. */
import { InvalidConfiguration } from "../core/errors.ts"
import { namedKey, type ProviderURI } from "../core/uri.ts"
import type { VaultAuth, VaultOptions } from "./_vault-options.ts"
import { isPath } from "./_vault-options.ts"
import type { VaultKVOptions } from "./vault-kv.ts"
import type { VaultTransitOptions } from "./vault-transit.ts"

const CONNECTION = ["address", "namespace", "allowInsecure", "caCert", "clientCert", "clientKey", "serverName"] as const
const LOGIN = ["auth", "role", "authMount", "authPath"] as const
const MOUNTS = ["mount", "engine"] as const

/** The query parameters of the KV engine. */
export const KV_PARAMETERS: readonly string[] = [...CONNECTION, ...LOGIN, "mount"]
/** Those of the transit engine; `engine` is Go CDK's word for its mount. */
export const TRANSIT_PARAMETERS: readonly string[] = [
  ...CONNECTION,
  ...LOGIN,
  ...MOUNTS,
  "cluster",
  "bindContext",
  "keyIDs",
]

/** The options that a URI of transit means; the key that it names is the program's default. */
export function transitOptions(uri: ProviderURI): VaultTransitOptions {
  const { scheme, query } = uri
  const { key, endpoint, mount: named } = namedKey(uri)
  if (key !== "" && (!isPath(key) || key.includes("/")))
    throw refused(scheme, "its key is not letters, digits, _ . and -", `write ${scheme}://${AFTER[scheme] ?? ""}KEY`)
  if (scheme === "hcvault" && endpoint === undefined)
    throw refused(scheme, "it names no key", "write hcvault://vault.example.com:8200/transit/keys/KEY")
  if (endpoint !== undefined && query.has("address")) throw refused(scheme, "it has two addresses")
  const mounts = [named, query.get("mount"), query.get("engine")].filter((each) => each !== undefined)
  if (mounts.length > 1) throw refused(scheme, "it has two mounts")
  const keyIDs = query.get("keyIDs")
  if (keyIDs !== undefined && keyIDs !== "resolved" && keyIDs !== "name")
    throw refused(scheme, "its keyIDs are neither resolved nor name")
  const cluster = query.get("cluster")
  const bindContext = flagOf(uri, "bindContext")
  return {
    ...vaultOptions(uri),
    ...(scheme === "openbao" ? { variables: "BAO" as const } : {}),
    ...(endpoint === undefined ? {} : { address: `https://${endpoint}` }),
    ...(mounts[0] === undefined ? {} : { mount: mounts[0] }),
    ...(cluster === undefined ? {} : { cluster }),
    ...(bindContext === undefined ? {} : { bindContext }),
    ...(keyIDs === undefined ? {} : { keyIDs }),
  }
}

/** The options that a URI of KV means. */
export function kvOptions(uri: ProviderURI): VaultKVOptions {
  if (uri.host !== "" || !/^\/?$/.test(uri.path))
    throw refused(
      uri.scheme,
      "it has a host or a path",
      `write ${uri.scheme}:///?mount=secret&address=…; the pepper's alias is another option`,
    )
  const mount = uri.query.get("mount")
  return { ...vaultOptions(uri), ...(mount === undefined ? {} : { mount }) }
}

const AFTER: Readonly<Record<string, string>> = { vaulttransit: "/" }

function vaultOptions(uri: ProviderURI): VaultOptions {
  const { scheme, query } = uri
  if ([...query.values()].includes("")) throw refused(scheme, "a query parameter is empty")
  const texts = CONNECTION.filter((name) => name !== "allowInsecure" && query.has(name))
  const allowInsecure = flagOf(uri, "allowInsecure")
  const auth = authOf(uri)
  return {
    ...Object.fromEntries(texts.map((name) => [name, query.get(name)])),
    ...(allowInsecure === undefined ? {} : { allowInsecure }),
    ...(auth === undefined ? {} : { auth }),
  }
}

/** A login without secrets of its own: those by a file, or by certificate. AppRole's are in the environment. */
function authOf({ scheme, query }: ProviderURI): VaultAuth | undefined {
  const [method, role, mount, path] = LOGIN.map((name) => query.get(name))
  if (method === undefined) {
    if (LOGIN.some((name) => query.has(name)))
      throw refused(scheme, "it has parameters of a login, and no login", "add auth=kubernetes, jwt or cert")
    return undefined
  }
  const at = mount === undefined ? {} : { mount }
  if (method === "kubernetes" && role !== undefined)
    return { method, role, ...at, ...(path === undefined ? {} : { path }) }
  if (method === "jwt" && path !== undefined) return { method, path, ...at, ...(role === undefined ? {} : { role }) }
  if (method === "cert" && path === undefined) return { method, ...at, ...(role === undefined ? {} : { name: role }) }
  throw refused(scheme, "its login is incomplete, or none that a URI can say", LOGINS)
}

const LOGINS =
  "auth=kubernetes&role=app, auth=jwt&authPath=/run/token, or auth=cert; VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID, for others"

function flagOf({ scheme, query }: ProviderURI, name: string): boolean | undefined {
  const value = query.get(name)
  if (value === undefined) return undefined
  if (value === "true" || value === "false") return value === "true"
  throw refused(scheme, "a switch is neither true nor false")
}

function refused(scheme: string, state: string, hint?: string): InvalidConfiguration {
  return new InvalidConfiguration(`Cannot use a ${scheme}: URI: ${state}`, hint === undefined ? {} : { hint })
}
