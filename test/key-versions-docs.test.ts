import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { DIALECTS } from "../providers/_sql-dialect.ts"
import { runProgram } from "./_programs.ts"
import { type DatabaseServer, POSTGRES } from "./providers/_databases.ts"

const guide = readFileSync(join(import.meta.dirname, "../docs/key-versions.md"), "utf8")
const blocks = (language: string): string[] =>
  [...guide.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, "gm"))].map(([, code = ""]) => code)

describe("docs/key-versions.md", () => {
  it("shows the tables that are made", () => {
    const made = Object.values(DIALECTS).map(({ ddl }) => ddl.map((each) => `${each};\n`).join(""))
    assert.deepEqual(blocks("sql"), made)
  })
})

describe("the programs of docs/key-versions.md", POSTGRES.options, () => {
  let server: DatabaseServer
  before(async () => {
    server = await POSTGRES.start()
  })
  after(async () => await server?.close())

  const OUTPUT = [/^1\n2\n$/, /^\[\s*\{\s*version: 1,/, /^true ada@example.com\n$/]
  for (const [i, program] of blocks("ts").entries()) {
    it(`program ${i + 1} does what it says`, async () => {
      const ended = await runProgram(program.replaceAll("postgres://app:secret@db.internal/app", await server.fresh()))
      assert.equal(ended.code, 0, ended.stderr)
      assert.match(ended.stdout, OUTPUT[i] ?? /^$/)
    })
  }
})
