/**
 * What a program finds when it starts: its key, its peppers, its index root. What is absent is made only where the program
 * said so; what could not be asked for is never taken for absent.
 *
 * @module
 */
import { randomBytes, wipe } from "./bytes.ts"
import { encodeContext } from "./cipher/context.ts"
import type { ResolvedConfiguration, ResolvedKEK, ResolvedSecret } from "./configuration.ts"
import type { Context, KEKVersionStore } from "./contracts.ts"
import { KeyExists, KeyNotFound, SecretExists, SecretNotFound, UninitializedPepper } from "./errors.ts"
import { IndexRoot } from "./hash/blind-index.ts"
import { Peppers } from "./hash/pepper.ts"
import { PEPPER_LENGTH, pepperProblem } from "./hash/pepper-id.ts"
import type { DataKeys } from "./keys/data-keys.ts"
import { openEnvelope, sealWith } from "./keys/envelopes.ts"

const INDEX_ROOT_CONTEXT: Context = { purpose: "encx.v2.index-root" }

/**
 * Asks every service that the first key does not live in, before something is made: a start that cannot reach one of them makes
 * nothing.
 */
export async function askServices({ keks, pepper, indexRoot, database }: Services): Promise<void> {
  // One after the other: when one fails, none of the others goes on after the start has ended.
  await database?.listVersions(keks[0].alias)
  for (const { kms, alias } of keks.slice(1)) await kms.getKeyID(alias)
  if (pepper && "store" in pepper) await pepper.store.pepperExists(pepper.alias)
  if (indexRoot && "store" in indexRoot) await unlessAbsent(indexRoot.store.getIndexRoot(indexRoot.alias))
}

type Services = Pick<ResolvedConfiguration, "keks" | "pepper" | "indexRoot" | "database">

/**
 * Makes the key-encryption key when the KMS says that there is none, and a database records none either: what it records are the
 * keys that sealed the data, whatever became of the alias.
 *
 * @param ask what must not fail before
 */
export async function createMissingKEK(
  { kms, alias }: ResolvedKEK,
  database: KEKVersionStore | undefined,
  ask: () => Promise<void>,
): Promise<void> {
  if (database && (await database.listVersions(alias)).length > 0) return
  try {
    await kms.getKeyID(alias)
  } catch (error) {
    if (!(error instanceof KeyNotFound) || !kms.createKey) throw error
    await ask()
    await unlessThere(kms.createKey(alias), KeyExists)
  }
}

/**
 * Reads the peppers.
 *
 * @param create whether one is made when the store says that there is none
 * @param ask what must not fail before
 */
export async function loadPeppers(source: ResolvedSecret, create: boolean, ask: () => Promise<void>): Promise<Peppers> {
  if ("values" in source) return using(source.values, () => new Peppers(source.values as [Uint8Array]))
  const { store, alias } = source
  const read = async (): Promise<Peppers> => {
    const versions = await store.getPepper(alias)
    const values = versions.map(({ value }) => value)
    const problem =
      versions[0]?.stage !== "current"
        ? "its first version is not the current one"
        : values.map(pepperProblem).find((each) => each !== undefined)
    return using(values, () => {
      if (problem === undefined) return new Peppers(values as [Uint8Array])
      throw new UninitializedPepper(`Cannot use the pepper at "${store.getStoragePath(alias)}": ${problem}`)
    })
  }
  const found = await unlessAbsent(read())
  if (found) return found
  if (!create) {
    throw new UninitializedPepper(`Cannot start: there is no pepper at "${store.getStoragePath(alias)}"`, {
      hint: "check the alias; or store one first: encx pepper init, or withBootstrap({ createPepper: true }) at the first start",
    })
  }
  await ask()
  const pepper = randomBytes(PEPPER_LENGTH)
  try {
    await unlessThere(store.storePepper(alias, pepper), SecretExists)
  } finally {
    wipe(pepper)
  }
  // Whoever was first, what the store holds now is the pepper.
  return await read()
}

/**
 * Reads the index root.
 *
 * @param create whether one is made when the store says that there is none
 */
export async function loadIndexRoot(
  source: ResolvedSecret,
  dataKeys: DataKeys,
  create: boolean,
): Promise<IndexRoot | undefined> {
  if ("values" in source) return using(source.values, () => new IndexRoot(source.values[0] as Uint8Array))
  const { store, alias } = source
  const read = async (): Promise<IndexRoot> => {
    const root = await openEnvelope(dataKeys, await store.getIndexRoot(alias), INDEX_ROOT_CONTEXT)
    return using([root], () => new IndexRoot(root))
  }
  const found = await unlessAbsent(read())
  // Without a root nothing is indexed or looked up, and the first that asks for it is told so.
  if (found || !create) return found
  const key = await dataKeys.keyring.generate()
  const root = randomBytes(32)
  try {
    await unlessThere(store.storeIndexRoot(alias, sealWith(key, root, encodeContext(INDEX_ROOT_CONTEXT))), SecretExists)
  } finally {
    wipe(root)
    key.destroy()
  }
  return await read()
}

/** Makes something of secrets, and wipes them however that ends. */
function using<Result>(secrets: readonly Uint8Array[], make: () => Result): Result {
  try {
    return make()
  } finally {
    wipe(...secrets)
  }
}

async function unlessAbsent<Result>(reading: Promise<Result>): Promise<Result | undefined> {
  return await reading.catch((error: unknown) => {
    if (error instanceof SecretNotFound) return undefined
    throw error
  })
}

async function unlessThere(creating: Promise<unknown>, there: new (...args: never[]) => Error): Promise<void> {
  await creating.catch((error: unknown) => {
    if (!(error instanceof there)) throw error
  })
}
