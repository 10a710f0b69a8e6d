/** What AWS answers, as the errors of this library: each says what to do. */
import {
  AccessDenied,
  AuthenticationFailed,
  Busy,
  DecryptionFailed,
  EncxError,
  InvalidConfiguration,
  InvalidInput,
  KeyDisabled,
  LimitExceeded,
  type ProviderFailure,
  SecretDeleted,
  SecretEmpty,
} from "../core/errors.ts"
import { isAlias, parseARN, partitionOf } from "./_aws-arn.ts"
import { type TLSProblem, tlsProblem } from "./_tls.ts"

type FailureClass = new (message: string, failure: ProviderFailure) => EncxError

/** A service of AWS: its name for people and policies, and the classes of what may happen there. */
export interface AWSService {
  /** `aws-kms` */
  readonly provider: string
  /** Of actions and ARNs: `kms`. */
  readonly prefix: string
  /** What it keeps: `key`. */
  readonly keeps: string
  readonly Unavailable: FailureClass
  readonly NotFound: FailureClass
  readonly Exists: FailureClass
  /** How what is absent is made. */
  readonly creation: string
  /** Options that are its own. */
  readonly options: readonly string[]
}

/** The request that failed. */
export interface AWSRequest {
  /** The method of the contract. */
  readonly operation: string
  /** The API's name for it: `Decrypt`. */
  readonly command: string
  /** The key or the secret, as it was named. */
  readonly target: string
}

/** What the SDK throws, as far as it is looked at. */
interface SDKError {
  readonly name?: string
  readonly message?: string
  readonly code?: string
  readonly $metadata?: { readonly httpStatusCode?: number }
  readonly $response?: { readonly statusCode?: number }
}

interface Failed extends AWSRequest {
  readonly service: AWSService
  readonly region: string | undefined
  readonly error: SDKError
}

type Kind = (failed: Failed) => EncxError

const throttledErrors = new WeakSet<object>()

/** Whether AWS refused because it is asked too often. */
export function isThrottled(error: unknown): boolean {
  return typeof error === "object" && error !== null && throttledErrors.has(error)
}

/** The error of this library for one of the SDK. */
export function awsError(
  service: AWSService,
  region: string | undefined,
  request: AWSRequest,
  error: unknown,
): EncxError {
  if (error instanceof EncxError) return error
  const thrown = (typeof error === "object" && error !== null ? error : { message: String(error) }) as SDKError
  return kindOf(thrown, request.command)({ ...request, service, region, error: thrown })
}

/** That a service cannot be asked, or that its answer makes no sense. */
export function unavailable(service: AWSService, operation: string, state: string, cause?: unknown): EncxError {
  return new service.Unavailable(`Cannot use ${service.provider}: ${state}`, {
    provider: service.provider,
    operation,
    ...(cause === undefined ? {} : { cause }),
  })
}

/** That a secret was deleted, and is not absent. */
export function secretDeleted(path: string, operation: string, cause?: unknown): SecretDeleted {
  return new SecretDeleted(`Cannot use the secret "${path}": it was deleted, and can still be restored`, {
    provider: "aws-secrets-manager",
    operation,
    hint: `restore it: aws secretsmanager restore-secret --secret-id ${path}`,
    ...(cause === undefined ? {} : { cause }),
  })
}

/** Whether what gives credentials says itself what is wrong with them. */
export function isAboutCredentials(error: unknown): boolean {
  return error instanceof AuthenticationFailed || NAMES[nameOf((error ?? {}) as SDKError)] === credentials
}

/** The same error with more to do about it. */
export function withHint(error: EncxError, service: AWSService, operation: string, more: string): EncxError {
  const hint = error.hint === undefined ? more : `${error.hint}; ${more}`
  const Same = error.constructor as FailureClass
  return new Same(error.message, { provider: service.provider, operation, hint, cause: error })
}

const nameOf = ({ name = "" }: SDKError): string => name.replace(/^.*#/, "").replace(/Exception$/, "")

/** That a secret has a name and no value, and is not absent. */
export function secretEmpty(path: string, operation: string): SecretEmpty {
  return new SecretEmpty(`Cannot use the secret "${path}": it is there, and none of its versions is current`, {
    provider: "aws-secrets-manager",
    operation,
    hint: `look at its versions, and make one current or put a first value: aws secretsmanager list-secret-version-ids --include-deprecated --secret-id ${path}; aws secretsmanager update-secret-version-stage, or put-secret-value`,
  })
}

function kindOf(error: SDKError, command: string): Kind {
  const name = nameOf(error)
  const message = error.message ?? ""
  // Of a ciphertext that is of no key here, or of none at all, KMS says: «The ciphertext refers to a customer master key that does not
  // exist, does not exist in this region, or you are not allowed to access». Whatever else is denied is a matter of policies.
  if (name === "AccessDenied" && DECRYPTING.includes(command) && OF_CIPHERTEXTS.test(message)) return undecryptable
  const named = MESSAGES.find(([names, words]) => names.includes(name) && words.test(message))?.[2] ?? NAMES[name]
  if (named) return named
  if (/region is missing|region not accepted: region=""/i.test(message)) return noRegion
  if (error.code !== undefined) return tlsProblem(error.code, message) ? untrusted : unreachable
  const status = error.$metadata?.httpStatusCode ?? error.$response?.statusCode ?? 0
  if (status === 429) return throttled
  if (status === 401 || status === 403) return denied
  return nonsense
}

const failure = ({ service, operation, error }: Failed, hint?: string): ProviderFailure => ({
  provider: service.provider,
  operation,
  // JSON.parse() quotes what it stumbles on, which may be the secret.
  ...(error.name === "SyntaxError" ? {} : { cause: error }),
  ...(hint === undefined ? {} : { hint }),
})
const quoted = ({ service, target }: Failed): string => `the ${service.keeps} "${target}"`
const inRegion = ({ region }: Failed): string => (region === undefined ? "" : ` in the region "${region}"`)

// --- The kinds ---

const absent: Kind = (failed) =>
  new failed.service.NotFound(
    `Cannot find ${quoted(failed)}: ${failed.service.provider} has none of this name${inRegion(failed)}`,
    failure(failed, `check the name, the account and the region; or create it: ${failed.service.creation}`),
  )

const exists: Kind = (failed) =>
  new failed.service.Exists(
    `Cannot create ${quoted(failed)}: there is one already${inRegion(failed)}`,
    failure(failed, "use it, or choose another name"),
  )

const denied: Kind = (failed) => {
  const { service, region = "*", target, command, error } = failed
  const message = error.message ?? ""
  // AWS names the action where it is not that of the command: ReEncrypt is ReEncryptFrom and ReEncryptTo.
  const action = /not authorized to perform:? ([a-z-]+:\w+)/i.exec(message)?.[1] ?? `${service.prefix}:${command}`
  const named =
    /on resource:? (arn:[^\s,"']+)/i.exec(message)?.[1] ?? (parseARN(target) && !isAlias(target) ? target : undefined)
  const statement = JSON.stringify({
    Effect: "Allow",
    Action: action,
    Resource: /^kms:CreateKey$/.test(action) ? "*" : (named ?? resource(service, region, target)),
  })
  const explicit = /explicit deny/i.test(message) ? "a policy denies it explicitly: take that away; and " : ""
  return new AccessDenied(
    `Cannot call ${action} on ${quoted(failed)}: access denied${inRegion(failed)}`,
    failure(
      failed,
      `${explicit}add to the role's policy ${statement}; the ${service.keeps}'s own policy must allow it, too`,
    ),
  )
}

/** A policy names keys by id and never by alias; a secret's ARN ends with six characters that nobody knows beforehand. */
function resource({ prefix }: AWSService, region: string, target: string): string {
  const arn = parseARN(target)
  const place = `arn:${arn?.partition ?? partitionOf(region)}:${prefix}:${region}`
  if (prefix === "secretsmanager") return `${place}:*:secret:${target}-??????`
  return isAlias(target) ? `${place}:ACCOUNT:key/KEY-ID` : `${place}:*:key/${target}`
}

const disabled: Kind = (failed) => {
  const message = failed.error.message ?? ""
  const state = /pending ?deletion/i.test(message)
    ? "it is scheduled for deletion"
    : /pending ?import/i.test(message)
      ? "its key material has not been imported"
      : /disabled/i.test(message) || failed.error.name?.startsWith("Disabled")
        ? "it is disabled"
        : "its state does not allow it"
  const hint = state.includes("deletion")
    ? `cancel it while there is time: aws kms cancel-key-deletion --key-id KEY-ID, then aws kms enable-key --key-id KEY-ID`
    : state.includes("material")
      ? "import its material: aws kms import-key-material"
      : `look at it, and enable it: aws kms describe-key --key-id ${failed.target}; aws kms enable-key --key-id KEY-ID`
  return new KeyDisabled(`Cannot use ${quoted(failed)}: ${state}`, failure(failed, hint))
}

const deleted: Kind = (failed) => secretDeleted(failed.target, failed.operation, failed.error)

const credentials: Kind = (failed) => {
  const expired = /expired/i.test(`${failed.error.name} ${failed.error.message}`)
  const missing = /Credentials|Token(Provider|Refresh)/.test(failed.error.name ?? "")
  const state = expired
    ? "the credentials have expired"
    : missing
      ? "there are no credentials"
      : "the credentials are refused"
  const hint = expired
    ? "renew them: aws sso login, or let a role give them"
    : missing
      ? "give the machine a role, run aws sso login or aws configure, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
      : "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_PROFILE"
  return new AuthenticationFailed(`Cannot sign in to ${failed.service.provider}: ${state}`, failure(failed, hint))
}

const clock: Kind = (failed) =>
  new AuthenticationFailed(
    `Cannot sign in to ${failed.service.provider}: the clock of this machine is off by more than five minutes`,
    failure(failed, "set it, by NTP: timedatectl set-ntp true; the next call allows for the difference"),
  )

const noRegion: Kind = ({ service, error }) =>
  new InvalidConfiguration(`Cannot use ${service.provider}: no region is configured`, {
    hint: `set AWS_REGION, give the profile a region, or say so: { region: "eu-west-1" }`,
    cause: error,
  })

const throttled: Kind = (failed) => {
  const error = new failed.service.Unavailable(
    `Cannot use ${failed.service.provider}: it is asked too often${inRegion(failed)}`,
    failure(failed, "cache data keys for longer (withDEKCache), or have the account's request quota raised"),
  )
  throttledErrors.add(error)
  return error
}

const broken: Kind = (failed) =>
  new failed.service.Unavailable(
    `Cannot use ${failed.service.provider}: it fails with ${failed.error.name}${inRegion(failed)}`,
    failure(failed),
  )

const unreachable: Kind = (failed) =>
  new failed.service.Unavailable(
    `Cannot use ${failed.service.provider}: there is no connection (${failed.error.code})`,
    failure(failed, "check the network, the endpoint and the region's name"),
  )

const untrusted: Kind = ({ service, error }) => {
  const { state, hint } = tlsProblem(error.code ?? "", error.message ?? "") as TLSProblem
  return new InvalidConfiguration(`Cannot use ${service.provider}: ${state}`, { hint, cause: error })
}

const nonsense: Kind = (failed) => {
  const status = failed.error.$metadata?.httpStatusCode ?? failed.error.$response?.statusCode
  const state = status === undefined ? "it gave no answer" : `its answer cannot be understood (HTTP ${status})`
  return new failed.service.Unavailable(
    `Cannot use ${failed.service.provider}: ${state}`,
    failure(failed, "check that the endpoint is that of the service"),
  )
}

const refused: Kind = (failed) =>
  new InvalidInput(
    `Cannot call ${failed.service.prefix}:${failed.command} on ${quoted(failed)}: the request is refused (${failed.error.name})`,
    { hint: failed.error.message, cause: failed.error },
  )

const wrongUsage: Kind = (failed) =>
  new InvalidConfiguration(`Cannot use ${quoted(failed)}: it is not a symmetric key that encrypts`, {
    hint: "create one: encx keys create",
    cause: failed.error,
  })

const undecryptable: Kind = () => new DecryptionFailed()

const busy: Kind = (failed) =>
  new Busy(`Cannot change ${quoted(failed)}: another change is under way`, { cause: failed.error })

const limit: Kind = (failed) =>
  new LimitExceeded(
    `Cannot call ${failed.service.prefix}:${failed.command} on ${quoted(failed)}: AWS's limit is reached`,
    {
      hint: failed.error.message,
      cause: failed.error,
    },
  )

const sealedSecret: Kind = (failed) =>
  new AccessDenied(
    `Cannot use ${quoted(failed)}: Secrets Manager may not use the KMS key that seals it`,
    failure(failed, "enable that key, and allow the role kms:Decrypt and kms:GenerateDataKey on it"),
  )

// --- The tables ---

const table = (...rows: readonly (readonly [Kind, readonly string[]])[]): Readonly<Record<string, Kind>> =>
  Object.assign(
    Object.create(null),
    Object.fromEntries(rows.flatMap(([kind, names]) => names.map((name) => [name, kind]))),
  )

/** By the error's name, without «Exception». */
const NAMES = table(
  [absent, ["NotFound", "ResourceNotFound"]],
  [exists, ["AlreadyExists", "ResourceExists"]],
  [denied, ["AccessDenied", "UnauthorizedOperation", "NotAuthorized", "OptInRequired"]],
  [disabled, ["Disabled", "KMSInvalidState"]],
  [undecryptable, ["InvalidCiphertext", "IncorrectKey"]],
  [wrongUsage, ["InvalidKeyUsage"]],
  [busy, ["Conflict"]],
  [limit, ["LimitExceeded"]],
  [clock, ["RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"]],
  [sealedSecret, ["DecryptionFailure", "EncryptionFailure"]],
  [
    credentials,
    [
      ...[
        "CredentialsProviderError",
        "TokenProviderError",
        "ExpiredToken",
        "InvalidClientTokenId",
        "UnrecognizedClient",
      ],
      ...["InvalidSignature", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken"],
    ],
  ],
  [
    throttled,
    [
      ...["Throttling", "Throttled", "ThrottledException", "RequestThrottled", "RequestLimitExceeded", "SlowDown"],
      ...["TooManyRequests", "PriorRequestNotComplete", "BandwidthLimitExceeded", "ProvisionedThroughputExceeded"],
    ],
  ],
  [
    broken,
    [
      ...["KeyUnavailable", "DependencyTimeout", "KMSInternal", "InternalFailure", "InternalServiceError"],
      ...["InternalError", "ServiceUnavailable", "RequestTimeout", "InternalServerError"],
    ],
  ],
  [
    refused,
    [
      ...["Validation", "ValidationError", "InvalidArn", "InvalidAliasName", "InvalidParameter", "InvalidRequest"],
      ...["UnsupportedOperation", "MalformedPolicyDocument", "Serialization", "UnknownOperation", "InvalidAction"],
    ],
  ],
)

const DECRYPTING: readonly string[] = ["Decrypt", "ReEncrypt"]
const OF_CIPHERTEXTS = /^the ciphertext refers to/i

/** Names that stand for several things, told apart by AWS's words. */
const MESSAGES: readonly (readonly [readonly string[], RegExp, Kind])[] = [
  [["InvalidSignature", "SignatureDoesNotMatch"], /signature (expired|not yet current)/i, clock],
  [["InvalidRequest"], /(marked|scheduled) for deletion/i, deleted],
]
