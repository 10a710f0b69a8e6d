/**
 * Services and keys as URIs, in our spelling and in those of other tools.
 *
 * @module
 */
import { EncxError, InvalidConfiguration } from "./errors.ts"

/** What a URI says. */
export interface ProviderURI {
  /** Before the colon, in lower case. */
  readonly scheme: string
  /** Between `//` and the next `/`, decoded; empty for none. */
  readonly host: string
  /** From that `/` on, decoded; empty for none. */
  readonly path: string
  /** The query, decoded; each name is one that the opener said it takes. */
  readonly query: ReadonlyMap<string, string>
}

const SCHEME = /^[a-z][a-z0-9+.-]*$/

/** Whether a text is a scheme. @internal */
export function isScheme(text: string): boolean {
  return SCHEME.test(text)
}

/**
 * Reads a URI by hand: WHATWG's parser takes the colons of an ARN for a port and refuses it. Errors say the scheme and no more: a
 * URI may bear a key.
 *
 * @throws {InvalidConfiguration} when it is malformed
 * @internal
 */
export function parseURI(uri: string): ProviderURI {
  const [name, rest = ""] = cut(uri, ":")
  const scheme = name.toLowerCase()
  if (!isScheme(scheme)) {
    throw new InvalidConfiguration("Cannot use a provider URI: it has no scheme", {
      hint: "write local:///home/ada/keys.json",
    })
  }
  const [hierarchy, search = ""] = cut(rest, "?")
  if (search.includes("?") || rest.includes("#")) throw malformed(scheme, "it has a fragment, or two queries")
  const [host, path] = cut(hierarchy.startsWith("//") ? hierarchy.slice(2) : hierarchy, "/")
  if (host.includes("@")) throw malformed(scheme, "it has a user name or a password")
  const query = new Map<string, string>()
  for (const pair of search.split("&").filter((each) => each !== "")) {
    const [key, value = ""] = cut(pair, "=").map((part) => decode(scheme, part ?? "")) as [string, string]
    if (query.has(key)) throw malformed(scheme, "it has a query parameter twice")
    query.set(key, value)
  }
  return { scheme, host: decode(scheme, host), path: path === undefined ? "" : decode(scheme, `/${path}`), query }
}

/** What is before and after the first separator. */
function cut(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}

function decode(scheme: string, part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    // The runtime's message quotes nothing, and ours must not either.
    throw malformed(scheme, "it has a broken percent encoding")
  }
}

function malformed(scheme: string, state: string): InvalidConfiguration {
  return new InvalidConfiguration(`Cannot use a ${scheme}: URI: ${state}`)
}

// --- Keys in URIs ---

/** A key that a URI names, and the host where that is an endpoint and no part of the name. */
export interface NamedKey {
  readonly key: string
  readonly endpoint?: string
  /** Where the key is, for the URIs that say so in their path. */
  readonly mount?: string
}

const KEY_ID = /^(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$/i
const ENDPOINT = /[.:]|^localhost$/

/**
 * `awskms:///alias/app`, `awskms://alias/app` (Go CDK), `awskms://localhost:4566/alias/app` (sigstore),
 * `aws-kms://arn:aws:kms:…` (Tink).
 */
function awsKey({ host, path }: ProviderURI): NamedKey {
  const rest = path.replace(/^\//, "")
  if (host === "alias" || host.startsWith("arn:")) return { key: `${host}${path}` }
  if (KEY_ID.test(host) && rest === "") return { key: host }
  return ENDPOINT.test(host)
    ? { key: rest, endpoint: host }
    : { key: rest === "" ? host : `${host}${path}`.replace(/^\//, "") }
}

/** `vaulttransit:///app`, and `hashivault://app`, `openbao://app` as Go CDK and sigstore write it. */
function vaultKey({ host, path }: ProviderURI): NamedKey {
  return { key: `${host}${path}`.replace(/^\//, "") }
}

/** `hcvault://vault.example.com:8200/transit/keys/app` (Tink, Confluent) */
function vaultPath({ host, path }: ProviderURI): NamedKey {
  const [, mount, key] = /^\/(.+)\/keys\/([^/]+)$/.exec(path) ?? []
  return mount === undefined || key === undefined ? { key: "" } : { key, mount, endpoint: host }
}

const KEYS: Readonly<Record<string, (uri: ProviderURI) => NamedKey>> = Object.assign(Object.create(null), {
  awskms: awsKey,
  "aws-kms": awsKey,
  arn: ({ host, path }: ProviderURI) => ({ key: `arn:${host}${path}` }),
  vaulttransit: vaultKey,
  hashivault: vaultKey,
  openbao: vaultKey,
  hcvault: vaultPath,
})

/** The key that a URI names, empty for none. @internal */
export function namedKey(uri: ProviderURI): NamedKey {
  return KEYS[uri.scheme]?.(uri) ?? { key: "" }
}

/** The alias or id of the key in the text of a URI, or `undefined`; a URI that cannot be used names none. @internal */
export function keyOf(uri: unknown): string | undefined {
  if (typeof uri !== "string") return undefined
  try {
    return namedKey(parseURI(uri)).key || undefined
  } catch (error) {
    if (error instanceof EncxError) return undefined
    throw error
  }
}
