/** This library, as a program uses it: keys of a KMS in memory, the cache as it comes, nothing observed. */
import { DEK_CACHE_DEFAULTS, DEKCache } from "../../core/keys/dek-cache.ts"
import {
  type Crypto,
  lowercase,
  newCrypto,
  type Option,
  plain,
  record,
  type SealedRow,
  text,
  trim,
  withIndexRoot,
  withKEKAlias,
  withKMSService,
} from "../../mod.ts"
import { memory } from "../../providers/memory.ts"
import { counting, total } from "../_counting.ts"
import {
  type Contender,
  type Counted,
  KMS_MS,
  type Person,
  type Pipe,
  personOf,
  type Records,
  readableOf,
} from "../contender.ts"

const PEOPLE = record(
  "people",
  { row: "id" },
  {
    id: plain<number>(),
    email: text()
      .encrypt()
      .index({ normalize: [trim, lowercase] }),
    name: text().encrypt(),
    phone: text().encrypt(),
    note: text().encrypt(),
  },
)
const BATCH = 10_000

/** A program of its own, whose KMS answers after a while, and is counted. */
async function program(answerMs = 0, ...options: Option[]): Promise<{ crypto: Crypto; calls: () => number }> {
  const keys = memory({ allowInProduction: true })
  await keys.createKey("app")
  const { service, calls } = counting(keys, answerMs)
  const crypto = await newCrypto(
    withKMSService(service),
    withKEKAlias("app"),
    withIndexRoot(new Uint8Array(32).fill(7)),
    ...options,
  )
  const before = total(calls)
  return { crypto, calls: () => total(calls) - before }
}

const { crypto } = await program()

async function counted(work: () => Promise<unknown>, calls?: () => number): Promise<Counted> {
  const start = performance.now()
  await work()
  const ns = Math.round((performance.now() - start) * 1e6)
  return { ns, ...(calls && { calls: calls() }) }
}

const piped =
  (transform: (size: number) => { readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array> }): Pipe =>
  async (source, sink, size) =>
    await readableOf(source)
      .pipeThrough(transform(size))
      .pipeTo(new WritableStream({ write: sink }))

const records: Records = {
  seal: (person: Person) => crypto.sealRecord(PEOPLE, person),
  open: (row) => crypto.openRecord(PEOPLE, row as SealedRow<typeof PEOPLE>),
}

const encx: Contender = {
  values: (context) => ({
    seal: (plaintext) => crypto.seal(plaintext as Uint8Array, context),
    open: (sealed) => crypto.open(sealed as Uint8Array, context),
  }),
  records: () => records,
  streams: () => ({
    seal: piped((size) => crypto.encryptStream(undefined, { size })),
    open: piped(() => crypto.decryptStream()),
  }),
  files: () => ({
    seal: async (source, target) => void (await crypto.sealFile(source, target, undefined, { overwrite: true })),
    open: async (source, target) => void (await crypto.openFile(source, target, undefined, { overwrite: true })),
  }),
  misses: async (callers) => {
    const cold = await program(KMS_MS)
    const plaintext = new Uint8Array(64)
    const asks = Array.from({ length: callers }, () => plaintext)
    const result = await counted(() => Promise.all(asks.map((each) => cold.crypto.seal(each))), cold.calls)
    await cold.crypto.close()
    return result
  },
  openMisses: async (callers) => {
    const cold = await program(KMS_MS)
    const sealed = await cold.crypto.seal(new Uint8Array(64))
    // Nothing is kept any more, on either side.
    cold.crypto.invalidate()
    const before = cold.calls()
    const asks = Array.from({ length: callers }, () => sealed)
    const { ns } = await counted(() => Promise.all(asks.map((each) => cold.crypto.open(each))))
    const calls = cold.calls() - before
    await cold.crypto.close()
    return { ns, calls }
  },
  hits: async (count) => {
    const cache = new DEKCache({ ...DEK_CACHE_DEFAULTS, maxMessages: 2 ** 32 }, Date)
    const key = { destroy: () => undefined }
    const use = { messages: 1, bytes: 64 }
    const make = (): Promise<typeof key> => Promise.resolve(key)
    const first = await cache.seal("", use, make)
    first.release()
    const result = await counted(async () => {
      for (let i = 0; i < count; i++) {
        const lease = cache.seal("", use, make)
        if (lease instanceof Promise) throw new Error("Cannot count hits: the key was not there")
        lease.release()
      }
    })
    cache.close()
    return result
  },
  imports: async (count) => {
    const fresh = await program()
    const result = await counted(async () => {
      for (let done = 0; done < count; done += BATCH) {
        const batch = Array.from({ length: Math.min(BATCH, count - done) }, (_, i) => personOf(done + i))
        await fresh.crypto.sealRecords(PEOPLE, batch)
      }
    }, fresh.calls)
    await fresh.crypto.close()
    return result
  },
  close: () => crypto.close(),
}
export default encx
