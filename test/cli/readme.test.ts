import assert from "node:assert/strict"
import { copyFileSync, mkdirSync, readFileSync, statSync } from "node:fs"
import { test } from "node:test"
import { Home } from "./_encx.ts"
import { POSIX, shell } from "./_process.ts"

const file = (name: string): URL => new URL(`../../${name}`, import.meta.url)

/** The lines of «The command», each whole. */
function commands(): string[] {
  const [, block = ""] = /^## The command\n+```sh\n([\s\S]*?)^```/m.exec(readFileSync(file("README.md"), "utf8")) ?? []
  return block
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("#"))
}

test("the commands of the README run as they stand there", {
  skip: POSIX ? false : "there is no /bin/sh",
}, async () => {
  const home = new Home()
  try {
    mkdirSync(home.path("examples/data"), { recursive: true })
    copyFileSync(file("examples/data/people.csv"), home.path("examples/data/people.csv"))
    home.write("report.pdf", "%PDF-1.7 a report")
    const output: Record<string, string> = {}
    for (const line of commands()) {
      const { code, stdout, stderr } = await shell(home, line)
      assert.equal(code, 0, `${line}\n${stdout}${stderr}`)
      const verb = line.split(" ").slice(0, 2).join(" ")
      output[verb] = (output[verb] ?? "") + stdout
    }
    const verbs = ["keys", "seal", "open", "cat", "import", "find", "inspect", "pepper", "doctor"]
    for (const verb of verbs) assert.ok(output[`encx ${verb}`], verb)
    assert.equal(output["encx cat"], "%PDF-1.7")
    assert.match(output["encx import"] ?? "", /^Imported 1000 rows /)
    assert.match(output["encx find"] ?? "", /Person\.1@example\.org/)
    assert.match(output["encx keys"] ?? "", /Re-wrapped 1000 rows /)
    assert.deepEqual(home.read("copy.pdf"), home.read("report.pdf"))
    assert.ok(statSync(home.keyFile).isFile())
    assert.deepEqual(home.names(), ["copy.pdf", "examples", "people.sqlite", "report.pdf", "report.pdf.encx"])
  } finally {
    home.remove()
  }
})
