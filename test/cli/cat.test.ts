import assert from "node:assert/strict"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { describe, it } from "node:test"
import { assertFailed, errorOf, type Home } from "./_encx.ts"
import { bytes, withHome } from "./_waiting.ts"

const SIZE = 3 * 2 ** 20 + 5
const PLAINTEXT = bytes(SIZE)

/** Arguments, and which bytes they mean. */
const PARTS: readonly (readonly [string, number, number])[] = [
  ["", 0, SIZE],
  ["--range 0-99", 0, 100],
  ["--range 0-0", 0, 1],
  ["--range 16380-16390", 16_380, 16_391],
  ["--range 1000000-2100000", 1_000_000, 2_100_001],
  ["--range 3145730-", 3_145_730, SIZE],
  ["--range -50", SIZE - 50, SIZE],
  ["--range -99999999", 0, SIZE],
  [`--range 10-${2 ** 40}`, 10, SIZE],
  [`--range ${SIZE}-`, SIZE, SIZE],
  ["--offset 7 --length 20000", 7, 20_007],
  ["--offset 7", 7, SIZE],
  ["--length 7", 0, 7],
  ["--offset -50 --length 10", SIZE - 50, SIZE - 40],
  ["--offset 7 --length 0", 7, 7],
]

async function withSealed(use: (home: Home, sealed: string) => Promise<void>): Promise<void> {
  await withHome(async (home) => {
    writeFileSync(home.path("a"), PLAINTEXT)
    await home.ok(["seal", home.path("a"), "--context", "k=v"])
    await use(home, home.path("a.encx"))
  })
}

const CONTEXT = ["--context", "k=v"]
const words = (line: string): string[] => line.split(" ").filter((word) => word !== "")

function assertPart(actual: Uint8Array, from: number, to: number, name: string): void {
  assert.equal(actual.length, to - from, name)
  assert.ok(Buffer.from(PLAINTEXT.subarray(from, to)).equals(actual), name)
}

describe("encx cat", () => {
  it("prints the whole, and parts of it", async () => {
    await withSealed(async (home, sealed) => {
      for (const [line, from, to] of PARTS) {
        const ran = await home.ok(["cat", sealed, ...CONTEXT, ...words(line)])
        assertPart(ran.bytes, from, to, line)
        assert.equal(ran.stderr, "")
      }
    })
  })

  it("writes a part to a file, and tells how much", async () => {
    await withSealed(async (home, sealed) => {
      const argv = ["cat", sealed, ...CONTEXT, "--range", "-50", "-o", home.path("b"), "--json"]
      const output = home.path("b")
      assert.deepEqual(JSON.parse((await home.ok(argv)).stdout), { input: sealed, output, bytes: 50 })
      assertPart(home.read("b"), SIZE - 50, SIZE, "the last")
      assertFailed(await home.encx(argv), 1, "FILE_EXISTS")
      await home.ok([...argv, "--force"])
      assert.equal((await home.encx(["cat", sealed, ...CONTEXT, "--json"])).code, 2)
    })
  })

  it("prints what a pipe brings, and no part of that", async () => {
    await withSealed(async (home, sealed) => {
      const stdin = home.read("a.encx")
      assertPart((await home.ok(["cat", "-", ...CONTEXT], { stdin })).bytes, 0, SIZE, "the whole")
      const part = await home.encx(["cat", "-", ...CONTEXT, "--range", "0-1"], { stdin })
      assert.equal(part.code, 2)
      assert.match(part.stderr, /^encx: Cannot read a part of "-": it comes as a stream\n/)
      assert.ok(sealed)
    })
  })

  it("refuses ranges that are none", async () => {
    await withSealed(async (home, sealed) => {
      const refused = async (line: string): Promise<void> => {
        const ran = await home.encx(["cat", sealed, ...CONTEXT, ...words(line), "-o", home.path("x"), "--json"])
        assertFailed(ran, 2, "USAGE")
      }
      for (const text of ["9-1", "-", "-0", "1", "a-b", "0-1,3-4", "0x1-5", "1.5-2", "bytes=0-1"])
        await refused(`--range ${text}`)
      for (const line of ["--range 0-1 --length 1", "--range 0-1 --offset 1", "--length -1", "--offset 1.5"])
        await refused(line)
      const behind = await home.encx(["cat", sealed, ...CONTEXT, "--range", `${SIZE + 1}-`])
      assert.deepEqual([behind.code, behind.stdout], [1, ""])
      assert.equal(behind.stderr, `encx: Cannot read from ${SIZE + 1} on: there are ${SIZE} bytes\n`)
    })
  })

  it("prints nothing that is not authentic, and nothing under another context", async () => {
    await withSealed(async (home, sealed) => {
      const changed = home.read("a.encx")
      changed[changed.length - 1] = (changed.at(-1) as number) ^ 1
      home.write("changed", changed)
      const cat = (...argv: string[]) => home.encx(["cat", ...argv])
      // The end is not the real one: nothing that counts from it is printed, and what is far from it is.
      for (const line of ["", "--range -50", "--range 5-"]) {
        const ran = await cat(home.path("changed"), ...CONTEXT, ...words(line))
        assert.deepEqual([ran.code, ran.stdout], [1, ""], line)
      }
      assertPart((await cat(home.path("changed"), ...CONTEXT, "--range", "5-99")).bytes, 5, 100, "far from it")
      const other = await cat(sealed, "--context", "k=w")
      assert.deepEqual([other.code, other.stdout], [1, ""])
      assertFailed(await cat(home.path("none"), "-o", home.path("x"), "--json"), 1, "FILE_NOT_FOUND")
      assertFailed(await cat(home.folder, "-o", home.path("x"), "--json"), 1, "FILE_ERROR")
    })
  })
})

// --- Servers ---

interface Server {
  readonly url: string
  /** Bytes that it has sent. */
  sent: number
}

/** Serves one object on the loopback, with or without ranges. */
async function withServer(
  object: Uint8Array,
  { ranges }: { readonly ranges: boolean },
  use: (server: Server) => Promise<void>,
): Promise<void> {
  const server = createServer((request, response) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? []
    if (!request.url?.startsWith("/a.encx")) return void response.writeHead(404).end()
    const end = Math.min(Number(to) + 1, object.length)
    const part = ranges ? object.subarray(Number(from), end) : object
    const range = ranges ? { "content-range": `bytes ${from}-${end - 1}/${object.length}` } : {}
    response.writeHead(ranges ? 206 : 200, { ...range, etag: '"1"', "content-length": part.length })
    response.end(part, () => (served.sent += part.length))
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  const served: Server = { url: `http://127.0.0.1:${port}/a.encx?signature=hidden`, sent: 0 }
  try {
    await use(served)
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

describe("encx cat of an address", () => {
  it("asks for no more than a part needs", async () => {
    await withSealed(async (home) => {
      await withServer(home.read("a.encx"), { ranges: true }, async (server) => {
        for (const [line, from, to] of PARTS)
          assertPart((await home.ok(["cat", server.url, ...CONTEXT, ...words(line)])).bytes, from, to, line)
        const before = server.sent
        await home.ok(["cat", server.url, ...CONTEXT, "--range", "-50"])
        assert.ok(server.sent - before < 50_000, `${server.sent - before} bytes`)
      })
    })
  })

  it("says what a server lacks, and shows no query", async () => {
    await withSealed(async (home) => {
      await withServer(home.read("a.encx"), { ranges: false }, async ({ url }) => {
        const ran = await home.encx(["cat", url, ...CONTEXT, "-o", home.path("b"), "--json"])
        assertFailed(ran, 1, "FILE_ERROR")
        assert.match(errorOf(ran).message, /^Cannot read "http:[^?"]+": the server gives no ranges$/)
        const none = await home.encx(["cat", url.replace("a.encx", "b"), "-o", home.path("b"), "--json"])
        assertFailed(none, 1, "FILE_NOT_FOUND")
        assert.ok(!`${ran.stdout}${none.stdout}`.includes("hidden"))
        assert.equal(home.exists("b"), false)
      })
      await withServer(home.read("a.encx"), { ranges: true }, async ({ url }) => {
        const { stdout } = await home.ok(["cat", url, ...CONTEXT, "-o", home.path("b"), "--json"])
        assert.match(JSON.parse(stdout).input, /\/a\.encx$/)
      })
    })
  })
})
