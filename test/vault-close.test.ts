// What comes after close(), and what was under way.
import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { Closed } from "../core/errors.ts"
import { tlsTransport } from "../providers/_vault-http.ts"
import { vaultKV } from "../providers/vault-kv.ts"
import { vaultTransit } from "../providers/vault-transit.ts"
import { answerOf, errorOf, KEY, recorder } from "./_vault.ts"
import { listOf } from "./suites/_assert.ts"

const auth = { method: "approle", roleID: "app" } as const
const LOGIN = { auth: { client_token: "hvs.some-token", lease_duration: 3_600, renewable: true } }

describe("close() of Vault", () => {
  it("is for good: what is asked later asks nobody", async () => {
    const { fetch, calls } = recorder(async () => answerOf(200, { data: KEY }))
    const options = { environment: { VAULT_ADDR: "http://127.0.0.1:1", VAULT_TOKEN: "hvs.some-token" }, fetch }
    for (const used of [false, true]) {
      const [kms, secrets] = [vaultTransit(options), vaultKV(options)]
      if (used) await kms.getKeyID("app")
      for (let i = 0; i < 2; i++) await Promise.all([kms.close(), secrets.close()])
      calls.length = 0
      for (const [provider, ask] of [
        ["vault-transit", () => kms.getKeyID("app")],
        ["vault-transit", () => kms.generateDEK("app", {})],
        ["vault-kv", () => secrets.getPepper("app")],
      ] as const) {
        const error = await errorOf(ask())
        assert.ok(error instanceof Closed, String(error))
        assert.equal(error.message, `Cannot use ${provider}: it was closed`)
      }
      const [found] = await listOf(kms.diagnose("app"))
      assert.equal(found?.ok, false)
      assert.deepEqual(calls, [])
    }
  })

  it("ends a call that was to ask again, which uses neither its token nor a connection of its own", async () => {
    const environment = { VAULT_ADDR: "http://127.0.0.1:1" }
    let closing: Promise<void> | undefined
    const origins = new Set<string>()
    const { fetch, calls } = recorder(async (url) => {
      origins.add(new URL(url).origin)
      if (url.endsWith("/login")) return answerOf(200, LOGIN)
      if (url.endsWith("/revoke-self")) return answerOf(204, "")
      environment.VAULT_ADDR = "http://127.0.0.1:2"
      closing ??= kms.close()
      return answerOf(503, { errors: ["Vault is sealed"] })
    })
    const kms = vaultTransit({ environment, auth, fetch, random: () => 0 })
    const error = await errorOf(kms.getKeyID("app"))
    assert.ok(error instanceof Closed, String(error))
    await closing
    assert.deepEqual(calls.toSorted(), [
      "GET transit/keys/app",
      "POST auth/approle/login",
      "POST auth/token/revoke-self",
    ])
    assert.deepEqual([...origins], ["http://127.0.0.1:1"])
  })

  it("ends a call whose token is refused meanwhile, and gets it no other", async () => {
    let closing: Promise<void> | undefined
    const { fetch, calls } = recorder(async (url) => {
      if (url.endsWith("/login")) return answerOf(200, LOGIN)
      if (url.endsWith("/revoke-self")) return answerOf(204, "")
      closing ??= kms.close()
      await closing
      return answerOf(403, { errors: ["permission denied", "invalid token"] })
    })
    const kms = vaultTransit({ address: "http://127.0.0.1:1", environment: {}, auth, fetch })
    await errorOf(kms.getKeyID("app"))
    await closing
    assert.deepEqual(calls, ["POST auth/approle/login", "GET transit/keys/app", "POST auth/token/revoke-self"])
  })

  it("revokes the token of a login that was under way, and the call that waited for it asks nothing", async () => {
    const [asked, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const { fetch, calls } = recorder(async (url) => {
      if (!url.endsWith("/login")) return answerOf(204, "")
      asked.resolve()
      await held.promise
      return answerOf(200, LOGIN)
    })
    const kms = vaultTransit({ address: "http://127.0.0.1:1", environment: {}, auth, fetch })
    const call = errorOf(kms.getKeyID("app"))
    await asked.promise
    const closing = kms.close()
    held.resolve()
    await closing
    assert.ok((await call) instanceof Closed)
    assert.deepEqual(calls, ["POST auth/approle/login", "POST auth/token/revoke-self"])
  })

  it("leaves no connection over HTTPS that is opened later, nor one that was being opened", async () => {
    const request = { method: "GET", headers: {}, signal: new AbortController().signal, maxBytes: 100 }
    const transport = tlsTransport("vault-transit", { skipVerify: false })
    const opening = errorOf(transport.send("https://127.0.0.1:1/", request))
    transport.close()
    assert.ok((await opening) instanceof Closed)
    assert.ok((await errorOf(transport.send("https://127.0.0.1:1/", request))) instanceof Closed)
  })
})
