import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { join, resolve } from "node:path"
import { it } from "node:test"

const root = resolve(import.meta.dirname, "..")
const elsewhere = process.versions.deno ?? process.versions.bun

it("types infer records both ways and refuse what is wrong", {
  skip: elsewhere === undefined ? false : "the compiler runs on Node",
}, () => {
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc")
  const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.json"], { cwd: root, encoding: "utf8" })
  assert.equal(status, 0, stdout)
})
