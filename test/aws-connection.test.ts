import assert from "node:assert/strict"
import { once } from "node:events"
import { type AddressInfo, createServer, type Server } from "node:net"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import { createServer as createTLSServer } from "node:tls"
import { KMSClient } from "@aws-sdk/client-kms"
import { Closed, type EncxError, isConfigurationError, KMSUnavailable } from "../core/errors.ts"
import { tlsProblem } from "../providers/_tls.ts"
import { type AWSKMSOptions, awsKMS } from "../providers/aws-kms.ts"
import { awsSecretsManager } from "../providers/aws-secrets-manager.ts"
import { createRegistry } from "../providers/registry.ts"
import { CREDENTIALS, lent } from "./_aws.ts"
import { selfSigned } from "./_certificate.ts"
import { type FaultProxy, startFaultProxy } from "./servers/index.ts"
import { bytes32, listOf } from "./suites/_assert.ts"

const REGION = "eu-west-1"
const SERVICES = {
  "aws-kms": (options: AWSKMSOptions) => {
    const kms = awsKMS(options)
    return { ask: () => kms.getKeyID("app"), diagnose: () => kms.diagnose("app"), close: () => kms.close() }
  },
  "aws-secrets-manager": (options: AWSKMSOptions) => {
    const secrets = awsSecretsManager(options as object)
    return {
      ask: () => secrets.getPepper("app"),
      diagnose: () => secrets.diagnose("app"),
      close: () => secrets.close(),
    }
  },
} as const

async function errorOf(call: () => Promise<unknown>): Promise<EncxError> {
  return await call().then(
    () => assert.fail("it must reject"),
    (reason: EncxError) => reason,
  )
}

/** Lends a server on the loopback interface that counts its connections. */
async function serving(
  server: Server,
  use: (at: { readonly port: number; readonly connections: number }) => Promise<void>,
): Promise<void> {
  let connections = 0
  server.on("connection", () => connections++)
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  try {
    await use({
      port,
      get connections() {
        return connections
      },
    })
  } finally {
    await new Promise((resolve) => server.close(resolve))
  }
}

const plain = (): Server =>
  createServer((socket) => {
    socket.on("error", () => undefined)
    socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
  })
const untrusted = (): Server => createTLSServer(selfSigned("localhost")).on("tlsClientError", () => undefined)

for (const [provider, open] of Object.entries(SERVICES)) {
  describe(`the way to AWS: ${provider}`, () => {
    // What reaches it is answered with a fault: nothing is behind it.
    let proxy: FaultProxy
    const at = (options: AWSKMSOptions = {}): AWSKMSOptions => ({
      region: REGION,
      endpoint: proxy.url,
      credentials: CREDENTIALS,
      random: () => 0,
      ...options,
    })
    before(async () => {
      proxy = await startFaultProxy("http://127.0.0.1:1")
      proxy.fault = { kind: "status", status: 503 }
    })
    after(() => proxy.close())

    for (const [what, serve, said] of [
      ["a certificate that nobody vouches for", untrusted, /its certificate is not trusted \(\w*SELF_SIGNED\w*\)/],
      ["a server without TLS", plain, /its endpoint speaks no TLS that this program does \(\w+\)/],
    ] as const) {
      it(`tells ${what} from an outage, and does not try again`, async () => {
        await serving(serve(), async (server) => {
          await lent(open(at({ endpoint: `https://localhost:${server.port}` })), async ({ ask }) => {
            const error = await errorOf(ask)
            assert.equal(error.code, "INVALID_CONFIGURATION", String(error.cause))
            assert.match(error.message, said)
            assert.ok(error.message.startsWith(`Cannot use ${provider}: `))
            assert.ok(isConfigurationError(error) && !error.retryable)
            assert.match(error.hint ?? "", /NODE_EXTRA_CA_CERTS|https: or http:/)
          })
          // A name may stand for two addresses.
          assert.ok(server.connections >= 1 && server.connections <= 2, `${server.connections} connections`)
        })
      })
    }

    it("takes what a function for credentials throws for a failure to sign in, and asks it once", async () => {
      proxy.forget()
      const outage = new KMSUnavailable("Cannot use another: it is down", { provider: "other", operation: "x" })
      const refused = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" })
      for (const thrown of [new Error("the vault is sealed"), refused, outage, "no", undefined]) {
        let asked = 0
        const credentials = (): Promise<never> => {
          asked++
          return Promise.reject(thrown)
        }
        await lent(open(at({ credentials })), async ({ ask, diagnose }) => {
          const error = await errorOf(ask)
          assert.equal(error.code, "AUTHENTICATION_FAILED", String(error))
          assert.equal(error.message, `Cannot sign in to ${provider}: the function for credentials failed`)
          assert.equal(error.cause, thrown)
          assert.ok(!error.retryable && error.hint)
          assert.equal(asked, 1)
          const found = (await listOf(diagnose())).find(({ check }) => check === "credentials")
          assert.equal(found?.ok, false)
        })
      }
      assert.equal(proxy.count(), 0)
    })

    it("takes what is no credentials for none, and leaves what the SDK's own functions say as it is", async () => {
      for (const given of [undefined, null, {}, { accessKeyId: "AKIA", secretAccessKey: "" }]) {
        const credentials = async () => given as typeof CREDENTIALS
        await lent(open(at({ credentials })), async ({ ask }) => {
          const error = await errorOf(ask)
          assert.equal(error.code, "AUTHENTICATION_FAILED", String(error))
          assert.match(error.message, /the function for credentials gave none/)
        })
      }
      const expired = Object.assign(new Error("Token is expired"), { name: "CredentialsProviderError" })
      await lent(open(at({ credentials: () => Promise.reject(expired) })), async ({ ask }) => {
        assert.match((await errorOf(ask)).message, /the credentials have expired$/)
      })
    })

    it("is closed for good: what is asked later asks nobody, nor does an attempt that was to come", async () => {
      proxy.forget()
      const closed = open(at())
      await closed.close()
      await closed.close()
      const error = await errorOf(closed.ask)
      assert.ok(error instanceof Closed, String(error))
      assert.equal(error.message, `Cannot use ${provider}: it was closed`)
      assert.deepEqual([proxy.count(), proxy.sockets.total], [0, 0])

      const closing = open(at())
      const ends: Promise<void>[] = []
      // While the first attempt is under way.
      const when = (): boolean => ends.push(closing.close()) > 0
      proxy.fault = { kind: "status", status: 503, when }
      const result = await errorOf(closing.ask)
      assert.ok(result instanceof Closed, String(result))
      await Promise.all(ends)
      assert.equal(proxy.count(), 1)
      proxy.fault = { kind: "status", status: 503 }
    })

    it("names the partition of the region in its hints", async () => {
      proxy.fault = { kind: "error", name: "AccessDeniedException", message: "no" }
      for (const [region, partition] of [
        ["eu-west-1", "aws"],
        ["cn-north-1", "aws-cn"],
        ["us-gov-west-1", "aws-us-gov"],
        ["us-iso-east-1", "aws-iso"],
        ["us-isob-east-1", "aws-iso-b"],
        ["eusc-de-east-1", "aws-eusc"],
      ] as const) {
        await lent(open(at({ region })), async ({ ask }) => {
          const error = await errorOf(ask)
          assert.equal(error.code, "ACCESS_DENIED")
          const { Resource } = JSON.parse(/\{.*\}/.exec(error.hint ?? "")?.[0] ?? "{}")
          assert.match(Resource, new RegExp(`^arn:${partition}:${proxy.requests[0]?.service}:${region}:`))
        })
        proxy.forget()
      }
      proxy.fault = { kind: "status", status: 503 }
    })
  })
}

describe("the way to AWS", () => {
  it("a client's own attempts stand in place of ours, and ours are made where it makes one", async () => {
    const proxy = await startFaultProxy("http://127.0.0.1:1")
    proxy.fault = { kind: "status", status: 503 }
    const at = { region: REGION, endpoint: proxy.url, credentials: CREDENTIALS }
    try {
      for (const [maxAttempts, attempts, requests] of [
        [1, 3, 3],
        [2, 3, 2],
        [4, 2, 4],
      ] as const) {
        proxy.forget()
        const client = new KMSClient({ ...at, maxAttempts })
        await lent(awsKMS({ client, attempts, random: () => 0 }), async (kms) => {
          const error = await errorOf(() => kms.getKeyID("app"))
          assert.equal(error.code, "KMS_UNAVAILABLE")
        })
        assert.equal(proxy.count(), requests, `${maxAttempts} of the client's, ${attempts} of ours`)
        client.destroy()
      }
    } finally {
      await proxy.close()
    }
  })

  it("an alias by ARN leads to a hint with a key of its place", async () => {
    const proxy = await startFaultProxy("http://127.0.0.1:1")
    proxy.fault = { kind: "error", name: "AccessDeniedException", message: "no" }
    const at = { region: "cn-north-1", endpoint: proxy.url, credentials: CREDENTIALS }
    try {
      await lent(awsKMS(at), async (kms) => {
        const alias = "arn:aws-cn:kms:cn-north-1:111122223333:alias/app"
        const error = await errorOf(() => kms.encryptDEK(alias, bytes32(1), {}))
        assert.match(error.hint ?? "", /"Resource":"arn:aws-cn:kms:cn-north-1:ACCOUNT:key\/KEY-ID"/)
      })
    } finally {
      await proxy.close()
    }
  })

  it("plain HTTP goes to this machine by its own names, and not by one that a resolver may know", async () => {
    for (const host of ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "[::1]"])
      await awsKMS({ endpoint: `http://${host}:4566` }).close()
    const before = process.env["AWS_ENDPOINT_URL"]
    for (const host of ["kms.localhost", "localhost.example.com", "localhost.", "0.0.0.0"]) {
      const endpoint = `http://${host}:4566`
      assert.throws(() => awsKMS({ endpoint }), /plain HTTP and not on this machine/, host)
      process.env["AWS_ENDPOINT_URL"] = endpoint
      try {
        await lent(awsKMS({ region: REGION, credentials: CREDENTIALS }), (kms) =>
          assert.rejects(kms.getKeyID("app"), /plain HTTP and not on this machine/, host),
        )
      } finally {
        if (before === undefined) delete process.env["AWS_ENDPOINT_URL"]
        else process.env["AWS_ENDPOINT_URL"] = before
      }
      const opened = await createRegistry().open(`awskms://${host}:4566/alias/app?region=${REGION}`)
      await opened.close?.()
    }
  })
})

describe("tlsProblem()", () => {
  it("knows what is wrong with a certificate, and with what speaks no TLS", () => {
    for (const [said, codes] of [
      [/not trusted/, ["SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "CERT_UNTRUSTED"]],
      [/not trusted/, ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "CERT_REVOKED", "INVALID_CA"]],
      [/another host/, ["ERR_TLS_CERT_ALTNAME_INVALID", "HOSTNAME_MISMATCH"]],
      [/expired, or is not valid yet/, ["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"]],
      [/no TLS/, ["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION"]],
    ] as const) {
      for (const code of codes) assert.match(tlsProblem(code, "")?.state ?? "", said, code)
    }
    const words = "write EPROTO 40DD:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number"
    assert.match(tlsProblem("EPROTO", words)?.state ?? "", /no TLS/)
  })

  it("leaves what may go well the next time to be tried again", () => {
    for (const [code, message] of [
      ["ECONNRESET", "Client network socket disconnected before secure TLS connection was established"],
      ["EPROTO", "write EPROTO error:0A000438:SSL routines:ssl3_read_bytes:tlsv1 alert internal error"],
      ["ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "decryption failed or bad record mac"],
      ["ETIMEDOUT", ""],
    ] as const) {
      assert.equal(tlsProblem(code, message), undefined, code)
    }
  })
})
