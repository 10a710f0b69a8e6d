/** How many KMS calls it takes to seal many records: `npm run bench -- kms-calls`. */
import { newCrypto, number, plain, record, withDEKCache, withKEKAlias, withKMSService } from "../mod.ts"
import { memory } from "../providers/memory.ts"
import { counting, total } from "./_counting.ts"

/** How much is sealed, and how far a data key goes. */
export interface KMSCallsOptions {
  /** @default {1_000_000} */
  readonly records?: number
  /** Records that one data key seals. @default {1_000} */
  readonly maxMessages?: number
  /** Told after each batch how many records are sealed. */
  readonly onProgress?: (sealed: number) => void
}

/** What was counted, at the door of the KMS. */
export interface KMSCallsResult {
  readonly records: number
  readonly maxMessages: number
  /** Calls at the start of the program: its alias is resolved. */
  readonly atStart: number
  /** Calls while it sealed. */
  readonly whileSealing: number
  /** Data keys in the rows: as many as calls, if none was paid for in vain. */
  readonly dataKeys: number
  readonly seconds: number
}

const READINGS = record("readings", { row: "id" }, { id: plain<number>(), value: number().encrypt() })
const BATCH = 10_000
// Calls are what is counted: no key grows too old on a slow machine.
const NO_AGE = { maxAgeMs: 86_400_000 }

/** Seals records through the data-key cache and counts. */
export async function kmsCalls({
  records = 1_000_000,
  maxMessages = 1_000,
  onProgress = () => undefined,
}: KMSCallsOptions = {}): Promise<KMSCallsResult> {
  const keys = memory()
  await keys.createKey("app")
  const { service, calls } = counting(keys)
  const crypto = await newCrypto(withKMSService(service), withKEKAlias("app"), withDEKCache({ maxMessages, ...NO_AGE }))
  const atStart = total(calls)
  const dataKeys = new Set<string>()
  const start = performance.now()
  for (let done = 0; done < records; done += BATCH) {
    const ids = Array.from({ length: Math.min(BATCH, records - done) }, (_, i) => done + i)
    const batch = ids.map((id) => ({ id, value: id / 7 }))
    for (const row of await crypto.sealRecords(READINGS, batch)) dataKeys.add(crypto.inspect(row.dek_encrypted).dekID)
    onProgress(done + batch.length)
  }
  const seconds = (performance.now() - start) / 1000
  await crypto.close()
  return { records, maxMessages, atStart, whileSealing: total(calls) - atStart, dataKeys: dataKeys.size, seconds }
}

/** The lines that the command prints. */
export function describeKMSCalls(result: KMSCallsResult): string[] {
  const { records, maxMessages, atStart, whileSealing, dataKeys, seconds } = result
  const n = (value: number): string => value.toLocaleString("en")
  return [
    `records sealed            ${n(records)}`,
    `records for a data key    ${n(maxMessages)} at most`,
    `KMS calls, sealing        ${n(whileSealing)}`,
    `KMS calls, at the start   ${n(atStart)}`,
    `data keys in the rows     ${n(dataKeys)}`,
    `seconds                   ${seconds.toFixed(1)} (${n(Math.round(records / seconds))} records a second)`,
  ]
}
