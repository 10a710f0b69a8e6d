import assert from "node:assert/strict"
import { createReadStream, createWriteStream } from "node:fs"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { Duplex, Readable, Writable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { after, describe, it } from "node:test"
import { setImmediate as turn } from "node:timers/promises"
import { concat, equal, randomBytes } from "../core/bytes.ts"
import { CHUNK } from "../core/cipher/chunks.ts"
import { type ByteTransform, DecryptionFailed, newCrypto, withBootstrap, withKEKAlias, withKMSService } from "../mod.ts"
import { memory } from "../providers/memory.ts"
import { within } from "./_within.ts"
import { piecesOf, through } from "./go-encx/_streams.ts"

const CONTEXT = { tenant: "acme" }
const crypto = await newCrypto(withKMSService(memory()), withKEKAlias("app"), withBootstrap({ createKEK: true }))
const folder = await mkdtemp(join(tmpdir(), "encx-streams-"))
after(async () => {
  await crypto.close()
  await rm(folder, { recursive: true })
})

const plaintext = randomBytes(40 * CHUNK + 77)
const sealed = await through(crypto.encryptStream(CONTEXT), plaintext)
const broken = sealed.with(sealed.length - 20, (sealed.at(-20) as number) ^ 1)
const caught = (error: unknown): unknown => error

for (const method of ["encryptStream", "decryptStream"] as const) {
  const input = method === "encryptStream" ? plaintext : sealed
  const output = method === "encryptStream" ? sealed.length : plaintext.length
  const make = (signal?: AbortSignal): ByteTransform => crypto[method](CONTEXT, signal ? { signal } : {})
  /** One that has begun and waits for more, within a chunk. */
  const waiting = async (signal?: AbortSignal) => {
    const stream = make(signal)
    const writer = stream.writable.getWriter()
    const reader = stream.readable.getReader()
    const read = (async () => {
      for (;;) if ((await reader.read()).done) return "ended"
    })().catch(caught)
    await writer.write(input.subarray(0, 2 * CHUNK))
    return { writer, reader, read }
  }
  const source = (size = 65_536): ReadableStream<Uint8Array> => {
    const pieces = piecesOf(input, size)
    return new ReadableStream<Uint8Array>({
      pull(controller) {
        const { value, done } = pieces.next()
        if (done) controller.close()
        else controller.enqueue(value)
      },
    })
  }

  describe(`${method}(), at its ends`, () => {
    it("does nothing before it is read, and holds no more than a piece and three blocks of it", async () => {
      const { readable, writable } = make()
      const writer = writable.getWriter()
      let written = 0
      const writing = (async () => {
        for (const piece of piecesOf(input, CHUNK)) {
          await writer.write(piece)
          written += piece.length
        }
        await writer.close()
      })()
      for (let i = 0; i < 20; i++) await turn()
      assert.equal(written, 0)
      const reader = readable.getReader()
      let read = 0
      for (;;) {
        const { value, done } = await reader.read()
        if (done) break
        read += value.length
        for (let i = 0; i < 3; i++) await turn()
        assert.ok(written - read <= 3 * CHUNK, `${written - read} bytes are neither here nor there`)
      }
      await writing
      assert.equal(read, output)
    })

    it("holds one large piece back, block by block", async () => {
      const { readable, writable } = make()
      const writer = writable.getWriter()
      let isWritten = false
      const writing = (async () => {
        await writer.write(input)
        isWritten = true
        await writer.close()
      })()
      const reader = readable.getReader()
      let blocks = 0
      for (;;) {
        const { value, done } = await reader.read()
        if (done) break
        blocks++
        assert.ok(value.length <= 33 * CHUNK)
        if (blocks === 1) assert.equal(isWritten, false)
      }
      await writing
      assert.ok(blocks >= 2)
    })

    it("gives the same when it is written and read a byte at a time", async () => {
      const short = input.subarray(0, 400)
      const { readable, writable } = make()
      const writer = writable.getWriter()
      const writing = (async () => {
        for (let at = 0; at < short.length; at++) await writer.write(short.subarray(at, at + 1))
        await writer.close()
      })().catch(caught)
      const out: Uint8Array[] = []
      // A reader that takes a byte at a time has a stream of bytes in front of it, which hands out parts of blocks.
      const error = await (async () => {
        for await (const block of Readable.fromWeb(readable as never))
          for (let at = 0; at < block.length; at++) out.push(block.subarray(at, at + 1))
      })().catch(caught)
      const ended = await writing
      if (method === "encryptStream") {
        assert.ok(equal(await crypto.open(concat(...out), CONTEXT), short))
        return
      }
      assert.ok(error instanceof DecryptionFailed && ended instanceof DecryptionFailed)
      assert.equal(out.length, 0)
    })

    it("ends both sides with the signal's reason, before and after it began", async () => {
      const reason = new Error("enough")
      const aborted = make(AbortSignal.abort(reason))
      for (const call of [
        () => aborted.readable.getReader().read(),
        () => aborted.writable.getWriter().write(new Uint8Array(1)),
      ])
        await assert.rejects(call, (error) => error === reason)
      const controller = new AbortController()
      const { writer, reader, read } = await waiting(controller.signal)
      controller.abort(reason)
      assert.equal(await read, reason)
      for (const call of [
        () => writer.closed,
        () => writer.write(new Uint8Array(1)),
        () => reader.read(),
        () => reader.read(),
      ])
        await assert.rejects(call, (error) => error === reason)
    })

    it("fails its reader when the writer aborts, and its writer when the reader cancels or returns early", async () => {
      const reason = new Error("no more")
      const aborted = await waiting()
      await within(2000, () => aborted.writer.abort(reason))
      assert.equal(await aborted.read, reason)
      await assert.rejects(
        () => aborted.reader.read(),
        (error) => error === reason,
      )
      const cancelled = await waiting()
      await cancelled.reader.cancel(reason)
      for (const call of [() => cancelled.writer.write(new Uint8Array(1)), () => cancelled.writer.closed])
        await assert.rejects(call, (error) => error === reason)

      const { readable, writable } = make()
      const piping = source()
        .pipeTo(writable)
        .then(
          () => "ended",
          () => "failed",
        )
      for await (const block of readable) if (block.length > 0) break
      assert.equal(await piping, "failed")
    })

    it("passes on what failed before it", async () => {
      const reason = new Error("the disk is gone")
      let pulls = 0
      const failing = new ReadableStream<Uint8Array>({
        pull(controller) {
          if (pulls++ < 3) controller.enqueue(input.subarray(0, 1000))
          else controller.error(reason)
        },
      })
      await assert.rejects(
        () => failing.pipeThrough(make()).pipeTo(new WritableStream()),
        (error) => error === reason,
      )
    })

    it("refuses a piece that is no bytes", async () => {
      for (const wrong of ["text", [1], null, new ArrayBuffer(4)]) {
        const { readable, writable } = make()
        const writer = writable.getWriter()
        await assert.rejects(() => writer.write(wrong as unknown as Uint8Array), TypeError)
        await assert.rejects(() => readable.getReader().read(), TypeError)
      }
    })

    it("is a duplex of Node in one line", async () => {
      const out: Uint8Array[] = []
      const sink = new Writable({
        write(block, _, done) {
          out.push(block)
          done()
        },
      })
      await pipeline(Readable.from(piecesOf(input, 5000)), Duplex.fromWeb(make() as never), sink)
      const back = concat(...out)
      assert.ok(equal(method === "encryptStream" ? await crypto.open(back, CONTEXT) : back, plaintext))
    })
  })
}

describe("a stream that fails at its end", () => {
  it("rejects the pipeline of Node and ends nothing before the last tag", async () => {
    const events: string[] = []
    let length = 0
    const sink = new Writable({
      write(block, _, done) {
        length += block.length
        done()
      },
      final(done) {
        events.push("final")
        done()
      },
    })
    const opening = Duplex.fromWeb(crypto.decryptStream(CONTEXT) as never)
    opening.on("end", () => events.push("end"))
    sink.on("finish", () => events.push("finish"))
    await assert.rejects(() => pipeline(Readable.from(piecesOf(broken, 65_536)), opening, sink), DecryptionFailed)
    assert.deepEqual(events, [])
    assert.equal(length, 40 * CHUNK, "what was authentic came")
  })

  it("aborts what it is piped to and does not close it", async () => {
    let end = ""
    const sink = new WritableStream<Uint8Array>({
      close() {
        end += "closed"
      },
      abort(reason) {
        end += reason instanceof DecryptionFailed ? "aborted" : String(reason)
      },
    })
    const source = new Blob([broken as Uint8Array<ArrayBuffer>]).stream()
    await assert.rejects(() => source.pipeThrough(crypto.decryptStream(CONTEXT)).pipeTo(sink), DecryptionFailed)
    assert.equal(end, "aborted")
  })

  it("keeps failing, however often it is read", async () => {
    const { readable, writable } = crypto.decryptStream(CONTEXT)
    const writing = new Blob([broken as Uint8Array<ArrayBuffer>]).stream().pipeTo(writable).catch(caught)
    const reader = readable.getReader()
    const read = async (): Promise<void> => {
      while (!(await reader.read()).done);
    }
    for (let i = 0; i < 3; i++) await assert.rejects(read, DecryptionFailed)
    assert.ok((await writing) instanceof DecryptionFailed)
  })
})

// --- Files of each runtime ---

interface DenoFiles {
  open(
    path: string,
    options?: object,
  ): Promise<{ readonly readable: ReadableStream<Uint8Array>; readonly writable: WritableStream<Uint8Array> }>
}
interface BunFiles {
  file(path: string): { stream(): ReadableStream<Uint8Array> }
  write(path: string, data: Response): Promise<number>
}
const { Deno: deno, Bun: bun } = globalThis as unknown as { Deno?: DenoFiles; Bun?: BunFiles }

describe("files", () => {
  const paths = { plain: join(folder, "plain"), sealed: join(folder, "sealed"), opened: join(folder, "opened") }

  it("go through in one line on Node, and where Node's streams are", async () => {
    await writeFile(paths.plain, plaintext)
    await pipeline(
      createReadStream(paths.plain),
      Duplex.fromWeb(crypto.encryptStream(CONTEXT) as never),
      createWriteStream(paths.sealed),
    )
    await pipeline(
      createReadStream(paths.sealed),
      Duplex.fromWeb(crypto.decryptStream(CONTEXT) as never),
      createWriteStream(paths.opened),
    )
    assert.ok(equal(await readFile(paths.opened), plaintext))
    assert.equal((await readFile(paths.sealed)).length, await crypto.sealedSize(plaintext.length))
  })

  it("go through in one line on Deno", {
    skip: deno ? false : `${process.release.name} has no Deno.open`,
  }, async () => {
    const { open } = deno as DenoFiles
    await writeFile(paths.plain, plaintext)
    const target = { write: true, create: true, truncate: true }
    await (await open(paths.plain)).readable
      .pipeThrough(crypto.encryptStream(CONTEXT))
      .pipeTo((await open(paths.sealed, target)).writable)
    await (await open(paths.sealed)).readable
      .pipeThrough(crypto.decryptStream(CONTEXT))
      .pipeTo((await open(paths.opened, target)).writable)
    assert.ok(equal(await readFile(paths.opened), plaintext))
  })

  it("go through in one line on Bun", { skip: bun ? false : `${process.release.name} has no Bun.file` }, async () => {
    const { file, write } = bun as BunFiles
    await writeFile(paths.plain, plaintext)
    await write(
      paths.sealed,
      new Response(file(paths.plain).stream().pipeThrough(crypto.encryptStream(CONTEXT)) as never),
    )
    await write(
      paths.opened,
      new Response(file(paths.sealed).stream().pipeThrough(crypto.decryptStream(CONTEXT)) as never),
    )
    assert.ok(equal(await readFile(paths.opened), plaintext))
  })
})
