import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import { pathToFileURL } from "node:url"
import { Pool } from "pg"
import { newCrypto, withBootstrap, withKEKAlias, withKMSService, withPepper } from "../mod.ts"
import { located, withFolder } from "./_programs.ts"
import { argumentsOf, type Ended, runScript } from "./_script.ts"
import { needsServer, type RunningServer, startPostgres } from "./servers/index.ts"

const program = readFileSync(resolve(import.meta.dirname, "../examples/web-service.ts"), "utf8")

interface Service {
  readonly url: string
  /** Asks it to end, and says how it did. */
  stop(): Promise<{ code: number | null; log: string }>
}

/** Starts the program, and waits until it listens. */
async function start(script: URL, variables: Readonly<Record<string, string>>): Promise<Service> {
  const env = { ...process.env, NO_COLOR: "1", ...variables, PORT: "0" }
  const child: ChildProcess = spawn(process.execPath, argumentsOf(script), { env, stdio: ["ignore", "pipe", "pipe"] })
  let log = ""
  const ended = new Promise<number | null>((settle) => child.once("close", settle))
  const url = new Promise<string>((settle, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        log += text
        const [, address] = /^Listening on (\S+)$/m.exec(log) ?? []
        if (address) settle(address)
      })
    void ended.then((code) => reject(new Error(`the service ended with ${code}: ${log}`)))
  })
  const stopping = async (): Promise<{ code: number | null; log: string }> => {
    // Not child.kill(): after it, Deno calls every end that of the signal.
    if (child.pid !== undefined && child.exitCode === null) process.kill(child.pid, "SIGTERM")
    return { code: await ended, log }
  }
  let stopped: ReturnType<typeof stopping> | undefined
  const stop: Service["stop"] = () => {
    stopped ??= stopping()
    return stopped
  }
  return { url: await url, stop }
}

const ada = { email: "Ada@Example.org", name: "Ada Lovelace", password: "correct horse battery" }

describe("examples/web-service.ts", needsServer("postgres"), () => {
  let postgres: RunningServer
  let pool: Pool
  before(async () => {
    postgres = await startPostgres()
    pool = new Pool({ connectionString: postgres.url })
  })
  after(async () => {
    await pool?.end()
    await postgres?.close()
  })

  /** Lends a service with keys of its own, and what runs its program once more. */
  async function withService(
    use: (service: Service, run: (command: string) => Promise<Ended>) => Promise<void>,
  ): Promise<void> {
    await withFolder(async (folder) => {
      const keys = `local://${folder}/keys.json`
      const crypto = await newCrypto(
        withKMSService(keys),
        withKEKAlias("app"),
        withPepper(keys, "app"),
        withBootstrap({ createKEK: true, createPepper: true }),
      )
      await crypto.close()
      const script = pathToFileURL(join(folder, "web-service.ts"))
      writeFileSync(script, located(program))
      const variables = {
        DATABASE_URL: postgres.url,
        ENCX_KMS: keys,
        ENCX_KEK_ALIAS: "app",
        ENCX_PEPPER_ALIAS: "app",
      }
      const service = await start(script, variables)
      try {
        await use(service, (command) => runScript(script, { args: [command], variables }))
      } finally {
        await service.stop()
      }
    })
  }

  it("keeps people sealed, finds them by address, logs them in, rotates its key while it runs, and ends when it is asked", async () => {
    await withService(async (service, run) => {
      const ask = async (method: string, path: string, body?: unknown): Promise<[number, unknown]> => {
        const response = await fetch(service.url + path, { method, ...(body ? { body: JSON.stringify(body) } : {}) })
        const text = await response.text()
        return [response.status, text === "" ? undefined : JSON.parse(text)]
      }

      const [created, { id }] = (await ask("POST", "/people", ada)) as [number, { id: string }]
      assert.equal(created, 201)
      assert.deepEqual(await ask("GET", `/people/${id}`), [200, { id, email: ada.email, name: ada.name }])
      const [taken] = await ask("POST", "/people", { ...ada, email: " ada@example.ORG" })
      assert.equal(taken, 409)

      const { email, password } = ada
      assert.deepEqual(await ask("POST", "/login", { email: email.toLowerCase(), password }), [200, { id }])
      for (const wrong of [
        { email, password: "wrong" },
        { email: "eve@example.org", password },
      ])
        assert.deepEqual(await ask("POST", "/login", wrong), [401, { error: "the address or the password is wrong" }])

      assert.deepEqual(await ask("PATCH", `/people/${id}`, { name: "Ada King" }), [204, undefined])
      for (const [path, body, status] of [
        ["/people", { email, password }, 400],
        ["/people", { email: "\ud800", name: "x", password }, 400],
        ["/people/7", undefined, 404],
        ["//", undefined, 404],
      ] as const)
        assert.equal((await ask(body ? "POST" : "GET", path, body))[0], status, path)

      const stored = (await pool.query("SELECT * FROM people")).rows
      assert.equal(stored.length, 1)
      for (const value of Object.values(stored[0] as Record<string, unknown>)) {
        const bytes = value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : String(value)
        for (const secret of ["Ada", "ada@", password]) assert.ok(!bytes.includes(secret))
      }

      const rotation = await run("rotate")
      assert.equal(rotation.code, 0, rotation.stderr)
      assert.match(rotation.stdout, /^Version 2: 1 rows wrapped anew$/m)
      assert.deepEqual((await pool.query("SELECT key_version FROM people")).rows, [{ key_version: 2 }])
      const versions = "SELECT version, is_deprecated FROM kek_versions WHERE alias = 'app' ORDER BY version"
      assert.deepEqual((await pool.query(versions)).rows, [
        { version: 1, is_deprecated: true },
        { version: 2, is_deprecated: false },
      ])
      assert.deepEqual(await ask("GET", `/people/${id}`), [200, { id, email: ada.email, name: "Ada King" }])
      assert.equal((await ask("POST", "/people", { ...ada, email: "bob@example.org" }))[0], 201)
      const rest = await run("rewrap")
      assert.equal(rest.code, 0, rest.stderr)

      const [healthy, health] = (await ask("GET", "/health")) as [number, { status: string }]
      assert.deepEqual([healthy, health.status], [200, "healthy"])
      assert.match(JSON.stringify((await ask("GET", "/metrics"))[1]), /encx\.process\.succeeded/)

      // A log-in that waits for its row when the service is asked to end is answered first.
      const lock = await pool.connect()
      await lock.query("BEGIN; LOCK TABLE people IN ACCESS EXCLUSIVE MODE")
      const login = ask("POST", "/login", { email, password })
      await until(async () => {
        const waiting = "SELECT count(*)::int AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return (await pool.query(waiting)).rows[0].count > 0
      })
      const end = service.stop()
      await lock.query("COMMIT")
      lock.release()
      const [answered, { code, log }] = await Promise.all([login, end])
      assert.deepEqual(answered, [200, { id }])
      assert.equal(code, 0, log)
      assert.equal(log.trim().split("\n").length, 1, log)
    })
  })
})

async function until(so: () => Promise<boolean>): Promise<void> {
  while (!(await so())) await new Promise((settle) => setTimeout(settle, 5))
}
