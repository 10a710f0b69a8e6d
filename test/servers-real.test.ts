import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { createConnection } from "mysql2/promise"
import { Client } from "pg"
import { within } from "./_within.ts"
import { callJSON } from "./servers/_json.ts"
import {
  needsServer,
  type RunningServer,
  startMariaDB,
  startPostgres,
  startToxiproxy,
  startVault,
  startVaultCluster,
} from "./servers/index.ts"

// That they start, end and leave nothing is in servers.test.ts.

async function lent<Service extends { close(): Promise<void> }, Result>(
  start: () => Promise<Service>,
  use: (server: Service) => Promise<Result>,
): Promise<Result> {
  const server = await start()
  try {
    return await use(server)
  } finally {
    await server.close()
  }
}

const answer = async (client: Client): Promise<unknown> => {
  // A connection that breaks between two calls says so here; the next call says it, too.
  client.on("error", () => undefined)
  try {
    await client.connect()
    return (await client.query("select 1 as one")).rows[0]?.one
  } finally {
    await client.end().catch(() => undefined)
  }
}

describe("startPostgres()", needsServer("postgres"), () => {
  it("gives an empty database in UTF-8 to anyone here, on 127.0.0.1 alone", async () => {
    await lent(startPostgres, async ({ url, port }) => {
      const client = new Client({ connectionString: url })
      await client.connect()
      try {
        const ask = async (sql: string): Promise<unknown> => Object.values((await client.query(sql)).rows[0])[0]
        assert.equal(await ask("show server_encoding"), "UTF8")
        assert.equal(await ask("show listen_addresses"), "127.0.0.1")
        assert.equal(await ask("select count(*)::int from information_schema.tables where table_schema = 'public'"), 0)
      } finally {
        await client.end()
      }
      await assert.rejects(answer(new Client({ host: "127.0.0.2", port, user: "postgres", database: "postgres" })), {
        code: "ECONNREFUSED",
      })
    })
  })
})

describe("startMariaDB()", needsServer("mariadb"), () => {
  it("gives an empty database in utf8mb4, with transactions, to root", async () => {
    await lent(startMariaDB, async ({ url }) => {
      const connection = await createConnection(url)
      try {
        const ask = async (sql: string): Promise<unknown> => (await connection.query(sql))[0]
        assert.deepEqual(await ask("select database() as d, @@character_set_database as c"), [
          { d: "test", c: "utf8mb4" },
        ])
        assert.deepEqual(await ask("show tables"), [])
        await ask("create table t (a int primary key)")
        await ask("begin")
        await ask("insert into t values (1)")
        await ask("rollback")
        assert.deepEqual(await ask("select * from t"), [])
      } finally {
        await connection.end()
      }
    })
  })
})

describe("startToxiproxy()", needsServer("toxiproxy", "postgres"), () => {
  it("passes everything on, until it is told otherwise", async () => {
    await lent(startPostgres, async (postgres: RunningServer) => {
      await lent(startToxiproxy, async (toxiproxy) => {
        const proxy = await toxiproxy.proxy(postgres.url)
        const asked = (): Promise<unknown> => answer(new Client({ connectionString: proxy.url }))
        assert.equal(await asked(), 1)

        const stop = await proxy.add({ type: "latency", latency: 400 })
        await assert.rejects(within(350, asked))
        await stop()
        assert.equal(await asked(), 1)

        await proxy.add({ type: "reset_peer", timeout: 0 })
        await assert.rejects(asked)
        await proxy.clear()
        assert.equal(await asked(), 1)

        await proxy.cut()
        await assert.rejects(asked, { code: "ECONNREFUSED" })
        await proxy.restore()
        assert.equal(await asked(), 1)
      })
    })
  })
})

describe("startVault()", needsServer("vault"), () => {
  it("gives transit/, and KV version 2 at secret/, to its root token", async () => {
    await lent(startVault, async (vault) => {
      await vault.request("POST", "transit/keys/app")
      const { data } = (await vault.request("POST", "transit/encrypt/app", { plaintext: "YQ==" })) as {
        data: { ciphertext: string }
      }
      assert.match(data.ciphertext, /^vault:v1:/)
      const opened = await vault.request("POST", "transit/decrypt/app", { ciphertext: data.ciphertext })
      assert.deepEqual(opened["data"], { plaintext: "YQ==" })
      await vault.request("POST", "secret/data/a", { options: { cas: 0 }, data: { b: "c" } })
      await assert.rejects(vault.request("POST", "secret/data/a", { options: { cas: 0 }, data: { b: "d" } }), /400/)
      assert.equal((await vault.ask("GET", "transit/keys/app", undefined, {})).status, 403)
    })
  })

  it("is sealed, and unsealed with all that it held", async () => {
    await lent(startVault, async (vault) => {
      await vault.request("POST", "transit/keys/app")
      await vault.seal()
      assert.equal((await vault.ask("GET", "transit/keys/app")).status, 503)
      await vault.unseal()
      assert.equal((await vault.ask("GET", "transit/keys/app")).status, 200)
    })
  })

  it("speaks HTTPS under an authority of its own", async () => {
    await lent(
      () => startVault({ tls: true }),
      async ({ url, certificates, ask }) => {
        assert.match(url, /^https:/)
        assert.equal((await ask("GET", "sys/health")).status, 200)
        await assert.rejects(callJSON(`${url}/v1/sys/health`))
        const { status } = await callJSON(`${url}/v1/sys/health`, { ca: certificates?.ca ?? "" })
        assert.equal(status, 200)
      },
    )
  })

  it("wants a certificate of its clients", async () => {
    await lent(
      () => startVault({ tls: "client-certificates" }),
      async ({ url, certificates, ask }) => {
        assert.equal((await ask("GET", "sys/health")).status, 200)
        await assert.rejects(callJSON(`${url}/v1/sys/health`, { ca: certificates?.ca ?? "" }))
      },
    )
  })

  it("has the auth methods of the tests", async () => {
    await lent(
      () => startVault({ kubernetes: true }),
      async (vault) => {
        for (const type of ["approle", "cert", "jwt", "kubernetes", "userpass"]) {
          await vault.request("POST", `sys/auth/${type}`, { type })
        }
      },
    )
  })
})

describe("startVaultCluster()", needsServer("vault"), () => {
  it("gives a leader, and a standby that forwards or redirects to it", async () => {
    await lent(startVaultCluster, async ({ leader, standby }) => {
      await standby.request("POST", "transit/keys/app")
      assert.equal((await leader.ask("GET", "transit/keys/app")).status, 200)
      const { status } = await standby.ask("GET", "transit/keys/app", undefined, {
        "x-vault-token": leader.token,
        "x-vault-no-request-forwarding": "1",
      })
      assert.equal(status, 307)
    })
  })
})
