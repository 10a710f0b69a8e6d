/**
 * Encrypt what your application stores, with keys that live in a KMS.
 *
 * @module
 */
export { type AESGCMOptions, decryptData, encryptData } from "./core/cipher/aes-gcm.ts"
export { type Context, encodeContext } from "./core/cipher/context.ts"
export { configFromEnv, type Environment, newCryptoFromEnv } from "./core/config.ts"
export type {
  CallOptions,
  Clock,
  Diagnosis,
  KEKVersion,
  KEKVersionStore,
  KeyDescription,
  KeyManagementService,
  KeyState,
  KeyVersion,
  Logger,
  MetricsCollector,
  ObservabilityHook,
  SecretManagementService,
  SecretName,
  SecretStage,
  SecretVersion,
  Tags,
  WrappedDEK,
} from "./core/contracts.ts"
export { Crypto } from "./core/crypto.ts"
export type {
  BlindIndexPlace,
  CompareHashOptions,
  CryptoStats,
  GoHashOptions,
  HashOptions,
  LookupOptions,
  RowKey,
  WrappedDEKWithID,
} from "./core/crypto-types.ts"
export {
  AccessDenied,
  AuthenticationFailed,
  Busy,
  Closed,
  DatabaseUnavailable,
  DecryptionFailed,
  EncryptionFailed,
  EncxError,
  FileError,
  FileExists,
  FileNotFound,
  InvalidConfiguration,
  InvalidFormat,
  InvalidInput,
  isAuthError,
  isConfigurationError,
  isOperationError,
  isRetryableError,
  isValidationError,
  KeyDisabled,
  KeyExists,
  KeyNotAllowed,
  KeyNotFound,
  KeyRotationRequired,
  KMSError,
  KMSUnavailable,
  LimitExceeded,
  MissingDependency,
  ProviderError,
  type ProviderFailure,
  SecretDeleted,
  SecretEmpty,
  SecretExists,
  SecretNotFound,
  SecretStorageUnavailable,
  type Try,
  UninitializedPepper,
  UnknownPepper,
  UnsafeFile,
} from "./core/errors.ts"
export {
  type HTTPRangeOptions,
  httpRange,
  type RangeBody,
  type RangeFetch,
  type RangeResponse,
} from "./core/files/http-range.ts"
export type { Argon2Limits } from "./core/hash/argon2.ts"
export type { Argon2Options } from "./core/hash/password.ts"
export { pepperID, pepperProblem } from "./core/hash/pepper-id.ts"
export type { Argon2Cost } from "./core/hash/phc.ts"
export type { DEKCacheOptions } from "./core/keys/cache-limits.ts"
export type { DEKCacheStats, Eviction, InvalidateOptions } from "./core/keys/dek-cache.ts"
export type { OpenOptions, SealOptions, Verification } from "./core/keys/envelopes.ts"
export { type InspectedKey, type Inspection, inspectEnvelope } from "./core/keys/inspect.ts"
export type { KMSCalls } from "./core/keys/keyring.ts"
export { dekCache, type SharedDEKCache } from "./core/keys/shared-cache.ts"
export type {
  AnyLayout,
  FieldValueOf,
  HashedKeysOf,
  HashedValueOf,
  IndexedKeysOf,
  IndexNamesOf,
  InputOf,
  LookupOf,
  OpenedOf,
  PatchOf,
  SealedRowOf,
  StoredRowOf,
} from "./core/layout-types.ts"
export { newCrypto } from "./core/new-crypto.ts"
export type {
  Health,
  HealthCheck,
  HealthOptions,
  HealthStatus,
  HealthSubject,
} from "./core/observe/health.ts"
export { compositeHook, errorCode, loggingHook, metricsHook } from "./core/observe/hooks.ts"
export {
  type InMemoryMetrics,
  type InMemoryMetricsOptions,
  inMemoryMetrics,
  type MetricsSnapshot,
  type MetricsSummary,
} from "./core/observe/metrics.ts"
export {
  type Bootstrap,
  type Configuration,
  type DatabaseSource,
  type KyselyDatabase,
  nullDEKCache,
  type Option,
  type OtherKEK,
  type PostgresPool,
  type SecretSource,
  type ServiceOrURI,
  type ServiceRegistry,
  type SharedDEKCacheUse,
  withAdditionalKEK,
  withArgon2,
  withBootstrap,
  withClock,
  withDatabase,
  withDEKCache,
  withIndexRoot,
  withKEKAlias,
  withKMSContext,
  withKMSService,
  withLogger,
  withMetricsCollector,
  withObservabilityHook,
  withPepper,
  withRegistry,
  withRetiredKEK,
} from "./core/options.ts"
export { record } from "./core/record.ts"
export type { RecordMethods } from "./core/record-methods.ts"
export {
  bigint,
  boolean,
  bytes,
  date,
  Field,
  type FieldSpec,
  type IndexOptions,
  integer,
  json,
  type NewField,
  number,
  type PlainField,
  paddedText,
  plain,
  text,
} from "./core/records/field.ts"
export { digits, lowercase, type Normaliser, nfc, nfkc, trim } from "./core/records/normalize.ts"
export type { RecordOptions } from "./core/records/schema.ts"
export type {
  AnySchema,
  BasicHash,
  BlindIndex,
  EncryptedKeys,
  Exact,
  Fields,
  FieldValue,
  HashedKeys,
  IndexColumn,
  IndexedKeys,
  IndexNames,
  Input,
  NoStoredValues,
  Opened,
  Patch,
  RowBinding,
  Schema,
  SealedColumn,
  SealedRow,
  SecureHash,
  StoredRow,
  TenantKeys,
} from "./core/records/types.ts"
export type { ValueType } from "./core/records/value.ts"
export type { BreakerOptions, ResilienceOptions } from "./core/resilience.ts"
export { type ResilientServiceOptions, resilientService } from "./core/resilient-service.ts"
export type { StreamMethods } from "./core/stream-methods.ts"
export type {
  ByteRange,
  ByteTransform,
  FileOptions,
  FileResult,
  OnProgress,
  RangeSource,
  SealStreamOptions,
} from "./core/stream-types.ts"
