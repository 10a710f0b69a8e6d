import type { Clock } from "../contracts.ts"
import type { Destroyable } from "./_entry.ts"
import { type CacheCounters, noCounters, type Program } from "./_program.ts"
import { Side, type Which } from "./_side.ts"
import { Slots } from "./_slots.ts"
import type { DEKCacheOptions } from "./cache-limits.ts"
import type { DEKCacheStats, Eviction } from "./dek-cache.ts"

/** Where keys are kept, of one program or of several. */
export class DEKStore<Sealing extends Destroyable, Opening extends Destroyable> {
  readonly sealing: Side<Sealing>
  readonly opening: Side<Opening>
  readonly slots: Slots
  /** Those that have not closed. */
  readonly programs: Set<Program> = new Set()
  /** What those that closed have counted. */
  readonly #past: CacheCounters = noCounters()

  constructor(limits: Required<DEKCacheOptions>, clock: Clock) {
    this.slots = new Slots(limits.maxFlights)
    this.sealing = new Side({ ...limits, operation: "generateDEK" }, clock, this.slots)
    // What cannot be asked whether a stored key may still be opened is not believed.
    this.opening = new Side({ ...limits, operation: "decryptDEK", staleIfErrorMs: 0 }, clock, this.slots)
  }

  invalidate(which: Which): void {
    this.sealing.invalidate(which)
    this.opening.invalidate(which)
  }

  leave(program: Program): void {
    if (program.isClosed) return
    program.isClosed = true
    this.programs.delete(program)
    const { namespace } = program
    // Whoever has the same services and keys goes on with what is there.
    if ([...this.programs].every((other) => other.namespace !== namespace))
      this.invalidate((place) => place.namespace === namespace)
    this.sealing.leave(program)
    this.opening.leave(program)
    addCounters(this.#past, program.counters)
    // What it leaves behind is counted on.
    program.counters = this.#past
  }

  close(): void {
    this.sealing.close()
    this.opening.close()
  }

  stats(): DEKCacheStats {
    const sum = noCounters()
    for (const counters of [this.#past, ...[...this.programs].map((each) => each.counters)]) addCounters(sum, counters)
    return { ...sum, flights: this.slots.taken, queued: this.slots.queued }
  }
}

function addCounters(sum: CacheCounters, more: CacheCounters): void {
  for (const name of Object.keys(sum) as (keyof CacheCounters)[]) if (name !== "evictions") sum[name] += more[name]
  for (const reason of Object.keys(sum.evictions) as Eviction[]) sum.evictions[reason] += more.evictions[reason]
}
