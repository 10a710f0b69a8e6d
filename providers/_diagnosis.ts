/** What every diagnosis is made of. */
import type { Diagnosis } from "../core/contracts.ts"
import { EncxError } from "../core/errors.ts"

/** What an attempt gave; what is no error of ours, such as a signal's reason, ends the diagnosis. */
export async function attempt<Value>(look: () => Promise<Value>): Promise<{ value: Value } | { error: unknown }> {
  try {
    return { value: await look() }
  } catch (error) {
    return { error }
  }
}

/** A check that failed, for a reason that says what to do. */
export function failed(check: string, error: unknown): Diagnosis {
  if (!(error instanceof EncxError)) throw error
  const { message: detail, hint } = error
  return { check, ok: false, detail, ...(hint === undefined ? {} : { hint }) }
}
