/**
 * Data that lies beside the checkout and not in it: other people's vectors, and peers in other languages. CI may have
 * it elsewhere (`ENCX_VECTORS`, `ENCX_PEERS`) or not at all; then what needs it is skipped, and says so.
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"

const SHARED = fileURLToPath(new URL("../../shared", import.meta.url))

/** The folder of vectors. */
export const VECTORS: string = process.env.ENCX_VECTORS || join(SHARED, "vectors")
/** The folder of peers. */
export const PEERS: string = process.env.ENCX_PEERS || join(SHARED, "peers")

/** Whether a test must fail, and not be skipped, where what it needs is absent. */
export const REQUIRED: boolean = process.env.ENCX_REQUIRE_SERVERS === "1"

/** The options of a test that needs something: it is skipped for this reason, unless everything is required. */
export function skipIf(absent: boolean, reason: string): { skip: string | false } {
  return { skip: absent && !REQUIRED ? reason : false }
}

/** The options of a test that needs vector files; where they are absent and required, reading them fails it. */
export function needsVectors(...files: readonly string[]): { skip: string | false } {
  const missing = files.find((file) => !existsSync(join(VECTORS, file)))
  return skipIf(missing !== undefined, `${join(VECTORS, missing ?? "")} is absent (ENCX_VECTORS names its folder)`)
}

/** Reads a vector file. */
export function readVectors<Contents>(file: string): Contents {
  return JSON.parse(readFileSync(join(VECTORS, file), "utf8")) as Contents
}

/** What every test of Project Wycheproof has. */
export interface WycheproofTest {
  readonly tcId: number
  readonly comment: string
  readonly flags: readonly string[]
  readonly result: "valid" | "invalid" | "acceptable"
}

/** Reads a Wycheproof file: its tests, each with what its group says. */
export function readWycheproof<Test>(file: string): (Test & WycheproofTest)[] {
  const { testGroups } = readVectors<{ testGroups: { tests: Test[] }[] }>(join("wycheproof", file))
  return testGroups.flatMap(({ tests, ...group }) =>
    tests.map((test) => ({ ...group, ...test }) as Test & WycheproofTest),
  )
}
