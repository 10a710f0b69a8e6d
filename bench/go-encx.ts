/** How long a record of the Go library's layout takes, here and in its Go peer: `npm run bench -- go-encx`. */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { type GoField, type GoSchema, type GoSealedRow, goString, goTime, pointer } from "../core/go-encx/mod.ts"
import { newCrypto, type PlainField, plain, record, withDatabase, withKEKAlias, withKMSService } from "../mod.ts"
import { seededKMS } from "../test/go-encx/_program.ts"
import { PEERS, REQUIRED } from "../test/vectors.ts"

/** How much is measured. */
export interface GoEncxOptions {
  /** Records in one round: no more than the data-key cache holds. @default {500} */
  readonly records?: number
  /** Rounds, of which the median is told; both sides take turns. @default {15} */
  readonly rounds?: number
}

/** Microseconds for one record, the median of the rounds. */
export interface Times {
  readonly seal: number
  /** With its data key unwrapped. */
  readonly open: number
}

/** What was measured. */
export interface GoEncxResult {
  readonly records: number
  readonly rounds: number
  readonly ours: Times & {
    /** Once more, with its data key from the cache: the Go library has none. */
    readonly reopen: number
  }
  /** Absent where the peer cannot be built. */
  readonly go: Times | undefined
  /** Why it is absent. */
  readonly skipped: string | undefined
}

/** Four encrypted fields and one hash. */
type Person = {
  readonly ID: PlainField<number>
  readonly Email: GoField<string, true, true, false>
  readonly Name: GoField<string, true, false, false>
  readonly Phone: GoField<string | null, true, false, false>
  readonly Born: GoField<bigint | null, true, false, false>
}
const PEOPLE: GoSchema<Person> = record(
  "people",
  { layout: "go-encx" },
  {
    ID: plain<number>(),
    Email: goString().encrypt().hashBasic(),
    Name: goString().encrypt(),
    Phone: pointer(goString()).encrypt(),
    Born: goTime().encrypt(),
  },
)
const SOURCES = join(PEERS, "go-encx")
const LOOP = fileURLToPath(new URL("./_go-encx_test.go", import.meta.url))

/** Seals and opens records on both sides, in turns. */
export async function goEncx({ records = 500, rounds = 15 }: GoEncxOptions = {}): Promise<GoEncxResult> {
  const folder = mkdtempSync(join(tmpdir(), "encx-bench-"))
  const crypto = await newCrypto(
    withKMSService(seededKMS(Uint8Array.of(0, 0x5e, 0xed))),
    withKEKAlias("alias/interop"),
    withDatabase(`sqlite:${join(folder, "keys.db")}`),
  )
  const peer = build()
  const ours = { seal: [] as number[], open: [] as number[], reopen: [] as number[] }
  const go = { seal: [] as number[], open: [] as number[] }
  try {
    // One round more: the first, in which this side is compiled, is not counted.
    for (let round = 0; round <= rounds; round++) {
      let rows: GoSealedRow<typeof PEOPLE>[] = []
      const seal = await timed(records, async () => {
        rows = []
        for (let i = 0; i < records; i++) rows.push(await crypto.sealRecord(PEOPLE, person(i)))
      })
      if (peer.binary) go.seal.push(loop(peer.binary, "Seal", records))
      const openAll = async (): Promise<void> => {
        for (const row of rows) await crypto.openRecord(PEOPLE, row)
      }
      const open = await timed(records, openAll)
      if (peer.binary) go.open.push(loop(peer.binary, "Open", records))
      const reopen = await timed(records, openAll)
      if (round === 0) {
        for (const each of Object.values(go)) each.length = 0
        continue
      }
      ours.seal.push(seal)
      ours.open.push(open)
      ours.reopen.push(reopen)
    }
  } finally {
    await crypto.close()
    rmSync(folder, { recursive: true, force: true })
  }
  return {
    records,
    rounds,
    ours: { seal: median(ours.seal), open: median(ours.open), reopen: median(ours.reopen) },
    go: peer.binary ? { seal: median(go.seal), open: median(go.open) } : undefined,
    skipped: peer.problem,
  }
}

const person = (i: number): { ID: number; Email: string; Name: string; Phone: string; Born: bigint } => ({
  ID: i,
  Email: `ada${i}@example.org`,
  Name: "Ada Lovelace",
  Phone: "+44 20 7946 0000",
  Born: -4_859_000_000_000_000_000n,
})

async function timed(records: number, work: () => Promise<void>): Promise<number> {
  const start = performance.now()
  await work()
  return ((performance.now() - start) * 1000) / records
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number
}

// --- The peer ---

interface Peer {
  readonly binary?: string
  readonly problem?: string
}

// Its own sources and a loop of ours, built once for each state of both.
function build(): Peer {
  const problem = !existsSync(join(SOURCES, "go.mod"))
    ? `${SOURCES} is absent (ENCX_PEERS names its folder)`
    : spawnSync("go", ["version"]).status === 0
      ? undefined
      : "Go is not installed"
  if (problem) {
    if (REQUIRED) throw new Error(`Cannot measure the Go peer: ${problem}`)
    return { problem }
  }
  const sources = readdirSync(SOURCES).filter((file) => /\.(go|mod|sum)$/.test(file))
  const digest = createHash("sha256").update(readFileSync(LOOP))
  for (const file of sources.toSorted()) digest.update(`${file}\0`).update(readFileSync(join(SOURCES, file)))
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "encx")
  const suffix = process.platform === "win32" ? ".exe" : ""
  const binary = join(cache, `go-encx-bench-${digest.digest("hex").slice(0, 16)}${suffix}`)
  if (existsSync(binary)) return { binary }
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(tmpdir(), "encx-peer-"))
  try {
    for (const file of sources) copyFileSync(join(SOURCES, file), join(folder, file))
    copyFileSync(LOOP, join(folder, "bench_test.go"))
    const unfinished = join(folder, `bench${suffix}`)
    const built = spawnSync("go", ["test", "-c", "-o", unfinished, "."], { cwd: folder, encoding: "utf8" })
    if (built.status !== 0) throw new Error(`Cannot build the Go peer: ${built.error ?? built.stderr}`)
    copyFileSync(unfinished, `${binary}.${process.pid}`)
    renameSync(`${binary}.${process.pid}`, binary)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return { binary }
}

// Microseconds for one record, looped and timed inside the peer.
function loop(binary: string, name: "Seal" | "Open", records: number): number {
  const { stdout, stderr, status } = spawnSync(
    binary,
    ["-test.run=^$", `-test.bench=^Benchmark${name}$`, `-test.benchtime=${records}x`],
    { encoding: "utf8", cwd: tmpdir() },
  )
  const nanoseconds = Number(/ ([\d.]+) ns\/op/.exec(stdout)?.[1])
  if (status === 0 && nanoseconds > 0) return nanoseconds / 1000
  throw new Error(`Cannot measure the Go peer: ${stdout}${stderr}`)
}

// --- The report ---

/** The lines that the command prints. */
export function describeGoEncx({ records, rounds, ours, go, skipped }: GoEncxResult): string[] {
  const row = (title: string, mine: number, theirs: number | undefined): string => {
    const ratio =
      theirs === undefined ? "" : `${theirs.toFixed(1).padStart(10)} ${(mine / theirs).toFixed(2).padStart(10)}`
    return `${title.padEnd(38)}${mine.toFixed(1).padStart(10)} ${ratio}`.trimEnd()
  }
  return [
    "A record of four encrypted fields and one hash, microseconds; a KMS and a keys.db in each process",
    `Medians of ${rounds} rounds of ${records.toLocaleString("en")} records, in turns; each side is timed inside its own process`,
    `${"".padEnd(38)}${"encx".padStart(10)}${go ? ` ${"Go peer".padStart(10)} ${"ratio".padStart(10)}` : ""}`,
    row("seal: new data key, wrapped", ours.seal, go?.seal),
    row("open: data key unwrapped", ours.open, go?.open),
    row("open again: data key from the cache", ours.reopen, go?.open),
    ...(skipped ? [`The Go peer was skipped: ${skipped}`] : []),
  ]
}
