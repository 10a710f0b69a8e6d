import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs"
import process from "node:process"
import { describe, it } from "node:test"
import { pathToFileURL } from "node:url"
import { randomBytes } from "../../core/bytes.ts"
import { DecryptionFailed, FileError, FileExists, FileNotFound, InvalidFormat, InvalidInput } from "../../mod.ts"
import { newTestCrypto } from "../../testing.ts"
import { runScript } from "../_script.ts"
import { folderForTests, SIZES } from "./_folder.ts"

const { at, leftovers } = folderForTests()
const crypto = await newTestCrypto()
const CONTEXT = { tenant: "acme" }
const POSIX = { skip: process.platform === "win32" ? "Windows has neither" : false }

function same(path: string, bytes: Uint8Array): void {
  assert.ok(Buffer.compare(readFileSync(path), bytes) === 0, `${path} has other bytes`)
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts)
}

describe("sealFile() and openFile()", () => {
  it("give back every file, read what the other methods wrote, and are read by them", async () => {
    for (const size of SIZES) {
      const plaintext = randomBytes(size)
      writeFileSync(at("plain"), plaintext)
      const sealed = await crypto.sealFile(at("plain"), at("sealed"), CONTEXT, { overwrite: true })
      assert.deepEqual(sealed, { bytesRead: size, bytesWritten: statSync(at("sealed")).size })
      assert.equal(sealed.bytesWritten, await crypto.sealedSize(size))
      const envelope = readFileSync(at("sealed"))
      assert.equal(crypto.openedSize(envelope.length, envelope), size)
      assert.ok(Buffer.compare(await crypto.open(envelope, CONTEXT), plaintext) === 0)
      const streamed = new Blob([envelope]).stream().pipeThrough(crypto.decryptStream(CONTEXT))
      assert.ok(Buffer.compare(await collect(streamed), plaintext) === 0)

      const opened = await crypto.openFile(at("sealed"), at("opened"), CONTEXT, { overwrite: true })
      assert.deepEqual(opened, { bytesRead: sealed.bytesWritten, bytesWritten: size })
      same(at("opened"), plaintext)
      writeFileSync(at("other"), await crypto.seal(plaintext))
      await crypto.openFile(at("other"), at("opened"), undefined, { overwrite: true })
      same(at("opened"), plaintext)
      const stream = new Blob([plaintext]).stream().pipeThrough(crypto.encryptStream(CONTEXT, { size }))
      writeFileSync(at("other"), await collect(stream))
      await crypto.openFile(at("other"), at("opened"), CONTEXT, { overwrite: true })
      same(at("opened"), plaintext)
    }
    assert.deepEqual(leftovers(), [])
  })

  it("take file: URLs, and refuse any other", async () => {
    writeFileSync(at("ü r#l"), "text")
    await crypto.sealFile(pathToFileURL(at("ü r#l")), pathToFileURL(at("url")))
    assert.ok(existsSync(at("url")))
    const texts = [
      "https://example.org/a",
      String(pathToFileURL(at("url"))),
      "",
      "a\0b",
      undefined as unknown as string,
    ]
    for (const source of [new URL("https://example.org/a"), ...texts])
      await assert.rejects(crypto.sealFile(source, at("none")), InvalidInput)
  })

  it("write for their owner alone, whatever the source allows", POSIX, async () => {
    writeFileSync(at("open to all"), "text", { mode: 0o666 })
    await crypto.sealFile(at("open to all"), at("mode"))
    assert.equal(statSync(at("mode")).mode & 0o777, 0o600)
    await crypto.openFile(at("mode"), at("mode opened"))
    assert.equal(statSync(at("mode opened")).mode & 0o777, 0o600)
  })

  it("tell how far they are, from none to all", async () => {
    writeFileSync(at("progress"), randomBytes(3 * 2 ** 20 + 5))
    for (const workers of [0, 2]) {
      const told: number[][] = []
      const onProgress = (...each: [number, number]): void => void told.push(each)
      await crypto.sealFile(at("progress"), at("progress sealed"), {}, { onProgress, workers, overwrite: true })
      const total = 3 * 2 ** 20 + 5
      assert.deepEqual(
        [told[0], told.at(-1)],
        [
          [0, total],
          [total, total],
        ],
      )
      assert.deepEqual(
        told,
        told.toSorted(([a = 0], [b = 0]) => a - b),
      )
    }
  })

  it("take what they are given as it is at the call", async () => {
    writeFileSync(at("plain"), "text")
    mkdirSync(at("elsewhere"), { recursive: true })
    const before = process.cwd()
    const away = async <Result>(work: () => Promise<Result>): Promise<Result> => {
      process.chdir(at("."))
      try {
        const working = work()
        process.chdir(at("elsewhere"))
        return await working
      } finally {
        process.chdir(before)
      }
    }
    const context: Record<string, string> = { tenant: "acme" }
    const url = pathToFileURL(at("from here"))
    const sealing = async (): Promise<unknown> => {
      const sealed = crypto.sealFile("plain", url, context)
      context["tenant"] = "another"
      url.pathname += ", or from there"
      return await sealed
    }
    await away(sealing)
    await away(() => crypto.openFile("from here", "back", CONTEXT))
    same(at("back"), Buffer.from("text"))
    const range = { offset: 1, length: 2 }
    const part = await away(async () => {
      const opened = crypto.openRange("from here", range, CONTEXT)
      range.length = 3
      return await opened
    })
    assert.equal(Buffer.from(part).toString(), "ex")
    assert.deepEqual(readdirSync(at("elsewhere")), [])
  })

  it("need no right to read the folder that they write to", {
    // Permissions are the system's: one runtime that can give up its own shows it.
    skip:
      process.platform === "win32" || process.versions["deno"] || process.versions["bun"] ? "Node is enough" : false,
  }, async () => {
    writeFileSync(at("public"), "text", { mode: 0o644 })
    mkdirSync(at("drop box"))
    chmodSync(at("."), 0o755)
    chmodSync(at("drop box"), 0o333)
    const args = [at("public"), at("before"), at("drop box/sealed")]
    const { code, stdout, stderr } = await runScript(new URL("./_drop-box.ts", import.meta.url), { args })
    chmodSync(at("drop box"), 0o700)
    assert.equal(code, 0, stderr)
    assert.deepEqual(JSON.parse(stdout), { bytesRead: 4, bytesWritten: statSync(at("drop box/sealed")).size })
    assert.deepEqual(readdirSync(at("drop box")), ["sealed"])
  })

  it("reserve the bytes of a cached data key", async () => {
    const before = crypto.stats().kms.generateDEK
    writeFileSync(at("reserved"), "text")
    await crypto.sealFile(at("reserved"), at("reserved 1"))
    await crypto.sealFile(at("reserved"), at("reserved 2"))
    assert.ok(crypto.stats().kms.generateDEK - before <= 1)
  })
})

describe("sealFile() and openFile() refuse", () => {
  it("a target that is there, also when it appears meanwhile, unless it may be replaced", async () => {
    writeFileSync(at("source"), "text")
    writeFileSync(at("taken"), "before")
    await assert.rejects(crypto.sealFile(at("source"), at("taken")), FileExists)
    const onProgress = (): void => writeFileSync(at("raced"), "before")
    await assert.rejects(crypto.sealFile(at("source"), at("raced"), {}, { onProgress }), FileExists)
    for (const name of ["taken", "raced"]) same(at(name), Buffer.from("before"))
    assert.deepEqual(leftovers(), [])
    await crypto.sealFile(at("source"), at("taken"), {}, { overwrite: true })
    assert.equal(Buffer.from(await crypto.open(readFileSync(at("taken")))).toString(), "text")
  })

  it("a target that is the source, by whichever name", POSIX, async () => {
    writeFileSync(at("self"), "text")
    linkSync(at("self"), at("hard"))
    symlinkSync(at("self"), at("soft"))
    for (const name of ["self", "hard", "soft"]) {
      await assert.rejects(crypto.sealFile(at("self"), at(name), {}, { overwrite: true }), InvalidInput)
      await assert.rejects(crypto.sealFile(at(name), at("self"), {}, { overwrite: true }), InvalidInput)
    }
    same(at("self"), Buffer.from("text"))
  })

  it("folders, devices and pipes, at once", POSIX, async () => {
    mkdirSync(at("folder"))
    assert.equal(spawnSync("mkfifo", [at("pipe")]).status, 0)
    for (const source of [at("folder"), at("pipe"), "/dev/null"])
      await assert.rejects(crypto.sealFile(source, at("none")), InvalidInput)
    writeFileSync(at("regular"), "text")
    for (const target of [at("folder"), at("pipe"), "/dev/null"])
      await assert.rejects(crypto.sealFile(at("regular"), target, {}, { overwrite: true }), FileError)
    assert.ok(lstatSync("/dev/null").isCharacterDevice())
  })

  it("what is not there, with its name and the system's error", async () => {
    await assert.rejects(crypto.sealFile(at("absent"), at("none")), (error: unknown) => {
      assert.ok(error instanceof FileNotFound)
      assert.ok(error.message.includes(at("absent")) && error.cause instanceof Error, error.message)
      return true
    })
    writeFileSync(at("present"), "text")
    await assert.rejects(crypto.sealFile(at("present"), at("no such folder/target")), FileNotFound)
    const noFolder = crypto.sealFile(at("present"), at("present/target"))
    await assert.rejects(noFolder, FileError)
  })

  it("a number of workers that is none", async () => {
    writeFileSync(at("present"), "text")
    for (const workers of [-1, 0.5, Number.NaN, 65])
      await assert.rejects(crypto.sealFile(at("present"), at("none"), {}, { workers }), InvalidInput)
    assert.ok(!existsSync(at("none")))
  })

  it("a link that dangles: it is replaced, not followed", POSIX, async () => {
    writeFileSync(at("present"), "text")
    symlinkSync(at("nowhere"), at("dangling"))
    await assert.rejects(crypto.sealFile(at("present"), at("dangling")), FileExists)
    await crypto.sealFile(at("present"), at("dangling"), {}, { overwrite: true })
    assert.ok(lstatSync(at("dangling")).isFile() && !existsSync(at("nowhere")))
  })
})

describe("a target", () => {
  const SIZE = 2 * 2 ** 20 + 100

  for (const workers of [0, 2]) {
    it(`does not appear when one bit of the source was changed, or its end is missing (${workers} workers)`, async () => {
      const plaintext = randomBytes(SIZE)
      const envelope = await crypto.seal(plaintext, CONTEXT)
      const starts = [0, 100, envelope.length - SIZE - 2000, envelope.length >> 1, envelope.length - 1]
      for (const offset of starts) {
        const changed = Uint8Array.from(envelope)
        changed[offset] = (changed[offset] as number) ^ 1
        writeFileSync(at("changed"), changed)
        await assert.rejects(crypto.openFile(at("changed"), at("never"), CONTEXT, { workers }))
        assert.ok(!existsSync(at("never")))
      }
      for (const cut of [1, 16, 100, 116, 117, 16_400, 16_500, SIZE]) {
        writeFileSync(at("changed"), envelope.subarray(0, -cut))
        await assert.rejects(crypto.openFile(at("changed"), at("never"), CONTEXT, { workers }))
      }
      writeFileSync(at("changed"), Buffer.concat([envelope, Buffer.alloc(1)]))
      await assert.rejects(crypto.openFile(at("changed"), at("never"), CONTEXT, { workers }), DecryptionFailed)
      writeFileSync(at("changed"), envelope)
      await assert.rejects(crypto.openFile(at("changed"), at("never"), {}, { workers }), DecryptionFailed)
      assert.ok(!existsSync(at("never")))
      assert.deepEqual(leftovers(), [])
    })

    it(`does not appear when the caller wants no more (${workers} workers)`, async () => {
      writeFileSync(at("aborted"), randomBytes(4 * 2 ** 20))
      writeFileSync(at("kept"), "before")
      for (const at_ of [0, 1, 3]) {
        const controller = new AbortController()
        let told = 0
        const onProgress = (): void => void (told++ === at_ && controller.abort(new Error("on purpose")))
        const options = { onProgress, workers, signal: controller.signal, overwrite: true }
        await assert.rejects(crypto.sealFile(at("aborted"), at("kept"), {}, options), { message: "on purpose" })
      }
      await assert.rejects(
        crypto.sealFile(at("aborted"), at("kept"), {}, { signal: AbortSignal.abort(new Error("early")) }),
        {
          message: "early",
        },
      )
      same(at("kept"), Buffer.from("before"))
      assert.deepEqual(leftovers(), [])
    })

    it(`does not appear when the one who is told of the progress fails (${workers} workers)`, async () => {
      writeFileSync(at("aborted"), randomBytes(4 * 2 ** 20))
      let told = 0
      const onProgress = (): void => {
        if (told++ === 2) throw new Error("on purpose")
      }
      await assert.rejects(crypto.sealFile(at("aborted"), at("never"), {}, { onProgress, workers }), {
        message: "on purpose",
      })
      assert.ok(!existsSync(at("never")))
      assert.deepEqual(leftovers(), [])
    })

    it(`does not appear when the source was changed while it was read (${workers} workers)`, async () => {
      const changes: ((path: string) => void)[] = [
        (path) => appendFileSync(path, "more"),
        (path) => truncateSync(path, 2 ** 20),
        (path) => void writeSync(openSync(path, "r+"), "other", 5),
      ]
      for (const change of changes) {
        writeFileSync(at("moving"), randomBytes(4 * 2 ** 20))
        let told = 0
        const onProgress = (): void => {
          if (told++ === 1) change(at("moving"))
        }
        await assert.rejects(
          crypto.sealFile(at("moving"), at("never"), {}, { onProgress, workers }),
          (error: unknown) => {
            assert.ok(error instanceof FileError && error.retryable && error.message.includes("changed"), String(error))
            return true
          },
        )
      }
      assert.ok(!existsSync(at("never")))
      assert.deepEqual(leftovers(), [])
    })
  }

  it("does not appear for a source that has more bytes than it says", {
    skip: existsSync("/proc/self/status") ? false : "there is none here",
  }, async () => {
    await assert.rejects(crypto.sealFile("/proc/self/status", at("never")), FileError)
    assert.ok(!existsSync(at("never")))
  })

  it("is not blamed for what the program itself fails with", async () => {
    writeFileSync(at("present"), "text")
    const own = Object.assign(new Error("a pipe of the program's"), { code: "EPIPE" })
    const onProgress = (): void => {
      throw own
    }
    await assert.rejects(crypto.sealFile(at("present"), at("never"), {}, { onProgress }), (error) => error === own)
    assert.deepEqual(leftovers(), [])
  })

  it("does not appear for what is no envelope", async () => {
    for (const bytes of ["", "text", "\x8eENX", "x".repeat(5000)]) {
      writeFileSync(at("nonsense"), bytes, "latin1")
      await assert.rejects(crypto.openFile(at("nonsense"), at("never")), InvalidFormat)
    }
    assert.ok(!existsSync(at("never")))
  })
})

describe("a full disk", () => {
  const isFull = process.platform === "linux" && existsSync("/dev/full") ? false : "there is none here"
  it("is told by name, by its code and by its cause", { skip: isFull }, async () => {
    const { withFile } = await import("../../core/files/system-errors.ts")
    const full = openSync("/dev/full", "w")
    await assert.rejects(
      withFile("write", "/data/target", async () => void writeSync(full, "text")),
      (error: unknown) => {
        assert.ok(error instanceof FileError && error.cause instanceof Error)
        assert.equal(error.message, 'Cannot write "/data/target": the disk is full')
        return true
      },
    )
  })
})
