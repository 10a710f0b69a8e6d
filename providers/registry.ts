/**
 * Services by URI: `local:///home/ada/.encx/keys.json`, `env://`, `memory://`, or a scheme of your own. A provider's module is
 * imported when its scheme is first used. A registry is an object; there is no other.
 *
 * @module
 */
import type { KeyManagementService, SecretManagementService } from "../core/contracts.ts"
import { InvalidConfiguration } from "../core/errors.ts"

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

/** A service that was opened: a KMS, a secret store, or both. */
export type Provider = KeyManagementService | SecretManagementService | (KeyManagementService & SecretManagementService)

/** How a scheme is opened. */
export interface ProviderOpener {
  /** The query parameters it takes; others are refused. */
  readonly parameters: readonly string[]
  /** Opens it. */
  open(uri: ProviderURI): Promise<Provider>
}

const flag = (value: string | undefined): boolean => {
  if (value === undefined || value === "false") return false
  if (value === "true") return true
  throw new InvalidConfiguration("Cannot use a provider URI: a switch is neither true nor false")
}

const BUILT_IN: Readonly<Record<string, ProviderOpener>> = {
  local: {
    parameters: ["allowInProduction"],
    open: async ({ host, path, query }) => {
      if (host !== "")
        throw new InvalidConfiguration("Cannot use a local: URI: its path is not absolute", {
          hint: "write three slashes: local:///home/ada/keys.json",
        })
      return (await import("./local.ts")).local({ path, allowInProduction: flag(query.get("allowInProduction")) })
    },
  },
  memory: {
    parameters: ["allowInProduction"],
    open: async ({ query }) =>
      (await import("./memory.ts")).memory({ allowInProduction: flag(query.get("allowInProduction")) }),
  },
  env: {
    parameters: ["allowInProduction"],
    open: async ({ query }) =>
      (await import("./env.ts")).env({ allowInProduction: flag(query.get("allowInProduction")) }),
  },
}

const MAX_SHOWN = 20
const SCHEME = /^[a-z][a-z0-9+.-]*$/

/** Schemes and how they are opened. */
export class Registry {
  readonly #openers = new Map<string, ProviderOpener>(Object.entries(BUILT_IN))

  /**
   * Adds a scheme of your own to this registry.
   *
   * @throws {InvalidConfiguration} when the scheme is taken, or is none
   */
  add(scheme: string, opener: ProviderOpener): this {
    if (!SCHEME.test(scheme))
      throw new InvalidConfiguration(
        `Cannot add the scheme "${scheme}": it is not lower-case letters, digits, "+", "-" and "."`,
      )
    if (this.#openers.has(scheme)) throw new InvalidConfiguration(`Cannot add the scheme "${scheme}": it is taken`)
    this.#openers.set(scheme, opener)
    return this
  }

  /** The schemes, sorted. */
  get schemes(): string[] {
    return [...this.#openers.keys()].sort()
  }

  /**
   * Opens what a URI, or a bare scheme, names. Errors say the scheme and no more: a URI may bear a key.
   *
   * @throws {InvalidConfiguration} when the scheme is unknown, or the URI malformed
   */
  async open(uri: string): Promise<Provider> {
    const { query, ...parsed } = parse(uri)
    const opener = this.#openers.get(parsed.scheme)
    if (!opener) {
      // What has no colon may be a key that was given for a URI.
      const named = uri.includes(":") && parsed.scheme.length <= MAX_SHOWN ? ` "${parsed.scheme}"` : ""
      throw new InvalidConfiguration(`Cannot use a provider URI: its scheme${named} is unknown`, {
        hint: `known are ${this.schemes.join(", ")}`,
      })
    }
    for (const name of query.keys()) {
      if (opener.parameters.includes(name)) continue
      throw new InvalidConfiguration(`Cannot use a ${parsed.scheme}: URI: it has an unknown query parameter`, {
        hint: opener.parameters.length > 0 ? `known are ${opener.parameters.join(", ")}` : "it takes none",
      })
    }
    return await opener.open({ ...parsed, query })
  }
}

/** A new registry, with the schemes that are built in. */
export function createRegistry(): Registry {
  return new Registry()
}

// By hand: WHATWG's parser takes the colons of an ARN for a port and refuses it.
function parse(uri: string): ProviderURI {
  const [name, rest = ""] = cut(uri, ":")
  const scheme = name.toLowerCase()
  if (!SCHEME.test(scheme)) {
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
