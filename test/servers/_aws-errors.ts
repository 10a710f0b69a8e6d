/**
 * The errors of KMS and Secrets Manager, with the status that the API references give them and the text that AWS
 * sends: https://docs.aws.amazon.com/kms/latest/APIReference/ and …/secretsmanager/latest/apireference/, each
 * operation's «Errors» and the «Common Error Types». Where AWS sends no text, there is none.
 */
import type { RecordedRequest } from "./_request.ts"

const ACCOUNT = "123456789012"

const SHAPES = {
  // --- Who asks ---
  AccessDeniedException: [
    400,
    "User: arn:aws:iam::123456789012:user/test is not authorized to perform: {action} on resource: {arn} because no identity-based policy allows the {action} action",
  ],
  ExpiredTokenException: [400, "The security token included in the request is expired"],
  IncompleteSignature: [400, "Authorization header requires 'Signature' parameter."],
  InvalidClientTokenId: [403, "The security token included in the request is invalid."],
  // What a clock that is wrong gets from both services; the common errors call it RequestExpired.
  InvalidSignatureException: [400, "Signature expired: {-20} is now earlier than {-5} ({0} - 5 min.)"],
  MissingAuthenticationTokenException: [400, "Missing Authentication Token"],
  NotAuthorized: [400, "You do not have permission to perform this action."],
  OptInRequired: [403, "The AWS access key ID needs a subscription for the service."],
  RequestExpired: [400, "Request has expired."],
  UnrecognizedClientException: [400, "The security token included in the request is invalid."],

  // --- Too much, or out of order ---
  DependencyTimeoutException: [503, "The system timed out while trying to fulfill the request. You can retry."],
  InternalFailure: [500, "The request processing has failed because of an unknown error, exception or failure."],
  InternalServiceError: [500, "An error occurred on the server side."],
  KMSInternalException: [500, "An internal error occurred."],
  KeyUnavailableException: [500, "The specified KMS key was not available. You can retry the request."],
  LimitExceededException: [400, "The request was rejected because a quota was exceeded."],
  ServiceUnavailable: [503, "The request has failed due to a temporary failure of the server."],
  ThrottlingException: [
    400,
    "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
  ],

  // --- Keys ---
  AlreadyExistsException: [400, "An alias with the name {arn} already exists"],
  ConflictException: [400, "A rotation of this key is in progress."],
  DisabledException: [400, "{arn} is disabled."],
  DryRunOperationException: [400, "The request would have succeeded, but the DryRun option is set."],
  IncorrectKeyException: [400, "The key ID in the request does not identify a CMK that can perform this operation."],
  InvalidAliasNameException: [400, 'Alias must start with the prefix "alias/". Please see the documentation.'],
  InvalidArnException: [400, "Invalid arn {arn}"],
  InvalidCiphertextException: [400],
  InvalidGrantTokenException: [400],
  InvalidKeyUsageException: [400, "{arn} key usage is SIGN_VERIFY which is not valid for {operation}."],
  KMSInvalidStateException: [400, "{arn} is pending deletion."],
  NotFoundException: [400, "Key '{arn}' does not exist"],
  UnsupportedOperationException: [400],
  ValidationException: [
    400,
    "1 validation error detected: Value at 'keyId' failed to satisfy constraint: Member must not be null",
  ],

  // --- Secrets ---
  DecryptionFailure: [400, "Secrets Manager can't decrypt the protected secret text using the provided KMS key."],
  EncryptionFailure: [400, "Secrets Manager can't encrypt the protected secret text using the provided KMS key."],
  InvalidParameterException: [400, "The parameter name or value is invalid."],
  // A secret that is scheduled for deletion.
  InvalidRequestException: [400, "You can't perform this operation on the secret because it was marked for deletion."],
  PreconditionNotMetException: [400, "You must delete the resource policy first."],
  ResourceExistsException: [400, "The operation failed because the secret {name} already exists."],
  ResourceNotFoundException: [400, "Secrets Manager can't find the specified secret."],
} as const

/** An error of AWS, by the name that it has on the wire. */
export type AwsErrorName = keyof typeof SHAPES

/** Every name. */
export const AWS_ERRORS: readonly AwsErrorName[] = Object.keys(SHAPES) as AwsErrorName[]

/** Texts that depend on more than a name. */
const TEXTS: Partial<Record<AwsErrorName, (request: RecordedRequest, text: string) => string>> = {
  NotFoundException: (request, text) => (arn(request).includes(":alias/") ? "Alias {arn} is not found." : text),
  InvalidRequestException: ({ operation }, text) =>
    operation === "CreateSecret"
      ? "You can't create this secret because a secret with this name is already scheduled for deletion."
      : text,
  ThrottlingException: ({ service }, text) => (service === "kms" ? text : "Rate exceeded"),
}

/** An error as it is on the wire. */
export function awsError(
  name: AwsErrorName,
  request: RecordedRequest,
  { status, message }: { readonly status?: number | undefined; readonly message?: string | undefined } = {},
): { status: number; body: Record<string, string> } {
  const [documented, text]: readonly [number, string?] = SHAPES[name]
  const said = message ?? (text === undefined ? undefined : fill(TEXTS[name]?.(request, text) ?? text, request))
  const key = request.service === "secretsmanager" ? "Message" : "message"
  return { status: status ?? documented, body: { __type: name, ...(said === undefined ? {} : { [key]: said }) } }
}

/** What a service answers of itself with a status. */
export function errorOfStatus(status: number, service: string): AwsErrorName {
  if (status === 429) return "ThrottlingException"
  if (status === 503) return "ServiceUnavailable"
  if (status !== 500) return "InternalFailure"
  if (service === "kms") return "KMSInternalException"
  return service === "secretsmanager" ? "InternalServiceError" : "InternalFailure"
}

function fill(text: string, request: RecordedRequest): string {
  return text.replace(/\{([^}]+)\}/g, (_, what: string) => {
    if (what === "arn") return arn(request)
    if (what === "action") return request.actions[0] ?? ""
    if (what === "operation") return request.operation
    if (what === "name") return String(request.body["Name"] ?? "")
    return new Date(Date.now() + Number(what) * 60_000).toISOString().replace(/[-:]|\.\d+/g, "")
  })
}

/** Of the key or the secret that a request is about. */
function arn({ service, region, body }: RecordedRequest): string {
  const { KeyId, SourceKeyId, SecretId, AliasName, Name } = body
  const name = String(KeyId ?? SourceKeyId ?? SecretId ?? AliasName ?? Name ?? "*")
  if (name.startsWith("arn:") || name === "*") return name
  if (service === "secretsmanager") return `arn:aws:secretsmanager:${region}:${ACCOUNT}:secret:${name}`
  return `arn:aws:kms:${region}:${ACCOUNT}:${name.startsWith("alias/") ? name : `key/${name}`}`
}
