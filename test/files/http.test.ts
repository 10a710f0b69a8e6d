import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { after, before, describe, it } from "node:test"
import { inspect } from "node:util"
import { gzipSync } from "node:zlib"
import { randomBytes } from "../../core/bytes.ts"
import { FileError, FileNotFound, type HTTPRangeOptions, httpRange, InvalidInput, type RangeFetch } from "../../mod.ts"
import { newTestCrypto } from "../../testing.ts"
import { within } from "../_within.ts"

const CHUNK = 16_384
const SIZE = 5 * CHUNK + 11
const crypto = await newTestCrypto()
const plaintext = randomBytes(SIZE)
const sealed = await crypto.seal(plaintext)

type Answer = (request: IncomingMessage, response: ServerResponse) => void

/** What a server of files answers. */
const honest =
  (bytes: Uint8Array, headers: Record<string, string> = { etag: '"one"' }): Answer =>
  (request, response) => {
    const [, from, to] = (/^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? []).map(Number)
    if (from === undefined || to === undefined) return void response.writeHead(200, headers).end(bytes)
    const match = request.headers["if-match"]
    if (match !== undefined && match !== headers["etag"]) return void response.writeHead(412).end()
    if (from >= bytes.length) return void response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end()
    const end = Math.min(to, bytes.length - 1)
    const range = { "content-range": `bytes ${from}-${end}/${bytes.length}`, "content-length": end + 1 - from }
    response.writeHead(206, { ...headers, ...range }).end(bytes.subarray(from, end + 1))
  }

describe("httpRange()", () => {
  let server: Server
  let address = ""
  let answer: Answer = honest(sealed)
  const seen: IncomingMessage["headers"][] = []

  before(async () => {
    server = createServer((request, response) => {
      seen.push({ ...request.headers, url: request.url })
      answer(request, response)
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a.encx`
  })

  after(() => {
    server.closeAllConnections()
    server.close()
  })

  /** Reads the second chunk, which is not in what is asked for first. */
  const reads = (options?: HTTPRangeOptions, signal?: AbortSignal): Promise<Uint8Array> =>
    crypto.openRange(httpRange(address, options), { offset: 3 * CHUNK, length: 5 }, {}, { ...(signal && { signal }) })

  /** Answers honestly the first time. */
  const afterwards = (then: Answer): Answer => {
    let count = 0
    return (request, response) => (count++ === 0 ? honest(sealed) : then)(request, response)
  }

  it("gives any part, with one request for the beginning and one for the chunks", async () => {
    answer = honest(sealed)
    seen.length = 0
    const part = await reads({ headers: { Authorization: "Bearer abc", Range: "bytes=0-0" } })
    assert.deepEqual(part, plaintext.slice(3 * CHUNK, 3 * CHUNK + 5))
    const [first, second, ...more] = seen
    assert.equal(more.length, 0)
    assert.deepEqual([first?.range, first?.["if-match"]], ["bytes=0-4095", undefined])
    assert.deepEqual([second?.["if-match"], second?.authorization], ['"one"', "Bearer abc"])
    // Some runtimes add it a second time.
    assert.match(String(second?.["accept-encoding"]), /^identity\b/)
    assert.deepEqual(await crypto.openRange(httpRange(address), { offset: -3 }), plaintext.slice(-3))
    assert.deepEqual(await crypto.openRange(httpRange(new URL(address)), {}), plaintext)
    answer = honest(await crypto.seal(Buffer.from("short")))
    assert.equal(Buffer.from(await crypto.openRange(httpRange(address), { offset: 1 })).toString(), "hort")
  })

  it("follows a redirect only where it has no headers to give away", async () => {
    answer = (request, response) => {
      if (request.url === "/there") return honest(sealed)(request, response)
      response.writeHead(302, { location: "/there" }).end("elsewhere")
    }
    assert.equal((await reads()).length, 5)
    await assert.rejects(reads({ headers: { authorization: "Bearer abc" } }), /sends elsewhere/)
  })

  const faults: readonly (readonly [string, Answer, RegExp, retryable: boolean])[] = [
    ["has no ranges", (_, response) => response.writeHead(200).end(sealed), /gives no ranges/, false],
    ["denies permission", (_, response) => response.writeHead(403).end("no"), /denies permission/, false],
    ["wants other credentials", (_, response) => response.writeHead(401).end("no"), /other credentials/, false],
    ["is overloaded", (_, response) => response.writeHead(503).end("later"), /answers 503/, true],
    ["throttles", (_, response) => response.writeHead(429).end("later"), /answers 429/, true],
    ["hangs up", (_, response) => response.destroy(), /cannot be asked/, true],
    [
      "answers another range",
      (_, response) =>
        response.writeHead(206, { "content-range": `bytes 1-4096/${sealed.length}` }).end(sealed.subarray(1, 4097)),
      /another range/,
      false,
    ],
    ["says no range", (_, response) => response.writeHead(206).end(sealed.subarray(0, 4096)), /another range/, false],
    [
      "does not know the size",
      (_, response) => response.writeHead(206, { "content-range": "bytes 0-4095/*" }).end(sealed.subarray(0, 4096)),
      /another range/,
      false,
    ],
    [
      "says a size that no number holds",
      (_, response) =>
        response.writeHead(206, { "content-range": "bytes 0-4095/9999999999999999" }).end(sealed.subarray(0, 4096)),
      /another range/,
      false,
    ],
    [
      "compresses",
      (_, response) =>
        response
          .writeHead(206, { "content-encoding": "gzip", "content-range": `bytes 0-4095/${sealed.length}` })
          .end(gzipSync("x")),
      /compresses/,
      false,
    ],
    [
      "sends fewer bytes",
      (_, response) =>
        response.writeHead(206, { "content-range": `bytes 0-4095/${sealed.length}` }).end(sealed.subarray(0, 4000)),
      /cut short/,
      true,
    ],
    [
      "sends more bytes",
      (_, response) =>
        response.writeHead(206, { "content-range": `bytes 0-4095/${sealed.length}` }).end(sealed.subarray(0, 5000)),
      /more bytes/,
      false,
    ],
  ]

  for (const [fault, broken, message, retryable] of faults) {
    it(`tells what a server does that ${fault}, at the first request and later`, async () => {
      for (const each of [broken, afterwards(broken)]) {
        answer = each
        await assert.rejects(reads(), (error: unknown) => {
          assert.ok(error instanceof FileError, String(error))
          assert.match(error.message, each === broken ? message : /./)
          if (each === broken) assert.equal(error.retryable, retryable)
          return true
        })
      }
    })
  }

  it("tells that there is no such object, and that an address is none", async () => {
    answer = (_, response) => response.writeHead(404).end("no")
    await assert.rejects(reads(), FileNotFound)
    for (const url of ["", "nothing", "ftp://example.org/a", "file:///a", "https://user:secret@example.org/"])
      await assert.rejects(crypto.openRange(httpRange(url), {}), InvalidInput)
  })

  it("refuses a header that no request can carry, and does not show it", async () => {
    answer = honest(sealed)
    seen.length = 0
    for (const [name, value] of [
      ["authorization", "Bearer secret\nx"],
      ["authorization", "Bearer secret €"],
      ["two words", "secret"],
      ["", "secret"],
    ] as const)
      await assert.rejects(reads({ headers: { accept: "*/*", [name]: value } }), (error: unknown) => {
        assert.ok(error instanceof InvalidInput && error.message.includes(`"${name}"`), String(error))
        assert.ok(!inspect(error, { depth: 9 }).includes("secret"))
        return true
      })
    assert.deepEqual(seen, [])
  })

  it("does not show a query, which may hold a signature", async () => {
    answer = (_, response) => response.destroy()
    await assert.rejects(crypto.openRange(httpRange(`${address}?signature=secret`), {}), (error: unknown) => {
      assert.ok(error instanceof FileError)
      assert.ok(!inspect(error, { depth: 9 }).includes("secret"), inspect(error))
      return true
    })
  })

  it("reads one version of an object and no other", async () => {
    const other = await crypto.seal(randomBytes(SIZE))
    const versions: Record<string, string>[] = [
      { etag: '"two"' },
      // A weak tag cannot be asked for; it is looked at.
      { etag: 'W/"two"' },
      { "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT" },
      {},
    ]
    for (const headers of versions) {
      answer = afterwards(honest(other, headers))
      await assert.rejects(reads(), /changed while it was read/)
    }
    answer = afterwards(honest(Buffer.concat([sealed, sealed])))
    await assert.rejects(reads(), /changed while it was read/)
  })

  it("does not read what it refuses, nor more than it asked for", async () => {
    let sent = 0
    const endless: (status: number, headers: Record<string, string>) => Answer = (status, headers) => (_, response) => {
      response.writeHead(status, headers)
      const piece = Buffer.alloc(65_536)
      const send = (): void => {
        while (!response.destroyed && sent < 2 ** 30 && response.write(piece)) sent += piece.length
      }
      response.on("drain", send)
      send()
    }
    for (const [status, headers] of [
      [200, {}],
      [206, { "content-range": `bytes 0-4095/${sealed.length}` }],
    ] as const) {
      sent = 0
      answer = endless(status, headers)
      await within(20_000, () => assert.rejects(reads(), FileError))
      assert.ok(sent < 2 ** 26, `${sent} bytes were sent`)
    }
  })

  it("ends with the caller's signal, wherever the server stands still", async () => {
    const stalls: Answer[] = [
      () => undefined,
      (request, response) => {
        const range = request.headers.range?.replace("=", " ") ?? ""
        response.writeHead(206, { "content-range": `${range}/${sealed.length}`, etag: '"one"' })
        response.write(sealed.subarray(0, 100))
      },
    ]
    for (const stall of [...stalls, ...stalls.map(afterwards)]) {
      answer = stall
      const controller = new AbortController()
      const reason = new Error("on purpose")
      const abort = setTimeout(() => controller.abort(reason), 100)
      await within(20_000, () => assert.rejects(reads({}, controller.signal), (error) => error === reason))
      clearTimeout(abort)
    }
  })

  it("takes a fetch of the program's own", async () => {
    answer = honest(sealed)
    const urls: string[] = []
    const fetch: RangeFetch = async (url, init) => {
      urls.push(url)
      return (await globalThis.fetch(url, init)) as unknown as ReturnType<RangeFetch>
    }
    await reads({ fetch })
    assert.deepEqual(urls, [address, address])
    const failing: RangeFetch = async () => Promise.reject(new TypeError("no network"))
    await assert.rejects(reads({ fetch: failing }), (error: unknown) => error instanceof FileError && error.retryable)
  })
})
