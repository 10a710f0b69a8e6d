import assert from "node:assert/strict"
import { test } from "node:test"
import { assertFailed, Home } from "./_encx.ts"

const VERBS = [
  ["keys"],
  ["keys", "create"],
  ["keys", "list"],
  ["keys", "describe"],
  ["keys", "replicate"],
  ["keys", "rotate"],
  ["pepper"],
  ["pepper", "init"],
  ["pepper", "rotate"],
  ["pepper", "status"],
  ["doctor"],
  ["seal"],
  ["open"],
  ["cat"],
  ["inspect"],
  ["import"],
  ["find"],
  ["rewrap"],
  ["demo"],
]

test("every verb has help with an example", async () => {
  const home = new Home()
  try {
    for (const verb of VERBS) {
      const { stdout, stderr } = await home.ok([...verb, "--help"])
      assert.match(stdout, new RegExp(`Example:\n  \\$ encx ${verb.join(" ")}`), verb.join(" "))
      assert.equal(stderr, "")
    }
    assert.match((await home.ok(["--help"])).stdout, /Start here:/)
    assert.match((await home.ok(["--version"])).stdout, /^\d+\.\d+\.\d+\n$/)
  } finally {
    home.remove()
  }
})

test("wrong usage is exit code 2, with what was meant", async () => {
  const home = new Home()
  try {
    const misspelt = await home.encx(["sael", "a"])
    assert.equal(misspelt.code, 2)
    assert.equal(misspelt.stderr, "encx: Cannot run: unknown command 'sael'\n  Did you mean seal?\n")
    assert.equal(
      (await home.encx(["seal", "a", "--forse"])).stderr,
      "encx: Cannot run: unknown option '--forse'\n  Did you mean --force?\n",
    )
    const none = await home.encx([])
    assert.equal(none.code, 2)
    assert.match(none.stderr, /Usage: encx/)
    assertFailed(await home.encx(["seal", "--json"]), 2, "USAGE")
    assertFailed(await home.encx(["import", "a.csv", "--json"]), 2, "USAGE")
    assertFailed(await home.encx(["find", "a.sqlite", "--table", "t", "x=y", "--limit", "0", "--json"]), 2, "USAGE")
  } finally {
    home.remove()
  }
})

test("names of others cannot write to the terminal", async () => {
  const home = await Home.withKeys()
  try {
    const { stderr } = await home.encx(["seal", home.path("\u001b[2Jx\u202e")])
    assert.ok(!stderr.includes("\u001b") && !stderr.includes("\u202e"))
    assert.match(stderr, /\\u\{1b\}/)
  } finally {
    home.remove()
  }
})

test("a stack is shown under ENCX_DEBUG alone", async () => {
  const home = new Home()
  try {
    assert.doesNotMatch((await home.encx(["keys", "describe"])).stderr, / at /)
    assert.match((await home.encx(["keys", "describe"], { env: { ENCX_DEBUG: "1" } })).stderr, / at /)
  } finally {
    home.remove()
  }
})
