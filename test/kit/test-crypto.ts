/**
 * A program for a test: everything in memory, nothing on disk, cheap password hashes.
 *
 * @module
 */
import process from "node:process"
import { resolveConfiguration } from "../../core/configuration.ts"
import type { Clock } from "../../core/contracts.ts"
import type { Crypto } from "../../core/crypto.ts"
import { InvalidConfiguration } from "../../core/errors.ts"
import { owning } from "../../core/new-crypto.ts"
import type { Configuration, Option } from "../../core/options.ts"
import { startCrypto } from "../../core/start.ts"
import { memory } from "../../providers/memory.ts"
import { fakeKMS } from "./fake-service.ts"
import { memoryKEKVersions } from "./memory-versions.ts"

/** Far below what `newCrypto` allows: a test that hashes passwords takes a millisecond each. */
const CHEAP = { memoryKiB: 64, iterations: 1, parallelism: 1 } as const
const ALIAS = "test"

/** A clock that stands still until it is told. */
export interface TestClock extends Clock {
  /** Lets time pass. */
  advance(milliseconds: number): void
}

/** A clock for `withClock`, so that nothing ages while a test does not say so. */
export function testClock(now = 0): TestClock {
  let at = now
  return {
    now: () => at,
    advance(milliseconds) {
      at += milliseconds
    },
  }
}

/**
 * A `Crypto` for a test: a KMS, a secret store and key versions in memory, with a key and a pepper under the alias `test`, and
 * Argon2 so cheap that its hashes protect nothing. It writes nothing to disk and needs no test runner. Options win over all of that;
 * give it a {@link fakeKMS} to see a program fail.
 *
 * @throws {InvalidConfiguration} under `NODE_ENV=production`, and where the options do not fit
 */
export async function newTestCrypto(...options: readonly Option[]): Promise<Crypto> {
  if (process.env["NODE_ENV"] === "production") {
    throw new InvalidConfiguration("Cannot make a Crypto for tests: NODE_ENV is production", {
      hint: "use newCrypto; the keys of this one end with the process, and its password hashes protect nothing",
    })
  }
  const defaults: Configuration = {
    kms: fakeKMS(),
    kekAlias: ALIAS,
    pepper: { store: memory(), alias: ALIAS },
    database: memoryKEKVersions(),
    bootstrap: { createKEK: true, createPepper: true },
  }
  return await owning([defaults, ...options], async (own) => {
    const configuration = await resolveConfiguration(own)
    const given = options.some((option) => option.argon2 !== undefined)
    try {
      return await startCrypto(given ? configuration : { ...configuration, argon2: CHEAP })
    } catch (error) {
      await Promise.allSettled(configuration.opened.map((service) => service.close?.()))
      throw error
    }
  })
}
