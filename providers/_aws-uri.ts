/** AWS by URI: what the parameters of a URI mean. */
import { InvalidConfiguration } from "../core/errors.ts"
import { namedKey, type ProviderURI } from "../core/uri.ts"
import type { AWSOptions } from "./_aws.ts"
import { keyIdentifier, parseARN } from "./_aws-arn.ts"
import { isLoopback } from "./_aws-http.ts"
import type { AWSKMSOptions } from "./aws-kms.ts"

const TEXTS = ["region", "endpoint", "profile"] as const
const SWITCHES = ["useFipsEndpoint", "useDualstackEndpoint", "allowInsecure"] as const

/** The query parameters of both services. */
export const AWS_PARAMETERS: readonly string[] = [...TEXTS, ...SWITCHES]
/** Those of KMS. */
export const KMS_PARAMETERS: readonly string[] = [...AWS_PARAMETERS, "encoding"]

/** The options that a URI of KMS means; the key that it names is the program's default. */
export function kmsOptions(uri: ProviderURI): AWSKMSOptions {
  const { key, endpoint: host } = namedKey(uri)
  if (key.startsWith("arn:") && !parseARN(key))
    throw new InvalidConfiguration(`Cannot use a ${uri.scheme}: URI: it is no ARN of a KMS key or alias`)
  if (/[^A-Za-z0-9:/_-]|^alias\/?$/.test(keyIdentifier(key)) && key !== "")
    throw new InvalidConfiguration(`Cannot use a ${uri.scheme}: URI: its key is no alias, id or ARN`)
  if (host !== undefined && uri.query.has("endpoint"))
    throw new InvalidConfiguration(`Cannot use a ${uri.scheme}: URI: it has two endpoints`)
  const encoding = uri.query.get("encoding")
  if (encoding !== undefined && encoding !== "raw" && encoding !== "base64")
    throw new InvalidConfiguration(`Cannot use a ${uri.scheme}: URI: its encoding is neither raw nor base64`)
  const region = parseARN(key)?.region
  return {
    ...(region === undefined ? {} : { region }),
    ...(host === undefined ? {} : { endpoint: `${isLoopback(hostname(host)) ? "http" : "https"}://${host}` }),
    ...awsOptions(uri),
    ...(encoding === undefined ? {} : { encoding }),
  }
}

/** The options that a URI of Secrets Manager means. */
export function secretsManagerOptions(uri: ProviderURI): AWSOptions {
  if (uri.host === "" && /^\/?$/.test(uri.path)) return awsOptions(uri)
  throw new InvalidConfiguration(`Cannot use a ${uri.scheme}: URI: it has a host or a path`, {
    hint: "write awssecretsmanager:///?region=eu-west-1; the pepper's alias is another option",
  })
}

function awsOptions({ scheme, query }: ProviderURI): AWSOptions {
  const texts = TEXTS.flatMap((name) => (query.has(name) ? [[name, query.get(name)]] : []))
  if (texts.some(([, value]) => value === ""))
    throw new InvalidConfiguration(`Cannot use a ${scheme}: URI: a query parameter is empty`)
  // A switch that is not named is not off: AWS_USE_FIPS_ENDPOINT and profiles set it, too.
  const switches = SWITCHES.flatMap((name) => (query.has(name) ? [[name, flag(query.get(name))]] : []))
  return { ...Object.fromEntries(texts), ...Object.fromEntries(switches) }
}

/** The value of a switch. */
export function flag(value: string | undefined): boolean {
  if (value === undefined || value === "false") return false
  if (value === "true") return true
  throw new InvalidConfiguration("Cannot use a provider URI: a switch is neither true nor false")
}

const hostname = (host: string): string => host.replace(/:\d+$/, "")
