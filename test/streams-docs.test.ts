import assert from "node:assert/strict"
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import { blocksOf } from "./_markdown.ts"
import { type ObjectStore, startObjectStore } from "./_object-store.ts"
import { runProgram } from "./_programs.ts"

const guide = readFileSync(join(import.meta.dirname, "../docs/streams.md"), "utf8")
const [start, ...programs] = blocksOf(guide).filter(({ language }) => language === "ts")

/** What the programs under a heading say, and what is done with them so that they say something. */
const SAYS: Readonly<Record<string, readonly [output: RegExp, more?: string]>> = {
  Streams: [/^as long as you like\n$/],
  "Uploads and `size`": [/^201\n$/],
  Files: [/^3000000 300\d{4}\n0 %\n[\s\S]*^100 %\n$/m],
  Ranges: [/^8 2000 100\n$/],
  "Of an object on a server": [/^(1024|100)\n$/],
  "A film that is played": [
    /^206 bytes 5-9\/3000000 5\n206 bytes 0-1048575\/3000000 1048576\n206 bytes 2999999-2999999\/3000000 1\n416 bytes \*\/3000000 0\n$/,
    `for (const range of ["bytes=5-9", "bytes=0-", "bytes=2999999-", "bytes=3000000-"]) {
       const response = await play(new Request("http://localhost/", { headers: { range } }))
       console.log(response.status, response.headers.get("content-range"), (await response.arrayBuffer()).byteLength)
     }`,
  ],
}

// A reader begins at the top: what one program leaves behind, the next ones find.
describe("the programs of docs/streams.md, in their order", () => {
  let store: ObjectStore
  let home = ""
  before(async () => {
    store = await startObjectStore()
    home = mkdtempSync(join(tmpdir(), "encx-streams-"))
    chmodSync(home, 0o700)
    writeFileSync(join(home, "report.pdf"), new Uint8Array(100_000).fill(7))
    writeFileSync(join(home, "film.mp4"), new Uint8Array(3_000_000).fill(8))
  })
  after(async () => {
    await store?.close()
    rmSync(home, { recursive: true, force: true })
  })

  for (const { code, heading, line } of programs) {
    const [, owner = ""] = /\b(Deno|Bun)\./.exec(code) ?? []
    const skip = owner !== "" && !Object.hasOwn(process.versions, owner.toLowerCase()) && `it is for ${owner}`
    it(`line ${line}, «${heading}»`, { skip }, async () => {
      const [output, more = ""] = SAYS[heading] ?? [/^$/]
      const program = [start?.code, code, more, "await crypto.close()"]
        .join("\n")
        .replaceAll("/home/ada", home)
        .replaceAll("https://objects.example.org", store.url)
      const ended = await runProgram(program, { cwd: home })
      assert.equal(ended.code, 0, ended.stderr)
      assert.match(ended.stdout, output)
    })
  }

  it("leave what the page says, and nothing unfinished", () => {
    const names = readdirSync(home).filter((name) => name !== ".encx")
    assert.deepEqual(names.sort(), [
      "app.log.gz.encx",
      ...["copy.mp4", "film.mp4", "film.mp4.encx"],
      ...["report.pdf", "report.pdf.encx"],
    ])
    assert.deepEqual(readFileSync(join(home, "copy.mp4")), readFileSync(join(home, "film.mp4")))
    assert.deepEqual(readFileSync(join(home, "report.pdf")), Buffer.alloc(100_000, 7))
  })
})
