/** Many data keys in one request: one that fails is told for itself. */
import { abytes, base64, copyOf, wipe } from "../core/bytes.ts"
import type { CallOptions, Context, WrappedDEK } from "../core/contracts.ts"
import { EncxError, KeyNotFound } from "../core/errors.ts"
import { type Answer, type Connection, errorsOf, recordOf, stringsOf } from "./_vault.ts"
import { badAnswer, vaultError } from "./_vault-errors.ts"
import { associated, wrapText } from "./_vault-keys.ts"
import type { KnownKeys } from "./_vault-known-keys.ts"

/** A data key to wrap. */
export interface WrapItem {
  /** 32 bytes. */
  readonly dek: Uint8Array
  readonly context: Context
}

/** A wrapped data key. */
export interface UnwrapItem {
  readonly wrapped: WrappedDEK
  /** The context that it was wrapped with. */
  readonly context: Context
}

/** How one item of a batch ended. */
export type BatchResult<Value> = { readonly value: Value } | { readonly error: EncxError }

/** What batches need of the service. */
export interface BatchParts {
  readonly connection: Connection
  readonly mount: string
  readonly bindContext: boolean
  nameOf(keyID: string): string
  readonly keys: Pick<KnownKeys, "present" | "same" | "denied">
  readWrap(name: string, operation: string, answer: Pick<Answer, "data">): WrappedDEK
  readPlaintext(operation: string, answer: Pick<Answer, "data">): Uint8Array
}

/** The batches of the service. */
export interface Batches {
  encryptDEKs(
    keyID: string,
    items: readonly WrapItem[],
    options?: CallOptions,
  ): Promise<readonly BatchResult<WrappedDEK>[]>
  decryptDEKs(items: readonly UnwrapItem[], options?: CallOptions): Promise<readonly BatchResult<Uint8Array>[]>
  rewrapDEKs(items: readonly UnwrapItem[], options?: CallOptions): Promise<readonly BatchResult<WrappedDEK>[]>
}

/** One request of so many is answered well within the time of one attempt. */
const AT_ONCE = 250
const DEK_LENGTH = 32
const MAX_ITEM = 8 * 1024

/** One item on its way: where its result goes, and what is sent. */
interface Entry {
  readonly at: number
  readonly body: () => object
}

/** The items of one key, and what is made of them. */
interface Order<Value> {
  readonly action: "encrypt" | "decrypt" | "rewrap"
  readonly operation: string
  readonly name: string
  readonly entries: readonly Entry[]
  read(answer: Pick<Answer, "data">): Value
  put(at: number, result: BatchResult<Value>): void
  readonly options: CallOptions | undefined
}

/** The batches over one engine. */
export function transitBatches(parts: BatchParts): Batches {
  const { connection, mount, bindContext, nameOf } = parts

  /** Sends some hundred entries at a time. */
  const ask = async <Value>(order: Order<Value>): Promise<void> => {
    for (let from = 0; from < order.entries.length; from += AT_ONCE) {
      const entries = order.entries.slice(from, from + AT_ONCE)
      try {
        await askOnce({ ...order, entries })
      } catch (error) {
        // Of several keys, those that are there give what they can.
        if (!(error instanceof KeyNotFound) || order.action === "encrypt") throw error
        for (const { at } of entries) order.put(at, { error })
      }
    }
  }

  const askOnce = async <Value>({
    action,
    operation,
    name,
    entries,
    read,
    put,
    options,
  }: Order<Value>): Promise<void> => {
    const request = { operation, method: "POST", path: `${mount}/${action}/${name}`, target: name } as const
    const results = await connection.send({
      ...request,
      body: () => ({ batch_input: entries.map(({ body }, i) => ({ ...body(), reference: String(i) })) }),
      // An item that fails makes the whole answer an error.
      takes: ({ data }) => Array.isArray(recordOf(data)["batch_results"]),
      read: ({ data: { batch_results: found } }) => {
        if (Array.isArray(found) && found.length === entries.length) return found.map(recordOf)
        throw badAnswer(connection.service, operation, `not as many results as there were items, ${entries.length}`)
      },
      maxBytes: MAX_ITEM * (entries.length + 1),
      options,
    })
    for (const [i, result] of results.entries()) {
      const { error, reference = "" } = result
      const { at, body } = entries[i] as Entry
      // Servers that know no references give none, or an empty one.
      if (reference !== "" && reference !== String(i))
        throw badAnswer(connection.service, operation, "results in another order than the items'")
      if (typeof error === "string" && error !== "") {
        const answer = { status: 400, errors: errorsOf([error], stringsOf(body())) }
        put(at, { error: vaultError(connection.service, request, answer) })
      } else
        put(
          at,
          attempt(() => read({ data: result })),
        )
    }
  }

  /** Each item by itself, and those that can be sent, by key. */
  const byKey = (
    items: readonly UnwrapItem[],
    body: (item: UnwrapItem) => object,
    refuse: (at: number, result: { error: EncxError }) => void,
  ): Map<string, Entry[]> => {
    const groups = new Map<string, Entry[]>()
    for (const [at, item] of items.entries()) {
      const made = attempt(() => ({ name: nameOf(item.wrapped.keyID), sent: body(item) }))
      if ("error" in made) {
        refuse(at, made)
        continue
      }
      const { name, sent } = made.value
      const entries = groups.get(name) ?? []
      entries.push({ at, body: () => sent })
      groups.set(name, entries)
    }
    return groups
  }

  const unwrapBody = ({ wrapped, context }: UnwrapItem): object => ({
    ciphertext: wrapText(wrapped),
    ...associated(bindContext, context),
  })

  const encrypt = async (
    name: string,
    items: readonly WrapItem[],
    operation: string,
    options?: CallOptions,
  ): Promise<BatchResult<WrappedDEK>[]> => {
    const results: BatchResult<WrappedDEK>[] = []
    const entries = items.map(({ dek, context }, at): Entry => {
      const bound = associated(bindContext, context)
      return { at, body: () => ({ plaintext: base64(dek), ...bound }) }
    })
    if (entries.length === 0) return results
    await parts.keys.present(name, operation, options)
    const read = (answer: Pick<Answer, "data">): WrappedDEK => parts.readWrap(name, operation, answer)
    const put: Order<WrappedDEK>["put"] = (at, result) => {
      results[at] = result
    }
    await ask({ action: "encrypt", operation, name, entries, read, put, options }).catch((error: unknown) =>
      parts.keys.denied(name, operation, error, options),
    )
    const versions = results.flatMap((each) => ("value" in each ? [each.value.version] : []))
    if (versions.length > 0) await parts.keys.same(name, Math.min(...versions), operation, options)
    return results
  }

  const decrypt = async (
    items: readonly UnwrapItem[],
    operation: string,
    options?: CallOptions,
  ): Promise<BatchResult<Uint8Array>[]> => {
    const results: BatchResult<Uint8Array>[] = []
    const put: Order<Uint8Array>["put"] = (at, result) => {
      results[at] = result
    }
    const groups = byKey(items, unwrapBody, put)
    const read = (answer: Pick<Answer, "data">): Uint8Array => parts.readPlaintext(operation, answer)
    try {
      for (const [name, entries] of groups)
        await ask({ action: "decrypt", operation, name, entries, read, put, options })
    } catch (error) {
      wipe(...valuesOf(results))
      throw error
    }
    return results
  }

  return {
    async encryptDEKs(keyID, items, options) {
      for (const { dek } of items) abytes(dek, DEK_LENGTH, "dek")
      options?.signal?.throwIfAborted()
      const own = items.map(({ dek, context }) => ({ dek: copyOf(dek), context: { ...context } }))
      try {
        return await encrypt(nameOf(keyID), own, "encryptDEKs", options)
      } finally {
        wipe(...own.map(({ dek }) => dek))
      }
    },

    async decryptDEKs(items, options) {
      options?.signal?.throwIfAborted()
      return await decrypt(items, "decryptDEKs", options)
    },

    async rewrapDEKs(items, options) {
      options?.signal?.throwIfAborted()
      const results: BatchResult<WrappedDEK>[] = []
      const put: Order<WrappedDEK>["put"] = (at, result) => {
        results[at] = result
      }
      const all = items.map((item, at) => ({ item: ownItem(item), at }))
      const isBound = ({ item }: { item: UnwrapItem }): boolean => bindContext && Object.keys(item.context).length > 0
      const [bound, free] = [all.filter(isBound), all.filter((each) => !isBound(each))]
      const putFree: typeof put = (at, result) => put((free[at] as { at: number }).at, result)
      const itemsOf = (list: typeof all): UnwrapItem[] => list.map(({ item }) => item)

      for (const [name, entries] of byKey(itemsOf(free), unwrapBody, putFree)) {
        const read = (answer: Pick<Answer, "data">): WrappedDEK => parts.readWrap(name, "rewrapDEKs", answer)
        await ask({ action: "rewrap", operation: "rewrapDEKs", name, entries, read, put: putFree, options })
      }
      const opened = await decrypt(itemsOf(bound), "rewrapDEKs", options)
      try {
        const ready = new Map<string, { at: number; item: WrapItem }[]>()
        for (const [i, result] of opened.entries()) {
          const { at, item } = bound[i] as (typeof bound)[number]
          if ("error" in result) {
            put(at, result)
            continue
          }
          const name = nameOf(item.wrapped.keyID)
          const list = ready.get(name) ?? []
          list.push({ at, item: { dek: result.value, context: item.context } })
          ready.set(name, list)
        }
        for (const [name, list] of ready) {
          const wrapped = await encrypt(
            name,
            list.map(({ item }) => item),
            "rewrapDEKs",
            options,
          )
          for (const [i, result] of wrapped.entries()) put((list[i] as { at: number }).at, result)
        }
      } finally {
        wipe(...valuesOf(opened))
      }
      return results
    },
  }
}

const ownItem = ({ wrapped, context }: UnwrapItem): UnwrapItem => ({
  wrapped: { ...wrapped, ciphertext: copyOf(wrapped.ciphertext) },
  context: { ...context },
})
const valuesOf = (results: readonly BatchResult<Uint8Array>[]): Uint8Array[] =>
  results.flatMap((each) => (each && "value" in each ? [each.value] : []))

/** What an item gave; what is no error of ours is nobody's result. */
function attempt<Value>(make: () => Value): BatchResult<Value> {
  try {
    return { value: make() }
  } catch (error) {
    if (error instanceof EncxError) return { error }
    throw error
  }
}
