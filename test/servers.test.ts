import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { Agent } from "node:http"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { call } from "./servers/_client.ts"
import { status } from "./servers/_process.ts"
import { START } from "./servers/_start.ts"
import {
  AWS_ERRORS,
  type Effect,
  FAULTS,
  type Fault,
  type FaultProxy,
  installation,
  isInstalled,
  needsServer,
  type RunningServer,
  type Server,
  type ServerName,
  startFaultProxy,
  startMinistack,
  startMoto,
} from "./servers/index.ts"
import { REQUIRED } from "./vectors.ts"

const EMULATORS = {
  moto: { start: startMoto, ready: "/moto-api/" },
  ministack: { start: startMinistack, ready: "/_ministack/health" },
} as const
const HOLDER = fileURLToPath(new URL("servers/_holder.ts", import.meta.url))
const read = (path: string): string => readFileSync(fileURLToPath(new URL(path, import.meta.url)), "utf8")
const README = read("servers/README.md")

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    assert.equal((error as { code?: string }).code, "ESRCH")
    return false
  }
}

/** Whether somebody listens where a URL says. */
function answers(url: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect(Number(new URL(url).port), "127.0.0.1")
  socket.on("connect", () => resolve(true))
  socket.on("error", () => resolve(false))
  return promise.finally(() => socket.destroy())
}

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const start = performance.now(); !(await holds()); await sleep(10)) {
    assert.ok(performance.now() - start < 60_000, what)
  }
}

describe("needsServer()", () => {
  // Bun says nothing of a suite that is skipped: this one line says it for all.
  it("finds the servers of npm run servers", needsServer(), () => assert.ok(isInstalled(), installation()))

  it("gives one line that names the folder and the command, or nothing", () => {
    const { skip } = needsServer()
    assert.ok(skip === false ? REQUIRED || isInstalled() : /^\S+( \(\w+\))? is absent \(npm run servers\)$/.test(skip))
  })
})

for (const [name, start] of Object.entries(START) as [ServerName, () => Promise<RunningServer>][]) {
  describe(name, needsServer(name), () => {
    it("starts on a port of its own, answers, and leaves nothing when it is closed", async () => {
      const servers = await Promise.all([start(), start()])
      try {
        assert.equal(new Set(servers.map(({ port }) => port)).size, 2)
        for (const { url, port, pid } of servers) {
          const { hostname, port: said } = new URL(url)
          assert.deepEqual([hostname, said], ["127.0.0.1", String(port)])
          assert.ok(isAlive(pid))
          assert.ok(await answers(url))
        }
      } finally {
        await Promise.all(servers.map((server) => Promise.all([server.close(), server.close()])))
      }
      for (const { url, pid } of servers) {
        assert.ok(!isAlive(pid), "its process is there")
        assert.ok(!(await answers(url)))
      }
    })

    it("is gone soon after the process that started it was killed, and its files with it", async () => {
      const holder = await Holder.start(name)
      try {
        assert.ok(await answers(holder.url))
        assert.equal(holder.files().length, 1)
        holder.child.kill("SIGKILL")
        await until(async () => !(await answers(holder.url)), "it answers")
        await until(() => holder.files().length === 0, "its folder is there")
      } finally {
        holder.remove()
      }
    })

    it("does not keep a process alive that forgot it, and goes with it", async () => {
      const holder = await Holder.start(name, "end")
      try {
        const { child } = holder
        if (child.exitCode === null) await once(child, "exit", { signal: AbortSignal.timeout(60_000) })
        assert.equal(child.exitCode, 0)
        await until(async () => !(await answers(holder.url)), "it answers")
        await until(() => holder.files().length === 0, "its folder is there")
      } finally {
        holder.remove()
      }
    })
  })
}

for (const [name, { start, ready }] of Object.entries(EMULATORS)) {
  describe(name, needsServer(name as keyof typeof EMULATORS), () => {
    it("makes a data key, opens it, and is empty after a reset", async () => {
      const server = await start()
      try {
        assert.equal(await status(`${server.url}${ready}`), 200)
        const { KeyMetadata } = (await call(server.url, "kms:CreateKey")).body as { KeyMetadata: { Arn: string } }
        const made = await call(server.url, "kms:GenerateDataKey", { KeyId: KeyMetadata.Arn, KeySpec: "AES_256" })
        const { CiphertextBlob, Plaintext, KeyId } = made.body
        assert.equal(KeyId, KeyMetadata.Arn)
        assert.equal((await call(server.url, "kms:Decrypt", { CiphertextBlob })).body["Plaintext"], Plaintext)
        await server.reset()
        const gone = await call(server.url, "kms:DescribeKey", { KeyId: KeyMetadata.Arn })
        assert.match(String(gone.body["__type"]), /NotFoundException/)
      } finally {
        await server.close()
      }
    })
  })
}

/** Another process of this runtime with a server, and its folder for temporary files. */
class Holder {
  readonly child: ChildProcess
  readonly url: string
  readonly tmp: string

  private constructor(child: ChildProcess, url: string, tmp: string) {
    this.child = child
    this.url = url
    this.tmp = tmp
  }

  static async start(...args: string[]): Promise<Holder> {
    const flags =
      "Deno" in globalThis ? ["run", "-A"] : /^v22\./.test(process.version) ? ["--experimental-strip-types"] : []
    const tmp = mkdtempSync(join(tmpdir(), "encx-holder-"))
    // What does not run as root has its folder in it.
    chmodSync(tmp, 0o711)
    const child = spawn(process.execPath, [...flags, HOLDER, ...args], {
      env: { ...process.env, TMPDIR: tmp, TEMP: tmp, TMP: tmp },
      stdio: ["ignore", "pipe", "inherit"],
    })
    let said = ""
    child.stdout.on("data", (chunk) => (said += chunk))
    await until(() => said.includes("\n") || child.exitCode !== null, "it did not start")
    return new Holder(child, said.trim(), tmp)
  }

  files(): string[] {
    return readdirSync(this.tmp).filter((name) => name.startsWith("encx-"))
  }

  remove(): void {
    this.child.kill("SIGKILL")
    rmSync(this.tmp, { recursive: true, force: true, maxRetries: 5 })
  }
}

describe("ministack with auth", needsServer("ministack"), () => {
  it("refuses a key that it does not know", async () => {
    const server = await startMinistack({ auth: true })
    try {
      const { status: code, text } = await call(server.url, "kms:ListKeys", {}, { accessKeyID: "AKIAUNKNOWN" })
      assert.equal(code, 400)
      assert.match(text, /UnrecognizedClientException/)
    } finally {
      await server.close()
    }
  })
})

describe("startFaultProxy()", needsServer("moto"), () => {
  let moto: Server
  let proxy: FaultProxy
  let keyID: string

  before(async () => {
    moto = await startMoto()
    proxy = await startFaultProxy(moto.url)
    const { KeyMetadata } = (await call(proxy.url, "kms:CreateKey")).body as { KeyMetadata: { Arn: string } }
    keyID = KeyMetadata.Arn
  })
  after(async () => {
    await proxy?.close()
    await moto?.close()
  })

  const generate = (signal?: AbortSignal, agent?: Agent): ReturnType<typeof call> =>
    call(
      proxy.url,
      "kms:GenerateDataKey",
      { KeyId: keyID, KeySpec: "AES_256" },
      { ...(signal ? { signal } : {}), ...(agent ? { agent } : {}) },
    )
  const quiet = (): Promise<void> =>
    until(() => proxy.sockets.open === 0 && proxy.inFlight.open === 0, `${proxy.sockets.open} sockets are open`)
  const withFault = async <Result>(fault: Fault | readonly Fault[], use: () => Promise<Result>): Promise<Result> => {
    await quiet()
    proxy.forget()
    proxy.fault = fault
    try {
      return await use()
    } finally {
      proxy.fault = undefined
      await quiet()
    }
  }
  const timed = async <Result>(use: () => Promise<Result>): Promise<[Result, number]> => {
    const start = performance.now()
    return [await use(), performance.now() - start]
  }

  it("changes nothing without a fault, and records what came", async () => {
    await quiet()
    proxy.forget()
    const { status: code, type, body } = await generate()
    assert.equal(code, 200)
    assert.match(type, /^text\/html/, "moto does say that")
    assert.equal(body["KeyId"], keyID)
    assert.equal(atob(String(body["Plaintext"])).length, 32)
    await call(proxy.url, "kms:ReEncrypt", { CiphertextBlob: body["CiphertextBlob"], DestinationKeyId: keyID })
    await call(proxy.url, "secretsmanager:CreateSecret", { Name: "a", SecretString: "b", Tags: [{ Key: "c" }] })
    assert.equal(proxy.count(), 3)
    assert.equal(proxy.count("GenerateDataKey"), 1)
    assert.deepEqual(proxy.actions(), [
      ...["kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"],
      ...["secretsmanager:CreateSecret", "secretsmanager:TagResource"],
    ])
    const [first] = proxy.requests
    assert.ok(first)
    assert.deepEqual(
      [first.service, first.operation, first.region, first.accessKeyID, first.body["KeyId"], first.status, first.fault],
      ["kms", "GenerateDataKey", "eu-west-1", "test", keyID, 200, undefined],
    )
    assert.ok((first.endedAt ?? 0) >= first.startedAt)
    assert.equal(proxy.sockets.total, 3)
  })

  it("counts sockets that are kept, and requests at once", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 4 })
    // Long enough for all four to come while the first waits.
    await withFault({ kind: "none", latencyMs: 500 }, async () => {
      await Promise.all(Array.from({ length: 8 }, () => generate(undefined, agent))).finally(() => agent.destroy())
    })
    assert.deepEqual([proxy.count(), proxy.sockets.peak, proxy.inFlight.peak, proxy.inFlight.open], [8, 4, 4, 0])
    assert.deepEqual([proxy.sockets.total, new Set(proxy.requests.map(({ connection }) => connection)).size], [4, 4])
  })

  it("waits as long as it is told", async () => {
    const [, time] = await timed(() => withFault({ kind: "none", latencyMs: 300 }, generate))
    assert.ok(time >= 295, `${time} ms`)
  })

  it("applies a fault to the requests that it names, so often, and no others", async () => {
    const fault: Fault = { kind: "status", status: 503, operation: ["Decrypt", "GenerateDataKey"], after: 1, times: 2 }
    await withFault(fault, async () => {
      const codes: number[] = []
      for (let i = 0; i < 5; i++) codes.push((await generate()).status)
      assert.deepEqual(codes, [200, 503, 503, 200, 200])
      assert.equal((await call(proxy.url, "kms:ListKeys")).status, 200)
    })
    const several: Fault[] = [
      { kind: "status", status: 429, when: ({ number }) => number % 2 === 0, times: 1 },
      { kind: "status", status: 500 },
    ]
    await withFault(several, async () => {
      const codes: number[] = []
      for (let i = 0; i < 4; i++) codes.push((await generate()).status)
      assert.deepEqual(codes.sort(), [429, 500, 500, 500])
    })
  })

  it("answers statuses with the error that the service gives them", async () => {
    const expected = {
      429: ["ThrottlingException", "ThrottlingException"],
      500: ["KMSInternalException", "InternalServiceError"],
      502: ["InternalFailure", "InternalFailure"],
      503: ["ServiceUnavailable", "ServiceUnavailable"],
      504: ["InternalFailure", "InternalFailure"],
    } as const
    for (const [code, names] of Object.entries(expected)) {
      const fault: Effect = { kind: "status", status: Number(code) as 429 }
      await withFault(fault, async () => {
        const replies = [await generate(), await call(proxy.url, "secretsmanager:GetSecretValue", { SecretId: "x" })]
        assert.deepEqual(
          replies.map((reply) => reply.status),
          [Number(code), Number(code)],
        )
        assert.deepEqual(
          replies.map(({ body }) => body["__type"]),
          names,
        )
        assert.ok(replies[0]?.body["message"] && replies[1]?.body["Message"])
      })
    }
  })

  it("answers every error by name", async () => {
    for (const name of AWS_ERRORS) {
      const { status: code, body, type } = await withFault({ kind: "error", name }, generate)
      assert.equal(type, "application/x-amz-json-1.1")
      assert.equal(body["__type"], name)
      assert.ok(code >= 400)
      assert.ok(!/[{}]|undefined/.test(String(body["message"] ?? "")), String(body["message"]))
    }
    const denied = await withFault({ kind: "error", name: "AccessDeniedException" }, generate)
    assert.ok(String(denied.body["message"]).includes(`perform: kms:GenerateDataKey on resource: ${keyID}`))
    const skewed = await withFault({ kind: "error", name: "InvalidSignatureException" }, generate)
    assert.match(String(skewed.body["message"]), /^Signature expired: \d{8}T\d{6}Z is now earlier than \d{8}T\d{6}Z/)
    const own: Fault = { kind: "error", name: "NotFoundException", status: 404, message: "Invalid arn us-west-2" }
    const other = await withFault(own, generate)
    assert.deepEqual([other.status, other.body["message"]], [404, "Invalid arn us-west-2"])
    const deleted = await withFault({ kind: "error", name: "InvalidRequestException" }, () =>
      call(proxy.url, "secretsmanager:CreateSecret", { Name: "a" }),
    )
    assert.match(String(deleted.body["Message"]), /already scheduled for deletion/)
  })

  it("resets the connection, half-way through the answer or before the emulator hears of it", async () => {
    await withFault({ kind: "reset" }, () => assert.rejects(generate()))
    assert.equal(proxy.requests[0]?.status, 200)
    const count = async (): Promise<number> => ((await call(moto.url, "kms:ListKeys")).body["Keys"] as unknown[]).length
    const keys = await count()
    await withFault({ kind: "reset", at: "request" }, () => assert.rejects(call(proxy.url, "kms:CreateKey")))
    assert.equal(proxy.requests[0]?.status, undefined)
    assert.equal(await count(), keys)
    await withFault({ kind: "reset" }, () => assert.rejects(call(proxy.url, "kms:CreateKey")))
    assert.equal(await count(), keys + 1)
  })

  it("takes a request and says nothing, until the client goes", async () => {
    for (const forward of [false, true]) {
      const leaving = new AbortController()
      const [, time] = await timed(() =>
        withFault({ kind: "silence", forward }, async () => {
          const left = assert.rejects(generate(leaving.signal))
          await until(() => proxy.count() === 1, "it did not come")
          await sleep(300)
          leaving.abort()
          await left
        }),
      )
      assert.ok(time >= 290, `${time} ms`)
      assert.deepEqual([proxy.count(), proxy.requests[0]?.status], [1, undefined])
      assert.ok(proxy.requests[0]?.endedAt)
    }
  })

  it("sends one byte at a time, from the head or from the body on", async () => {
    await withFault({ kind: "trickle" }, () => assert.rejects(generate(AbortSignal.timeout(2_500))))
    await withFault({ kind: "trickle", from: "body", intervalMs: 1 }, async () => {
      const [reply, time] = await timed(generate)
      assert.equal(reply.body["KeyId"], keyID)
      assert.ok(time >= reply.bytes, `${time} ms`)
    })
    await withFault({ kind: "trickle", intervalMs: 1 }, async () => {
      assert.equal((await generate()).body["KeyId"], keyID)
    })
  })

  it("cuts the JSON short in an answer that is whole", async () => {
    const reply = await withFault({ kind: "truncate" }, generate)
    assert.equal(reply.status, 200)
    assert.throws(() => reply.body, SyntaxError)
    assert.equal((await withFault({ kind: "truncate", keep: 0 }, generate)).text, "")
  })

  it("says another content type", async () => {
    const reply = await withFault({ kind: "content-type" }, generate)
    assert.deepEqual([reply.type, reply.body["KeyId"]], ["text/html", keyID])
    const page: Fault = { kind: "content-type", type: "text/plain", body: "<html></html>" }
    const { type, text } = await withFault(page, generate)
    assert.deepEqual([type, text], ["text/plain", "<html></html>"])
  })

  it("sends 10 MiB that are JSON", async () => {
    for (const framing of ["chunked", "length"] as const) {
      const reply = await withFault({ kind: "oversize", framing }, generate)
      assert.equal(reply.bytes, 10 * 1024 * 1024)
      assert.equal(reply.body["KeyId"], keyID)
    }
    await withFault({ kind: "oversize" }, () => assert.rejects(generate(AbortSignal.timeout(1))))
  })

  it("names another key, of the same account and region", async () => {
    const { body } = await withFault({ kind: "key-id" }, generate)
    assert.notEqual(body["KeyId"], keyID)
    assert.equal(String(body["KeyId"]).replace(/[^/]+$/, ""), keyID.replace(/[^/]+$/, ""))
    const { KeyMetadata } = (
      await withFault({ kind: "key-id", keyID: "other" }, () => call(proxy.url, "kms:DescribeKey", { KeyId: keyID }))
    ).body as { KeyMetadata: Record<string, unknown> }
    assert.deepEqual([KeyMetadata["KeyId"], KeyMetadata["Arn"], KeyMetadata["Enabled"]], ["other", "other", true])
  })

  it("gives a data key of another length, and whatever else it is told", async () => {
    for (const bytes of [0, 16, 31, 33, 4096]) {
      const { body } = await withFault({ kind: "dek-length", bytes }, generate)
      assert.equal(atob(String(body["Plaintext"])).length, bytes)
    }
    const { body } = await withFault({ kind: "rewrite", body: ({ KeyId }) => ({ KeyId, More: 1 }) }, generate)
    assert.deepEqual(body, { KeyId: keyID, More: 1 })
  })

  it("passes the emulator's own errors on, and looks like it when it is gone", async () => {
    const { status: code, body } = await withFault({ kind: "dek-length", bytes: 1 }, () =>
      call(proxy.url, "kms:DescribeKey", { KeyId: "alias/none" }),
    )
    assert.deepEqual([code, body["__type"]], [400, "NotFoundException"])
    const nobody = await startFaultProxy(() => "http://127.0.0.1:1")
    await assert.rejects(call(nobody.url, "kms:ListKeys"))
    assert.match(String(nobody.requests[0]?.fault), /^emulator: /)
    await nobody.close()
  })

  it("ends what is open when it is closed", async () => {
    const other = await startFaultProxy(moto.url)
    other.fault = { kind: "silence" }
    const calls = Array.from({ length: 5 }, () => assert.rejects(call(other.url, "kms:ListKeys")))
    await until(() => other.inFlight.open === 5, "they did not come")
    await Promise.all([other.close(), other.close(), ...calls])
    await until(() => other.sockets.open === 0 && other.inFlight.open === 0, "something is open")
    await assert.rejects(call(other.url, "kms:ListKeys"))
  })
})

describe("the README of the servers", () => {
  it("tells every fault and every error", () => {
    for (const name of [...FAULTS, ...AWS_ERRORS]) assert.ok(README.includes(`\`${name}\``), name)
  })

  it("tells the versions that are pinned", () => {
    for (const name of Object.keys(EMULATORS)) {
      const [, version] = /^\w+(?:\[\S+\])?==(\S+)$/m.exec(read(`servers/${name}.txt`)) ?? []
      assert.ok(version && README.includes(`| ${name} | ${version} |`), name)
    }
    for (const [name, module] of Object.entries({ vault: "hashicorp/vault", toxiproxy: "Shopify/toxiproxy/v2" })) {
      const [, version] = new RegExp(`github\\.com/${module} v(\\S+)`).exec(read(`servers/${name}/go.mod`)) ?? []
      assert.ok(version && README.includes(`| ${name} | ${version} |`), name)
    }
  })
})
