import assert from "node:assert/strict"
import { once } from "node:events"
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { AuthenticationFailed } from "../core/errors.ts"
import type { VaultAuth } from "../providers/vault-transit.ts"
import { newIssuer } from "./_jwt.ts"
import { allowTransit, enableAuth, goesRound, newAppRole, newKey, recorder, transitOf } from "./_vault.ts"
import { needsServer, startVault, type Vault } from "./servers/index.ts"

const LOGIN = /^auth\/\w+\/login$/
const RENEWAL = /^auth\/token\/renew-self$/

describe("logins to Vault", needsServer("vault"), () => {
  let vault: Vault
  let name: string
  let folder: string
  before(async () => {
    vault = await startVault({ kubernetes: true })
    name = await newKey(vault)
    folder = mkdtempSync(join(tmpdir(), "encx-logins-"))
    chmodSync(folder, 0o700)
  })
  after(async () => {
    rmSync(folder, { recursive: true, force: true })
    await vault?.close()
  })

  const refused = async (auth: VaultAuth, hint: RegExp, secret: string): Promise<void> => {
    const kms = transitOf(vault, { auth })
    await assert.rejects(kms.getKeyID(name), (error: unknown) => {
      assert.ok(error instanceof AuthenticationFailed, String(error))
      assert.match(error.hint ?? "", hint)
      assert.ok(!`${error.message} ${error.hint} ${error.cause}`.includes(secret), "it tells the secret")
      return true
    })
    await kms.close()
  }
  const lookUp = async (token: string): Promise<number> =>
    (await vault.ask("GET", "auth/token/lookup-self", undefined, { "x-vault-token": token })).status

  // --- AppRole ---

  it("AppRole: logs in once for many calls, and takes its token back", async () => {
    const { roleID, secretID } = await newAppRole(vault, { token_ttl: "10m" })
    const { fetch, count, asked } = recorder()
    const kms = transitOf(vault, { auth: { method: "approle", roleID, secretID: () => secretID }, fetch })
    await Promise.all([goesRound(kms, name), goesRound(kms, name), goesRound(kms, name)])
    assert.equal(count(LOGIN), 1)
    const token = asked.at(-1)?.token ?? ""
    assert.equal(await lookUp(token), 200)
    await kms.close()
    assert.equal(await lookUp(token), 403)
  })

  it("AppRole: tells that a secret id is wrong, or used up", async () => {
    const { auth, secretID } = await newAppRole(vault, { secret_id_num_uses: 1 })
    const first = transitOf(vault, { auth })
    await goesRound(first, name)
    await first.close()
    await refused(auth, /used up/, secretID)
    const wrong = "00000000-0000-0000-0000-000000000000"
    await refused({ ...auth, secretID: wrong }, /secret id/, wrong)
  })

  // --- JWT ---

  it("JWT: logs in with what an issuer signed with ES256, given or in a file that is read each time", async () => {
    await enableAuth(vault, "jwt")
    const issuer = newIssuer()
    await vault.request("POST", "auth/jwt/config", { jwt_validation_pubkeys: [issuer.publicKey] })
    await vault.request("POST", "auth/jwt/role/app", {
      role_type: "jwt",
      user_claim: "sub",
      bound_audiences: ["vault"],
      bound_subject: "app",
      token_policies: [await allowTransit(vault)],
    })
    const claims = { aud: "vault", sub: "app" }
    const path = join(folder, "jwt")
    writeFileSync(path, `${issuer.issue(claims)}\n`)
    for (const auth of [
      { method: "jwt", role: "app", jwt: () => issuer.issue(claims) },
      { method: "jwt", role: "app", path },
    ] as const) {
      const kms = transitOf(vault, { auth })
      await goesRound(kms, name)
      await kms.close()
    }
    const now = Math.floor(Date.now() / 1_000)
    const bad = {
      audience: issuer.issue({ ...claims, aud: "another" }),
      expired: issuer.issue({ ...claims, iat: now - 7_200, exp: now - 3_600 }),
      "another's": newIssuer().issue(claims),
    }
    for (const jwt of Object.values(bad)) await refused({ method: "jwt", role: "app", jwt }, /issuer|JWT/, jwt)
    const jwt = issuer.issue(claims)
    await refused({ method: "jwt", role: "nobody", jwt }, /role/, jwt)
  })

  // --- Kubernetes ---

  it("Kubernetes: logs in with the service account's token, which the cluster reviews", async () => {
    await enableAuth(vault, "kubernetes")
    const issuer = newIssuer()
    const account = "system:serviceaccount:shop:app"
    // What the API of a cluster answers to a TokenReview, to whoever may review.
    const reviews: string[] = []
    const cluster = createServer(async (incoming, outgoing) => {
      const { spec } = JSON.parse(await textOf(incoming)) as { spec: { token: string; audiences?: string[] } }
      reviews.push(`${incoming.method} ${incoming.url}`)
      const authenticated = spec.token === good
      const user = { username: account, uid: "1", groups: [] }
      const status = authenticated ? { authenticated, user, audiences: spec.audiences } : { authenticated }
      outgoing.setHeader("content-type", "application/json")
      outgoing.writeHead(201)
      outgoing.end(JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec, status }))
    })
    const claims = {
      iss: "https://kubernetes.default.svc",
      sub: account,
      aud: ["vault"],
      "kubernetes.io": { namespace: "shop", serviceaccount: { name: "app", uid: "1" } },
    }
    const good = issuer.issue(claims)
    cluster.listen(0, "127.0.0.1")
    await once(cluster, "listening")
    try {
      await vault.request("POST", "auth/kubernetes/config", {
        kubernetes_host: `http://127.0.0.1:${(cluster.address() as AddressInfo).port}`,
        token_reviewer_jwt: issuer.issue({ sub: "reviewer" }),
        disable_local_ca_jwt: true,
      })
      await vault.request("POST", "auth/kubernetes/role/app", {
        bound_service_account_names: ["app"],
        bound_service_account_namespaces: ["shop"],
        audience: "vault",
        token_policies: [await allowTransit(vault)],
      })
      const path = join(folder, "token")
      writeFileSync(path, good)
      const kms = transitOf(vault, { auth: { method: "kubernetes", role: "app", path } })
      await goesRound(kms, name)
      await kms.close()
      assert.deepEqual(reviews, ["POST /apis/authentication.k8s.io/v1/tokenreviews"])

      const other = issuer.issue({ ...claims, jti: "revoked" })
      writeFileSync(path, other)
      await refused({ method: "kubernetes", role: "app", path }, /Kubernetes/, other)
      assert.equal(reviews.length, 2)
      await refused({ method: "kubernetes", role: "nobody", path }, /role/, other)
      await refused({ method: "kubernetes", role: "app", path: join(folder, "none") }, /mount it/, other)
    } finally {
      cluster.close()
      cluster.closeAllConnections()
    }
  })

  // --- Tokens that end ---

  it("a token that would end soon is renewed, by one of those who need it", async () => {
    const { auth } = await newAppRole(vault, { token_ttl: "10m", token_max_ttl: "10h" })
    const { fetch, count } = recorder()
    let now = 0
    const kms = transitOf(vault, { auth, fetch, clock: { now: () => now } })
    await goesRound(kms, name)
    now = 5 * 60_000
    await goesRound(kms, name)
    assert.equal(count(RENEWAL), 0)
    now = 9 * 60_000
    await Promise.all([goesRound(kms, name), goesRound(kms, name)])
    assert.deepEqual([count(RENEWAL, 200), count(LOGIN)], [1, 1])
    await kms.close()
  })

  it("a token that cannot be renewed is followed by another", async () => {
    const { auth } = await newAppRole(vault, { token_ttl: "10m", token_type: "batch" })
    const { fetch, count } = recorder()
    let now = 0
    const kms = transitOf(vault, { auth, fetch, clock: { now: () => now } })
    await goesRound(kms, name)
    now = 9 * 60_000
    await goesRound(kms, name)
    assert.deepEqual([count(RENEWAL), count(LOGIN, 200)], [0, 2])
    await kms.close()
  })

  it("a token that was revoked is followed by another, within the call that meets it", async () => {
    const { auth } = await newAppRole(vault)
    const { fetch, count, asked } = recorder()
    const kms = transitOf(vault, { auth, fetch })
    await goesRound(kms, name)
    await vault.request("POST", "auth/token/revoke", { token: asked.at(-1)?.token })
    await goesRound(kms, name)
    assert.equal(count(LOGIN, 200), 2)
    await kms.close()
  })

  it("a token that was given is not followed by another: the call says that it has ended", async () => {
    const { auth } = (await vault.request("POST", "auth/token/create", {
      policies: [await allowTransit(vault)],
      ttl: "10m",
    })) as { auth: { client_token: string } }
    const kms = transitOf(vault, { token: auth.client_token })
    await goesRound(kms, name)
    await vault.request("POST", "auth/token/revoke", { token: auth.client_token })
    await assert.rejects(kms.getKeyID(name), AuthenticationFailed)
    await kms.close()
    const functional = transitOf(vault, { token: () => vault.token })
    await goesRound(functional, name)
    await functional.close()
    assert.equal(await lookUp(vault.token), 200)
  })

  it("no call fails while tokens of two seconds come and go", async () => {
    const { auth } = await newAppRole(vault, { token_ttl: "2s", token_max_ttl: "3s" })
    const { fetch, count } = recorder()
    const kms = transitOf(vault, { auth, fetch })
    for (let i = 0; i < 50; i++) {
      await goesRound(kms, name)
      await sleep(80)
    }
    await kms.close()
    assert.ok(count(LOGIN, 200) >= 2, `${count(LOGIN)} logins, ${count(RENEWAL)} renewals`)
  })
})

async function textOf(incoming: IncomingMessage): Promise<string> {
  let text = ""
  for await (const chunk of incoming) text += new TextDecoder().decode(chunk as Uint8Array)
  return text
}
