/** Many processes that rotate one key at once, and processes that die while they do. */
import assert from "node:assert/strict"
import { readdirSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import process from "node:process"
import type { KEKVersionStore } from "../core/contracts.ts"
import { newCrypto, withDatabase, withKEKAlias, withKMSService } from "../mod.ts"
import { sql } from "../providers/sql.ts"
import { type Ended, runScript } from "./_script.ts"
import { namingKMS, ROTATED_ALIAS, type VersionRotatorOrder, type VersionRotatorReport } from "./_version-rotator.ts"
import { inFolder, newFolder } from "./providers/_files.ts"

const SCRIPT = new URL("_version-rotator.ts", import.meta.url)
// Most of what each process does is to read the same modules: Node keeps them compiled, the other runtimes do not listen.
const compiled = newFolder()
process.once("exit", () => compiled.remove())
const rotator = (order: VersionRotatorOrder, timeoutMs = 60_000): Promise<Ended> =>
  runScript(SCRIPT, {
    args: [JSON.stringify(order)],
    variables: { NODE_COMPILE_CACHE: compiled.folder },
    timeoutMs,
  })

const reportOf = ({ code, stdout, stderr }: Ended): VersionRotatorReport => {
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout) as VersionRotatorReport
}

async function withStore<Result>(url: string, use: (store: KEKVersionStore) => Promise<Result>): Promise<Result> {
  const store = sql(url)
  try {
    return await use(store)
  } finally {
    await store.close?.()
  }
}

async function assertSound(store: KEKVersionStore, count: number): Promise<string[]> {
  const versions = await store.listVersions(ROTATED_ALIAS)
  assert.deepEqual(
    versions.map(({ version }) => version),
    Array.from({ length: count }, (_, i) => i + 1),
    "no gap",
  )
  assert.deepEqual(
    versions.filter(({ deprecated }) => !deprecated).map(({ version }) => version),
    [count],
    "one is current, the last",
  )
  return versions.map(({ keyID }) => keyID)
}

/** Lets many processes rotate at the same moment: every rotation succeeds, and each has a version of its own. */
export async function assertManyRotate(url: string, processes: number, rotations: number): Promise<void> {
  await inFolder(async (folder) => {
    const gate = join(folder, "gate")
    const running = Array.from({ length: processes }, () => rotator({ url, rotations, gate }, 600_000))
    let early: Ended | undefined
    void Promise.race(running).then((end) => {
      early = end
    })
    while (readdirSync(folder).length < processes) {
      assert.equal(early, undefined, `a process ended before the start: ${early?.stderr}`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    writeFileSync(gate, "")
    const made = (await Promise.all(running)).flatMap((ended) => reportOf(ended).rotated)
    assert.equal(made.length, processes * rotations)
    const recorded = await withStore(url, (store) => assertSound(store, 1 + processes * rotations))
    assert.deepEqual(recorded.slice(1).sort(), made.sort(), "every key that was made is a version, once")
  })
}

const CHANGING = /^(begin|start transaction|update|insert|commit)/i

/**
 * Kills a process around statements of a rotation: it leaves the old or the new state, and the next rotation works.
 *
 * @param around every statement, or after those alone that change something
 */
export async function assertSurvivesKills(
  fresh: () => Promise<string>,
  around: "every statement" | "changes",
): Promise<{ readonly old: number; readonly new: number }> {
  const { statements } = reportOf(
    await rotator({ url: await fresh(), rotations: 1, kill: { when: "before", statement: 0 } }),
  )
  assert.equal(statements.filter((each) => CHANGING.test(each)).length, 4, statements.join("; "))
  const kills = statements.flatMap((text, i) => {
    const [before, after] = (["before", "after"] as const).map((when) => ({ when, statement: i + 1 })) as [Kill, Kill]
    if (around === "every statement") return [before, after]
    return CHANGING.test(text) ? [after] : []
  })
  const outcomes = { old: 0, new: 0 }
  const next = kills.values()
  await Promise.all(
    Array.from({ length: Math.min(4, availableParallelism()) }, async () => {
      for (const kill of next) outcomes[await killed(await fresh(), kill)]++
    }),
  )
  assert.equal(outcomes.old + outcomes.new, kills.length)
  return outcomes
}

type Kill = NonNullable<VersionRotatorOrder["kill"]>

async function killed(url: string, kill: Kill): Promise<"old" | "new"> {
  return await withStore(url, async (store) => {
    await store.ensureVersion(ROTATED_ALIAS, ROTATED_ALIAS)
    const { code, signal, stderr } = await rotator({ url, rotations: 1, kill })
    const name = `${kill.when} statement ${kill.statement}`
    assert.ok(signal === "SIGKILL" || code === 137, `${name}: it ended with ${code ?? signal}: ${stderr}`)
    const { length } = await store.listVersions(ROTATED_ALIAS)
    assert.ok(length === 1 || length === 2, name)
    await assertSound(store, length)
    const crypto = await newCrypto(withKMSService(namingKMS("next")), withKEKAlias(ROTATED_ALIAS), withDatabase(store))
    assert.equal((await crypto.rotateKEK()).currentVersion, length + 1, name)
    await crypto.close()
    await assertSound(store, length + 1)
    return length === 1 ? "old" : "new"
  })
}
