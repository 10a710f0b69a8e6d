/**
 * Every error of the library: one base class, a literal `code`, one class for each condition that a caller would catch.
 *
 * A message says `Cannot <verb> <object>: <state>` and never holds a secret. Wrong JavaScript types and wrong key lengths
 * are programming mistakes and stay the built-in `TypeError` and `RangeError`.
 *
 * @module
 */

/** What every error of the library has. */
export abstract class EncxError extends Error {
  /** A name that does not change, for programs: `error.code === "KEY_NOT_FOUND"`. */
  abstract readonly code: string
  /** Whether the same call may succeed later, unchanged. */
  readonly retryable: boolean = false
  /** What to do about it, where that is known. */
  readonly hint?: string

  constructor(message: string, options: { hint?: string | undefined; cause?: unknown } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined)
    this.name = new.target.name
    if (options.hint !== undefined) this.hint = options.hint
  }
}

/** What a failure at a provider (a KMS, a secret store) tells beside its message. */
export interface ProviderFailure {
  /** The provider's name, as in `KeyManagementService.provider`. */
  provider: string
  /** The method that failed, such as `decryptDEK`. */
  operation: string
  /** What to do about it. */
  hint?: string | undefined
  /** The error underneath. */
  cause?: unknown
  /** The keys that were tried on the data. */
  tries?: readonly Try[]
}

/** A failure at a provider. */
export abstract class ProviderError extends EncxError {
  /** The provider's name. */
  readonly provider: string
  /** The method that failed. */
  readonly operation: string

  constructor(message: string, failure: ProviderFailure) {
    super(message, failure)
    this.provider = failure.provider
    this.operation = failure.operation
  }
}

// --- What the program gave ---

/** The options of `newCrypto` do not fit; `problems` lists every one of them. */
export class InvalidConfiguration extends EncxError {
  readonly code = "INVALID_CONFIGURATION" as const
  /** Each problem, a sentence each. */
  readonly problems: readonly string[]

  constructor(problems: string | readonly string[], options: { hint?: string; cause?: unknown } = {}) {
    const list = typeof problems === "string" ? [problems] : problems
    super(list.length === 1 ? String(list[0]) : `Cannot use the configuration: ${list.join("; ")}`, options)
    this.problems = list
  }
}

/** A value, a context or a name cannot be used: a lone surrogate, a date that is none, a key that is empty. */
export class InvalidInput extends EncxError {
  readonly code = "INVALID_INPUT" as const
}

/** Stored bytes or text are not in a format that this library reads. */
export class InvalidFormat extends EncxError {
  readonly code = "INVALID_FORMAT" as const
}

/** A limit that protects a key, the memory or the event loop was reached. */
export class LimitExceeded extends EncxError {
  readonly code = "LIMIT_EXCEEDED" as const
}

/** A lock or a queue is taken; the same call may succeed later. */
export class Busy extends EncxError {
  readonly code = "BUSY" as const
  override readonly retryable: boolean = true
}

/** The object was closed. */
export class Closed extends EncxError {
  readonly code = "CLOSED" as const
}

/** A file could be read or replaced by somebody else: its mode, its owner, a link. */
export class UnsafeFile extends EncxError {
  readonly code = "UNSAFE_FILE" as const
}

/** A file, or what stands for one, cannot be read or written: no permission, a full disk, a change while it was read. */
export class FileError extends EncxError {
  readonly code = "FILE_ERROR" as const
  override readonly retryable: boolean

  constructor(message: string, options: { retryable?: boolean; hint?: string | undefined; cause?: unknown } = {}) {
    super(message, options)
    this.retryable = options.retryable ?? false
  }
}

/** There is no such file. */
export class FileNotFound extends EncxError {
  readonly code = "FILE_NOT_FOUND" as const
}

/** The file is there and may not be replaced. */
export class FileExists extends EncxError {
  readonly code = "FILE_EXISTS" as const
}

/** A package that this call needs is not installed; `hint` is the install line. */
export class MissingDependency extends EncxError {
  readonly code = "MISSING_DEPENDENCY" as const
}

// --- Data ---

/** A value could not be sealed; `field` names it in a record. */
export class EncryptionFailed extends EncxError {
  readonly code = "ENCRYPTION_FAILED" as const
  /** The field of the schema, where there is one. */
  readonly field?: string

  constructor(message: string, options: { field?: string; hint?: string; cause?: unknown } = {}) {
    super(message, options)
    if (options.field !== undefined) this.field = options.field
  }
}

/** One key that was tried on data, and how that ended. */
export interface Try {
  /** The provider's name. */
  readonly provider: string
  /** The key, resolved. */
  readonly ref: string
  /** The version that the entry names. */
  readonly version: number
  /** The code of the error, or `COMMITMENT` when the key opened but is not the one that sealed the data. */
  readonly code: string
}

/**
 * Data did not authenticate: another key, another context, or changed bytes. The message is the same for every reason.
 * `tries` names the keys that were asked.
 */
export class DecryptionFailed extends EncxError {
  readonly code = "DECRYPTION_FAILED" as const
  /** The keys that were tried, in order. */
  readonly tries: readonly Try[]

  constructor(tries: readonly Try[] = []) {
    super("Cannot decrypt data: authentication failed", {
      hint: "check that the context, the table, the row and the key are those it was sealed with",
    })
    this.tries = tries
  }
}

// --- Key management ---

/** A failure of a key management service. */
export abstract class KMSError extends ProviderError {
  /** The keys that were tried on the data, in order; empty where there was one. */
  readonly tries: readonly Try[]

  constructor(message: string, failure: ProviderFailure) {
    super(message, failure)
    this.tries = failure.tries ?? []
  }

  /** This error, as one of several tries. It is another object: many callers may hold this one. @internal */
  among(tries: readonly Try[]): KMSError {
    const { provider, operation, hint } = this
    const Same = this.constructor as new (message: string, failure: ProviderFailure) => KMSError
    return new Same(this.message, { provider, operation, hint, cause: this, tries })
  }
}

/** The KMS cannot be asked: no connection, a time-out, throttling, an answer that makes no sense. */
export class KMSUnavailable extends KMSError {
  readonly code = "KMS_UNAVAILABLE" as const
  override readonly retryable: boolean = true
}

/** The KMS answered that there is no such key, alias or version. */
export class KeyNotFound extends KMSError {
  readonly code = "KEY_NOT_FOUND" as const
}

/** The key is there and may not be used: disabled, destroyed, or about to be. */
export class KeyDisabled extends KMSError {
  readonly code = "KEY_DISABLED" as const
}

/** A key of this alias exists already. */
export class KeyExists extends KMSError {
  readonly code = "KEY_EXISTS" as const
}

/** The credentials are good, the permission is missing. */
export class AccessDenied extends KMSError {
  readonly code = "ACCESS_DENIED" as const
}

/** The credentials themselves are missing, wrong or expired. */
export class AuthenticationFailed extends KMSError {
  readonly code = "AUTHENTICATION_FAILED" as const
}

/** Every version of the key-encryption key is deprecated: what is stored opens, and nothing new is wrapped until it is rotated. */
export class KeyRotationRequired extends KMSError {
  readonly code = "KEY_ROTATION_REQUIRED" as const
}

/** The database of key versions cannot be asked: no connection, no table, an answer that makes no sense. */
export class DatabaseUnavailable extends ProviderError {
  readonly code = "DATABASE_UNAVAILABLE" as const
  override readonly retryable: boolean

  /** @param failure `retryable` is `false` where the database refused: it will again */
  constructor(message: string, failure: ProviderFailure & { retryable?: boolean }) {
    super(message, failure)
    this.retryable = failure.retryable ?? true
  }
}

/** No key of this envelope is one that the program allows; none was asked to unwrap it. */
export class KeyNotAllowed extends EncxError {
  readonly code = "KEY_NOT_ALLOWED" as const
}

// --- Secrets ---

/** The secret store cannot be asked. It says nothing about whether the secret exists. */
export class SecretStorageUnavailable extends ProviderError {
  readonly code = "SECRET_STORAGE_UNAVAILABLE" as const
  override readonly retryable: boolean = true
}

/** The secret store answered that there is no such secret. */
export class SecretNotFound extends ProviderError {
  readonly code = "SECRET_NOT_FOUND" as const
}

/** The secret exists already; creation never overwrites. */
export class SecretExists extends ProviderError {
  readonly code = "SECRET_EXISTS" as const
}

/** The secret was deleted and may still be restored. It is not absent: what it protects is lost without it. */
export class SecretDeleted extends ProviderError {
  readonly code = "SECRET_DELETED" as const
}

/** There is a secret of this name, and none of its versions is current. It is not absent: nothing is created in its place. */
export class SecretEmpty extends ProviderError {
  readonly code = "SECRET_EMPTY" as const
}

/** Hashing was asked for and there is no pepper, or a blind index and there is no index root. */
export class UninitializedPepper extends EncxError {
  readonly code = "UNINITIALIZED_PEPPER" as const
}

/** A stored hash names a pepper that this program does not have. It says nothing about the password. */
export class UnknownPepper extends EncxError {
  readonly code = "UNKNOWN_PEPPER" as const
}

// --- Kinds ---

type ErrorClass = abstract new (...args: never[]) => EncxError
const isOneOf = (error: unknown, classes: readonly ErrorClass[]): boolean => classes.some((one) => error instanceof one)

/** Whether the same call may succeed later, unchanged. */
export function isRetryableError(error: unknown): boolean {
  return error instanceof EncxError && error.retryable
}

/** Whether the program or its environment must be changed. */
export function isConfigurationError(error: unknown): boolean {
  return isOneOf(error, [InvalidConfiguration, UninitializedPepper, MissingDependency, UnsafeFile])
}

/** Whether credentials or permissions are at fault. */
export function isAuthError(error: unknown): boolean {
  return isOneOf(error, [AuthenticationFailed, AccessDenied])
}

/** Whether sealing or opening itself failed. */
export function isOperationError(error: unknown): boolean {
  return isOneOf(error, [EncryptionFailed, DecryptionFailed])
}

/** Whether a value, or stored bytes, are malformed. */
export function isValidationError(error: unknown): boolean {
  return isOneOf(error, [InvalidInput, InvalidFormat])
}
