import assert from "node:assert/strict"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { describe, it } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { fromBase64 } from "../../core/bytes.ts"
import { parseKeyFile } from "../../providers/_key-file-format.ts"
import { withLock } from "../../providers/_safe-file.ts"
import { type LocalServices, local } from "../../providers/local.ts"
import { type Ended, runScript } from "../_script.ts"
import { inFolder } from "../providers/_files.ts"
import type { RotatorOrder, RotatorReport } from "../providers/_rotator.ts"
import { bytes32 } from "../suites/_assert.ts"

const ROTATOR = new URL("../providers/_rotator.ts", import.meta.url)
const rotator = (order: RotatorOrder): Promise<Ended> =>
  runScript(ROTATOR, { args: [JSON.stringify(order)], timeoutMs: 60_000 })

/** A key file with one key, in a folder of its own. */
async function withKeyFile(
  run: (file: { path: string; kms: LocalServices; keyID: string; gate: string }) => Promise<void>,
  passphrase?: string,
): Promise<void> {
  await inFolder(async (folder) => {
    const path = join(folder, "keys", "keys.json")
    const kms = local(passphrase === undefined ? { path } : { path, passphrase })
    await run({ path, kms, keyID: await kms.createKey("app"), gate: join(folder, "gate") })
  })
}

/** Starts processes, lets them go at the same moment, and gives their reports. */
async function atTheSameTime(orders: readonly RotatorOrder[], gate: string): Promise<RotatorReport[]> {
  const running = orders.map((order) => rotator({ ...order, gate }))
  const ready = (): number => readdirSync(join(gate, "..")).filter((name) => name.startsWith("gate.")).length
  const ended = Promise.race(running)
  let early: Ended | undefined
  void ended.then((end) => {
    early = end
  })
  while (ready() < orders.length) {
    assert.equal(early, undefined, `a process ended before the start: ${early?.stderr}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  writeFileSync(gate, "")
  return (await Promise.all(running)).map(({ code, stdout, stderr }) => {
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as RotatorReport
  })
}

async function assertGapless(
  kms: LocalServices,
  keyID: string,
  count: number,
  reports: readonly RotatorReport[],
): Promise<void> {
  const { currentVersion, versions } = await kms.describeKey(keyID)
  assert.deepEqual(
    versions.map(({ version }) => version),
    Array.from({ length: count }, (_, i) => i + 1),
  )
  assert.equal(currentVersion, count)
  const wraps = reports.flatMap((report) => report.wraps)
  assert.equal(wraps.length, count - 1)
  for (const { version, ciphertext } of wraps) {
    assert.deepEqual(
      await kms.decryptDEK({ keyID, version, ciphertext: fromBase64(ciphertext, "a wrap") }, {}),
      bytes32(1),
    )
  }
}

describe("rotateKey() of a key file", () => {
  for (const processes of [2, 6]) {
    it(`rotateKey() leaves no gap and loses no version when ${processes} processes rotate 25 times each`, async () => {
      await withKeyFile(async ({ path, kms, keyID, gate }) => {
        const old = await kms.encryptDEK(keyID, bytes32(2), {})
        const orders = Array.from({ length: processes }, () => ({ path, keyID, rotations: 25 }))
        const reports = await atTheSameTime(orders, gate)
        await assertGapless(kms, keyID, 1 + processes * 25, reports)
        assert.deepEqual(await kms.decryptDEK(old, {}), bytes32(2))
      })
    })
  }

  it("rotateKey() loses no version when processes rotate several at once under a passphrase", async () => {
    const passphrase = "correct horse battery staple"
    await withKeyFile(async ({ path, kms, keyID, gate }) => {
      const orders = Array.from({ length: 3 }, () => ({ path, keyID, passphrase, rotations: 2, atOnce: 4 }))
      await assertGapless(kms, keyID, 1 + 3 * 8, await atTheSameTime(orders, gate))
    }, passphrase)
  })

  // A process loses its POSIX locks on a file when it closes any descriptor of that file.
  for (const others of [0, 1]) {
    it(`withLock() keeps other processes out when ${others} more callers of its own process wait for it`, async () => {
      await withKeyFile(async ({ path, kms, keyID }) => {
        const waiting: Promise<unknown>[] = []
        let first: string | undefined
        await withLock(path, async () => {
          for (let i = 0; i < others; i++) waiting.push(withLock(path, () => {}))
          const rotation = rotator({ path, keyID })
          waiting.push(rotation)
          first = await Promise.race([rotation.then(() => "the other process"), sleep(1500, "nobody")])
        })
        const ended = await Promise.allSettled(waiting)
        assert.equal(first, "nobody", "changed the file while the lock was held")
        assert.ok(ended.every(({ status }) => status === "fulfilled"))
        assert.equal((await kms.describeKey(keyID)).currentVersion, 2)
      })
    })
  }

  it("rotateKey() leaves the old or the new key file when the process is killed around any of its calls", async () => {
    const calls = await withoutKill()
    assert.ok(calls >= 15, `it made ${calls} calls`)
    const kills = (["before", "after"] as const).flatMap((when) =>
      Array.from({ length: calls + 1 }, (_, i) => ({ when, call: i + 1 })),
    )
    const outcomes = { old: 0, new: 0, finished: 0 }
    const next = kills.values()
    await Promise.all(
      Array.from({ length: Math.min(4, availableParallelism()) }, async () => {
        for (const kill of next) outcomes[await killed(kill)]++
      }),
    )
    assert.equal(outcomes.finished, 2, "only the two beyond the last call finish by themselves")
    assert.ok(outcomes.old > 5 && outcomes.new > 3, JSON.stringify(outcomes))
    assert.equal(outcomes.old + outcomes.new, 2 * calls)
  })
})

async function withoutKill(): Promise<number> {
  let calls = 0
  await withKeyFile(async ({ path, keyID }) => {
    const { code, stdout, stderr } = await rotator({ path, keyID, kill: { when: "before", call: 0 } })
    assert.equal(code, 0, stderr)
    calls = (JSON.parse(stdout) as RotatorReport).calls
  })
  return calls
}

async function killed(kill: { when: "before" | "after"; call: number }): Promise<"old" | "new" | "finished"> {
  let outcome: "old" | "new" | "finished" = "old"
  await withKeyFile(async ({ path, kms, keyID }) => {
    const old = await kms.encryptDEK(keyID, bytes32(3), {})
    const { code, signal, stderr } = await rotator({ path, keyID, kill })
    const file = parseKeyFile(readFileSync(path, "utf8"))
    assert.equal(file.protection, "none")
    const before = (await kms.describeKey(keyID)).currentVersion
    assert.ok(before === 1 || before === 2)
    if (code === 0) outcome = "finished"
    else {
      assert.ok(
        signal === "SIGKILL" || code === 137,
        `${kill.when} ${kill.call}: it ended with ${code ?? signal}: ${stderr}`,
      )
      outcome = before === 1 ? "old" : "new"
    }
    // Whoever comes next waits for no lock and finds no remains.
    const after = await kms.rotateKey(keyID)
    assert.deepEqual(
      after.versions.map(({ version }) => version),
      Array.from({ length: before + 1 }, (_, i) => i + 1),
    )
    assert.deepEqual(readdirSync(join(path, "..")).sort(), ["keys.json", "keys.json.lock"])
    assert.deepEqual(await kms.decryptDEK(old, {}), bytes32(3))
  })
  return outcome
}
