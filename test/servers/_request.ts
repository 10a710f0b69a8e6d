/** A request for AWS, as the proxy records it. */
import type { WireRequest } from "./_wire.ts"

/** One request that a client made. */
export interface RecordedRequest {
  /** From 1, in the order in which they came. */
  readonly number: number
  /** From 1: which of the client's connections it came on. */
  readonly connection: number
  /** `kms`, `secretsmanager`, or what else `X-Amz-Target` starts with. */
  readonly service: string
  /** `GenerateDataKey`; empty where the request names none. */
  readonly operation: string
  /** The actions that a policy must allow, as IAM names them. */
  readonly actions: readonly string[]
  /** Of the signature, as is the access key. */
  readonly region: string
  readonly accessKeyID: string
  /** The request's JSON; empty where it is none. */
  readonly body: Readonly<Record<string, unknown>>
  readonly headers: ReadonlyMap<string, string>
  /** By `performance.now()`. */
  readonly startedAt: number
  /** When the answer was written whole, or the client was gone. */
  readonly endedAt?: number
  /** The status that the client was sent; absent where it was sent none. */
  readonly status?: number
  /** The kind of fault that it met. */
  readonly fault?: string
}

const SERVICES: ReadonlyMap<string, string> = new Map([
  ["TrentService", "kms"],
  ["DynamoDB_20120810", "dynamodb"],
])
const SCOPE = /Credential=([^/]+)\/\d+\/([^/]+)\//

/** Calls that are other actions than their name: the «Actions, resources, and condition keys» of each service. */
const ACTIONS: ReadonlyMap<string, readonly string[]> = new Map([
  ["kms:ReEncrypt", ["kms:ReEncryptFrom", "kms:ReEncryptTo"]],
  ["kms:ReplicateKey", ["kms:ReplicateKey", "kms:CreateKey"]],
])

/** What a request asks for. */
export function readRequest(
  { headers, body: bytes }: WireRequest,
  number: number,
  connection: number,
): RecordedRequest {
  const [prefix = "", operation = ""] = (headers.get("x-amz-target") ?? "").split(".")
  const service = SERVICES.get(prefix) ?? prefix
  const [, accessKeyID = "", region = ""] = SCOPE.exec(headers.get("authorization") ?? "") ?? []
  const body = json(bytes)
  const name = `${service}:${operation}`
  const actions = operation === "" ? [] : [...(ACTIONS.get(name) ?? [name]), ...tagging(service, operation, body)]
  return {
    number,
    connection,
    service,
    operation,
    actions,
    region,
    accessKeyID,
    body,
    headers,
    startedAt: performance.now(),
  }
}

/** To make something with tags is to tag it, too. */
function tagging(service: string, operation: string, { Tags }: Readonly<Record<string, unknown>>): string[] {
  return /^(Create|Replicate)/.test(operation) && Array.isArray(Tags) && Tags.length > 0
    ? [`${service}:TagResource`]
    : []
}

function json(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes))
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {}
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}
