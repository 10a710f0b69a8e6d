/** What the tests of records share: a program with keys of its own. */
import {
  type Crypto,
  newCrypto,
  type Option,
  withArgon2,
  withBootstrap,
  withKEKAlias,
  withKMSService,
  withPepper,
} from "../../mod.ts"
import { type LocalServices, memory } from "../../providers/memory.ts"

/** The cheapest password hash that is allowed. */
export const CHEAP: Option = withArgon2({ memoryKiB: 7168, iterations: 5, parallelism: 1 })

/** A program with keys of its own. */
export async function program(...options: Option[]): Promise<{ crypto: Crypto; services: LocalServices }> {
  const services = memory()
  const crypto = await newCrypto(
    withKMSService(services),
    withKEKAlias("app"),
    withPepper(services, "app"),
    withBootstrap({ createKEK: true, createPepper: true }),
    CHEAP,
    ...options,
  )
  return { crypto, services }
}
