/**
 * Conformance suites for what a program or the author of a provider implements. Each declares its tests with `node:test`, which
 * Node, Deno and Bun have.
 *
 * @module
 */
export {
  type KMSSuiteOptions,
  keyManagementServiceSuite,
  type OpenedKMS,
} from "./test/suites/key-management-service.ts"
export { type OpenedSecrets, secretManagementServiceSuite } from "./test/suites/secret-management-service.ts"
