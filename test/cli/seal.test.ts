import assert from "node:assert/strict"
import { truncateSync, writeFileSync } from "node:fs"
import process from "node:process"
import { describe, it } from "node:test"
import { assertFailed } from "./_encx.ts"
import { encx, outcome, POSIX, shell } from "./_process.ts"
import { bytes, until, withHome } from "./_waiting.ts"

const NO_SHELL = POSIX ? false : "there is no /bin/sh"
const MIB = 2 ** 20
/** Where the first chunk of an envelope ends, from where the chunks begin. */
const SEALED_CHUNK = 16_400

/** What whoever reads a pipe is told when the rest is not there. */
const INCOMPLETE =
  /^encx: [^\n]+\n {2}what was written before is authentic but incomplete: do not use it as the whole\n$/

describe("encx seal", () => {
  it("is ended by Ctrl-C in the middle of a file, and leaves nothing", { skip: !POSIX }, async () => {
    await withHome(async (home) => {
      truncateSync(home.write("big", ""), 2 ** 34)
      const child = encx(home, ["seal", home.path("big")])
      const done = outcome(child)
      await until(() => home.names().length > 1)
      process.kill(child.pid as number, "SIGINT")
      const { code, stdout, stderr } = await done
      assert.deepEqual([code, stdout], [130, ""])
      assert.match(stderr, /(^|\n)encx: interrupted; what is there is whole\n$/)
      assert.deepEqual(home.names(), ["big"])
    })
  })

  it("says that a disk takes no more, and leaves nothing", { skip: NO_SHELL }, async () => {
    await withHome(async (home) => {
      writeFileSync(home.path("a"), bytes(3 * MIB))
      for (const line of ["encx seal a", "encx seal - -o a.encx < a"]) {
        const { code, stdout, stderr } = await shell(home, `trap '' XFSZ; ulimit -f 1024; ${line}`)
        assert.deepEqual([code, stdout], [1, ""], line)
        // Deno gives this error no code.
        assert.match(
          stderr,
          /^encx: (Cannot write "(\/.+\/)?a\.encx": the disk takes no file of that size\n|File too large )/,
        )
        assert.deepEqual(home.names(), ["a"], line)
      }
    })
  })

  it("refuses a folder, its own source, and to write to a terminal", async () => {
    await withHome(async (home) => {
      assertFailed(await home.encx(["seal", home.folder, "--json"]), 1, "FILE_ERROR")
      const file = home.write("a", "hello")
      assertFailed(await home.encx(["seal", file, "-o", file, "--force", "--json"]), 1, "INVALID_INPUT")
      const screen = await home.encx(["seal", file, "-o", "-"], { isScreen: true })
      assert.deepEqual([screen.code, screen.stdout], [2, ""])
      assert.match(screen.stderr, /^encx: Cannot write an envelope to a terminal: it is binary\n/)
      assert.deepEqual(home.names(), ["a"])
    })
  })

  it("takes as many threads as it is told, and none", async () => {
    await withHome(async (home) => {
      const plaintext = bytes(5 * MIB + 7)
      writeFileSync(home.path("a"), plaintext)
      for (const workers of ["0", "2"]) {
        await home.ok(["seal", home.path("a"), "--workers", workers, "--force"])
        await home.ok(["open", home.path("a.encx"), "-o", home.path("b"), "--workers", workers, "--force"])
        assert.ok(Buffer.from(home.read("b")).equals(plaintext), workers)
      }
      assertFailed(await home.encx(["seal", home.path("a"), "--workers", "-1", "--json"]), 2, "USAGE")
    })
  })

  it("shows a bar to whoever watches, and to nobody else", async () => {
    await withHome(async (home) => {
      writeFileSync(home.path("a"), bytes(3 * MIB))
      const watched = await home.ok(["seal", home.path("a"), "--json"], { isTTY: true })
      assert.match(watched.stderr, /Sealing \[.*\] 0% \| .* of 3\.0 MiB \| .*\/s \| /)
      assert.deepEqual(Object.keys(JSON.parse(watched.stdout)), ["input", "output", "bytes"])
      const piped = await home.ok(["open", "-"], { isTTY: true, stdin: home.read("a.encx") })
      assert.match(piped.stderr, /Opening .* \| .*\/s/)
      assert.equal((await home.ok(["open", home.path("a.encx"), "-o", home.path("b")])).stderr, "")
      const screen = await home.ok(["open", home.path("a.encx"), "-o", "-"], { isTTY: true, isScreen: true })
      assert.equal(screen.stderr, "")
    })
  })
})

describe("encx open", () => {
  it("gives a pipe what is authentic, and says when the rest is not there", async () => {
    await withHome(async (home) => {
      const plaintext = bytes(100_000)
      writeFileSync(home.path("a"), plaintext)
      await home.ok(["seal", home.path("a")])
      const sealed = home.read("a.encx")
      const { bodyBytes } = JSON.parse((await home.ok(["inspect", home.path("a.encx"), "--json"])).stdout)
      const chunksAt = sealed.length - bodyBytes + 56
      const flipped = Uint8Array.from(sealed)
      flipped[chunksAt + 4 * SEALED_CHUNK] = (flipped[chunksAt + 4 * SEALED_CHUNK] as number) ^ 1
      const damaged: Readonly<Record<string, Uint8Array>> = {
        "cut off after a chunk": sealed.subarray(0, chunksAt + 4 * SEALED_CHUNK),
        "cut off in a chunk": sealed.subarray(0, chunksAt + 4 * SEALED_CHUNK + 100),
        "another bit": flipped,
      }
      for (const [name, stdin] of Object.entries(damaged)) {
        const ran = await home.encx(["open", "-"], { stdin })
        assert.equal(ran.code, 1, name)
        assert.match(ran.stderr, INCOMPLETE, name)
        assert.ok(ran.bytes.length > 0 && ran.bytes.length % 16_384 === 0, name)
        assert.ok(Buffer.from(plaintext).subarray(0, ran.bytes.length).equals(ran.bytes), name)
        const toFile = await home.encx(["open", "-", "-o", home.path("b"), "--json"], { stdin })
        assertFailed(toFile, 1, "DECRYPTION_FAILED")
      }
      assert.deepEqual(home.names(), ["a", "a.encx"])
    })
  })

  it("gives nothing of a file whose end was cut off: it looks there first", async () => {
    await withHome(async (home) => {
      writeFileSync(home.path("a"), bytes(100_000))
      await home.ok(["seal", home.path("a")])
      home.write("cut", home.read("a.encx").subarray(0, -20_000))
      const ran = await home.encx(["open", home.path("cut"), "-o", "-"])
      assert.deepEqual([ran.code, ran.stdout], [1, ""])
      assert.match(ran.stderr, /^encx: Cannot decrypt data: authentication failed\n/)
    })
  })

  it("gives nothing to a pipe under another context", async () => {
    await withHome(async (home) => {
      writeFileSync(home.path("a"), bytes(100_000))
      await home.ok(["seal", home.path("a"), "--context", "tenant=acme"])
      const stdin = home.read("a.encx")
      for (const context of [[], ["--context", "tenant=other"]]) {
        const ran = await home.encx(["open", "-", ...context], { stdin })
        assert.deepEqual([ran.code, ran.stdout], [1, ""])
        assert.match(ran.stderr, /^encx: Cannot decrypt data: authentication failed\n {2}check that the context/)
      }
    })
  })
})
