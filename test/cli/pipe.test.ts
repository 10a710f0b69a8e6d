import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import process from "node:process"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { describe, it } from "node:test"
import { encx, outcome, POSIX, peakMiB, shell } from "./_process.ts"
import { bytes, until, withHome } from "./_waiting.ts"

const NO_SHELL = POSIX ? false : "there is no /bin/sh"
const MIB = 2 ** 20
// Deno writes to a pipe on the thread that hears signals: https://github.com/denoland/deno/issues/15362
const SLOW_READER = POSIX && !("Deno" in globalThis) ? false : "a write to a pipe waits for its reader"

describe("encx seal and open as pipes", () => {
  const SENT_MIB = 384
  const LIMIT_MIB = 300

  it(`take ${SENT_MIB} MiB in less memory than that, both ways at once`, { skip: NO_SHELL }, async () => {
    await withHome(async (home) => {
      const seal = encx(home, ["seal", "-", "--context", "a=b"])
      const open = encx(home, ["open", "-", "--context", "a=b"])
      const told: string[] = []
      for (const child of [seal, open]) child.stderr?.on("data", (text) => told.push(String(text)))
      const [sent, received] = [createHash("sha256"), createHash("sha256")]
      const piece = bytes(MIB)
      const source = Readable.from(
        (function* () {
          for (let i = 0; i < SENT_MIB; i++) {
            piece[0] = i
            sent.update(piece)
            yield Uint8Array.from(piece)
          }
        })(),
        { objectMode: false },
      )
      const [peakOfSeal, peakOfOpen] = await Promise.all([
        peakMiB(seal),
        peakMiB(open),
        pipeline(source, seal.stdin as NonNullable<typeof seal.stdin>),
        pipeline(seal.stdout as Readable, open.stdin as NonNullable<typeof open.stdin>),
        pipeline(open.stdout as Readable, async (chunks: AsyncIterable<Uint8Array>) => {
          for await (const chunk of chunks) received.update(chunk)
        }),
      ])
      assert.deepEqual([seal.exitCode, open.exitCode, told], [0, 0, []])
      assert.equal(received.digest("hex"), sent.digest("hex"))
      assert.ok(peakOfSeal < LIMIT_MIB && peakOfOpen < LIMIT_MIB, `${peakOfSeal} and ${peakOfOpen} MiB`)
    })
  })

  it("end well when their reader has enough, even where the writer never ends", { skip: NO_SHELL }, async () => {
    await withHome(async (home) => {
      writeFileSync(home.path("a"), bytes(3 * MIB))
      await home.ok(["seal", home.path("a")])
      const verbs = ["seal a -o -", "open a.encx -o -", "open - < a.encx", "cat a.encx"].map((each) => `encx ${each}`)
      for (const line of ["yes | encx seal -", ...verbs]) {
        const { code, stdout, stderr } = await shell(home, `{ ${line}; echo $? > code; } | head -c 1000 | wc -c`)
        assert.deepEqual([code, Number(stdout), stderr], [0, 1000, ""], line)
        assert.equal(new TextDecoder().decode(home.read("code")), "0\n", line)
      }
    })
  })

  it("take a named pipe as standard input", { skip: NO_SHELL }, async () => {
    await withHome(async (home) => {
      const { code, stdout, stderr } = await shell(
        home,
        "mkfifo p q; printf hello > p & encx seal p -o a && { cat a > q & encx open q -o b; } && cat b",
      )
      assert.deepEqual([code, stderr], [0, ""])
      assert.match(stdout, /^Sealed p into a \(\d+ bytes\)\.\nOpened q into b \(5 bytes\)\.\nhello$/)
    })
  })

  it("are ended by Ctrl-C while a named pipe has nothing to say", { skip: NO_SHELL }, async () => {
    await withHome(async (home) => {
      await shell(home, "mkfifo p")
      // Both ends are open, and nobody writes.
      const holder = shell(home, "exec 3<>p; echo > ready; while [ ! -e done ]; do sleep 0.05; done")
      await until(() => home.exists("ready"))
      const child = encx(home, ["seal", home.path("p"), "-o", home.path("a")])
      const done = outcome(child)
      await until(() => home.names().some((name) => name.startsWith("a.")))
      process.kill(child.pid as number, "SIGINT")
      const { code, stderr } = await done
      home.write("done", "")
      await holder
      assert.deepEqual([code, stderr], [130, "encx: interrupted; what is there is whole\n"])
      assert.deepEqual(home.names(), ["done", "p", "ready"])
    })
  })

  it("hears Ctrl-C while nobody reads what it writes, and says what that means", { skip: SLOW_READER }, async () => {
    await withHome(async (home) => {
      writeFileSync(home.path("a"), bytes(8 * MIB))
      await home.ok(["seal", home.path("a")])
      const child = encx(home, ["open", home.path("a.encx"), "-o", "-"])
      await once(child.stdout as Readable, "readable")
      process.kill(child.pid as number, "SIGINT")
      let stderr = ""
      child.stderr?.on("data", (text) => (stderr += text))
      const [code] = await once(child, "exit")
      child.stdout?.destroy()
      assert.equal(code, 130)
      assert.match(stderr, /^encx: interrupted\n {2}what was written before is authentic but incomplete/)
    })
  })
})
