import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { randomUUID } from "node:crypto"
import { after, before, describe, it } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import {
  AccessDenied,
  InvalidConfiguration,
  InvalidFormat,
  InvalidInput,
  SecretDeleted,
  SecretEmpty,
  SecretExists,
  SecretNotFound,
  SecretStorageUnavailable,
} from "../../core/errors.ts"
import { newCrypto, withBootstrap, withKEKAlias, withKMSService, withPepper } from "../../mod.ts"
import { createRegistry } from "../../providers/registry.ts"
import { type VaultFetch, type VaultKV, type VaultKVOptions, vaultKV } from "../../providers/vault-kv.ts"
import { lent } from "../_aws.ts"
import { answerOf, dataOf, errorOf, newToken, recorder, secretsOf, shown, transitOf } from "../_vault.ts"
import { needsServer, startVault, type Vault } from "../servers/index.ts"
import { bytes32, listOf, race, rejectsWith } from "../suites/_assert.ts"
import { secretManagementServiceSuite } from "../suites/secret-management-service.ts"

const textOf = (seed: number): string => Buffer.from(bytes32(seed)).toString("base64")

describe("vaultKV() over Vault", needsServer("vault"), () => {
  let vault: Vault
  const secretsAt = (options: VaultKVOptions = {}): VaultKV => secretsOf(vault, options)
  /** An engine of its own, which is empty. */
  const newMount = async (options: object = { version: "2" }): Promise<string> => {
    const mount = `kv-${randomUUID()}`
    await vault.request("POST", `sys/mounts/${mount}`, { type: "kv", options })
    // It turns the mount into one of version 2 behind the answer's back.
    const ready = async () => !("version" in options) || (await vault.ask("GET", `${mount}/config`)).status === 200
    for (let i = 0; i < 500 && !(await ready()); i++) await sleep(10)
    return mount
  }
  const put = (path: string, data: object): Promise<unknown> => vault.request("POST", path, { data })

  before(async () => {
    vault = await startVault()
  })
  after(() => vault.close())

  secretManagementServiceSuite("vault-kv", async () => {
    const secrets = secretsAt({ mount: await newMount() })
    return { secrets, close: () => secrets.close() }
  })

  it("stores a pepper as the Go library does, and reads what that stored", async () => {
    await lent(secretsAt(), async (secrets) => {
      await secrets.storePepper("team/app+1", bytes32(1))
      const path = "secret/data/encx/team/app+1/pepper"
      assert.equal(secrets.getStoragePath("team/app+1"), path)
      const stored = dataOf(await vault.request("GET", path.replace("+", "%2B")))
      assert.deepEqual(stored["data"], { value: textOf(1) })
      await put("secret/data/encx/go/pepper", { value: textOf(2) })
      assert.deepEqual(await values(secrets, "go"), [["current", bytes32(2)]])
    })
  })

  it("defect 16: of two first starts at once one makes the pepper, and the other takes it", async () => {
    const mount = await newMount()
    const kms = transitOf(vault)
    await kms.createKey(mount)
    const start = async () => {
      const secrets = secretsAt({ mount })
      const crypto = await newCrypto(
        withKMSService(kms),
        withKEKAlias(mount),
        withPepper(secrets, "app"),
        withBootstrap({ createPepper: true }),
      )
      return { crypto, secrets }
    }
    const [first, second] = await Promise.all([start(), start()])
    const hash = await first.crypto.hashSecure("correct horse", { context: { user: "7" } })
    assert.ok(await second.crypto.compareSecureHashAndValue("correct horse", hash, { context: { user: "7" } }))
    assert.equal((await first.secrets.getPepper("app")).length, 1, "there was one creation")
    for (const { crypto, secrets } of [first, second]) {
      await crypto.close()
      await secrets.close()
    }
    await kms.close()
  })

  it("does not call a secret another's while nobody can be asked whose it is", async () => {
    const asked: string[] = []
    const fetch: VaultFetch = async (url, { method }) => {
      asked.push(method)
      if (url.includes("/mounts/")) return answerOf(200, { data: { type: "kv", options: { version: "2" } } })
      if (method === "POST" && asked.filter((each) => each === "POST").length > 1)
        return answerOf(400, { errors: ["check-and-set parameter did not match the current version"] })
      return url.endsWith("lookup-self") ? answerOf(200, { data: {} }) : answerOf(503, { errors: ["Vault is sealed"] })
    }
    const options = { address: "http://127.0.0.1:8200", environment: {}, token: "x", fetch, random: () => 0 }
    await lent(vaultKV(options), async (secrets) => {
      await rejectsWith(secrets.storePepper("app", bytes32(1)), SecretStorageUnavailable)
    })
  })

  it("defect 17: what was deleted, destroyed or is of another shape is not absent, and is never replaced", async () => {
    await lent(secretsAt({ mount: await newMount() }), async (secrets) => {
      await secrets.storePepper("app", bytes32(1))
      const data = secrets.getStoragePath("app")
      const at = (verb: string) => data.replace("/data/", `/${verb}/`)
      const refusesAll = async (
        Class: typeof SecretDeleted | typeof SecretEmpty,
        words: RegExp,
        hint: RegExp,
      ): Promise<void> => {
        for (const call of [
          () => secrets.getPepper("app"),
          () => secrets.pepperExists("app"),
          () => secrets.storePepper("app", bytes32(2)),
          () => secrets.rotatePepper("app", bytes32(2)),
        ]) {
          const error = await errorOf(call())
          assert.ok(error instanceof Class, String(error))
          assert.match(error.message, words)
          assert.match(error.hint ?? "", hint)
        }
        assert.ok((await listOf(secrets.diagnose("app"))).some(({ ok, detail }) => !ok && words.test(detail)))
      }
      await vault.request("DELETE", data)
      await refusesAll(
        SecretDeleted,
        /its version 1 was deleted, and can still be restored$/,
        /vault kv undelete -versions=1 -mount=kv-\S+ encx\/app\/pepper/,
      )
      await vault.request("POST", at("undelete"), { versions: [1] })
      assert.deepEqual(await values(secrets, "app"), [["current", bytes32(1)]])
      await vault.request("POST", at("destroy"), { versions: [1] })
      await refusesAll(SecretEmpty, /its version 1 was destroyed$/, /put the value back from a copy/)
      await vault.request("DELETE", at("metadata"))
      await rejectsWith(secrets.getPepper("app"), SecretNotFound)
      assert.equal(await secrets.pepperExists("app"), false)

      for (const shape of [{ pepper: textOf(1) }, { value: 7 }, { value: "correct horse" }, {}]) {
        await put(data, shape)
        const error = await errorOf(secrets.getPepper("app"))
        assert.ok(error instanceof InvalidFormat, String(error))
        assert.equal(await secrets.pepperExists("app"), true)
        await rejectsWith(secrets.storePepper("app", bytes32(2)), SecretExists)
      }
    })
  })

  it("keeps what the engine keeps: versions that are gone are passed over, and the last is not thrown away", async () => {
    const mount = await newMount()
    await lent(secretsAt({ mount }), async (secrets) => {
      await secrets.storePepper("app", bytes32(0))
      for (const i of [1, 2, 3]) await secrets.rotatePepper("app", bytes32(i))
      await vault.request("POST", `${mount}/delete/encx/app/pepper`, { versions: [2] })
      await vault.request("POST", `${mount}/destroy/encx/app/pepper`, { versions: [3] })
      assert.deepEqual(await values(secrets, "app"), [
        ["current", bytes32(3)],
        ["previous", bytes32(0)],
      ])
      await vault.request("POST", `${mount}/metadata/encx/app/pepper`, { max_versions: 2 })
      await secrets.rotatePepper("app", bytes32(4))
      await secrets.rotatePepper("app", bytes32(5))
      assert.deepEqual(await values(secrets, "app"), [
        ["current", bytes32(5)],
        ["previous", bytes32(4)],
      ])
      const few = (await listOf(secrets.diagnose("app"))).find(({ check }) => check === "versions")
      assert.deepEqual([few?.ok, /-max-versions=10/.test(few?.hint ?? "")], [true, true])
      for (const [path, body] of [
        ["metadata/encx/app/pepper", { max_versions: 1 }],
        ["config", { max_versions: 1 }],
      ] as const) {
        await vault.request("POST", `${mount}/metadata/encx/app/pepper`, { max_versions: 0 })
        await vault.request("POST", `${mount}/${path}`, body)
        const error = await errorOf(secrets.rotatePepper("app", bytes32(6)))
        assert.ok(error instanceof InvalidConfiguration, String(error))
        assert.match(error.message, /only one version of it is kept$/)
        assert.ok((await listOf(secrets.diagnose("app"))).some(({ check, ok }) => check === "versions" && !ok))
      }
    })
  })

  it("rotates after the others when several do so at once: none is lost", async () => {
    await lent(secretsAt({ mount: await newMount() }), async (secrets) => {
      await secrets.storePepper("app", bytes32(0))
      const { won, refused } = await race([1, 2, 3, 4, 5].map((i) => secrets.rotatePepper("app", bytes32(i))))
      assert.deepEqual([won.length, refused], [5, []])
      const found = await values(secrets, "app")
      assert.deepEqual(found.at(-1), ["previous", bytes32(0)])
      assert.equal(new Set(found.map(([, value]) => textOfBytes(value))).size, 6)
    })
  })

  it("knows what it stored when the answer was lost, and does not take another's for it", async () => {
    let lost = 0
    const { fetch } = recorder(async (url, init) => {
      const answer = await globalThis.fetch(url, init)
      if (init.method !== "POST" || lost++ > 0) return answer as never
      await answer.arrayBuffer()
      throw new TypeError("fetch failed", { cause: { code: "ECONNRESET" } })
    })
    const mount = await newMount()
    await lent(secretsAt({ mount, fetch }), async (secrets) => {
      await secrets.storePepper("app", bytes32(1))
      assert.equal(lost, 2)
      lost = 0
      await secrets.rotatePepper("app", bytes32(2))
      assert.deepEqual(
        (await secrets.getPepper("app")).map(({ version }) => version),
        ["2", "1"],
      )
      lost = 0
      await rejectsWith(secrets.storePepper("app", bytes32(3)), SecretExists)
    })
    // Every answer is lost, and the first request has stored it.
    const deaf = recorder(async (url, init) => {
      const answer = await globalThis.fetch(url, init)
      if (init.method !== "POST") return answer as never
      await answer.arrayBuffer()
      throw new TypeError("fetch failed", { cause: { code: "ECONNRESET" } })
    })
    await lent(secretsAt({ mount, fetch: deaf.fetch, attempts: 1 }), async (secrets) => {
      await secrets.storePepper("other", bytes32(1))
      await rejectsWith(secrets.storePepper("other", bytes32(2)), SecretStorageUnavailable)
    })
  })

  it("writes nothing to version 1 of the engine, which would overwrite", async () => {
    const mount = await newMount({})
    await lent(secretsAt({ mount }), async (secrets) => {
      const error = await errorOf(secrets.storePepper("app", bytes32(1)))
      assert.ok(error instanceof InvalidConfiguration, String(error))
      assert.match(error.message, /is not KV version 2$/)
      // That it is not there is not known.
      const others = await Promise.all([
        errorOf(secretsAt({ mount }).pepperExists("app")),
        errorOf(secrets.getPepper("app")),
      ])
      for (const each of others) assert.equal(each.message, error.message)
      assert.equal((await vault.ask("GET", `${mount}/data/encx/app/pepper`)).status, 404)
      assert.ok((await listOf(secrets.diagnose("app"))).some(({ check, ok }) => check === "engine" && !ok))
    })
    await lent(secretsAt({ mount: "nowhere" }), async (secrets) => {
      await rejectsWith(secrets.getPepper("app"), InvalidConfiguration)
    })
  })

  it("needs no more of a policy than the secrets themselves, and says what is missing", async () => {
    const mount = await newMount()
    const all = await newToken(vault, { [`${mount}/data/encx/*`]: ["create", "update", "read"] })
    await lent(secretsAt({ mount, token: all }), async (secrets) => {
      await secrets.storePepper("app", bytes32(1))
      await secrets.rotatePepper("app", bytes32(2))
      await secrets.storeIndexRoot("app", bytes32(3))
      assert.equal((await secrets.getPepper("app")).length, 2)
      assert.deepEqual(Uint8Array.from(await secrets.getIndexRoot("app")), bytes32(3))
      assert.ok((await listOf(secrets.diagnose("app"))).every(({ ok }) => ok))
    })
    const read = await newToken(vault, { [`${mount}/data/encx/app/pepper`]: ["read"] })
    await lent(secretsAt({ mount, token: read }), async (secrets) => {
      assert.equal((await secrets.getPepper("app")).length, 2)
      for (const [path, capabilities, call] of [
        [`${mount}/data/encx/app/index-root`, '["read"]', () => secrets.getIndexRoot("app")],
        [`${mount}/data/encx/app/pepper`, '["create","update"]', () => secrets.storePepper("app", bytes32(1))],
        [`${mount}/data/encx/app/pepper`, '["create","update"]', () => secrets.rotatePepper("app", bytes32(1))],
      ] as const) {
        const error = await errorOf(call())
        assert.ok(error instanceof AccessDenied, String(error))
        assert.equal(error.hint, `add to the token's policy: path "${path}" { capabilities = ${capabilities} }`)
      }
    })
  })

  it("refuses an alias whose path the server would read otherwise", async () => {
    await lent(secretsAt(), async (secrets) => {
      for (const alias of ["a//b", "a/", "a/./b"]) {
        await rejectsWith(secrets.getPepper(alias), InvalidInput)
        assert.throws(() => secrets.getStoragePath(alias), InvalidInput)
      }
    })
  })

  it("shows no pepper in any error", async () => {
    const echo = recorder(
      async (url, init) =>
        new Response(JSON.stringify({ errors: [`${url} ${init.body} ${JSON.stringify(init.headers)}`] }), {
          status: init.method === "POST" ? 400 : 404,
        }) as never,
    )
    await lent(secretsAt({ fetch: echo.fetch, token: vault.token }), async (secrets) => {
      for (const call of [
        () => secrets.storePepper("app", bytes32(1)),
        () => secrets.storeIndexRoot("app", bytes32(1)),
        () => secrets.getPepper("app"),
      ]) {
        const text = shown(await errorOf(call()))
        for (const secret of [textOf(1), vault.token]) assert.ok(!text.includes(secret), text)
      }
    })
  })

  it("is opened by URI, which has neither a key nor a token", async () => {
    const mount = await newMount()
    const address = encodeURIComponent(vault.url)
    const secrets = await createRegistry().open(`vaultkv:///?mount=${mount}&address=${address}`)
    assert.equal((secrets as VaultKV).getStoragePath("app"), `${mount}/data/encx/app/pepper`)
    await secrets.close?.()
    for (const uri of [
      "vaultkv://host/",
      "vaultkv:///app",
      `vaultkv:///?token=${vault.token}`,
      `vaultkv:///?mount=`,
      `vaultkv://user:password@host`,
      "vaultkv:///?mount=../sys",
      "vaultkv:///?address=vault.example.com",
      "vaultkv:///?address=http://vault.example.com",
    ]) {
      const error = await errorOf(createRegistry().open(uri))
      assert.ok(error instanceof InvalidConfiguration, uri)
      assert.ok(!shown(error).includes(vault.token))
    }
  })
})

const textOfBytes = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64")

async function values(secrets: VaultKV, alias: string): Promise<[string, Uint8Array][]> {
  return (await secrets.getPepper(alias)).map(({ stage, value }) => [stage, Uint8Array.from(value)])
}
