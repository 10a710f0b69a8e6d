/** The pepper and the index root: looked at, and made where they are absent. */
import { Buffer } from "node:buffer"
import { randomFillSync } from "node:crypto"
import {
  newCrypto,
  pepperID,
  pepperProblem,
  SecretExists,
  type SecretManagementService,
  SecretNotFound,
} from "../mod.ts"
import type { IO } from "./_io.ts"
import { optionsOf, type Services } from "./_services.ts"

/** What the index root is sealed with, beside the key. */
export const INDEX_ROOT_CONTEXT = { purpose: "encx.v2.index-root" } as const

/** A version of the pepper, without the pepper. */
export interface PepperVersion {
  readonly version: string
  readonly stage: string
  /** What a hash names it by, in hex. */
  readonly id: string
  /** Why a program would refuse it. */
  readonly problem?: string
}

/** What was made, and what was there before. */
export interface MadeSecrets {
  readonly created: readonly string[]
  readonly existing: readonly string[]
}

/** The versions of the pepper, the current one first; none when the store says that there is no pepper. */
export async function pepperVersions(
  store: SecretManagementService,
  alias: string,
  { signal }: Pick<IO, "signal">,
): Promise<PepperVersion[]> {
  const versions = (await unlessAbsent(store.getPepper(alias, { signal }))) ?? []
  return versions.map(({ version, stage, value }) => {
    const id = Buffer.from(pepperID(value)).toString("hex")
    const problem = pepperProblem(value)
    value.fill(0)
    return { version, stage, id, ...(problem === undefined ? {} : { problem }) }
  })
}

/** The sealed index root, or `undefined` when the store says that there is none. */
export async function sealedIndexRoot(
  store: SecretManagementService,
  alias: string,
  { signal }: Pick<IO, "signal">,
): Promise<Uint8Array | undefined> {
  return await unlessAbsent(store.getIndexRoot(alias, { signal }))
}

/** Makes what is absent. Of many at once one makes it, and the others find it there. */
export async function createSecrets(
  services: Services,
  store: SecretManagementService,
  io: Pick<IO, "signal">,
): Promise<MadeSecrets> {
  const { pepperAlias: alias } = services
  const { signal } = io
  const hasPepper = await store.pepperExists(alias, { signal })
  const hasRoot = (await sealedIndexRoot(store, alias, io)) !== undefined
  // Sealed before anything is stored: a key that cannot be used leaves no half of the two behind.
  const sealed = hasRoot ? undefined : await sealNewRoot(services, io)
  const madePepper = !hasPepper && (await unlessThere(storeNewPepper(store, alias, io)))
  const madeRoot = sealed !== undefined && (await unlessThere(store.storeIndexRoot(alias, sealed, { signal })))
  const made = [madePepper, madeRoot]
  return { created: NAMES.filter((_, i) => made[i]), existing: NAMES.filter((_, i) => !made[i]) }
}
const NAMES = ["pepper", "index root"] as const

/** 32 bytes for a pepper, lent and wiped. */
export async function withNewPepper(use: (pepper: Uint8Array) => Promise<void>): Promise<void> {
  const pepper = randomFillSync(new Uint8Array(32))
  try {
    await use(pepper)
  } finally {
    pepper.fill(0)
  }
}

async function storeNewPepper(
  store: SecretManagementService,
  alias: string,
  { signal }: Pick<IO, "signal">,
): Promise<void> {
  await withNewPepper((pepper) => store.storePepper(alias, pepper, { signal }))
}

async function sealNewRoot(services: Services, { signal }: Pick<IO, "signal">): Promise<Uint8Array> {
  const sealing = await newCrypto(...optionsOf(services, "keys"))
  const root = randomFillSync(new Uint8Array(32))
  try {
    return await sealing.seal(root, INDEX_ROOT_CONTEXT, { signal })
  } finally {
    root.fill(0)
    await sealing.close()
  }
}

async function unlessAbsent<Result>(reading: Promise<Result>): Promise<Result | undefined> {
  try {
    return await reading
  } catch (error) {
    if (error instanceof SecretNotFound) return undefined
    throw error
  }
}

async function unlessThere(storing: Promise<void>): Promise<boolean> {
  try {
    await storing
    return true
  } catch (error) {
    if (error instanceof SecretExists) return false
    throw error
  }
}
