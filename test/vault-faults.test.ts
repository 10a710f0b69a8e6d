import assert from "node:assert/strict"
import { after, before, describe, it } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { isRetryableError, KeyNotFound, KMSUnavailable, SecretStorageUnavailable } from "../core/errors.ts"
import { goesRound, newKey, ONCE, recorder, secretsOf, transitOf } from "./_vault.ts"
import { within } from "./_within.ts"
import {
  needsServer,
  startToxiproxy,
  startVault,
  type Toxiproxy,
  type Vault,
  type Proxy as Wire,
} from "./servers/index.ts"

const unavailable = (words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof KMSUnavailable, String(error))
  assert.ok(isRetryableError(error))
  assert.match(error.message, words)
  return true
}

describe("a Vault that does not serve", needsServer("vault"), () => {
  let vault: Vault
  let name: string
  before(async () => {
    vault = await startVault()
    name = await newKey(vault)
  })
  after(() => vault?.close())

  it("a sealed server is what may pass, and serves again when it is unsealed", async () => {
    const kms = transitOf(vault, ONCE)
    const secrets = secretsOf(vault, ONCE)
    await goesRound(kms, name)
    await vault.seal()
    try {
      await assert.rejects(kms.getKeyID(name), unavailable(/sealed/))
      await assert.rejects(secrets.pepperExists("app"), SecretStorageUnavailable)
    } finally {
      await vault.unseal()
    }
    await goesRound(kms, name)
    assert.equal(await secrets.pepperExists("app"), false)
    await kms.close()
    await secrets.close()
  })

  it("a call that is under way while it is sealed waits for it, as long as it has attempts", async () => {
    const { fetch, count } = recorder()
    const kms = transitOf(vault, { attempts: 100, deadlineMs: 60_000, breaker: false, fetch })
    await vault.seal()
    let outcome: unknown
    const call = goesRound(kms, name).then(
      () => {
        outcome = "done"
      },
      (error: unknown) => {
        outcome = error
      },
    )
    while (count(/./, 503) === 0 && outcome === undefined) await sleep(5)
    await vault.unseal()
    await call
    assert.equal(outcome, "done")
    await kms.close()
  })

  it("a rate quota is what may pass: it is told, and tried again", async () => {
    await vault.request("POST", "sys/quotas/rate-limit/few", { rate: 2, interval: "1s", path: "transit/" })
    try {
      const seen = recorder()
      const told = transitOf(vault, { ...ONCE, fetch: seen.fetch })
      const keyID = `default/transit/${name}`
      let error: unknown
      // Faster than two a second, at some time.
      for (let i = 0; i < 1_000 && error === undefined; i++) {
        error = await told.describeKey(keyID).then(
          () => undefined,
          (thrown: unknown) => thrown,
        )
      }
      assert.ok(unavailable(/asked too often/)(error))
      assert.ok(seen.count(/keys/, 429) > 0)
      await told.close()

      const { fetch, count } = recorder()
      const patient = transitOf(vault, { attempts: 100, deadlineMs: 60_000, fetch })
      await Promise.all(Array.from({ length: 4 }, () => patient.describeKey(keyID)))
      assert.equal(count(/keys/, 200), 4)
      assert.ok(count(/keys/, 429) > 0)
      await patient.close()
    } finally {
      await vault.request("DELETE", "sys/quotas/rate-limit/few")
    }
  })

  it("a deleted key is not found, and is not made anew by encrypting", async () => {
    const gone = await newKey(vault)
    const kms = transitOf(vault, ONCE)
    const keyID = await kms.getKeyID(gone)
    const wrapped = await kms.generateDEK(keyID, { a: "b" })
    await vault.request("POST", `transit/keys/${gone}/config`, { deletion_allowed: true })
    await vault.request("DELETE", `transit/keys/${gone}`)
    await assert.rejects(kms.decryptDEK(wrapped, { a: "b" }), KeyNotFound)
    await assert.rejects(kms.getKeyID(gone), KeyNotFound)
    await assert.rejects(kms.generateDEK(keyID, { a: "b" }), KeyNotFound)
    assert.equal((await vault.ask("GET", `transit/keys/${gone}`)).status, 404)
    await kms.close()
  })
})

describe("a bad connection to Vault", needsServer("vault", "toxiproxy"), () => {
  let vault: Vault
  let toxiproxy: Toxiproxy
  let wire: Wire
  let name: string
  before(async () => {
    vault = await startVault()
    toxiproxy = await startToxiproxy()
    wire = await toxiproxy.proxy(vault.url)
    name = await newKey(vault)
  })
  after(async () => {
    await toxiproxy?.close()
    await vault?.close()
  })

  const across = (options = {}) => transitOf(vault, { address: wire.url, ...options })

  it("that is slow costs a time-out, and not the whole deadline", async () => {
    const kms = across({ ...ONCE, requestTimeoutMs: 2_000 })
    await goesRound(kms, name)
    const stop = await wire.add({ type: "latency", latency: 20_000 })
    await assert.rejects(
      within(10_000, () => kms.getKeyID(name)),
      unavailable(/./),
    )
    await stop()
    await goesRound(kms, name)
    await kms.close()
  })

  it("that is reset is tried again", async () => {
    const kms = across({ attempts: 100, deadlineMs: 60_000, breaker: false })
    await goesRound(kms, name)
    const once = across(ONCE)
    const stop = await wire.add({ type: "reset_peer", timeout: 0 })
    await assert.rejects(once.getKeyID(name), unavailable(/no connection/))
    const [outcome] = await Promise.all([
      goesRound(kms, name).then(
        () => "done",
        (error: unknown) => error,
      ),
      sleep(100).then(stop),
    ])
    assert.equal(outcome, "done")
    await kms.close()
    await once.close()
  })

  it("that is cut is what may pass, and works again when it is restored", async () => {
    const kms = across(ONCE)
    await goesRound(kms, name)
    await wire.cut()
    await assert.rejects(kms.getKeyID(name), unavailable(/no connection/))
    await wire.restore()
    await goesRound(kms, name)
    await kms.close()
  })

  it("that ends in the middle of an answer gives no answer", async () => {
    const kms = across(ONCE)
    await wire.add({ type: "limit_data", bytes: 100 })
    await assert.rejects(kms.getKeyID(name), unavailable(/./))
    await wire.clear()
    await goesRound(kms, name)
    await kms.close()
  })
})
