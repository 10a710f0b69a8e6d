import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import process from "node:process"
import { describe, it } from "node:test"
import { inspect } from "node:util"
import { InvalidConfiguration, InvalidInput } from "../../core/errors.ts"
import { memory } from "../../providers/memory.ts"
import { keyManagementServiceSuite, secretManagementServiceSuite } from "../../testing.ts"

keyManagementServiceSuite("memory", async () => {
  const kms = memory()
  await kms.createKey("app")
  return { kms, alias: "app", close: () => kms.close() }
})

secretManagementServiceSuite("memory", () => ({ secrets: memory() }))

describe("memory()", () => {
  it("memory() shares nothing when it is called twice", async () => {
    const [first, second] = [memory(), memory()]
    await first.createKey("app")
    await assert.rejects(second.getKeyID("app"), { code: "KEY_NOT_FOUND", retryable: false, hint: /createKey/ })
  })

  it("memory() refuses to start when NODE_ENV is production, unless it is told otherwise", () => {
    const before = process.env["NODE_ENV"]
    try {
      process.env["NODE_ENV"] = "production"
      assert.throws(() => memory(), InvalidConfiguration)
      assert.equal(memory({ allowInProduction: true }).provider, "memory")
    } finally {
      if (before === undefined) delete process.env["NODE_ENV"]
      else process.env["NODE_ENV"] = before
    }
  })

  it("createKey() refuses an alias when it is empty, longer than 256 bytes or not well-formed", async () => {
    const kms = memory()
    assert.match(await kms.createKey("a".repeat(256)), /^[0-9a-f-]{36}$/)
    for (const alias of ["", "a".repeat(257), "é".repeat(129), "\ud800"]) {
      await assert.rejects(kms.createKey(alias), InvalidInput)
    }
  })

  it("memory() shows nothing of its keys when it is inspected", async () => {
    const services = memory()
    await services.createKey("app")
    await services.storePepper("app", Buffer.from("a pepper that nobody should see!"))
    const shown = inspect(services, { depth: Number.POSITIVE_INFINITY, showHidden: true }) + JSON.stringify(services)
    assert.doesNotMatch(shown, /pepper that|Uint8Array|Buffer/)
  })
})
