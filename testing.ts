/**
 * A `Crypto` for the tests of a program, services in memory that fail when they are told to, and conformance suites for what a
 * program or the author of a provider implements. Only the suites need a test runner: each declares its tests with `node:test`,
 * which Node, Deno and Bun have.
 *
 * @module
 */
export {
  type Fake,
  type FakeKMS,
  type FakeOptions,
  type FakeSecrets,
  type Fault,
  type FaultKind,
  fakeKMS,
  fakeSecrets,
  type KMSMethod,
  type SecretsMethod,
} from "./test/kit/fake-service.ts"
export { memoryKEKVersions } from "./test/kit/memory-versions.ts"
export { newTestCrypto, type TestClock, testClock } from "./test/kit/test-crypto.ts"
export { kekVersionStoreSuite, type OpenedVersions } from "./test/suites/kek-version-store.ts"
export {
  type KMSSuiteOptions,
  keyManagementServiceSuite,
  type OpenedKMS,
} from "./test/suites/key-management-service.ts"
export { type OpenedSecrets, secretManagementServiceSuite } from "./test/suites/secret-management-service.ts"
