import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { randomUUID } from "node:crypto"
import { after, before, describe, it } from "node:test"
import type { WrappedDEK } from "../../core/contracts.ts"
import {
  AccessDenied,
  AuthenticationFailed,
  DecryptionFailed,
  type EncxError,
  InvalidConfiguration,
  InvalidInput,
  KeyDisabled,
  KeyNotFound,
  KMSUnavailable,
} from "../../core/errors.ts"
import { newCrypto, withKEKAlias, withKMSService } from "../../mod.ts"
import {
  type UnwrapItem,
  type VaultTransit,
  type VaultTransitOptions,
  vaultTransit,
} from "../../providers/vault-transit.ts"
import { lent } from "../_aws.ts"
import { dataOf, errorOf, newToken, recorder, shown, transitOf } from "../_vault.ts"
import { needsServer, startVault, type Vault } from "../servers/index.ts"
import { bytes32, listOf, rejectsWith } from "../suites/_assert.ts"
import { CONTEXT, unwrap } from "../suites/_keys.ts"
import { keyManagementServiceSuite } from "../suites/key-management-service.ts"

const newKey = (): string => `app-${randomUUID()}`
const ascii = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"))
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")

describe("vaultTransit() over Vault", needsServer("vault"), () => {
  let vault: Vault
  const kmsAt = (options: VaultTransitOptions = {}): VaultTransit => transitOf(vault, options)
  const keyExists = async (name: string): Promise<boolean> =>
    (await vault.ask("GET", `transit/keys/${name}`)).status === 200

  before(async () => {
    vault = await startVault()
  })
  after(() => vault.close())

  keyManagementServiceSuite("vault-transit", async () => {
    const kms = kmsAt()
    const alias = newKey()
    await kms.createKey(alias)
    return { kms, alias, close: () => kms.close() }
  })

  it("names keys by cluster, mount and name, and takes the name alone", async () => {
    const mount = `team/transit-${randomUUID()}`
    await vault.request("POST", `sys/mounts/${mount}`, { type: "transit" })
    await lent(kmsAt({ mount, cluster: "eu-1" }), async (kms) => {
      const keyID = await kms.createKey("app")
      assert.equal(keyID, `eu-1/${mount}/app`)
      for (const name of ["app", keyID]) {
        assert.equal(await kms.getKeyID(name), keyID)
        const wrapped = await kms.encryptDEK(name, bytes32(1), CONTEXT)
        assert.deepEqual({ ...wrapped, ciphertext: 0 }, { ciphertext: 0, keyID, version: 1 })
        assert.match(textOf(wrapped.ciphertext), /^vault:v1:[A-Za-z0-9+/]+=*$/)
        assert.deepEqual(await unwrap(kms, { ...wrapped, keyID: name }), bytes32(1))
        assert.deepEqual(await unwrap(kms, { ...wrapped, version: 0 }), bytes32(1), "whoever wrote no version down")
      }
      const error = await errorOf(kms.getKeyID("default/transit/app"))
      assert.ok(error instanceof InvalidConfiguration)
      assert.match(error.message, /it is not in "eu-1\/team\/transit-/)
    })
    await lent(kmsAt({ mount, keyIDs: "name" }), async (go) => {
      assert.equal(await go.getKeyID("app"), "app")
      assert.ok(go.sameKey("app", `default/${mount}/app`))
      for (const other of ["app2", `eu-1/${mount}/app`, "default/transit/app", "transit/app"])
        assert.ok(!go.sameKey("app", other), other)
      assert.equal((await go.rotateKey("app")).keyID, "app")
    })
    await lent(kmsAt({ mount: "nowhere" }), async (kms) => {
      const error = await errorOf(kms.getKeyID("app"))
      assert.ok(error instanceof InvalidConfiguration)
      assert.equal(error.message, 'Cannot use vault-transit: there is no transit engine at "nowhere/"')
    })
    await lent(kmsAt({ mount: "secret" }), async (kms) => {
      await rejectsWith(kms.getKeyID("app"), InvalidConfiguration, KeyNotFound)
    })
  })

  it("defect 24: refuses names that would climb out of their path, before anything is asked", async () => {
    const { fetch, calls } = recorder()
    await lent(kmsAt({ fetch }), async (kms) => {
      const wrapped = { ciphertext: ascii(`vault:v1:${"A".repeat(80)}`), keyID: "", version: 1 }
      for (const name of [
        "../../sys/health",
        "..",
        "a..b",
        "a/../b",
        "a%2Fb",
        "a b",
        "",
        "a?b",
        "a\nb",
        "é",
        ".",
        "-a",
      ]) {
        for (const call of [
          () => kms.getKeyID(name),
          () => kms.createKey(name),
          () => kms.rotateKey(name),
          () => kms.encryptDEK(name, bytes32(1), CONTEXT),
          () => kms.decryptDEK({ ...wrapped, keyID: name }, CONTEXT),
        ])
          await rejectsWith(call(), InvalidInput, InvalidConfiguration)
      }
    })
    assert.deepEqual(calls, [])
  })

  it("defect 24: a mistyped name creates no key, and encrypting asks whether there is one, once", async () => {
    const { fetch, calls } = recorder()
    const name = newKey()
    await lent(kmsAt({ fetch }), async (kms) => {
      for (const call of [
        () => kms.encryptDEK(name, bytes32(1), CONTEXT),
        () => kms.generateDEK(name, CONTEXT),
        () => kms.encryptDEKs(name, [{ dek: bytes32(1), context: CONTEXT }]),
      ])
        await rejectsWith(call(), KeyNotFound)
      assert.ok(!(await keyExists(name)))
      assert.ok(calls.every((each) => !each.includes("encrypt")))
      await kms.createKey(name)
      calls.length = 0
      for (let i = 0; i < 3; i++) await kms.generateDEK(name, CONTEXT)
      assert.deepEqual(calls, Array(3).fill(`POST transit/encrypt/${name}`))
    })
  })

  it("defect 24: says that a key was deleted, and does not wrap with one that took its name", async () => {
    await lent(kmsAt(), async (kms) => {
      const name = newKey()
      const keyID = await kms.createKey(name)
      const old = await kms.encryptDEK(keyID, bytes32(1), CONTEXT)
      await kms.rotateKey(keyID)
      await vault.request("POST", `transit/keys/${name}/config`, { deletion_allowed: true })
      assert.ok((await listOf(kms.diagnose(name))).some(({ check, hint }) => check === "key deletion" && hint))
      await vault.request("DELETE", `transit/keys/${name}`)
      await rejectsWith(kms.decryptDEK(old, CONTEXT), KeyNotFound)
      // The program saw version 2: that of another key of this name is version 1.
      const error = await errorOf(kms.encryptDEK(keyID, bytes32(1), CONTEXT))
      assert.ok(error instanceof KeyNotFound)
      assert.match(error.message, /it was deleted, and there is another of its name now$/)
      assert.match(error.hint ?? "", /disable_upsert=true/)
    })
    const name = newKey()
    await lent(kmsAt(), (root) => root.createKey(name))
    const paths = { [`transit/keys/${name}`]: ["read"], [`transit/encrypt/${name}`]: ["update"] }
    await lent(kmsAt({ token: await newToken(vault, paths) }), async (kms) => {
      await kms.encryptDEK(name, bytes32(1), CONTEXT)
      const silent = (await listOf(kms.diagnose(name))).find(({ check }) => check === "no silent creation")
      assert.equal(silent?.detail, "the token may not create keys by encrypting")
      await vault.request("POST", `transit/keys/${name}/config`, { deletion_allowed: true })
      await vault.request("DELETE", `transit/keys/${name}`)
      await rejectsWith(kms.encryptDEK(name, bytes32(1), CONTEXT), KeyNotFound)
      assert.ok(!(await keyExists(name)), "a policy of update alone creates nothing")
    })
  })

  it("says what it found where the engine makes no key by encrypting", async () => {
    const mount = `transit-${randomUUID()}`
    await vault.request("POST", `sys/mounts/${mount}`, { type: "transit" })
    await vault.request("POST", `${mount}/config/keys`, { disable_upsert: true })
    await lent(kmsAt({ mount }), async (kms) => {
      await kms.createKey("app")
      await kms.encryptDEK("app", bytes32(1), CONTEXT)
      const silent = (await listOf(kms.diagnose("app"))).find(({ check }) => check === "no silent creation")
      assert.equal(silent?.detail, "disable_upsert is set")
      await vault.request("POST", `${mount}/keys/app/config`, { deletion_allowed: true })
      await vault.request("DELETE", `${mount}/keys/app`)
      await rejectsWith(kms.encryptDEK("app", bytes32(1), CONTEXT), KeyNotFound)
    })
  })

  it("leaves a new key as it was asked for: of what type, and how often it rotates by itself", async () => {
    await lent(kmsAt(), async (kms) => {
      const [plain, other] = [newKey(), newKey()]
      await kms.createKey(plain)
      await kms.createKey(other, { type: "chacha20-poly1305", autoRotateMs: 24 * 3_600_000 })
      const read = async (name: string) => dataOf(await vault.request("GET", `transit/keys/${name}`))
      const first = await read(plain)
      assert.deepEqual([first["type"], first["auto_rotate_period"]], ["aes256-gcm96", 0])
      const second = await read(other)
      assert.deepEqual([second["type"], second["auto_rotate_period"]], ["chacha20-poly1305", 86_400])
      assert.deepEqual(await unwrap(kms, await kms.encryptDEK(other, bytes32(1), CONTEXT)), bytes32(1))
      for (const autoRotateMs of [1, -3_600_000, Number.NaN])
        await rejectsWith(kms.createKey(newKey(), { autoRotateMs }), InvalidConfiguration)
    })
  })

  it("knows the key that it made when the answer was lost", async () => {
    let lost = 0
    const { fetch } = recorder(async (url, init) => {
      const answer = await globalThis.fetch(url, init)
      if (init.method === "POST" && /\/keys\/[^/]+$/.test(url) && lost++ === 0) {
        await answer.arrayBuffer()
        throw new TypeError("fetch failed", { cause: { code: "ECONNRESET" } })
      }
      return answer as never
    })
    await lent(kmsAt({ fetch }), async (kms) => {
      const name = newKey()
      assert.equal(await kms.createKey(name), `default/transit/${name}`)
      assert.equal(lost, 2)
    })
  })

  it("refuses keys that would not bind a context, or that anybody can wrap with, and says why", async () => {
    await lent(kmsAt(), async (kms) => {
      for (const [options, reason] of [
        [{ type: "aes256-gcm96", derived: true }, /it derives keys from a context of its own/],
        [{ type: "aes256-gcm96", derived: true, convergent_encryption: true }, /it derives keys/],
        [{ type: "rsa-2048" }, /it is a key pair: whoever has its public key can wrap/],
        [{ type: "ed25519" }, /it is of the type "ed25519"/],
      ] as const) {
        const name = newKey()
        await vault.request("POST", `transit/keys/${name}`, options)
        for (const call of [() => kms.getKeyID(name), () => kms.encryptDEK(name, bytes32(1), CONTEXT)]) {
          const error = await errorOf(call())
          assert.ok(error instanceof InvalidConfiguration, String(error))
          assert.match(error.message, reason)
        }
      }
      const name = newKey()
      await vault.request("POST", `transit/keys/${name}`, { exportable: true })
      await kms.getKeyID(name)
      const found = await listOf(kms.diagnose(name))
      assert.deepEqual(
        found.filter(({ ok }) => !ok).map(({ check }) => check),
        ["key export"],
      )
    })
  })

  it("tells versions that do not open any more from those that do", async () => {
    await lent(kmsAt(), async (kms) => {
      const name = newKey()
      const keyID = await kms.createKey(name)
      const old = await kms.encryptDEK(keyID, bytes32(1), CONTEXT)
      for (let i = 0; i < 2; i++) await kms.rotateKey(keyID)
      const states = async () => (await kms.describeKey(keyID)).versions.map(({ state }) => state)
      assert.deepEqual(await states(), ["enabled", "enabled", "enabled"])
      await vault.request("POST", `transit/keys/${name}/config`, {
        min_decryption_version: 3,
        min_encryption_version: 3,
      })
      assert.deepEqual(await states(), ["disabled", "disabled", "enabled"])
      const error = await errorOf(kms.decryptDEK(old, CONTEXT))
      assert.ok(error instanceof KeyDisabled, String(error))
      assert.match(error.message, /below its min_decryption_version$/)
      await vault.request("POST", `transit/keys/${name}/trim`, { min_available_version: 2 })
      assert.deepEqual(await states(), ["destroyed", "disabled", "enabled"])
      await vault.request("POST", `transit/keys/${name}/config`, { min_decryption_version: 2 })
      await rejectsWith(kms.decryptDEK(old, CONTEXT), KeyDisabled)
    })
  })

  it("wraps anew after a rotation: bound to its context by unwrapping, else by the server", async () => {
    const { fetch, calls } = recorder()
    const name = newKey()
    await lent(kmsAt({ fetch }), async (kms) => {
      const keyID = await kms.createKey(name)
      const [bound, free] = [
        await kms.encryptDEK(keyID, bytes32(1), CONTEXT),
        await kms.encryptDEK(keyID, bytes32(2), {}),
      ]
      assert.equal((await kms.rotateKey(keyID)).currentVersion, 2)
      calls.length = 0
      const again = await kms.reencryptDEK(bound, CONTEXT, keyID)
      assert.deepEqual(calls, [`POST transit/decrypt/${name}`, `POST transit/encrypt/${name}`])
      assert.equal(again.version, 2)
      assert.deepEqual(await unwrap(kms, again), bytes32(1))
      await rejectsWith(kms.decryptDEK(again, { ...CONTEXT, tenant: "other" }), DecryptionFailed)
      calls.length = 0
      const moved = await kms.reencryptDEK(free, {}, keyID)
      assert.deepEqual(calls, [`POST transit/rewrap/${name}`])
      assert.deepEqual([moved.version, await unwrap(kms, moved, {})], [2, bytes32(2)])
    })
    await lent(kmsAt({ fetch, bindContext: false }), async (kms) => {
      const old = { ...(await kms.encryptDEK(name, bytes32(3), CONTEXT)) }
      calls.length = 0
      const moved = await kms.reencryptDEK(old, CONTEXT, name)
      assert.deepEqual(calls, [`POST transit/rewrap/${name}`])
      assert.deepEqual(await unwrap(kms, moved, {}), bytes32(3))
    })
    assert.ok(calls.every((each) => !each.includes("datakey")))
  })

  it("opens what the Go library wrote, and writes what that opens", async () => {
    const name = newKey()
    await lent(kmsAt({ bindContext: false }), async (kms) => {
      await kms.createKey(name)
      const plaintext = Buffer.from(bytes32(1)).toString("base64")
      const go = dataOf(await vault.request("POST", `transit/encrypt/${name}`, { plaintext }))
      const wrapped = { ciphertext: ascii(String(go["ciphertext"])), keyID: name, version: 0 }
      assert.deepEqual(await unwrap(kms, wrapped), bytes32(1))
      const ours = await kms.encryptDEK(name, bytes32(2), CONTEXT)
      const ciphertext = textOf(ours.ciphertext)
      const opened = dataOf(await vault.request("POST", `transit/decrypt/${name}`, { ciphertext }))
      assert.equal(opened["plaintext"], Buffer.from(bytes32(2)).toString("base64"))
      await lent(kmsAt(), async (binding) => {
        assert.deepEqual(await unwrap(binding, wrapped, {}), bytes32(1), "an empty context is none")
        await rejectsWith(binding.decryptDEK(wrapped, CONTEXT), DecryptionFailed)
      })
    })
  })

  it("asks for nothing when a wrap cannot be Vault's, or its version is another than it says", async () => {
    const { fetch, calls } = recorder()
    await lent(kmsAt({ fetch }), async (kms) => {
      const keyID = await kms.createKey(newKey())
      const { ciphertext } = await kms.encryptDEK(keyID, bytes32(1), CONTEXT)
      const good = textOf(ciphertext)
      calls.length = 0
      for (const bad of [
        "",
        "vault:v0:AAAA",
        "vault:v01:AAAA",
        "vault:v1:",
        "vault:v9999999999:AAAA",
        "vault:v1:AA%A",
        "vault:v1:AAB=",
        good.toUpperCase(),
        ` ${good}`,
        `${good}\n`,
        `vault:v1:${"A".repeat(8_000)}`,
      ])
        await rejectsWith(kms.decryptDEK({ ciphertext: ascii(bad), keyID, version: 0 }, CONTEXT), DecryptionFailed)
      await rejectsWith(kms.decryptDEK({ ciphertext, keyID, version: 2 }, CONTEXT), DecryptionFailed)
      assert.deepEqual(calls, [])
    })
  })

  it("wraps, unwraps and re-wraps many at once: what fails is told for itself, in its place", async () => {
    const { fetch, calls } = recorder()
    await lent(kmsAt({ fetch }), async (kms) => {
      const [name, other] = [newKey(), newKey()]
      const [keyID, otherID] = [await kms.createKey(name), await kms.createKey(other)]
      const contexts = Array.from({ length: 300 }, (_, i) => ({ ...CONTEXT, row: String(i) }))
      const items = contexts.map((context, i) => ({ dek: bytes32(i), context }))
      calls.length = 0
      const wrapped = (await kms.encryptDEKs(keyID, items)).map((each) => {
        assert.ok("value" in each)
        return each.value
      })
      assert.deepEqual(calls, Array(2).fill(`POST transit/encrypt/${name}`))
      assert.equal(wrapped.length, 300)

      const asked = wrapped.map((each, i) => ({ wrapped: each, context: contexts[i] ?? {} }))
      const foreign = { wrapped: await kms.encryptDEK(otherID, bytes32(301), {}), context: {} }
      const given = [
        ...asked,
        foreign,
        { ...foreign, wrapped: { ...foreign.wrapped, keyID: "default/transit/no-such" } },
      ]
      const spoil = (at: number, change: Partial<WrappedDEK>, context = contexts[at] ?? {}): void => {
        const { wrapped } = given[at] as UnwrapItem
        given[at] = { wrapped: { ...wrapped, ...change }, context }
      }
      spoil(7, {}, { ...CONTEXT, row: "8" })
      spoil(8, { version: 9 })
      spoil(9, { ciphertext: ascii("vault:v1:AAAA") })
      const opened = [...(await kms.decryptDEKs(given))]
      assert.equal(opened.length, 302)
      const absent = opened.pop()
      assert.ok(absent && "error" in absent && absent.error instanceof KeyNotFound)
      given.pop()
      for (const [i, each] of opened.entries()) {
        if ([7, 8, 9].includes(i)) assert.ok("error" in each && each.error instanceof DecryptionFailed, String(i))
        else assert.deepEqual("value" in each && Uint8Array.from(each.value), bytes32(i === 300 ? 301 : i))
      }

      await kms.rotateKey(keyID)
      await kms.rotateKey(otherID)
      const anew = await kms.rewrapDEKs(given)
      for (const [i, each] of anew.entries()) {
        if ([7, 8, 9].includes(i)) assert.ok("error" in each && each.error instanceof DecryptionFailed, String(i))
        else assert.equal("value" in each && each.value.version, 2)
      }
      const [first] = anew
      assert.ok(first && "value" in first)
      assert.deepEqual(await unwrap(kms, first.value, contexts[0]), bytes32(0))
      assert.ok(calls.includes(`POST transit/rewrap/${other}`), "without a context, the server wraps anew")
      assert.ok(!calls.includes(`POST transit/rewrap/${name}`))

      await rejectsWith(kms.encryptDEKs(keyID, [{ dek: bytes32(1).subarray(1), context: {} }]), RangeError as never)
      assert.deepEqual(await kms.encryptDEKs(keyID, []), [])
      assert.deepEqual(await kms.decryptDEKs([]), [])
      const reason = new Error("left")
      const signal = AbortSignal.abort(reason)
      for (const call of [
        () => kms.encryptDEKs(keyID, items, { signal }),
        () => kms.decryptDEKs(asked, { signal }),
        () => kms.rewrapDEKs(asked, { signal }),
      ])
        await assert.rejects(call(), reason)
    })
  })

  it("says which path of a policy is missing, and no more than that is denied", async () => {
    const name = newKey()
    await lent(kmsAt(), (root) => root.createKey(name))
    const token = await newToken(vault, { [`transit/keys/${name}`]: ["read"] })
    const wrapped = await lent(kmsAt(), (root) => root.encryptDEK(name, bytes32(1), CONTEXT))
    await lent(kmsAt({ token }), async (kms) => {
      const other = newKey()
      for (const [path, capabilities, call] of [
        [`transit/encrypt/${name}`, '["update"]', () => kms.encryptDEK(name, bytes32(1), CONTEXT)],
        [`transit/decrypt/${name}`, '["update"]', () => kms.decryptDEK(wrapped, CONTEXT)],
        [`transit/keys/${name}/rotate`, '["update"]', () => kms.rotateKey(name)],
        [`transit/keys/${other}`, '["read"]', () => kms.getKeyID(other)],
        [`transit/rewrap/${name}`, '["update"]', () => kms.reencryptDEK(wrapped, {}, name)],
        [`transit/decrypt/${name}`, '["update"]', () => kms.decryptDEKs([{ wrapped, context: CONTEXT }])],
      ] as const) {
        const error = await errorOf(call())
        assert.ok(error instanceof AccessDenied, String(error))
        assert.ok(!error.retryable)
        assert.ok(error.message.includes(path), error.message)
        assert.equal(error.hint, `add to the token's policy: path "${path}" { capabilities = ${capabilities} }`)
      }
      const found = await listOf(kms.diagnose(name))
      assert.deepEqual(
        found.filter(({ ok }) => !ok).map(({ check }) => check),
        [`update transit/encrypt/${name}`, `update transit/decrypt/${name}`],
      )
    })
    await lent(kmsAt({ token: "hvs.nonsense" }), async (kms) => {
      const error = await errorOf(kms.getKeyID(name))
      assert.ok(error instanceof AuthenticationFailed, String(error))
      assert.equal(error.message, "Cannot sign in to vault-transit: the token is refused")
      assert.ok((await listOf(kms.diagnose(name))).some(({ check, ok }) => check === "token" && !ok))
    })
  })

  it("shows no secret in any error", async () => {
    const dek = bytes32(9)
    const name = newKey()
    const secrets: string[] = []
    const errors: EncxError[] = []
    await lent(kmsAt(), async (root) => {
      await root.createKey(name)
      secrets.push(textOf((await root.encryptDEK(name, dek, CONTEXT)).ciphertext).slice(9))
    })
    // A proxy that says all that it was given
    const echo = recorder(async (url, init) => {
      const body = JSON.stringify({ errors: [`${url} ${init.body} ${JSON.stringify(init.headers)}`] })
      const real = init.method === "GET"
      return (real ? await globalThis.fetch(url, init) : new Response(body, { status: 400 })) as never
    })
    const token = await newToken(vault, { [`transit/keys/${name}`]: ["read"] })
    secrets.push(token, Buffer.from(dek).toString("base64"), vault.token)
    const wrapped = { ciphertext: ascii(`vault:v1:${secrets[0]}`), keyID: name, version: 1 }
    for (const options of [{ token }, { token, fetch: echo.fetch }, { token: `${token}x` }]) {
      await lent(kmsAt(options), async (kms) => {
        errors.push(await errorOf(kms.encryptDEK(name, dek, CONTEXT)))
        errors.push(await errorOf(kms.decryptDEK(wrapped, CONTEXT)))
      })
    }
    errors.push(await errorOf(kmsAt({ token: `${token}\nsecond line` }).getKeyID(name)))
    for (const error of errors)
      for (const secret of secrets) assert.ok(!shown(error).includes(secret), `${error.code}: ${shown(error)}`)
    assert.equal(errors.length, 7)
  })

  it("is opened by URI, in our spelling and in others', and the URI names the key", async () => {
    const name = newKey()
    const mount = `transit-${randomUUID()}`
    await vault.request("POST", `sys/mounts/${mount}`, { type: "transit" })
    const before = { ...process.env }
    Object.assign(process.env, { VAULT_ADDR: vault.url, VAULT_TOKEN: vault.token })
    try {
      await lent(kmsAt(), (kms) => kms.createKey(name))
      await lent(kmsAt({ mount }), (kms) => kms.createKey(name))
      const address = encodeURIComponent(vault.url)
      for (const [uri, keyID] of [
        [`vaulttransit:///${name}`, `default/transit/${name}`],
        [`vaulttransit:///${name}?address=${address}&mount=${mount}&cluster=eu`, `eu/${mount}/${name}`],
        [`vaulttransit:///${name}?bindContext=false`, `default/transit/${name}`],
        [`vaulttransit:///${name}?keyIDs=name`, name],
        [`hashivault://${name}`, `default/transit/${name}`],
        [`hashivault://${name}?engine=${mount}`, `default/${mount}/${name}`],
        [`openbao://${name}?namespace=team`, `default/transit/${name}`],
      ] as const) {
        const crypto = await newCrypto(withKMSService(uri))
        try {
          assert.equal(crypto.alias, name)
          assert.deepEqual(await crypto.open(await crypto.seal(bytes32(1))), bytes32(1), uri)
          assert.equal((await crypto.encryptDEK(bytes32(2))).keyID, keyID, uri)
        } finally {
          await crypto.close()
        }
      }
    } finally {
      for (const key of ["VAULT_ADDR", "VAULT_TOKEN"]) {
        if (before[key] === undefined) delete process.env[key]
        else process.env[key] = before[key]
      }
    }
  })

  it("serves a program whose key is rotated, until the version before is closed", async () => {
    await lent(kmsAt(), async (kms) => {
      const name = newKey()
      await kms.createKey(name)
      const crypto = await newCrypto(withKMSService(kms), withKEKAlias(name))
      const old = await crypto.seal(bytes32(1), { tenant: "acme" })
      await crypto.rotateKEK()
      assert.equal(await crypto.getCurrentKEKVersion(), 2)
      const anew = await crypto.rewrap(old, { tenant: "acme" })
      const versions = [old, anew].map((each) => crypto.inspect(each).keys.map(({ version }) => version))
      assert.deepEqual(versions, [[1], [2]])
      await vault.request("POST", `transit/keys/${name}/config`, { min_decryption_version: 2 })
      const other = await newCrypto(withKMSService(kms), withKEKAlias(name))
      assert.deepEqual(await other.open(anew, { tenant: "acme" }), bytes32(1))
      await rejectsWith(other.open(old, { tenant: "acme" }), KeyDisabled)
      await rejectsWith(other.open(anew, { tenant: "other" }), DecryptionFailed)
      await other.close()
    })
  })

  it("takes no user name and no password in its address, and shows neither", () => {
    const refused = (error: unknown): boolean => /has a user name or a password$/.test((error as Error).message)
    assert.throws(() => vaultTransit({ address: "https://ada:hunter2@vault.example.com", environment: {} }), refused)
  })

  it("is unavailable, which is worth another attempt, where nobody answers", async () => {
    await lent(kmsAt({ address: "http://127.0.0.1:1", attempts: 1 }), async (kms) => {
      const error = await errorOf(kms.getKeyID("app"))
      assert.ok(error instanceof KMSUnavailable, String(error))
      assert.match(error.message, /there is no connection/)
    })
  })
})
