/** The servers of the tests: see README.md here. */
export { AWS_ERRORS, type AwsErrorName } from "./_aws-errors.ts"
export { type Effect, FAULTS, type FaultKind, type Json } from "./_faults.ts"
export { installation, isInstalled, needsServer, type ServerName } from "./_installation.ts"
export type { Server } from "./_process.ts"
export type { RecordedRequest } from "./_request.ts"
export { type Fault, type FaultProxy, type Gauge, startFaultProxy } from "./fault-proxy.ts"
export { type MinistackOptions, startMinistack } from "./ministack.ts"
export { startMoto } from "./moto.ts"
