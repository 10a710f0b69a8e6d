/** The parameters of a database's URL. Drivers leave out what they do not know: `?sslmod=verify-full` would connect without TLS. */
import { didYouMean } from "./_spelling.ts"

/** What a driver heeds. */
export interface URLParameters {
  readonly driver: string
  /** By name: the values that there are, or nothing where they are many. */
  readonly names: Readonly<Record<string, readonly string[] | undefined>>
  /** The names within a value that is JSON. */
  readonly within?: Readonly<Record<string, readonly string[]>>
}

const any = (...names: readonly string[]): Record<string, undefined> =>
  Object.fromEntries(names.map((name) => [name, undefined]))

/** pg 8 with pg-connection-string 2. Of connections and pools nothing: it takes that from the program alone. */
export const PG_PARAMETERS: URLParameters = {
  driver: "pg",
  names: {
    sslmode: ["disable", "prefer", "require", "verify-ca", "verify-full", "no-verify"],
    ssl: ["true", "1", "0", "no-verify"],
    sslnegotiation: ["postgres", "direct"],
    uselibpqcompat: ["true", "false"],
    ...any("sslrootcert", "sslcert", "sslkey"),
    ...any("host", "port", "user", "password", "options", "client_encoding"),
    ...any("application_name", "fallback_application_name"),
    ...any("query_timeout", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"),
  },
}

/** mysql2 3, without what makes other rows of what is read, and what the library says itself. */
export const MYSQL2_PARAMETERS: URLParameters = {
  driver: "mysql2",
  names: {
    ...any("ssl", "socketPath", "localAddress", "compress", "keepAliveInitialDelay"),
    ...any("password1", "password2", "password3", "passwordSha1", "insecureAuth", "enableCleartextPlugin"),
    ...any("charset", "charsetNumber", "timezone", "connectAttributes", "flags"),
    ...any("maxIdle", "idleTimeout", "queueLimit", "waitForConnections", "resetOnRelease", "gracefulEnd"),
    ...any("debug", "trace", "disableEval", "maxPreparedStatements"),
  },
  within: {
    ssl: [
      ...["rejectUnauthorized", "verifyIdentity", "ca", "cert", "key", "passphrase"],
      ...["ciphers", "minVersion", "maxVersion"],
    ],
  },
}

/** What is wrong with the parameters of a URL, if anything is; nothing of it is quoted that is not ours. */
export function parameterProblem(
  parameters: URLSearchParams,
  { driver, names, within = {} }: URLParameters,
): { readonly state: string; readonly hint: string } | undefined {
  const seen = new Set<string>()
  for (const [name, value] of parameters) {
    // What stands there may be the rest of a password that has a question mark.
    if (!Object.hasOwn(names, name)) {
      const state = `its parameter ${seen.size + 1} is none that ${driver} heeds`
      return { state, hint: suggestion(name, Object.keys(names)) }
    }
    if (seen.has(name)) return { state: `its parameter "${name}" stands there twice`, hint: "leave one of them out" }
    seen.add(name)
    if (value === "") return { state: `its parameter "${name}" is empty`, hint: "give it a value, or leave it out" }
    const known = names[name]
    if (known && !known.includes(value))
      return {
        state: `its parameter "${name}" has a value that ${driver} does not know`,
        hint: suggestion(value, known),
      }
    const inner = within[name]
    const unknown = inner && namesIn(value).find((each) => !inner.includes(each))
    if (unknown !== undefined)
      return {
        state: `its parameter "${name}" has a name within that ${driver} does not know`,
        hint: suggestion(unknown, inner ?? []),
      }
  }
  return undefined
}

const suggestion = (name: string, known: readonly string[]): string =>
  didYouMean(name, known) ?? `known are ${known.join(", ")}`

/** The names in a value that is an object in JSON. */
function namesIn(value: string): string[] {
  try {
    const parsed: unknown = JSON.parse(value)
    return typeof parsed === "object" && parsed !== null ? Object.keys(parsed) : []
  } catch {
    // What is no JSON is the driver's to read.
    return []
  }
}
