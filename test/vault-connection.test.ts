import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer, type Server as HTTPServer, request } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import {
  DecryptionFailed,
  type EncxError,
  InvalidConfiguration,
  isRetryableError,
  KMSUnavailable,
  SecretStorageUnavailable,
} from "../core/errors.ts"
import { unreachable, type VaultService } from "../providers/_vault-errors.ts"
import { vaultTransit } from "../providers/vault-transit.ts"
import { goesRound, newKey, ONCE, recorder, secretsOf, transitOf } from "./_vault.ts"
import { needsServer, startVault, startVaultCluster, type Vault, type VaultCluster } from "./servers/index.ts"

describe("vaultTransit() over HTTPS", needsServer("vault"), () => {
  let vault: Vault
  let name: string
  before(async () => {
    vault = await startVault({ tls: true })
    name = await newKey(vault)
  })
  after(() => vault?.close())

  it("trusts the authority of a file, of a PEM, or of VAULT_CACERT", async () => {
    const caCert = join(vault.folder, "ca.pem")
    const kinds = [
      transitOf(vault, { caCert }),
      transitOf(vault, { caCert: vault.certificates?.ca ?? "" }),
      vaultTransit({ environment: { VAULT_ADDR: vault.url, VAULT_TOKEN: vault.token, VAULT_CACERT: caCert } }),
    ]
    for (const kms of kinds) {
      await goesRound(kms, name)
      await kms.close()
    }
  })

  it("trusts nobody else, and says what to set", async () => {
    const { fetch, calls } = recorder()
    for (const options of [{ fetch }, { serverName: "localhost" }]) {
      const kms = transitOf(vault, options)
      await assert.rejects(kms.getKeyID(name), (error: unknown) => {
        assert.ok(error instanceof InvalidConfiguration, String(error))
        assert.match(error.message, /^Cannot use vault-transit: its certificate is not trusted \([A-Z_]+\)$/)
        assert.match(error.hint ?? "", /VAULT_CACERT/)
        assert.ok(!isRetryableError(error))
        return true
      })
      await kms.close()
    }
    assert.equal(calls.length, 1)
  })

  it("wants the server's name in its certificate", async () => {
    const caCert = join(vault.folder, "ca.pem")
    const other = transitOf(vault, { caCert, serverName: "vault.example.com", ...ONCE })
    await assert.rejects(other.getKeyID(name), (error: unknown) => {
      assert.ok(error instanceof InvalidConfiguration, String(error))
      assert.match(error.message, /its certificate is of another host/)
      assert.match(error.hint ?? "", /VAULT_TLS_SERVER_NAME/)
      return true
    })
    await other.close()
    const named = transitOf(vault, { caCert, serverName: "localhost" })
    await goesRound(named, name)
    await named.close()
  })
})

describe("vaultTransit() with a client certificate", needsServer("vault"), () => {
  let vault: Vault
  let name: string
  before(async () => {
    vault = await startVault({ tls: "client-certificates" })
    name = await newKey(vault)
  })
  after(() => vault?.close())

  const caCert = (): string => join(vault.folder, "ca.pem")
  const client = (): { clientCert: string; clientKey: string } => ({
    clientCert: join(vault.folder, "client.pem"),
    clientKey: join(vault.folder, "client-key.pem"),
  })

  it("shows it to a server that wants one, and is refused without", async () => {
    const kms = transitOf(vault, { caCert: caCert(), ...client() })
    await goesRound(kms, name)
    await kms.close()
    const without = transitOf(vault, { caCert: caCert(), ...ONCE })
    await assert.rejects(without.getKeyID(name), (error: unknown) => {
      assert.ok(error instanceof KMSUnavailable, String(error))
      assert.match(error.hint ?? "", /VAULT_CLIENT_CERT/)
      return true
    })
    await without.close()
  })

  it("logs in with it", async () => {
    await vault.request("POST", "sys/auth/cert", { type: "cert" })
    const policy = 'path "transit/*" { capabilities = ["read", "update"] }'
    await vault.request("POST", "sys/policies/acl/app", { policy })
    await vault.request("POST", "auth/cert/certs/app", {
      certificate: vault.certificates?.ca ?? "",
      allowed_common_names: "app",
      token_policies: ["app"],
    })
    const kms = transitOf(vault, { caCert: caCert(), ...client(), auth: { method: "cert", name: "app" } })
    await goesRound(kms, name)
    await kms.close()
  })
})

describe("vaultTransit() with a standby", needsServer("vault"), () => {
  let cluster: VaultCluster
  let name: string
  let relay: HTTPServer
  let relayed: string
  before(async () => {
    cluster = await startVaultCluster()
    name = await newKey(cluster.leader)
    // A standby whose leader does not take what it forwards redirects; so does this one.
    relay = createServer((incoming, outgoing) => {
      const headers = { ...incoming.headers, "x-vault-no-request-forwarding": "1" }
      const path = incoming.url ?? ""
      const sent = request(`${cluster.standby.url}${path}`, { method: incoming.method, headers, agent: false })
      sent.on("response", (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
      })
      sent.on("error", () => outgoing.destroy())
      incoming.pipe(sent)
    })
    relayed = await listening(relay)
  })
  after(async () => {
    relay?.close()
    relay?.closeAllConnections()
    await cluster?.close()
  })

  it("is served by it, which forwards", async () => {
    const kms = transitOf(cluster.standby)
    await goesRound(kms, name)
    await kms.close()
  })

  it("does not follow it to another address, and names the address", async () => {
    const kms = transitOf(cluster.leader, { address: relayed, ...ONCE })
    await assert.rejects(kms.getKeyID(name), (error: KMSUnavailable) => {
      assert.ok(error instanceof KMSUnavailable)
      assert.ok(error.message.includes(`"${cluster.leader.url}"`), error.message)
      assert.match(error.hint ?? "", /redirects/)
      assert.ok(!JSON.stringify([error.message, error.hint, String(error.cause)]).includes(cluster.leader.token))
      return true
    })
    await kms.close()
  })

  it("follows it where that address is allowed", async () => {
    const { fetch, asked } = recorder()
    const kms = transitOf(cluster.leader, { address: relayed, redirects: [cluster.leader.url], fetch })
    await goesRound(kms, name)
    await kms.close()
    assert.ok(asked.some(({ status }) => status === 307))
  })

  it("sends its token to nobody that it was not told of", async () => {
    let came = 0
    const stranger = createServer((_, outgoing) => {
      came++
      outgoing.end("{}")
    })
    const location = await listening(stranger)
    const sender = createServer((incoming, outgoing) => {
      outgoing.writeHead(307, { location: `${location}${incoming.url}` }).end()
    })
    const address = await listening(sender)
    try {
      const kms = transitOf(cluster.leader, { address, ...ONCE })
      await assert.rejects(kms.getKeyID(name), KMSUnavailable)
      const secrets = secretsOf(cluster.leader, { address, ...ONCE })
      await assert.rejects(secrets.getPepper("app"), SecretStorageUnavailable)
      assert.equal(came, 0)
    } finally {
      for (const server of [stranger, sender]) {
        server.close()
        server.closeAllConnections()
      }
    }
  })

  it("tells that there is no leader as what may pass", async () => {
    const kms = transitOf(cluster.standby, { ...ONCE, requestTimeoutMs: 2_000 })
    const keyID = await kms.getKeyID(name)
    const wrapped = await kms.generateDEK(keyID, {})
    await cluster.leader.close()
    await assert.rejects(kms.decryptDEK(wrapped, {}), (error: unknown) => {
      assert.ok(error instanceof KMSUnavailable, String(error))
      assert.ok(!(error instanceof DecryptionFailed) && isRetryableError(error))
      return true
    })
    await kms.close()
  })
})

describe("unreachable()", () => {
  const service = { provider: "vault-transit", Unavailable: KMSUnavailable } as unknown as VaultService
  const tell = (message: string, code?: string): EncxError =>
    unreachable(service, "ask", Object.assign(new Error(message), code === undefined ? {} : { code }))

  it("tells what is wrong with a certificate, by codes and by words, from what may pass", () => {
    for (const [code, message, words] of [
      ["DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed certificate", /not trusted/],
      [undefined, "client error (Connect): invalid peer certificate: UnknownIssuer", /not trusted \(CERT_UNTRUSTED\)/],
      [undefined, "invalid peer certificate: certificate expired: verification time 1", /has expired/],
      [undefined, 'invalid peer certificate: certificate not valid for name "a"', /another host/],
      ["EPROTO", "tlsv1 alert protocol version:x.c:918:SSL alert number 70", /speaks no TLS/],
      [undefined, "received corrupt message of type InvalidContentType", /speaks no TLS/],
    ] as const) {
      const error = tell(message, code)
      assert.ok(error instanceof InvalidConfiguration, `${message}: ${error.message}`)
      assert.match(error.message, words)
      assert.ok(error.hint)
    }
  })

  it("leaves what the server says of the client's certificate as it is", () => {
    for (const [code, message] of [
      ["ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", "tlsv13 alert certificate required:SSL alert number 116"],
      ["ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE", "sslv3 alert bad certificate:SSL alert number 42"],
      ["EPROTO", "write EPROTO ssl/tls alert handshake failure:rec_layer_s3.c:918:SSL alert number 40"],
      [undefined, "received fatal alert: CertificateRequired"],
    ] as const) {
      const error = tell(message, code)
      assert.ok(error instanceof KMSUnavailable, `${message}: ${error.message}`)
      assert.match(error.hint ?? "", /VAULT_CLIENT_CERT/)
    }
    assert.match(tell("connect ECONNREFUSED", "ECONNREFUSED").hint ?? "", /network/)
  })
})

async function listening(server: HTTPServer): Promise<string> {
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
