// Logging in, renewing, following and revoking, on a clock that the tests turn.
import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { setImmediate as turn } from "node:timers/promises"
import { AccessDenied, AuthenticationFailed, KMSUnavailable } from "../../core/errors.ts"
import { type VaultTransit, type VaultTransitOptions, vaultTransit } from "../../providers/vault-transit.ts"
import { lent } from "../_aws.ts"
import { answerOf, errorOf, KEY, newAppRole, newToken, type Recorder, recorder, TRANSIT, transitOf } from "../_vault.ts"
import { needsServer, startVault, type Vault } from "../servers/index.ts"
import { bytes32, listOf } from "../suites/_assert.ts"
import { CONTEXT } from "../suites/_keys.ts"

const auths = ({ calls }: Recorder): string[] => calls.filter((each) => each.includes(" auth/"))

describe("tokens of Vault", needsServer("vault"), () => {
  let vault: Vault
  const kmsAt = (options: VaultTransitOptions): VaultTransit => transitOf(vault, options)

  before(async () => {
    vault = await startVault()
    await vault.request("POST", "transit/keys/app", {})
  })
  after(() => vault.close())

  it("defect 24: a token is renewed before it ends, by one of many; one that can be renewed no more is followed by another", async () => {
    const { auth } = await newAppRole(vault, { token_ttl: "90s", token_max_ttl: "100s" })
    const asked = recorder()
    let now = 0
    const kms = kmsAt({ fetch: asked.fetch, auth, clock: { now: () => now } })
    const many = (): Promise<unknown> =>
      Promise.all(Array.from({ length: 10 }, () => kms.encryptDEK("app", bytes32(1), CONTEXT)))
    await many()
    assert.deepEqual(auths(asked), ["POST auth/approle/login"])
    now = 59_000
    await many()
    assert.equal(auths(asked).length, 1)
    now = 61_000
    await many()
    assert.deepEqual(auths(asked).slice(1), ["POST auth/token/renew-self"])
    now = 61_000 + 91_000
    await many()
    assert.deepEqual(auths(asked).slice(2), ["POST auth/approle/login"], "it has ended: nothing to renew")
    await kms.close()
    await kms.close()
    assert.deepEqual(auths(asked).slice(3), ["POST auth/token/revoke-self"])
    const tokens = new Set(asked.headers.map((each) => each["X-Vault-Token"]).filter((each) => each !== undefined))
    assert.equal(tokens.size, 2)
    const [, token = ""] = tokens
    assert.equal((await vault.ask("GET", "auth/token/lookup-self", undefined, { "x-vault-token": token })).status, 403)
  })

  it("follows a token that was revoked meanwhile, and does not repeat a login that is refused", async () => {
    const { auth, secretID, role } = await newAppRole(vault, { token_ttl: "1h" })
    const asked = recorder()
    await lent(kmsAt({ fetch: asked.fetch, auth }), async (kms) => {
      await kms.encryptDEK("app", bytes32(1), CONTEXT)
      const token = asked.headers.at(-1)?.["X-Vault-Token"]
      await vault.request("POST", "auth/token/revoke", { token })
      await kms.encryptDEK("app", bytes32(1), CONTEXT)
      assert.equal(auths(asked).length, 2)
      await vault.request("POST", "auth/token/revoke", { token: asked.headers.at(-1)?.["X-Vault-Token"] })
      await vault.request("POST", `auth/approle/role/${role}/secret-id/destroy`, { secret_id: secretID })
      asked.calls.length = 0
      const error = await errorOf(kms.encryptDEK("app", bytes32(1), CONTEXT))
      assert.ok(error instanceof AuthenticationFailed, String(error))
      assert.equal(error.message, "Cannot sign in to vault-transit: auth/approle/login refuses it")
      assert.match(error.hint ?? "", /VAULT_ROLE_ID/)
      assert.ok(!error.retryable)
      assert.deepEqual(asked.calls, ["POST transit/encrypt/app", "POST auth/approle/login"])
    })
    await lent(kmsAt({ auth: { method: "approle", roleID: "nobody", secretID: "nothing" } }), async (kms) => {
      assert.ok((await errorOf(kms.getKeyID("app"))) instanceof AuthenticationFailed)
    })
    await lent(kmsAt({ auth: { ...auth, mount: "nowhere" } }), async (kms) => {
      const error = await errorOf(kms.getKeyID("app"))
      assert.ok(error instanceof AuthenticationFailed, String(error))
      assert.match(error.hint ?? "", /the method is mounted there/)
    })
  })

  it("renews a token that it was given, and leaves it to its owner", async () => {
    const token = await newToken(vault, TRANSIT, { ttl: "60s", renewable: true })
    const asked = recorder()
    let now = 0
    await lent(kmsAt({ fetch: asked.fetch, token, clock: { now: () => now } }), async (kms) => {
      await kms.getKeyID("app")
      now = 45_000
      await kms.getKeyID("app")
      assert.deepEqual(auths(asked), ["GET auth/token/lookup-self", "POST auth/token/renew-self"])
    })
    assert.equal((await vault.ask("GET", "auth/token/lookup-self", undefined, { "x-vault-token": token })).status, 200)
    const fixed = await newToken(vault, TRANSIT, { ttl: "60s", renewable: false })
    asked.calls.length = 0
    await lent(kmsAt({ fetch: asked.fetch, token: fixed, clock: { now: () => now } }), async (kms) => {
      await kms.getKeyID("app")
      now += 45_000
      for (let i = 0; i < 2; i++) await kms.getKeyID("app")
      assert.deepEqual(auths(asked), ["GET auth/token/lookup-self"], "it is used until it is refused")
      await vault.request("POST", "auth/token/revoke", { token: fixed })
      const error = await errorOf(kms.getKeyID("app"))
      assert.ok(error instanceof AuthenticationFailed)
    })
  })

  it("uses a token that may not look itself up", async () => {
    const token = await newToken(vault, TRANSIT, { no_default_policy: true })
    await lent(kmsAt({ token }), async (kms) => {
      await kms.encryptDEK("app", bytes32(1), CONTEXT)
      const found = (await listOf(kms.diagnose("app"))).find(({ check }) => check === "token")
      assert.deepEqual(found, { check: "token", ok: true, detail: "it may not look itself up" })
    })
  })

  it("asks a function for a token, and again when that token is refused", async () => {
    const given = [await newToken(vault, TRANSIT), await newToken(vault, TRANSIT)]
    const [first] = given
    let times = 0
    await lent(kmsAt({ token: async () => given[times++] ?? "" }), async (kms) => {
      await kms.getKeyID("app")
      await vault.request("POST", "auth/token/revoke", { token: first })
      await kms.getKeyID("app")
      assert.equal(times, 2)
    })
    await lent(kmsAt({ token: () => "" }), async (kms) => {
      assert.match((await errorOf(kms.getKeyID("app"))).message, /what was given for a token is none$/)
    })
  })

  it("uses tokens that may be used so many times, and batch tokens, which have no end but their own", async () => {
    const few = await newAppRole(vault, { token_ttl: "1h", token_num_uses: 2 })
    const asked = recorder()
    await lent(kmsAt({ fetch: asked.fetch, auth: few.auth }), async (kms) => {
      for (let i = 0; i < 5; i++) await kms.getKeyID("app")
      assert.equal(auths(asked).length, 3)
    })
    const batch = await newAppRole(vault, { token_ttl: "60s", token_type: "batch" })
    asked.calls.length = 0
    let now = 0
    await lent(kmsAt({ fetch: asked.fetch, auth: batch.auth, clock: { now: () => now } }), async (kms) => {
      await kms.getKeyID("app")
      now = 45_000
      await kms.getKeyID("app")
    })
    assert.deepEqual(auths(asked), ["POST auth/approle/login", "POST auth/approle/login"])
  })

  it("one caller who leaves does not take the login from the others", async () => {
    const { auth } = await newAppRole(vault)
    const asked = recorder()
    await lent(kmsAt({ fetch: asked.fetch, auth }), async (kms) => {
      const [controller, reason] = [new AbortController(), new Error("left")]
      const [left, stayed] = await Promise.allSettled([
        kms.getKeyID("app", { signal: controller.signal }),
        kms.getKeyID("app"),
        Promise.resolve().then(() => controller.abort(reason)),
      ])
      assert.equal((left as PromiseRejectedResult).reason, reason)
      assert.equal(stayed.status, "fulfilled")
      assert.equal(auths(asked).length, 1)
    })
  })

  it("goes on with a token that holds while the server cannot renew it", async () => {
    const { auth } = await newAppRole(vault, { token_ttl: "60s" })
    let now = 0
    let fails = false
    const asked = recorder(async (url, init) =>
      fails && url.includes("/auth/")
        ? answerOf(503, { errors: ["Vault is sealed"] })
        : ((await globalThis.fetch(url, init)) as never),
    )
    await lent(kmsAt({ fetch: asked.fetch, auth, attempts: 1, clock: { now: () => now } }), async (kms) => {
      await kms.getKeyID("app")
      ;[now, fails] = [45_000, true]
      for (let i = 0; i < 3; i++) await kms.getKeyID("app")
      assert.equal(auths(asked).length, 2, "not at every call")
      now = 61_000
      const error = await errorOf(kms.getKeyID("app"))
      assert.ok(error instanceof KMSUnavailable, String(error))
      fails = false
      await kms.getKeyID("app")
    })
  })

  it("keeps a token that holds when a denial makes it doubtful, or it cannot be renewed, and no login gives another", async () => {
    const used = { token_no_default_policy: true, token_ttl: "60s", secret_id_num_uses: 1 }
    const { auth } = await newAppRole(vault, used)
    const asked = recorder()
    let now = 0
    await lent(kmsAt({ fetch: asked.fetch, auth, clock: { now: () => now } }), async (kms) => {
      await kms.encryptDEK("app", bytes32(1), CONTEXT)
      assert.ok((await errorOf(kms.rotateKey("app"))) instanceof AccessDenied)
      const [login, lookUp] = ["POST auth/approle/login", "GET auth/token/lookup-self"]
      assert.deepEqual(auths(asked), [login, lookUp, login])
      await kms.encryptDEK("app", bytes32(1), CONTEXT)
      assert.equal(auths(asked).length, 3)
      now = 45_000
      for (let i = 0; i < 3; i++) await kms.encryptDEK("app", bytes32(1), CONTEXT)
      assert.deepEqual(auths(asked).slice(3), ["POST auth/token/renew-self", login], "not at every call")
      now = 61_000
      assert.ok((await errorOf(kms.encryptDEK("app", bytes32(1), CONTEXT))) instanceof AuthenticationFailed)
    })
  })

  it("revokes its token where it got it, whatever the environment says by then", async () => {
    const { roleID, secretID } = await newAppRole(vault)
    const environment = { VAULT_ADDR: vault.url, VAULT_ROLE_ID: roleID, VAULT_SECRET_ID: secretID }
    const origins = new Set<string>()
    const asked = recorder(async (url, init) => {
      origins.add(new URL(url).origin)
      return (await globalThis.fetch(url, init)) as never
    })
    const kms = vaultTransit({ environment, fetch: asked.fetch })
    await kms.getKeyID("app")
    environment.VAULT_ADDR = "http://127.0.0.1:1"
    await kms.close()
    assert.equal(auths(asked).at(-1), "POST auth/token/revoke-self")
    assert.deepEqual([...origins], [vault.url])
  })

  it("closes while what gives a token never does", async () => {
    const asked = Promise.withResolvers<void>()
    const kms = kmsAt({
      token: () => {
        asked.resolve()
        return new Promise(() => undefined)
      },
    })
    const call = errorOf(kms.getKeyID("app"))
    await asked.promise
    await kms.close()
    assert.equal((await call).code, "CLOSED")
  })

  it("waits no longer than the deadline for what gives a token or a secret, and asks it again", async () => {
    const token = await newToken(vault, TRANSIT)
    const { roleID, secretID } = await newAppRole(vault)
    const never = (): Promise<string> => new Promise(() => undefined)
    let asked = 0
    const late = (value: string) => (): Promise<string> => (asked++ === 0 ? never() : Promise.resolve(value))
    for (const options of [
      { token: late(token) },
      { auth: { method: "approle", roleID, secretID: late(secretID) } as const },
    ]) {
      asked = 0
      await lent(kmsAt({ ...options, deadlineMs: 2_000 }), async (kms) => {
        const error = await errorOf(kms.getKeyID("app"))
        assert.ok(error instanceof KMSUnavailable, String(error))
        assert.match(error.message, /what gives its token or secret did not do so within 2000 ms$/)
        assert.equal(await kms.getKeyID("app"), "default/transit/app")
      })
    }
  })

  it("tells what a function throws as a login that failed, and errors of this library as they are", async () => {
    const thrown = new TypeError("no such file")
    const fails = (error: Error) => () => {
      throw error
    }
    await lent(kmsAt({ token: fails(thrown) }), async (kms) => {
      const error = await errorOf(kms.getKeyID("app"))
      assert.ok(error instanceof AuthenticationFailed, String(error))
      assert.equal(error.cause, thrown)
    })
    const own = new AccessDenied("Cannot read it", { provider: "test", operation: "read" })
    await lent(kmsAt({ auth: { method: "approle", roleID: "x", secretID: fails(own) } }), async (kms) => {
      assert.equal(await errorOf(kms.getKeyID("app")), own)
    })
  })

  it("believes no renewal that does not say how long the token lasts", async () => {
    for (const auth of [undefined, {}, { lease_duration: null, renewable: true }, { lease_duration: "60" }]) {
      let now = 0
      const asked = recorder(async (url) => {
        if (url.endsWith("/lookup-self")) return answerOf(200, { data: { ttl: 60, renewable: true } })
        return answerOf(200, url.includes("/renew-self") ? { auth } : { data: KEY })
      })
      const kms = kmsAt({ fetch: asked.fetch, token: "hvs.some-token", attempts: 1, clock: { now: () => now } })
      await lent(kms, async () => {
        await kms.getKeyID("app")
        for (now of [45_000, 57_000]) await kms.getKeyID("app")
        assert.equal(auths(asked).filter((each) => each.endsWith("renew-self")).length, 2, "it is not one without end")
        now = 61_000
        await kms.getKeyID("app")
        assert.equal(auths(asked).filter((each) => each.endsWith("renew-self")).length, 2)
      })
    }
  })

  it("takes no token for one without end whose login does not say how long it lasts", async () => {
    for (const lease_duration of [undefined, null, "60", -1]) {
      let [now, logins] = [0, 0]
      const asked = recorder(async (url) => {
        if (!url.includes("/login")) return answerOf(200, { data: KEY })
        return answerOf(200, { auth: { client_token: `hvs.token-${++logins}`, lease_duration, renewable: false } })
      })
      const auth = { method: "approle", roleID: "app" } as const
      await lent(kmsAt({ fetch: asked.fetch, auth, clock: { now: () => now } }), async (kms) => {
        for (now of [0, 60_000, 300_000, 310_000]) await kms.getKeyID("app")
        assert.equal(logins, 2, String(lease_duration))
      })
    }
  })

  it("looks at a token once for all who are denied at a time, and each has what comes of it", async () => {
    let logins = 0
    const held = Promise.withResolvers<void>()
    const asked = recorder(async (url, { headers }) => {
      if (url.endsWith("/login"))
        return answerOf(200, { auth: { client_token: `hvs.token-${++logins}`, lease_duration: 0, renewable: false } })
      if (url.endsWith("/revoke-self")) return answerOf(204, "")
      if (headers["X-Vault-Token"] !== "hvs.token-1") return answerOf(200, { data: KEY })
      if (url.endsWith("/lookup-self")) await held.promise
      return answerOf(403, { errors: ["permission denied"] })
    })
    const kms = kmsAt({ fetch: asked.fetch, auth: { method: "approle", roleID: "app" } })
    await lent(kms, async () => {
      const both = Promise.all([kms.getKeyID("app"), kms.getKeyID("app")])
      const lookUps = (): number => asked.calls.filter((each) => each.endsWith("lookup-self")).length
      const denials = (): number => asked.calls.filter((each) => each.endsWith("keys/app")).length
      while (lookUps() < 1 || denials() < 2) await turn()
      await turn()
      held.resolve()
      assert.deepEqual(await both, ["default/transit/app", "default/transit/app"])
      assert.deepEqual([lookUps(), logins], [1, 2])
    })
  })

  it("reads the token of Kubernetes, and a JWT, from their files at each login", async () => {
    const folder = mkdtempSync(join(tmpdir(), "encx-vault-"))
    const path = join(folder, "token")
    const bodies: unknown[] = []
    let now = 0
    const asked = recorder(async (url, init) => {
      if (!url.includes("/login")) return answerOf(200, { data: KEY })
      bodies.push([url.replace(/^.*\/v1\//, ""), JSON.parse(init.body ?? "null")])
      return answerOf(200, { auth: { client_token: "hvs.some-token", lease_duration: 60, renewable: false } })
    })
    try {
      for (const [auth, login, more] of [
        [{ method: "kubernetes", role: "app", path }, "auth/kubernetes/login", { role: "app" }],
        [{ method: "jwt", path, mount: "oidc/eu" }, "auth/oidc/eu/login", {}],
      ] as const) {
        bodies.length = now = 0
        await lent(kmsAt({ fetch: asked.fetch, auth, clock: { now: () => now } }), async (kms) => {
          writeFileSync(path, "first.jwt\n")
          await kms.getKeyID("app")
          writeFileSync(path, "second.jwt\n")
          now = 50_000
          await kms.getKeyID("app")
        })
        assert.deepEqual(bodies, [
          [login, { ...more, jwt: "first.jwt" }],
          [login, { ...more, jwt: "second.jwt" }],
        ])
      }
      rmSync(path)
      await lent(kmsAt({ auth: { method: "kubernetes", role: "app", path } }), async (kms) => {
        assert.match((await errorOf(kms.getKeyID("app"))).message, /cannot be read, the system says ENOENT$/)
      })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it("takes a bare denial of an old server for a token that has gone, once a minute at most", async () => {
    let now = 0
    const asked = recorder(async (url) => {
      if (url.endsWith("/login"))
        return answerOf(200, { auth: { client_token: `hvs.token-${now}`, lease_duration: 0, renewable: false } })
      return answerOf(403, { errors: ["permission denied"] })
    })
    const auth = { method: "cert" } as const
    await lent(kmsAt({ fetch: asked.fetch, auth, clock: { now: () => now } }), async (kms) => {
      assert.ok((await errorOf(kms.getKeyID("app"))) instanceof AccessDenied)
      assert.deepEqual(auths(asked), ["POST auth/cert/login", "GET auth/token/lookup-self", "POST auth/cert/login"])
      assert.ok((await errorOf(kms.getKeyID("app"))) instanceof AccessDenied)
      assert.equal(auths(asked).length, 3)
      now = 61_000
      assert.ok((await errorOf(kms.getKeyID("app"))) instanceof AccessDenied)
      assert.equal(auths(asked).length, 5)
    })
  })

  it("takes its credentials from the environment: a token, or AppRole's", async () => {
    const { roleID, secretID } = await newAppRole(vault)
    const token = await newToken(vault, TRANSIT)
    for (const [environment, logins] of [
      [{ VAULT_ADDR: vault.url, VAULT_TOKEN: token }, ["GET auth/token/lookup-self"]],
      [
        { VAULT_ADDR: vault.url, VAULT_ROLE_ID: roleID, VAULT_SECRET_ID: secretID },
        ["POST auth/approle/login", "POST auth/token/revoke-self"],
      ],
      [{ BAO_ADDR: vault.url, BAO_TOKEN: token, VAULT_TOKEN: "of another server" }, ["GET auth/token/lookup-self"]],
    ] as const) {
      const asked = recorder()
      const kms = vaultTransit({ environment, fetch: asked.fetch })
      await kms.getKeyID("app")
      await kms.close()
      assert.deepEqual(auths(asked), logins)
    }
    const none = await errorOf(vaultTransit({ address: vault.url, environment: {} }).getKeyID("app"))
    assert.ok(none instanceof AuthenticationFailed)
    assert.match(none.hint ?? "", /set VAULT_TOKEN/)
  })
})
