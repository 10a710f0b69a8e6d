import assert from "node:assert/strict"
import process from "node:process"
import { describe, it } from "node:test"
import { base64 } from "../../core/bytes.ts"
import { InvalidConfiguration, InvalidFormat, KeyNotFound } from "../../core/errors.ts"
import { env } from "../../providers/env.ts"
import { keyManagementServiceSuite } from "../../testing.ts"
import { bytes32 } from "../suites/_assert.ts"

const KEY = base64(bytes32(1))

keyManagementServiceSuite("env", () => ({ kms: env({ variables: { ENCX_KEK: KEY } }), alias: "ENCX_KEK" }))

describe("env()", () => {
  it("getKeyID() reads process.env when no variables are given", async () => {
    process.env["ENCX_TEST_KEK"] = KEY
    try {
      assert.equal(await env().getKeyID("ENCX_TEST_KEK"), "ENCX_TEST_KEK")
    } finally {
      delete process.env["ENCX_TEST_KEK"]
    }
    await assert.rejects(env().getKeyID("ENCX_TEST_KEK"), KeyNotFound)
  })

  it("decryptDEK() rejects when the variable holds another key, or is another variable", async () => {
    const kms = env({ variables: { A: KEY, B: KEY } })
    const wrapped = await kms.encryptDEK("A", bytes32(2), {})
    assert.deepEqual(await kms.decryptDEK(wrapped, {}), bytes32(2))
    await assert.rejects(kms.decryptDEK({ ...wrapped, keyID: "B" }, {}), { code: "DECRYPTION_FAILED" })
    const changed = env({ variables: { A: base64(bytes32(3)) } })
    await assert.rejects(changed.decryptDEK(wrapped, {}), { code: "DECRYPTION_FAILED" })
  })

  it("getKeyID() rejects and quotes nothing when the value is not 32 bytes in canonical base64", async () => {
    const values = [
      KEY.slice(1),
      `${KEY} `,
      KEY.replace("=", ""),
      base64(new Uint8Array(31)),
      base64(new Uint8Array(64)),
    ]
    assert.equal(await env({ variables: { A: KEY } }).getKeyID("A"), "A")
    for (const value of values) {
      const error = await env({ variables: { A: value } })
        .getKeyID("A")
        .catch((reason: unknown) => reason)
      assert.ok(error instanceof InvalidFormat, String(error))
      assert.ok(!error.message.includes(value.slice(0, 12)))
    }
  })

  it("getKeyID() says that there is none when the name is no variable's, or is inherited", async () => {
    for (const name of ["", "A", "A-B", "1A", "constructor", "__proto__", "toString"]) {
      await assert.rejects(env({ variables: {} }).getKeyID(name), KeyNotFound)
    }
  })

  it("env() refuses to start when NODE_ENV is production, unless it is told otherwise", () => {
    const before = process.env["NODE_ENV"]
    try {
      process.env["NODE_ENV"] = "production"
      assert.throws(() => env(), InvalidConfiguration)
      assert.equal(env({ allowInProduction: true }).provider, "env")
    } finally {
      if (before === undefined) delete process.env["NODE_ENV"]
      else process.env["NODE_ENV"] = before
    }
  })
})
