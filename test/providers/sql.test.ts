import assert from "node:assert/strict"
import { chmodSync, existsSync, linkSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { join } from "node:path"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import { inspect } from "node:util"
import { CamelCasePlugin, Kysely, sql as rawSQL } from "kysely"
import pg from "pg"
import type { KEKVersionStore } from "../../core/contracts.ts"
import { Closed, DatabaseUnavailable, InvalidConfiguration, InvalidInput, UnsafeFile } from "../../core/errors.ts"
import { DIALECTS } from "../../providers/_sql-dialect.ts"
import { type SQLOptions, sql } from "../../providers/sql.ts"
import { within } from "../_within.ts"
import { rejectsWith } from "../suites/_assert.ts"
import { kekVersionStoreSuite } from "../suites/kek-version-store.ts"
import { DATABASES, type DatabaseServer, MARIADB, POSTGRES, query, SQLITE } from "./_databases.ts"
import { openKysely, watchedDialect } from "./_dialects.ts"
import { inFolder } from "./_files.ts"

const ALIAS = "alias/app"
const ONCE: SQLOptions = { attempts: 1, breaker: false }

async function failureOf(call: Promise<unknown>): Promise<DatabaseUnavailable> {
  const error = await call.then(
    () => assert.fail("it must reject"),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof DatabaseUnavailable, inspect(error))
  return error
}

const PG_WAITING = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"

/** Waits until a query finds something. */
/** MariaDB tells of transactions as they were when it was asked last, unless that is more than 100 ms ago. */
const POLL_MS = 150

async function untilSome(url: string, statement: string): Promise<void> {
  await within(30_000, async () => {
    while ((await query(url, statement)).length === 0) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  })
}

for (const kind of DATABASES) {
  describe(`sql() on ${kind.name}`, kind.options, () => {
    let server: DatabaseServer
    before(async () => {
      server = await kind.start()
    })
    after(async () => await server?.close())
    const lent = async (use: (store: KEKVersionStore, url: string) => Promise<void>): Promise<void> => {
      const url = await server.fresh()
      const store = sql(url)
      try {
        await use(store, url)
      } finally {
        await store.close?.()
      }
    }

    kekVersionStoreSuite(kind.name, async () => {
      const url = await server.fresh()
      return { store: sql(url), others: [sql(url), sql(url)] }
    })

    it("keeps the time of each change", async () => {
      await lent(async (store, url) => {
        await store.ensureVersion(ALIAS, "key-1")
        const past = kind.name === "mariadb" ? "'2020-01-02 03:04:05'" : "'2020-01-02 03:04:05+00'"
        await query(
          url,
          `update kek_versions set created_at = ${kind.name === "sqlite" ? "'2020-01-02 03:04:05'" : past}, updated_at = created_at`,
        )
        await store.addVersion(ALIAS, "key-2")
        const [first, second] = await store.listVersions(ALIAS)
        // MariaDB takes a time without a zone for one of the server's.
        if (kind.name !== "mariadb") assert.equal(first?.createdAt?.toISOString(), "2020-01-02T03:04:05.000Z")
        assert.ok(Math.abs((second?.createdAt?.getTime() ?? 0) - Date.now()) < 60_000)
        const rows = await query(url, "select version from kek_versions where updated_at > created_at order by version")
        assert.deepEqual(
          rows.map(({ version }) => Number(version)),
          [1],
          "what was deprecated was changed",
        )
      })
    })

    it("uses a Kysely of the program's, whatever its plugins make of names, and leaves it open", async () => {
      const url = await server.fresh()
      const db = (await openKysely<{ kekVersions: { alias: string } }>(url)).withPlugin(new CamelCasePlugin())
      const store = sql(db)
      await store.ensureVersion(ALIAS, "key-1")
      await store.addVersion(ALIAS, "key-2")
      assert.deepEqual(
        (await store.listVersions(ALIAS)).map(({ keyID }) => keyID),
        ["key-1", "key-2"],
      )
      await store.close?.()
      assert.equal((await db.selectFrom("kekVersions").select("alias").execute()).length, 2)
      await db.destroy()
    })

    it("takes what is NULL for deprecated, as the Go library does", async () => {
      await lent(async (store, url) => {
        await store.ensureVersion(ALIAS, "key-1")
        await query(url, "update kek_versions set is_deprecated = NULL, created_at = NULL")
        assert.deepEqual(await store.listVersions(ALIAS), [{ version: 1, keyID: "key-1", deprecated: true }])
      })
    })

    it("refuses a row that makes no sense", async () => {
      await lent(async (store, url) => {
        await store.listVersions(ALIAS)
        await query(url, `insert into kek_versions (alias, version, kms_key_id) values ('${ALIAS}', 0, 'key')`)
        assert.equal((await failureOf(store.listVersions(ALIAS))).retryable, false)
      })
    })

    it("makes the table again when it was taken away", async () => {
      await lent(async (store, url) => {
        await store.ensureVersion(ALIAS, "key-1")
        await query(url, "drop table kek_versions")
        assert.deepEqual(await store.listVersions(ALIAS), [])
      })
    })

    it("makes one table when many programs start at once", async () => {
      const url = await server.fresh()
      const stores = Array.from({ length: 8 }, () => sql(url))
      const lists = await Promise.all(stores.map((each) => each.listVersions(ALIAS)))
      assert.deepEqual(
        lists,
        stores.map(() => []),
      )
      for (const each of stores) await each.close?.()
    })

    it("refuses aliases and ids that do not fit, before it asks", async () => {
      await lent(async (store) => {
        for (const alias of ["", "x".repeat(257), "é".repeat(129)])
          await rejectsWith(store.listVersions(alias), InvalidInput)
        for (const keyID of ["", "x".repeat(1025)]) await rejectsWith(store.addVersion(ALIAS, keyID), InvalidInput)
        await store.ensureVersion("é".repeat(128), "k")
      })
    })

    const cut = {
      sqlite: "",
      postgres:
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
      mariadb: "kill user root",
    }[kind.name]
    if (cut === "") return
    const waiting =
      kind.name === "postgres"
        ? PG_WAITING
        : "select 1 from information_schema.innodb_trx where trx_state = 'LOCK WAIT'"

    it("works on when the server has ended its connections", async () => {
      await lent(async (store, url) => {
        await store.ensureVersion(ALIAS, "key-1")
        for (let i = 0; i < 3; i++) {
          await cutOff(url)
          assert.equal((await store.listVersions(ALIAS)).length, 1)
        }
      })
    })

    it("says so when the server ends a rotation, and leaves what was before", async () => {
      await lent(async (store, url) => {
        await store.ensureVersion(ALIAS, "key-1")
        const other = await openKysely<{ kek_versions: { version: number } }>(url)
        const transaction = await other.startTransaction().execute()
        await transaction.selectFrom("kek_versions").select("version").forUpdate().execute()
        const failed = failureOf(store.addVersion(ALIAS, "key-2"))
        await untilSome(url, waiting)
        await cutOff(url)
        assert.ok((await failed).retryable)
        await transaction
          .rollback()
          .execute()
          .catch(() => undefined)
        await other.destroy().catch(() => undefined)
        assert.deepEqual(
          (await store.listVersions(ALIAS)).map(({ version, deprecated }) => [version, deprecated]),
          [[1, false]],
        )
        assert.equal((await store.addVersion(ALIAS, "key-3")).version, 2)
      })
    })

    it("gives up a connection that has fallen silent, and goes on over another", async () => {
      const url = new URL(await server.fresh())
      const wire = await startWire(Number(url.port))
      url.port = String(wire.port)
      const store = sql(url.href, { ...ONCE, requestTimeoutMs: 1_000 })
      await store.ensureVersion(ALIAS, "key-1")
      wire.silence()
      const failure = await failureOf(within(5_000, () => store.listVersions(ALIAS)))
      assert.ok(failure.retryable)
      wire.restore()
      assert.equal((await store.listVersions(ALIAS)).length, 1)
      await within(5_000, async () => await store.close?.())
      await wire.close()
    })

    async function cutOff(url: string): Promise<void> {
      // What cuts all off is cut off itself, on MariaDB.
      await query(url, cut).catch((error: unknown) => assert.equal(kind.name, "mariadb", String(error)))
    }
  })

  describe(`sql() on ${kind.name}, when it was closed`, kind.options, () => {
    let server: DatabaseServer
    before(async () => {
      server = await kind.start()
    })
    after(async () => await server?.close())

    it("refuses to work", async () => {
      const store = sql(await server.fresh())
      await store.close?.()
      await rejectsWith(store.listVersions(ALIAS), Closed)
    })

    it("opens nothing for a call that began before", async () => {
      const store = sql(await server.fresh())
      const call = rejectsWith(store.listVersions(ALIAS), Closed)
      await store.close?.()
      await call
    })
  })
}

describe("sql() on SQLite", () => {
  it("has the Go library's own table", () => {
    const [table = ""] = DIALECTS.sqlite.ddl
    const go =
      "CREATE TABLE kek_versions (alias TEXT NOT NULL, version INTEGER NOT NULL, kms_key_id TEXT NOT NULL, is_deprecated BOOLEAN DEFAULT FALSE, created_at DATETIME DEFAULT CURRENT_TIMESTAMP, updated_at DATETIME DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (alias, version))"
    assert.equal(table.replace(/\s+/g, " ").replace("IF NOT EXISTS ", "").replace("( ", "(").replace(/ \)$/, ")"), go)
  })

  const modes = { skip: process.platform === "win32" && "modes are elsewhere there" }
  it("makes its file for its user alone", modes, async () => {
    await inFolder(async (folder) => {
      const store = sql(`sqlite:${folder}/a/b/keys.db`)
      await store.ensureVersion(ALIAS, "key-1")
      await store.close?.()
      assert.equal(statSync(`${folder}/a/b/keys.db`).mode & 0o777, 0o600)
      assert.equal(statSync(`${folder}/a/b`).mode & 0o777, 0o700)
      assert.equal(statSync(`${folder}/a`).mode & 0o777, 0o700)
    })
  })

  it("takes a file that the Go library made, as its mode is", modes, async () => {
    await inFolder(async (folder) => {
      const path = join(folder, "keys.db")
      writeFileSync(path, "")
      chmodSync(path, 0o644)
      const store = sql(`sqlite:${path}`)
      await store.ensureVersion(ALIAS, "key-1")
      await store.close?.()
      assert.equal(statSync(path).mode & 0o777, 0o644)
    })
  })

  it("refuses what everybody could change or replace, and what is no file", modes, async () => {
    await inFolder(async (folder) => {
      const path = (name: string): string => join(folder, name)
      writeFileSync(path("real.db"), "")
      symlinkSync(path("real.db"), path("link.db"))
      symlinkSync(path("nowhere.db"), path("dangling.db"))
      writeFileSync(path("open.db"), "")
      chmodSync(path("open.db"), 0o666)
      writeFileSync(path("twice.db"), "")
      linkSync(path("twice.db"), path("second.db"))
      mkdirSync(path("folder.db"))
      mkdirSync(path("shared"))
      chmodSync(path("shared"), 0o777)
      mkdirSync(path("team"))
      chmodSync(path("team"), 0o770)
      for (const name of [
        "link.db",
        "dangling.db",
        "open.db",
        "twice.db",
        "folder.db",
        "shared/keys.db",
        "team/keys.db",
      ])
        await rejectsWith(sql(`sqlite:${path(name)}`, ONCE).listVersions(ALIAS), UnsafeFile)
      assert.ok(!existsSync(path("shared/keys.db")) && !existsSync(path("nowhere.db")))
    })
  })

  it("says that a file is no database, and leaves it as it is", async () => {
    await inFolder(async (folder) => {
      const path = join(folder, "keys.db")
      writeFileSync(path, "this is a text, and longer than a header of SQLite".repeat(20))
      const before = readFileSync(path, "utf8")
      const failure = await failureOf(sql(`sqlite:${path}`, ONCE).listVersions(ALIAS))
      assert.match(failure.message, /SQLITE_NOTADB/)
      assert.equal(failure.retryable, false)
      assert.equal(readFileSync(path, "utf8"), before)
    })
  })

  it("waits for another writer, and says so when that takes too long", async () => {
    const server = await SQLITE.start()
    const url = await server.fresh()
    const [store, patient] = [sql(url, { ...ONCE, requestTimeoutMs: 200 }), sql(url)]
    await patient.ensureVersion(ALIAS, "key-1")
    const writer = await openKysely<Record<string, never>>(url)
    const transaction = await writer.startTransaction().execute()
    assert.equal((await patient.listVersions(ALIAS)).length, 1, "who reads does not wait")
    const failure = await failureOf(store.addVersion(ALIAS, "key-2"))
    assert.ok(failure.retryable)
    const waiting = patient.addVersion(ALIAS, "key-3")
    await transaction.rollback().execute()
    assert.equal((await waiting).version, 2)
    await writer.destroy()
    for (const each of [store, patient]) await each.close?.()
    await server.close()
  })

  it("refuses to number what could not be read again", async () => {
    const server = await SQLITE.start()
    const url = await server.fresh()
    const store = sql(url)
    await store.listVersions(ALIAS)
    await query(url, `insert into kek_versions (alias, version, kms_key_id) values ('${ALIAS}', 2147483647, 'key')`)
    assert.equal((await failureOf(store.addVersion(ALIAS, "key-2"))).retryable, false)
    assert.deepEqual(
      (await store.listVersions(ALIAS)).map(({ version, deprecated }) => [version, deprecated]),
      [[2147483647, false]],
    )
    await store.close?.()
    await server.close()
  })

  it("leaves at once when its caller does", async () => {
    const server = await SQLITE.start()
    const url = await server.fresh()
    const store = sql(url)
    await store.ensureVersion(ALIAS, "key-1")
    const writer = await openKysely<Record<string, never>>(url)
    const transaction = await writer.startTransaction().execute()
    const [controller, reason] = [new AbortController(), new Error("this caller left")]
    const call = store.addVersion(ALIAS, "key-2", { signal: controller.signal })
    setTimeout(() => controller.abort(reason), 50)
    await within(2_000, async () => await assert.rejects(call, reason))
    await transaction.rollback().execute()
    assert.equal((await store.listVersions(ALIAS)).length, 1)
    await writer.destroy()
    await store.close?.()
    await server.close()
  })
})

describe("sql() on PostgreSQL", POSTGRES.options, () => {
  let server: DatabaseServer
  before(async () => {
    server = await POSTGRES.start()
  })
  after(async () => await server?.close())

  it("uses a pg.Pool of the program's, and leaves it open", async () => {
    const pool = new pg.Pool({ connectionString: await server.fresh() })
    const store = sql(pool)
    await store.ensureVersion(ALIAS, "key-1")
    await store.close?.()
    assert.equal((await pool.query("select * from kek_versions")).rows.length, 1)
    await pool.end()
  })

  it("uses the schema of a Kysely", async () => {
    const url = await server.fresh()
    await query(url, "create schema other")
    const db = await openKysely<Record<string, never>>(url)
    const store = sql(db.withSchema("other"))
    await store.ensureVersion(ALIAS, "key-1")
    assert.equal((await store.addVersion(ALIAS, "key-2")).version, 2)
    assert.equal((await query(url, "select * from other.kek_versions")).length, 2)
    await db.destroy()
  })

  it("gives the table's text to those who may not make it, and what is missing to those who may not write", async () => {
    const url = await server.fresh()
    const role = `reader_${process.pid}`
    await query(url, `create role ${role} login`, `revoke create on schema public from public`)
    const own = sql(url.replace("postgres@", `${role}@`), ONCE)
    const denied = await failureOf(own.listVersions(ALIAS))
    assert.match(denied.message, /SQLSTATE 42501/)
    assert.match(denied.hint ?? "", /CREATE TABLE IF NOT EXISTS kek_versions \( alias TEXT NOT NULL/)
    assert.equal(denied.retryable, false)
    await query(url, ...DIALECTS.postgresql.ddl, `grant select on kek_versions to ${role}`)
    assert.deepEqual(await own.listVersions(ALIAS), [])
    const readOnly = await failureOf(own.ensureVersion(ALIAS, "key-1"))
    assert.match(readOnly.hint ?? "", /INSERT and UPDATE/)
    await query(url, `grant insert, update on kek_versions to ${role}`)
    await own.ensureVersion(ALIAS, "key-1")
    assert.equal((await own.addVersion(ALIAS, "key-2")).version, 2)
    await own.close?.()
  })

  it("leaves one current version when the first were recorded by others while a rotation had begun", async () => {
    const url = await server.fresh()
    const [store, other] = [sql(url), await openKysely<{ kek_versions: { version: number } }>(url)]
    await store.listVersions(ALIAS)
    const [reached, goesOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const dialect = await watchedDialect(url, async (statement, run) => {
      const result = await run()
      if (!statement.includes("for update")) return result
      reached.resolve()
      await goesOn.promise
      return result
    })
    const late = new Kysely<Record<string, never>>({ dialect })
    const added = sql(late).addVersion(ALIAS, "late")
    await reached.promise
    assert.equal((await store.addVersion(ALIAS, "key-1")).version, 1)
    const transaction = await other.startTransaction().execute()
    await rawSQL`update kek_versions set is_deprecated = true`.execute(transaction)
    await rawSQL`insert into kek_versions (alias, version, kms_key_id) values (${ALIAS}, 2, 'key-2')`.execute(
      transaction,
    )
    goesOn.resolve()
    await untilSome(url, PG_WAITING)
    await transaction.commit().execute()
    assert.equal((await added).version, 3)
    assert.deepEqual(
      (await store.listVersions(ALIAS)).map(({ version, deprecated }) => [version, deprecated]),
      [
        [1, true],
        [2, true],
        [3, false],
      ],
    )
    await late.destroy()
    await other.destroy()
    await store.close?.()
  })

  it("numbers versions right where transactions are serializable by default", async () => {
    const url = await server.fresh()
    await query(url, `alter database ${url.replace(/^.*\//, "")} set default_transaction_isolation = 'serializable'`)
    const stores = [sql(url), sql(url)]
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => (stores[i % 2] as KEKVersionStore).addVersion(ALIAS, `k${i}`)),
    )
    const versions = await (stores[0] as KEKVersionStore).listVersions(ALIAS)
    assert.deepEqual(versions.map(({ version, deprecated }) => (deprecated ? 0 : version)).filter(Boolean), [20])
    for (const each of stores) await each.close?.()
  })
})

/** A wire to a port; connections that were there fall silent, and later ones do not. */
async function startWire(to: number): Promise<{
  readonly port: number
  silence(): void
  restore(): void
  close(): Promise<void>
}> {
  let isSilent = false
  const sockets = new Set<Socket>()
  const listener = createServer((near) => {
    const far = connect(to, "127.0.0.1")
    for (const [from, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      let wasSilent = false
      from.on("data", (chunk) => {
        wasSilent ||= isSilent
        if (!wasSilent) other.write(chunk)
      })
      from.on("error", () => other.destroy())
      from.on("close", () => other.destroy())
    }
  })
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve))
  return {
    port: (listener.address() as { port: number }).port,
    silence: () => {
      isSilent = true
    },
    restore: () => {
      isSilent = false
    },
    close: async () => {
      for (const each of sockets) each.destroy()
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}

// --- What is wrong ---

const SECRET = "hunter2/?#&secret"

/** What everything that can be seen of an error says. */
const seen = (error: unknown): string => `${inspect(error, { depth: 10, showHidden: true })}${JSON.stringify(error)}`

const assertSecret = (error: unknown): void => {
  for (const form of [SECRET, encodeURIComponent(SECRET), encodeURI(SECRET)])
    assert.ok(!seen(error).includes(form), `it shows the password: ${seen(error)}`)
}

describe("sql(): what is wrong", () => {
  it("refuses what is no database, and quotes none of it", () => {
    const password = encodeURIComponent(SECRET)
    for (const source of [
      "",
      "keys.db",
      SECRET,
      `mongodb://a:${password}@h/d`,
      `postgres://a:${SECRET}@[h/d`,
      `mysql://a:%ZZ${password}@h/d`,
      "sqlite:",
      "sqlite://host/keys.db",
      "sqlite:keys.db?mode=ro",
      "sqlite:%ZZ",
      {},
      { connect: () => {} },
      null,
      7,
    ]) {
      assert.throws(
        () => sql(source as never),
        (error: unknown) => {
          assert.ok(error instanceof InvalidConfiguration, seen(error))
          assertSecret(error)
          return true
        },
        `it takes ${String(source)}`,
      )
    }
  })

  it("refuses an option that is misspelt, and a parameter that the driver does not take, without quoting it", async () => {
    assert.throws(() => sql("sqlite:keys.db", { timeoutMs: 5 } as never), /there is no option "timeoutMs"$/)
    const store = sql(`mysql://a:${encodeURIComponent(SECRET)}@127.0.0.1:1/d?ssl=true`)
    await assert.rejects(store.listVersions("app"), (error: unknown) => {
      assert.ok(error instanceof InvalidConfiguration, seen(error))
      assert.match(error.message, /driver refuses a parameter/)
      assertSecret(error)
      return true
    })
    await store.close?.()
  })

  it("cannot reach a server that is not there, and does not show the password", async () => {
    // Nobody listens at a port that was just given back.
    const listener = createServer()
    const port = await new Promise<number>((resolve) =>
      listener.listen(0, "127.0.0.1", () => resolve((listener.address() as { port: number }).port)),
    )
    await new Promise((resolve) => listener.close(resolve))
    for (const scheme of ["postgres", "mysql", "mariadb"]) {
      const store = sql(`${scheme}://ada:${encodeURIComponent(SECRET)}@127.0.0.1:${port}/app`, ONCE)
      const failure = await failureOf(store.listVersions(ALIAS))
      assert.match(failure.message, /^Cannot read the key versions: it cannot be reached \(ECONNREFUSED\)$/)
      assert.ok(failure.retryable)
      assertSecret(failure)
      await store.close?.()
    }
  })

  it("gives up a server that takes a connection and says nothing", async () => {
    const sockets: { destroy(): void }[] = []
    const listener = createServer((socket) => void sockets.push(socket))
    const port = await new Promise<number>((resolve) =>
      listener.listen(0, "127.0.0.1", () => resolve((listener.address() as { port: number }).port)),
    )
    for (const scheme of ["postgres", "mysql"]) {
      const store = sql(`${scheme}://ada:${encodeURIComponent(SECRET)}@127.0.0.1:${port}/app`, {
        ...ONCE,
        requestTimeoutMs: 300,
      })
      const failure = await failureOf(within(5_000, () => store.listVersions(ALIAS)))
      assert.ok(failure.retryable)
      assertSecret(failure)
      await within(5_000, async () => await store.close?.())
    }
    for (const each of sockets) each.destroy()
    await new Promise((resolve) => listener.close(resolve))
  })

  it("names the SQLSTATE when the server refuses the user, and is not asked again", POSTGRES.options, async () => {
    const server = await POSTGRES.start()
    const url = (await server.fresh()).replace("postgres@", `nobody:${encodeURIComponent(SECRET)}@`)
    const store = sql(url)
    const failure = await failureOf(store.listVersions(ALIAS))
    assert.match(failure.message, /SQLSTATE 28000/)
    assert.equal(failure.retryable, false)
    assertSecret(failure)
    await store.close?.()
    await server.close()
  })

  it("names the code when MariaDB refuses the user or has no such database", MARIADB.options, async () => {
    const server = await MARIADB.start()
    const url = await server.fresh()
    for (const [changed, code] of [
      [url.replace("root@", `nobody:${encodeURIComponent(SECRET)}@`), 1045],
      [`${url}_absent`, 1049],
    ] as const) {
      const store = sql(changed)
      const failure = await failureOf(store.listVersions(ALIAS))
      assert.match(failure.message, new RegExp(`answered ${code} \\(SQLSTATE `))
      assert.equal(failure.retryable, false)
      assertSecret(failure)
      await store.close?.()
    }
    await server.close()
  })
})
