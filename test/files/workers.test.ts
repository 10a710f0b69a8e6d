import assert from "node:assert/strict"
import { spawn, spawnSync } from "node:child_process"
import { createSecretKey, randomInt } from "node:crypto"
import { once } from "node:events"
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { open } from "node:fs/promises"
import process from "node:process"
import { describe, it } from "node:test"
import { randomBytes } from "../../core/bytes.ts"
import { HEADER, sealedSize } from "../../core/cipher/chunks.ts"
import { startThreads, type Team, type Threads } from "../../core/files/_threads.ts"
import { convert, type Plan } from "../../core/files/convert.ts"
import { blocksOf, type Job } from "../../core/files/job.ts"
import { identityOf, openSource } from "../../core/files/source.ts"
import { newTurns } from "../../core/files/turns.ts"
import { isNode } from "../../core/runtime.ts"
import { FileError } from "../../mod.ts"
import { newTestCrypto } from "../../testing.ts"
import { argumentsOf, runScript } from "../_script.ts"
import { within } from "../_within.ts"
import { folderForTests } from "./_folder.ts"

const { at, leftovers } = folderForTests()
const crypto = await newTestCrypto()
const MiB = 2 ** 20

describe("{ workers }", () => {
  it("gives the same bytes, however many there are", async () => {
    for (const size of [2 * MiB, 5 * MiB + 1]) {
      const plaintext = randomBytes(size)
      writeFileSync(at("plain"), plaintext)
      for (const workers of [1, 3]) {
        const options = { workers, overwrite: true }
        const { bytesWritten } = await crypto.sealFile(at("plain"), at("sealed"), {}, options)
        assert.ok(Buffer.compare(await crypto.open(readFileSync(at("sealed"))), plaintext) === 0)
        const opened = await crypto.openFile(at("sealed"), at("opened"), {}, options)
        assert.deepEqual(opened, { bytesRead: bytesWritten, bytesWritten: size })
        assert.ok(Buffer.compare(readFileSync(at("opened")), plaintext) === 0)
      }
    }
    assert.deepEqual(leftovers(), [])
  })

  it("lets the process end, also after an abort", async () => {
    writeFileSync(at("plain"), randomBytes(6 * MiB))
    const script = new URL("./_one-abort.ts", import.meta.url)
    const { code, stdout, stderr } = await runScript(script, { args: [at("plain"), at("after an abort")] })
    assert.equal(code, 0, stderr)
    assert.equal(stdout.trim(), "on purpose\nsealed")
    assert.ok(existsSync(at("after an abort")))
  })
})

describe("a worker that", () => {
  interface Wrong {
    readonly baseNonce?: Uint8Array
    readonly path?: string
    readonly source?: string
    readonly job?: object
    readonly areNeeded?: boolean
  }

  /** Lets one thread work on a file, with something wrong. */
  async function withThread(wrong: Wrong, use: (threads: Threads) => Promise<void>): Promise<void> {
    writeFileSync(at("plain"), randomBytes(16 * MiB))
    const from = await openSource(at("plain"))
    const handle = await open(at("target"), "w")
    const sealedBytes = sealedSize(from.size)
    const job: Job = { verb: "seal", plainBytes: from.size, sealedBytes, chunksAt: HEADER, ...wrong.job }
    const identity = identityOf(await handle.stat({ bigint: true }))
    const to = { path: wrong.path ?? at("target"), name: at("target"), handle, identity }
    const keys = { key: createSecretKey(randomBytes(32)), baseNonce: wrong.baseNonce ?? randomBytes(12) }
    const team: Team = { turns: newTurns(blocksOf(job)), onDone: () => undefined, areNeeded: wrong.areNeeded ?? true }
    const place = { ...from, path: wrong.source ?? from.path }
    const threads = startThreads(1, { job, keys, from: place, to }, team)
    try {
      await within(30_000, () => use(threads))
    } finally {
      await threads.stop()
      await from.handle.close()
      await handle.close()
    }
  }

  const fails = async ({ ended }: Threads): Promise<void> => await assert.rejects(ended, FileError)

  it("fails is an error", async () => {
    await withThread({ baseNonce: new Uint8Array(13) }, fails)
  })

  it("ends early is an error", async () => {
    await withThread({}, async (threads) => {
      await threads.stop()
      await fails(threads)
    })
  })

  it("finds another file under the name is an error", async () => {
    writeFileSync(at("impostor"), "text")
    const failsWith =
      (code: string, message: string) =>
      async ({ ended }: Threads): Promise<void> =>
        await assert.rejects(ended, (error: FileError) => {
          assert.equal(error.code, code)
          assert.ok(error.message.startsWith(message), error.message)
          return true
        })
    await withThread({ path: at("impostor") }, failsWith("FILE_ERROR", `Cannot write "${at("target")}": another file`))
    await withThread({ path: at("nothing") }, failsWith("FILE_NOT_FOUND", `Cannot write "${at("target")}"`))
    await withThread({ source: at("impostor") }, failsWith("FILE_ERROR", `Cannot read "${at("impostor")}": it was`))
    await withThread({ source: at("nothing") }, failsWith("FILE_NOT_FOUND", `Cannot read "${at("nothing")}"`))
    assert.equal(readFileSync(at("impostor"), "utf8"), "text")
  })

  it("finds a pipe under the name does not wait for its other end", {
    skip: process.platform === "win32" ? "Windows has none" : false,
  }, async () => {
    assert.equal(spawnSync("mkfifo", [at("pipe")]).status, 0)
    await withThread({ source: at("pipe") }, fails)
    await withThread({ path: at("pipe") }, fails)
  })

  it("finds no file under the name is done without, where it was not asked for", async () => {
    await withThread({ source: at("nothing"), areNeeded: false }, async ({ ended }) => await ended)
  })

  it("dies with a block in its hands leaves no hole, whenever that is heard of", {
    skip: isNode ? false : "no other runtime has threads that were not asked for",
  }, async () => {
    const size = 256 * MiB
    writeFileSync(at("large"), "")
    truncateSync(at("large"), size)
    let told = 0
    const job = { verb: "seal", plainBytes: size, sealedBytes: sealedSize(size), chunksAt: HEADER } as const
    // It gets a key that no cipher takes, and this thread another.
    const key = createSecretKey(randomBytes(32))
    Object.assign(key, { export: () => Buffer.alloc(31) })
    const onProgress = (): void => {
      // This thread stands still while the other begins and dies: then all of it is heard at once.
      if (told++ === 1) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000)
    }
    const files = { source: at("large"), target: at("never"), context: new Uint8Array(2), onProgress }
    const plan = async (): Promise<Plan> => ({ job, keys: { key, baseNonce: randomBytes(12) }, head: randomBytes(56) })
    await assert.rejects(convert(files, plan), (error: unknown) => {
      assert.ok(error instanceof FileError && error.message.includes("a worker thread failed"), String(error))
      return true
    })
    assert.ok(!existsSync(at("never")))
    assert.deepEqual(leftovers(), [])
  })

  it("cannot start is an error where it was asked for, and else it is done without", async () => {
    const unclonable = { job: { plainBytes: 16 * MiB, because: () => undefined } }
    await withThread(unclonable, fails)
    await withThread({ ...unclonable, areNeeded: false }, async ({ ended }) => await ended)
  })
})

describe("a process that is killed", () => {
  it("leaves nothing under the target's name that is not whole", async () => {
    const size = 12 * MiB + 1
    const plaintext = randomBytes(size)
    writeFileSync(at("plain"), plaintext)
    const sealedBytes = await crypto.sealedSize(size)
    for (let round = 0; round < 3; round++) {
      const folder = at(`round ${round}`)
      mkdirSync(folder)
      const script = argumentsOf(new URL("./_endless.ts", import.meta.url))
      const child = spawn(process.execPath, [...script, at("plain"), folder], { stdio: ["ignore", "pipe", "inherit"] })
      await once(child.stdout, "data")
      await new Promise((resolve) => setTimeout(resolve, randomInt(20, 400)))
      child.kill("SIGKILL")
      await once(child, "close")
      for (const name of readdirSync(folder)) {
        if (/^\w+-\d+\.[0-9a-f]{16}\.tmp$/.test(name)) continue
        if (name.startsWith("sealed")) assert.equal(statSync(`${folder}/${name}`).size, sealedBytes)
        else assert.ok(Buffer.compare(readFileSync(`${folder}/${name}`), plaintext) === 0, name)
      }
    }
  })
})
