/** Enough of IAM to say whether a policy of the guide allows a request, and what of it was of no use. */
import type { RecordedRequest } from "./servers/index.ts"

/** A policy of IAM, as the guide writes them. */
export interface Policy {
  readonly Version: "2012-10-17"
  readonly Statement: readonly Statement[]
}

/** One statement of it. */
export interface Statement {
  readonly Effect: "Allow"
  readonly Action: string | readonly string[]
  readonly Resource: string | readonly string[]
  readonly Condition?: {
    readonly StringEquals?: Readonly<Record<string, string>>
    readonly Null?: Readonly<Record<string, string>>
  }
}

/** The actions that a policy names, sorted. */
export function actionsOf(policy: Policy): string[] {
  return policy.Statement.flatMap(({ Action }) => [Action].flat() as string[]).sort()
}

/** What a policy denies of a request, among others that may have given its key an alias: `kms:Decrypt on arn:…`. */
export function denied(policy: Policy, request: RecordedRequest, among: readonly RecordedRequest[] = []): string[] {
  const aliased = hasAlias(request, among)
  return request.actions.flatMap((action) =>
    resourcesOf(request)
      .filter((resource) => !policy.Statement.some((each) => allows(each, action, resource, request, aliased)))
      .map((resource) => `${action} on ${resource}`),
  )
}

function allows(
  { Action, Resource, Condition }: Statement,
  action: string,
  resource: string,
  request: RecordedRequest,
  aliased: boolean,
): boolean {
  if (![Action].flat().includes(action)) return false
  if (![Resource].flat().some((pattern) => fits(pattern, resource))) return false
  const absent = Object.entries(Condition?.Null ?? {})
  if (!absent.every(([name, value]) => name === "kms:ResourceAliases" && value === String(!aliased))) return false
  const context = (request.body["EncryptionContext"] ?? {}) as Readonly<Record<string, string>>
  return Object.entries(Condition?.StringEquals ?? {}).every(([name, value]) => {
    const [, pair] = /^kms:EncryptionContext:(.+)$/.exec(name) ?? []
    return pair !== undefined && context[pair] === value
  })
}

/** Whether a key that a request names was given an alias. */
function hasAlias({ body }: RecordedRequest, among: readonly RecordedRequest[]): boolean {
  const id = (name: unknown): string => String(name).replace(/^.*\//, "")
  return among.some(
    (each) =>
      each.operation === "CreateAlias" && each.status === 200 && id(each.body["TargetKeyId"]) === id(body["KeyId"]),
  )
}

function fits(pattern: string, resource: string): boolean {
  const parts = pattern.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
  return new RegExp(`^${parts.join(".*")}$`).test(resource)
}

/** The ARNs that IAM looks at, with the guide's words for what is another in each account. */
function resourcesOf({ service, operation, body }: RecordedRequest): string[] {
  const arn = (rest: string): string => `arn:aws:${service}:REGION:ACCOUNT:${rest}`
  if (service === "secretsmanager") {
    const name = String(body["SecretId"] ?? body["Name"]).replace(/^arn:.*:secret:/, "")
    return [arn(`secret:${/-[A-Za-z0-9]{6}$/.test(name) ? name : `${name}-AbCdEf`}`)]
  }
  if (operation === "CreateKey") return ["*"]
  // An alias of its own is a resource where aliases are made; elsewhere, the key that it stands for is.
  const alias = operation === "CreateAlias" ? [arn(String(body["AliasName"]))] : []
  return [arn("key/KEY-ID"), ...alias]
}
