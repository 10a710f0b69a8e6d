import assert from "node:assert/strict"
import { test } from "node:test"
import { readCSV } from "../../cli/_csv.ts"
import { CommandError } from "../../cli/_errors.ts"
import { assertFailed, errorOf, Home } from "./_encx.ts"

/** The line of each record. */
async function linesOf(home: Home, csv: string, batch: number): Promise<number[]> {
  const lines: number[] = []
  const { signal } = new AbortController()
  const options = { batch: () => batch, signal, header: () => undefined }
  await readCSV(home.write("in.csv", csv), options, async (records) => {
    lines.push(...records.map(({ line }) => line))
  })
  return lines
}

// Files are read 64 KiB at a time.
const CHUNK = 2 ** 16
const fill = (before: string): string => before + "p".repeat(CHUNK - 1 - before.length)

const LINES: readonly (readonly [string, string, readonly number[]])[] = [
  ["no line break within quotes", "a,b\r\n1,x\r\n2,y\r\n", [2, 3]],
  ["LF within quotes, LF at the ends", 'a,b\n1,"x\ny"\n2,z\n', [3, 4]],
  ["LF within quotes, CRLF at the ends", 'a,b\r\n1,"x\ny"\r\n2,z\r\n', [3, 4]],
  ["CRLF within quotes, LF at the ends", 'a,b\n1,"x\r\ny"\n2,z\n', [3, 4]],
  ["CRLF within quotes, CRLF at the ends", 'a,b\r\n1,"x\r\ny"\r\n2,z\r\n', [3, 4]],
  ["CRLF in the header", '"a\r\nb",c\r\n1,x\r\n2,y\r\n', [3, 4]],
  ["CRLF in the header and in a record", '"a\r\nb",c\r\n1,"x\r\ny"\r\n2,y\r\n', [4, 5]],
  ["CRLFs in a row, and in both cells", 'a,b\r\n"1\r\n\r\n","x\r\ny\r\nz"\r\n2,y\r\n', [6, 7]],
  ["CRLF alone in a cell, and at its ends", 'a,b\r\n"\r\n","\r\nx\r\n"\r\n2,z\r\n', [5, 6]],
  ["CRLF between quotes that are doubled", 'a,b\r\n1,"""\r\n"""\r\n2,z\r\n', [3, 4]],
  ["CRLF, LF and again CRLF within quotes", 'a,b\r\n1,"w\r\nx\ny\r\nz"\r\n2,z\r\n', [5, 6]],
  ["CRLF within quotes, and empty lines", 'a,b\r\n\r\n1,"x\r\ny"\r\n\r\n\r\n2,z\r\n', [4, 7]],
  ["CRLF within quotes, and no end of the last line", 'a,b\r\n1,"x\r\ny"\r\n2,"x\r\ny"', [3, 5]],
  ["CRLF within quotes after a byte-order mark", '\ufeffa,b\r\n1,"x\r\ny"\r\n2,z\r\n', [3, 4]],
  ["CRLF within quotes across two reads", `${fill('a,b\r\n1,"')}\r\ny"\r\n2,z\r\n`, [3, 4]],
  ["CRLF after quotes across two reads", `${fill('a,b\r\n1,"x\r\n').slice(0, -1)}"\r\n2,z\r\n`, [3, 4]],
]

for (const [what, csv, expected] of LINES) {
  test(`records know their lines: ${what}`, async () => {
    const home = new Home()
    try {
      for (const batch of [1, 500]) assert.deepEqual(await linesOf(home, csv, batch), expected)
    } finally {
      home.remove()
    }
  })
}

const START = '"a\r\nb",c\r\n1,"x\r\ny"\r\n' // four lines

const BROKEN: readonly (readonly [string, string, RegExp])[] = [
  ["too few cells", `${START}2\r\n`, /: line 5: it has 1 cells, and the header 2$/],
  [
    "too many cells, with CRLF in one",
    `${START}2,"x\r\ny",z\r\n3,z\r\n`,
    /: line 6: it has 3 cells, and the header 2$/,
  ],
  ["too few cells, with CRLF in one", `${START}"2\r\n\r\n"\r\n3,z\r\n`, /: line 7: it has 1 cells, and the header 2$/],
  ["a cell that goes on after its quote", `${START}2,"x"y\r\n`, /: line 5: invalid closing quote$/],
  ["a quote within a cell", `${START}2,x"y"\r\n`, /: line 5: invalid opening quote$/],
  ["an open quote", `${START}2,"x`, /: line 5: quote not closed$/],
]

for (const [what, csv, message] of BROKEN) {
  test(`a broken record is told by its line, with CRLF before it: ${what}`, async () => {
    const home = new Home()
    try {
      const error = await linesOf(home, csv, 500).catch((reason: unknown) => reason)
      assert.ok(error instanceof CommandError, String(error))
      assert.equal(error.code, "INVALID_CSV")
      assert.match(error.message, message)
    } finally {
      home.remove()
    }
  })
}

test("a record that cannot be imported is told by its line, with CRLF before it", async () => {
  const home = await Home.withKeys()
  try {
    const flags = ["--table", "t", "--row", "id", "--encrypt", "name"]
    const start = 'id,name\r\n1,"x\r\ny"\r\n2,"x\r\n\r\ny"\r\n' // six lines
    for (const [line, message] of [
      ["1,z", /line 7 has the same "id"/],
      ['1,"x\r\nz"', /line 8 has the same "id"/],
      [",z", /\(line 7\)$/],
    ] as const) {
      const ran = await home.encx([
        "import",
        home.write("in.csv", `${start}${line}\r\n3,z\r\n`),
        "--to",
        home.path("db.sqlite"),
        ...flags,
        "--json",
      ])
      assertFailed(ran, 1, "INVALID_CSV")
      assert.match(errorOf(ran).message, message)
    }
  } finally {
    home.remove()
  }
})
