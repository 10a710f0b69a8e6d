// What both providers of Vault share: options, environment, certificates, redirects, and what each answer means.
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import type { ServerResponse } from "node:http"
import { createServer } from "node:https"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import {
  AccessDenied,
  AuthenticationFailed,
  DecryptionFailed,
  type EncxError,
  InvalidConfiguration,
  InvalidInput,
  KeyDisabled,
  KeyExists,
  KeyNotFound,
  KMSUnavailable,
} from "../../core/errors.ts"
import { Connection } from "../../providers/_vault.ts"
import { isThrottled, type VaultService, vaultError } from "../../providers/_vault-errors.ts"
import { tlsTransport } from "../../providers/_vault-http.ts"
import { createRegistry, keyOf } from "../../providers/registry.ts"
import { vaultKV } from "../../providers/vault-kv.ts"
import { type VaultTransitOptions, vaultTransit } from "../../providers/vault-transit.ts"
import { lent } from "../_aws.ts"
import { answerOf, errorOf, KEY, recorder, shown, transitOf } from "../_vault.ts"
import { needsServer, startVault, type Vault } from "../servers/index.ts"
import { bytes32, listOf } from "../suites/_assert.ts"
import { CONTEXT, unwrap } from "../suites/_keys.ts"

const SERVICE: VaultService = {
  provider: "vault-transit",
  keeps: "key",
  engine: "transit",
  creation: "encx keys create",
  options: [],
  Unavailable: KMSUnavailable,
  NotFound: KeyNotFound,
  Exists: KeyExists,
}
const ADDRESS = "http://127.0.0.1:8200"

type ErrorClass = abstract new (...args: never[]) => EncxError
/** Status, text, and what it means; «again» where the same request may succeed later. */
const ANSWERS: readonly (readonly [path: string, status: number, text: string, Class: ErrorClass, again?: "again"])[] =
  [
    ["transit/decrypt/app", 400, "cipher: message authentication failed", DecryptionFailed],
    ["transit/decrypt/app", 400, "invalid ciphertext: no prefix", DecryptionFailed],
    ["transit/decrypt/app", 400, "invalid ciphertext: version is too new", DecryptionFailed],
    ["transit/encrypt/app", 500, "unable to get associated_data: illegal base64 data at input byte 0", InvalidInput],
    ["transit/encrypt/app", 500, "invalid character 'x' looking for beginning of value", InvalidInput],
    ["transit/encrypt/app", 500, "JSON string value exceeds allowed length", InvalidInput],
    ["transit/encrypt/app", 500, "internal error", KMSUnavailable, "again"],
    ["transit/decrypt/app", 400, "encryption key not found", KeyNotFound],
    ["transit/keys/app", 404, "", KeyNotFound],
    ["transit/datakey/plaintext/app", 400, "invalid bit length", InvalidInput],
    ["transit/decrypt/app", 400, "ciphertext or signature version is disallowed by policy (too old)", KeyDisabled],
    ["transit/keys/app", 400, "error deleting policy app: deletion is not allowed for this key", InvalidInput],
    ["transit/keys/app", 400, "error deleting policy app: could not delete key; not found", KeyNotFound],
    [
      "transit/encrypt/app",
      400,
      "missing 'context' for key derivation; the key was created using a derived key",
      InvalidConfiguration,
    ],
    ["secret/data/app", 400, "check-and-set parameter did not match the current version", KeyExists],
    ["transit/encrypt/app", 403, "permission denied", AccessDenied],
    ["transit/encrypt/app", 403, "2 errors occurred: * permission denied * invalid token", AuthenticationFailed],
    ["auth/token/lookup-self", 403, "bad token", AuthenticationFailed],
    ["auth/token/renew-self", 400, "lease is not renewable", InvalidInput],
    ["auth/token/lookup-self", 403, "permission denied", AccessDenied],
    [
      "auth/approle/login",
      404,
      'no handler for route "auth/approle/login". route entry not found.',
      AuthenticationFailed,
    ],
    ["auth/approle/login", 400, "invalid role or secret ID", AuthenticationFailed],
    ["auth/jwt/login", 400, "error validating token: invalid audience (aud) claim", AuthenticationFailed],
    ["auth/jwt/login", 400, 'role "app" could not be found', AuthenticationFailed],
    ["auth/kubernetes/login", 403, "permission denied", AuthenticationFailed],
    ["nowhere/keys/app", 404, 'no handler for route "nowhere/keys/app". route entry not found.', InvalidConfiguration],
    ["secret/keys/app", 404, "1 error occurred: * unsupported path", InvalidConfiguration],
    ["transit/keys/app", 405, "1 error occurred: * unsupported operation", InvalidConfiguration],
    [
      "transit/encrypt/app",
      429,
      'request path "transit/encrypt/app": rate limit quota exceeded',
      KMSUnavailable,
      "again",
    ],
    ["transit/encrypt/app", 503, "Vault is sealed", KMSUnavailable, "again"],
    ["transit/encrypt/app", 501, "Vault is not initialized", KMSUnavailable, "again"],
    ["transit/encrypt/app", 412, "required index state not present", KMSUnavailable, "again"],
    ["transit/encrypt/app", 502, "", KMSUnavailable, "again"],
    ["transit/encrypt/app", 400, "something else", InvalidInput],
  ]

describe("vaultError()", () => {
  it("means one class by each answer, and says what to do", () => {
    for (const [path, status, text, Class, again] of ANSWERS) {
      const request = { operation: "encryptDEK", method: "POST", path, target: "app" } as const
      const error = vaultError(SERVICE, request, { status, errors: text === "" ? [] : [text] })
      assert.ok(error instanceof Class, `${path} ${status} ${text}: ${error.code}`)
      assert.equal(error.retryable, again === "again", `${path} ${status} ${text}`)
      assert.match(error.message, /^Cannot /)
      if (status !== 500 && status !== 502 && !(error instanceof DecryptionFailed)) assert.ok(error.hint, text)
      assert.equal(isThrottled(error), status === 429)
    }
  })
})

describe("options of Vault", () => {
  const at = (options: VaultTransitOptions) => vaultTransit({ environment: {}, ...options })
  /** What the first request says, with these variables. */
  const asked = async (environment: Record<string, string>, options: VaultTransitOptions = {}) => {
    const urls: string[] = []
    const headers: Readonly<Record<string, string>>[] = []
    const fetch: VaultTransitOptions["fetch"] = async (url, init) => {
      urls.push(url)
      headers.push(init.headers)
      return answerOf(200, { data: KEY })
    }
    await lent(vaultTransit({ environment, fetch, ...options }), (kms) => kms.getKeyID("app"))
    return { urls, headers }
  }

  it("are refused, before anything is asked, when they cannot be used", () => {
    for (const options of [
      { address: "http://vault.example.com:8200" },
      { address: "vault.example.com" },
      { address: "https://user:password@vault.example.com" },
      { address: "https://vault.example.com?token=x" },
      { mount: "../sys" },
      { mount: "a//b" },
      { mount: "a b" },
      { namespace: "team/../x" },
      { cluster: "eu/1" },
      { cluster: "" },
      { keyIDs: "alias" as "name" },
      { variables: "AWS" as "BAO" },
      { token: "x", auth: { method: "cert" } as const },
      { clientCert: "/tmp/c.pem" },
      { auth: { method: "userpass" } as never },
      { auth: { method: "jwt" } as const },
      { auth: { method: "kubernetes", role: "" } as const },
      { auth: { method: "approle", roleID: "" } as const },
      { auth: { method: "cert", mount: "../sys" } as const },
      { auth: { method: "cert" } as const },
      { redirects: ["http://vault.example.com"] },
      { attempts: 0 },
      { maxRetries: 3 } as object,
    ])
      assert.throws(() => at(options), InvalidConfiguration, JSON.stringify(options))
    assert.throws(() => vaultKV({ mount: "../sys" }), InvalidConfiguration)
    assert.throws(() => vaultKV({ cluster: "eu" } as object), InvalidConfiguration)
  })

  it("defect 25: an address is needed, and what the environment says and cannot be heeded is refused, not passed over", async () => {
    const refused = async (environment: Record<string, string>, words: RegExp): Promise<void> => {
      const error = await errorOf(vaultTransit({ environment }).getKeyID("app"))
      assert.ok(error instanceof InvalidConfiguration, String(error))
      assert.match(error.message, words)
      assert.ok(error.hint)
    }
    const VAULT_ADDR = "https://127.0.0.1:1"
    await refused({}, /no address is configured$/)
    await refused({ VAULT_ADDR: "http://192.0.2.1:8200" }, /plain HTTP and not on this machine$/)
    for (const name of ["VAULT_PROXY_ADDR", "VAULT_HTTP_PROXY", "VAULT_CAPATH", "VAULT_SRV_LOOKUP"])
      await refused({ VAULT_ADDR, [name]: "x" }, /is set, and not supported$/)
    await refused({ VAULT_ADDR, VAULT_SKIP_VERIFY: "true" }, /would let anybody pose as the server$/)
    await refused({ VAULT_ADDR, VAULT_CLIENT_CERT: "/tmp/c.pem" }, /a client certificate and its key go together$/)
    await refused({ BAO_ADDR: VAULT_ADDR, BAO_SKIP_VERIFY: "1" }, /BAO_SKIP_VERIFY would let anybody/)
    const missing = vaultTransit({ environment: { VAULT_ADDR, VAULT_CACERT: "/nonexistent/ca.pem", VAULT_TOKEN: "x" } })
    assert.match((await errorOf(missing.getKeyID("app"))).message, /the file of the CA's certificates cannot be read/)
  })

  it("are taken from the environment, of one family alone, and win over it", async () => {
    const one = { VAULT_ADDR: `${ADDRESS}/`, VAULT_TOKEN: "hvs.one", VAULT_NAMESPACE: "team/a/" }
    const other = { BAO_ADDR: "http://127.0.0.1:8300", BAO_TOKEN: "s.two", BAO_NAMESPACE: "team/b" }
    for (const [environment, options, url, token, namespace] of [
      [one, {}, ADDRESS, "hvs.one", "team/a"],
      [other, {}, "http://127.0.0.1:8300", "s.two", "team/b"],
      [{ ...other, ...one }, {}, ADDRESS, "hvs.one", "team/a"],
      [{ ...other, ...one }, { variables: "BAO" }, "http://127.0.0.1:8300", "s.two", "team/b"],
      [one, { variables: "BAO" }, ADDRESS, "hvs.one", "team/a"],
      [{ ...other, VAULT_TOKEN: "hvs.one" }, {}, "http://127.0.0.1:8300", "s.two", "team/b"],
      [one, { address: "http://localhost:1", token: "mine", namespace: "c" }, "http://localhost:1", "mine", "c"],
      [{ VAULT_ADDR: `${ADDRESS}/proxied/vault`, VAULT_TOKEN: " x " }, {}, `${ADDRESS}/proxied/vault`, "x", undefined],
    ] as const) {
      const { urls, headers } = await asked(environment, options)
      assert.deepEqual(urls, [`${url}/v1/auth/token/lookup-self`, `${url}/v1/transit/keys/app`])
      for (const each of headers) {
        assert.equal(each["X-Vault-Token"], token)
        assert.equal(each["X-Vault-Namespace"], namespace)
        assert.equal(each["X-Vault-Request"], "true")
      }
    }
  })

  it("follow no redirect with a token to another host, unless that is named", async () => {
    const leader = "https://vault-1.example.com:8200"
    const redirects = (location: string, status = 307) =>
      recorder(async (url) => {
        if (url.startsWith(leader)) return answerOf(200, { data: KEY })
        return answerOf(status, "", { location })
      })
    for (const [location, status] of [
      [`${leader}/v1/transit/keys/app`, 307],
      [`${leader}/v1/transit/keys/app`, 302],
      ["http://evil.example.com/", 307],
      ["//evil.example.com/", 308],
      [":", 307],
    ] as const) {
      const { fetch, calls } = redirects(location, status)
      const error = await errorOf(at({ address: ADDRESS, token: "x", fetch, attempts: 1 }).getKeyID("app"))
      assert.ok(error instanceof KMSUnavailable, String(error))
      assert.match(error.message, /it sends requests on to .*, which is not allowed$/)
      assert.match(error.hint ?? "", /redirects/)
      assert.ok(calls.every((each) => !each.includes("evil")))
    }
    const { fetch } = redirects(`${leader}/v1/transit/keys/app`)
    await lent(at({ address: ADDRESS, token: "x", fetch, redirects: [`${leader}/`] }), async (kms) => {
      assert.equal(await kms.getKeyID("app"), "default/transit/app")
    })
    let hops = 0
    const loop = recorder(async (url) => {
      hops++
      return answerOf(307, "", { location: url })
    })
    const error = await errorOf(at({ address: ADDRESS, token: "x", fetch: loop.fetch, attempts: 1 }).getKeyID("app"))
    assert.ok(error instanceof KMSUnavailable)
    assert.equal(hops, 3)
  })

  it("believe no answer that makes no sense, and quote none", async () => {
    const secret = "c2VjcmV0c2VjcmV0c2VjcmV0"
    for (const [status, body] of [
      [200, ""],
      [200, "<html>"],
      [200, "[]"],
      [200, "null"],
      [200, { data: { ...KEY, name: "other" } }],
      [200, { data: { ...KEY, latest_version: "1" } }],
      [200, { data: { ...KEY, latest_version: 2 ** 31 } }],
      [200, { data: { ...KEY, latest_version: 100_001 } }],
      [200, `{"data": "${secret}`],
      [200, `{"x": "${"x".repeat(1_100_000)}"}`],
      [404, "<html>not here</html>"],
      [404, ""],
      [404, { message: "no route" }],
      [302, ""],
    ] as const) {
      const fetch = async (url: string) =>
        url.endsWith("lookup-self") ? answerOf(200, { data: {} }) : answerOf(status, body)
      const error = await errorOf(at({ address: ADDRESS, token: "x", fetch, attempts: 1 }).getKeyID("app"))
      assert.ok(error instanceof KMSUnavailable, `${status} ${JSON.stringify(body).slice(0, 40)}: ${String(error)}`)
      assert.ok(!error.message.includes("no connection"), error.message)
      assert.ok(!shown(error).includes(secret))
    }
  })

  it("ask again who answered in the server's place, and not who refuses the request, or has no data key to give", async () => {
    const ciphertext = Uint8Array.from(new TextEncoder().encode(`vault:v1:${"A".repeat(80)}`))
    for (const [status, body, Class, tries] of [
      [200, "<html>back soon</html>", KMSUnavailable, 3],
      [404, "default backend", KMSUnavailable, 3],
      [405, "<html>", KMSUnavailable, 3],
      [200, { data: {} }, KMSUnavailable, 3],
      [400, "Client sent an HTTP request to an HTTPS server.", InvalidConfiguration, 1],
      [200, { data: { plaintext: Buffer.alloc(16).toString("base64") } }, DecryptionFailed, 1],
    ] as const) {
      const { fetch, calls } = recorder(async (url) =>
        answerOf(...(url.endsWith("lookup-self") ? ([200, { data: {} }] as const) : ([status, body] as const))),
      )
      await lent(at({ address: ADDRESS, token: "x", fetch, random: () => 0 }), async (kms) => {
        const error = await errorOf(kms.decryptDEK({ ciphertext, keyID: "app", version: 1 }, CONTEXT))
        assert.ok(error instanceof Class, `${status} ${JSON.stringify(body)}: ${String(error)}`)
        assert.equal(calls.filter((each) => each.includes("/decrypt/")).length, tries, String(body))
      })
    }
  })

  it("quote nothing that was sent, of one request or of many, whoever echoes it", async () => {
    const fetch = async (url: string, init: { readonly body?: string }) => {
      if (!url.includes("/encrypt/")) return answerOf(200, { data: KEY })
      const sent = JSON.parse(init.body ?? "") as { batch_input?: { plaintext: string }[]; plaintext?: string }
      const results = sent.batch_input?.map(({ plaintext }) => ({ error: `cannot read ${plaintext}` }))
      return answerOf(
        400,
        results ? { data: { batch_results: results } } : { errors: [`cannot read ${sent.plaintext}`] },
      )
    }
    await lent(at({ address: ADDRESS, token: "x", fetch, attempts: 1 }), async (kms) => {
      const one = await errorOf(kms.encryptDEK("app", bytes32(7), CONTEXT))
      const [result] = await kms.encryptDEKs("app", [{ dek: bytes32(7), context: CONTEXT }])
      const many = (result as { error: EncxError }).error
      for (const error of [one, many]) {
        assert.match(shown(error), /cannot read …/)
        assert.ok(!shown(error).includes(Buffer.from(bytes32(7)).toString("base64")))
      }
    })
  })

  it("believe no wrap and no data key that are none", async () => {
    const answers = async (data: object, call: "encrypt" | "decrypt") => {
      const fetch = async (url: string) => answerOf(200, { data: /\/(en|de)crypt\//.test(url) ? data : KEY })
      const kms = at({ address: ADDRESS, token: "x", fetch, attempts: 1 })
      const ciphertext = Uint8Array.from(new TextEncoder().encode(`vault:v1:${"A".repeat(80)}`))
      return await errorOf(
        call === "encrypt"
          ? kms.encryptDEK("app", bytes32(1), CONTEXT)
          : kms.decryptDEK({ ciphertext, keyID: "app", version: 1 }, CONTEXT),
      )
    }
    for (const data of [{}, { ciphertext: "AAAA" }, { ciphertext: "vault:v1:AAAA", key_version: 2 }, { ciphertext: 7 }])
      assert.ok((await answers(data, "encrypt")) instanceof KMSUnavailable, JSON.stringify(data))
    for (const plaintext of [7, null, undefined])
      assert.ok((await answers({ plaintext }, "decrypt")) instanceof KMSUnavailable, String(plaintext))
    for (const plaintext of ["", "AAAA", `${"A".repeat(42)}B=`, `${"A".repeat(43)}`])
      assert.ok((await answers({ plaintext }, "decrypt")) instanceof DecryptionFailed, String(plaintext))
  })

  it("defect 24: a call ends with its signal, whatever the server does", async () => {
    const fetch = (url: string, { signal }: { signal: AbortSignal }) => {
      if (url.endsWith("lookup-self")) return Promise.resolve(answerOf(200, { data: {} }))
      const { promise, reject } = Promise.withResolvers<never>()
      signal.addEventListener("abort", () => reject(signal.reason))
      return promise
    }
    const [controller, reason] = [new AbortController(), new Error("this caller left")]
    await lent(at({ address: ADDRESS, token: "x", fetch }), async (kms) => {
      const call = kms.getKeyID("app", { signal: controller.signal })
      setImmediate(() => controller.abort(reason))
      await assert.rejects(call, reason)
    })
  })

  it("are said by URIs: the key, where it is, how to log in, and never a token", async () => {
    for (const [uri, key] of [
      ["vaulttransit:///app", "app"],
      ["vaulttransit://app", "app"],
      ["hashivault://app?engine=transit&namespace=team", "app"],
      ["openbao://app", "app"],
      ["hcvault://vault.example.com:8200/team/transit/keys/app", "app"],
      ["vaulttransit:", undefined],
      ["vaultkv:///?mount=secret", undefined],
    ] as const) {
      assert.equal(keyOf(uri), key, uri)
      const service = await createRegistry().open(uri)
      assert.match(service.provider, /^vault-/)
      await service.close?.()
    }
    for (const uri of [
      "vaulttransit:///app?token=hvs.secret",
      "vaulttransit:///app?secretID=hvs.secret",
      "vaulttransit://hvs.secret@host/app",
      "vaulttransit:///../../sys/health",
      "hashivault://../../sys/health",
      "hashivault://a/b",
      "vaulttransit:///a%2Fb",
      "vaulttransit:///app?mount=",
      "vaulttransit:///app?mount=a&engine=b",
      "vaulttransit:///app?bindContext=no",
      "vaulttransit:///app?keyIDs=alias",
      "vaulttransit:///app?address=http://vault.example.com",
      "hcvault://vault.example.com/app",
      "hcvault://vault.example.com/transit/keys/app?address=https://x",
      "vaulttransit:///app?auth=approle&role=x",
      "vaulttransit:///app?auth=kubernetes",
      "vaulttransit:///app?auth=jwt",
      "vaulttransit:///app?role=app",
    ]) {
      const error = await errorOf(createRegistry().open(uri))
      assert.ok(error instanceof InvalidConfiguration || error instanceof InvalidInput, `${uri}: ${String(error)}`)
      assert.ok(!shown(error).includes("hvs.secret"), shown(error))
    }
    for (const login of ["auth=kubernetes&role=app&authMount=k8s", "auth=jwt&authPath=/run/token"]) {
      const service = await createRegistry().open(`vaultkv:///?${login}`)
      await service.close?.()
    }
    const byCertificate = await errorOf(createRegistry().open("vaultkv:///?auth=cert&role=web"))
    assert.match(byCertificate.message, /the login by certificate has none: give clientCert and clientKey$/)
  })
})

describe("answers of a real Vault", needsServer("vault"), () => {
  let vault: Vault
  before(async () => {
    vault = await startVault()
    await vault.request("POST", "transit/keys/app", {})
    await vault.request("POST", "transit/keys/derived", { derived: true })
  })
  after(() => vault.close())

  it("say that it is sealed, and how that ends", async () => {
    await lent(transitOf(vault, { attempts: 1 }), async (kms) => {
      await kms.encryptDEK("app", bytes32(1), CONTEXT)
      await vault.seal()
      try {
        const error = await errorOf(kms.encryptDEK("app", bytes32(1), CONTEXT))
        assert.ok(error instanceof KMSUnavailable, String(error))
        assert.equal(error.message, "Cannot use vault-transit: Vault is sealed")
        const [found] = await listOf(kms.diagnose("app"))
        const { message: detail, hint } = error
        assert.deepEqual(found, { check: "server", ok: false, detail, hint })
      } finally {
        await vault.unseal()
      }
      await kms.encryptDEK("app", bytes32(1), CONTEXT)
    })
  })

  it("mean what the table says, and a mistake of the client's own is not repeated", async () => {
    for (const [method, path, body, Class] of [
      ["POST", "transit/encrypt/app", { plaintext: "AAAA", associated_data: "!!" }, InvalidInput],
      ["POST", "transit/encrypt/app", { plaintext: "!!" }, InvalidInput],
      ["POST", "transit/decrypt/app", { ciphertext: "nonsense" }, DecryptionFailed],
      ["POST", "transit/decrypt/app", { ciphertext: "vault:v1:AAAA" }, DecryptionFailed],
      ["POST", "transit/decrypt/app", { ciphertext: `vault:v99:${"A".repeat(80)}` }, DecryptionFailed],
      ["POST", "transit/decrypt/absent", { ciphertext: "vault:v1:AAAA" }, KeyNotFound],
      ["POST", "transit/datakey/plaintext/absent", {}, KeyNotFound],
      ["POST", "transit/keys/absent/rotate", {}, KeyNotFound],
      ["POST", "transit/datakey/plaintext/app", { bits: 7 }, InvalidInput],
      ["POST", "transit/encrypt/derived", { plaintext: "AAAA" }, InvalidConfiguration],
      ["GET", "transit/keys/absent", undefined, KeyNotFound],
      ["DELETE", "transit/keys/app", undefined, InvalidInput],
      ["GET", "nowhere/keys/app", undefined, InvalidConfiguration],
      ["GET", "transit/encrypt/app", undefined, InvalidConfiguration],
      ["POST", "auth/approle/login", { role_id: "x" }, AuthenticationFailed],
    ] as const) {
      const { fetch, calls } = recorder()
      const connection = new Connection(SERVICE, { address: vault.url, token: vault.token, environment: {}, fetch })
      const call = { operation: "test", method, path, target: "app", read: () => undefined }
      const error = await errorOf(connection.send(body === undefined ? call : { ...call, body: () => body }))
      assert.ok(error instanceof Class, `${method} ${path} ${JSON.stringify(body)}: ${error.code} ${shown(error)}`)
      assert.equal(error.retryable, false)
      assert.equal(calls.filter((each) => each.endsWith(path)).length, 1, path)
      await connection.close()
    }
  })
})

describe("Vault over HTTPS", needsServer("vault"), () => {
  let vault: Vault
  before(async () => {
    vault = await startVault({ tls: "client-certificates" })
    await vault.request("POST", "transit/keys/app", {})
  })
  after(() => vault.close())

  it("reads certificates anew, and leaves who waits for an answer to it", async () => {
    const { ca, server } = vault.certificates as NonNullable<Vault["certificates"]>
    const path = join(vault.folder, "renewed.pem")
    writeFileSync(path, ca)
    const waiting = Promise.withResolvers<ServerResponse>()
    const endpoint = createServer(server, (_, answer) => waiting.resolve(answer))
    endpoint.listen(0, "127.0.0.1")
    await once(endpoint, "listening")
    const transport = tlsTransport("vault-transit", { ca: path, skipVerify: false })
    try {
      const url = `https://127.0.0.1:${(endpoint.address() as AddressInfo).port}/`
      const request = { method: "GET", headers: {}, signal: new AbortController().signal, maxBytes: 100 }
      const asked = transport.send(url, request).then(
        ({ text }) => text,
        (error: unknown) => error,
      )
      const answer = await waiting.promise
      writeFileSync(path, `${ca}\n`)
      await transport.refresh()
      answer.end("as before")
      assert.equal(await asked, "as before")
    } finally {
      transport.close()
      endpoint.close()
      endpoint.closeAllConnections()
    }
  })

  it("defect 25: takes authority and client certificate from options and environment, as PEM or as a file, and nothing without", async () => {
    const { ca, client } = vault.certificates as NonNullable<Vault["certificates"]>
    const file = (name: string): string => join(vault.folder, `${name}.pem`)
    const base = { VAULT_ADDR: vault.url, VAULT_TOKEN: vault.token }
    const files = { VAULT_CACERT: file("ca"), VAULT_CLIENT_CERT: file("client"), VAULT_CLIENT_KEY: file("client-key") }
    for (const [environment, options] of [
      [{ ...base, ...files }, {}],
      [base, { caCert: ca, clientCert: client.cert, clientKey: client.key }],
      [{ ...base, ...files, VAULT_CACERT: "", VAULT_CACERT_BYTES: ca }, {}],
      [{ ...base, ...files, VAULT_CACERT: "", VAULT_SKIP_VERIFY: "true" }, { allowInsecure: true }],
    ] as const) {
      await lent(vaultTransit({ environment, ...options }), async (kms) => {
        const wrapped = await kms.encryptDEK("app", bytes32(1), CONTEXT)
        assert.deepEqual(await unwrap(kms, wrapped), bytes32(1))
      })
    }
    for (const [environment, options, Class, words] of [
      [base, {}, InvalidConfiguration, /its certificate is not trusted/],
      [base, { caCert: ca }, KMSUnavailable, /there is no connection/],
      [{ ...base, ...files, VAULT_CACERT: "" }, {}, InvalidConfiguration, /its certificate is not trusted/],
      [
        { ...base, ...files, VAULT_TLS_SERVER_NAME: "another.example.com" },
        {},
        InvalidConfiguration,
        /its certificate is of another host/,
      ],
    ] as const) {
      await lent(vaultTransit({ environment, attempts: 1, ...options }), async (kms) => {
        const error = await errorOf(kms.getKeyID("app"))
        assert.ok(error instanceof Class, String(error))
        assert.match(error.message, words)
      })
    }
    const asked = process.env["NODE_TLS_REJECT_UNAUTHORIZED"]
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0"
    try {
      const environment = { ...base, ...files, VAULT_TLS_SERVER_NAME: "another.example.com" }
      await lent(vaultTransit({ environment, attempts: 1 }), async (kms) => {
        assert.match((await errorOf(kms.getKeyID("app"))).message, /its certificate is of another host/)
      })
    } finally {
      if (asked === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"]
      else process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = asked
    }
  })
})
