/** Measures contenders against each other: a process for each, taking turns in short rounds, so that whatever else the machine does hits all. */
import { join } from "node:path"
import { type Peer, type Runtime, startPeer } from "./_peer.ts"
import { type Case, casesOf, type Group } from "./cases.ts"
import { CONTENDERS, type ContenderName, NAMES, versionOf } from "./contenders.ts"
import { type Count, type Failure, type Figure, median } from "./results.ts"

/** How much is measured. */
export interface Effort {
  /** Rounds of a case; each contender has a turn in each. */
  readonly rounds: number
  /** Of a stream or a file, which take long. */
  readonly longRounds: number
  /** How long a turn takes, about. */
  readonly turnMs: number
  readonly warmUpMs: number
  /** Bytes of a stream and a file. */
  readonly streamBytes: number
  /** A contender that takes longer for a stream gets a shorter one; what it takes is told byte for byte. */
  readonly streamMs: number
  /** Bytes of the stream by which that is judged. */
  readonly sampleBytes: number
  /** Records of the import. */
  readonly imports: number
  /** Callers who miss the cache at the same moment. */
  readonly callers: readonly number[]
  /** Hits of the cache. */
  readonly hits: number
  /** How often each program is started. */
  readonly startups: number
}

const MiB = 2 ** 20

/** All of it: about half an hour. */
export const FULL: Effort = {
  rounds: 11,
  longRounds: 5,
  turnMs: 60,
  warmUpMs: 300,
  streamBytes: 1024 * MiB,
  streamMs: 2000,
  sampleBytes: 16 * MiB,
  imports: 1_000_000,
  callers: [3_000, 10_000],
  hits: 5_000_000,
  startups: 15,
}
/** Under two minutes. */
export const QUICK: Effort = {
  rounds: 4,
  longRounds: 3,
  turnMs: 12,
  warmUpMs: 40,
  streamBytes: 32 * MiB,
  streamMs: 300,
  sampleBytes: 4 * MiB,
  imports: 20_000,
  callers: [3_000],
  hits: 500_000,
  startups: 3,
}

/** What is measured, where and with whom. */
export interface Plan {
  readonly groups: readonly Group[]
  readonly runtimes: readonly Runtime[]
  readonly contenders: readonly ContenderName[]
  readonly effort: Effort
  /** For files; the caller takes it away. */
  readonly folder: string
  /** Told what comes next. */
  readonly onStep?: (step: string) => void
}

/** What was found. */
export interface Compared {
  readonly figures: readonly Figure[]
  readonly counts: readonly Count[]
  readonly failures: readonly Failure[]
}

/** Measures runtime by runtime: ratios are between contenders of one. */
export async function compare(plan: Plan): Promise<Compared> {
  const found: Found = { figures: [], counts: [], failures: [] }
  const cases = casesOf(plan.effort.streamBytes).filter(({ group }) => plan.groups.includes(group))
  const counted = countsOf(plan)
  if (cases.length + counted.length === 0) return found
  for (const runtime of plan.runtimes) {
    const peers = new Map<ContenderName, Peer>()
    try {
      for (const name of contendersOn(plan, runtime)) {
        await orFailure(found, { what: "start", runtime, contender: name }, async () => {
          peers.set(name, await startPeer(runtime, CONTENDERS[name].module, join(plan.folder, runtime, name)))
        })
      }
      for (const each of cases) {
        plan.onStep?.(`${runtime}: ${each.title}`)
        await measure(found, each, runtime, peers, plan.effort)
      }
      for (const [what, count] of counted) {
        plan.onStep?.(`${runtime}: ${what}, ${count.toLocaleString("en")}`)
        for (const [contender, peer] of peers) {
          if (!peer.alive) continue
          await orFailure(found, { what, runtime, contender }, async () => {
            const result = await peer.count({ what, count })
            if (result) found.counts.push({ what, runtime, contender, count, ...result })
          })
        }
      }
    } finally {
      await Promise.all([...peers.values()].map((peer) => peer.end()))
    }
  }
  return found
}

interface Found extends Compared {
  readonly figures: Figure[]
  readonly counts: Count[]
  readonly failures: Failure[]
}

/** A contender that fails has no figure; the others go on, and so does it where it can. */
async function orFailure<Result>(
  { failures }: Found,
  where: Omit<Failure, "message">,
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await work()
  } catch (error) {
    failures.push({ ...where, message: (error as Error).message })
    return undefined
  }
}

/** Commands are beside Node only: their time has nothing to do with a runtime. */
function contendersOn({ contenders }: Plan, runtime: Runtime): ContenderName[] {
  return NAMES.filter((name) => {
    const { command, onlyNode } = CONTENDERS[name]
    return contenders.includes(name) && (runtime === "node" || !(command || onlyNode)) && versionOf(CONTENDERS[name])
  })
}

function countsOf({ groups, effort }: Plan): [Count["what"], number][] {
  return [
    ...(groups.includes("misses")
      ? effort.callers.flatMap((n): [Count["what"], number][] => [
          ["misses", n],
          ["openMisses", n],
        ])
      : []),
    ...(groups.includes("cache") ? [["hits", effort.hits] satisfies [Count["what"], number]] : []),
    ...(groups.includes("import") ? [["imports", effort.imports] satisfies [Count["what"], number]] : []),
  ]
}

// --- One case ---

interface Entrant {
  readonly contender: ContenderName
  readonly peer: Peer
  readonly times: number
  readonly bytes: number | undefined
  readonly rounds: number[]
}

async function measure(
  found: Found,
  each: Case,
  runtime: Runtime,
  peers: ReadonlyMap<ContenderName, Peer>,
  effort: Effort,
): Promise<void> {
  const where = (contender: ContenderName): Omit<Failure, "message"> => ({ what: each.title, runtime, contender })
  const entrants: Entrant[] = []
  for (const [contender, peer] of peers) {
    if (!peer.alive) continue
    const entrant = await orFailure(found, where(contender), () => enter(each, contender, peer, effort))
    if (entrant) entrants.push(entrant)
  }
  const rounds = isLong(each) ? effort.longRounds : effort.rounds
  for (let round = 0; round < rounds; round++) {
    // Whoever comes first pays for what the last round left behind: each in turn.
    for (let i = 0; i < entrants.length; i++) {
      const { contender, peer, times, rounds: done } = entrants[(i + round) % entrants.length] as Entrant
      const ran = peer.alive ? await orFailure(found, where(contender), () => peer.run(times)) : undefined
      done.push(ran?.ns ?? Number.NaN)
    }
  }
  for (const { peer } of entrants) if (peer.alive) await peer.drop()
  // Who failed on the way has no figure, and nobody is compared with it.
  const whole = entrants.filter((entrant) => !entrant.rounds.some(Number.isNaN))
  found.figures.push(...whole.map((entrant) => figureOf(each, runtime, entrant, whole)))
}

const isLong = ({ part }: Case): boolean => part === "stream" || part === "file"

async function enter(each: Case, contender: ContenderName, peer: Peer, effort: Effort): Promise<Entrant | undefined> {
  const long = isLong(each)
  const tried = await peer.prepare({
    case: { ...each, size: long ? Math.min(each.size, effort.sampleBytes) : each.size },
    warmUpMs: effort.warmUpMs,
  })
  if (tried.absent) return undefined
  const { ns = Number.NaN, bytes = 1 } = tried
  if (!long) {
    const times = Math.max(1, Math.round((effort.turnMs * 1e6) / ns))
    return { contender, peer, times, bytes: tried.bytes, rounds: [] }
  }
  await peer.drop()
  const fits = Math.floor((effort.streamMs * 1e6 * bytes) / ns / MiB) * MiB
  const size = Math.min(each.size, Math.max(bytes, fits))
  await peer.prepare({ case: { ...each, size } })
  return { contender, peer, times: 1, bytes: size, rounds: [] }
}

function figureOf(each: Case, runtime: Runtime, entrant: Entrant, entrants: readonly Entrant[]): Figure {
  const { contender, bytes, rounds } = entrant
  return {
    case: each.name,
    title: each.title,
    group: each.group,
    runtime,
    contender,
    ns: median(rounds),
    ...(bytes === undefined ? {} : { bytes }),
    ...ratio(
      "ofRaw",
      entrant,
      entrants.find((other) => other.contender === "raw"),
    ),
    ...ratio(
      "ofEncx",
      entrant,
      entrants.find((other) => other.contender === "encx"),
    ),
    rounds: rounds.length,
    spread: [Math.min(...rounds), Math.max(...rounds)],
  }
}

/** Byte for byte, round by round: what slows one turn slows the next one, too. */
function ratio<Name extends string>(name: Name, mine: Entrant, other: Entrant | undefined): { [key in Name]?: number } {
  if (!other) return {}
  const perByte = ({ rounds, bytes = 1 }: Entrant, i: number): number => (rounds[i] as number) / bytes
  return { [name]: median(mine.rounds.map((_, i) => perByte(mine, i) / perByte(other, i))) } as {
    [key in Name]: number
  }
}
