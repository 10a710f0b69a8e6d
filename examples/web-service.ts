// A web service that keeps people in PostgreSQL. What it stores of them is sealed, e-mail addresses are found by a keyed index,
// passwords are hashed. Who may ask it for what is not shown here: put it behind your own log-in.
//
//   npm install encx kysely pg
//   export DATABASE_URL=postgres://localhost/app
//   export ENCX_KMS="local:///home/ada/.encx/keys.json" ENCX_KEK_ALIAS=app ENCX_PEPPER_ALIAS=app
//   encx keys create app                      # the key, the pepper and the index root, once
//   node web-service.ts                       # or deno run -A web-service.ts, or bun web-service.ts
//   node web-service.ts rotate                # a new version of the key, while the service runs
//
// In production the environment names another KMS, and nothing else changes: ENCX_KMS="awskms:///?region=eu-west-1" with
// ENCX_SECRETS="awssecretsmanager:///?region=eu-west-1", or Vault (docs/vault.md).
import { createServer, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import {
  EncryptionFailed,
  EncxError,
  InvalidInput,
  inMemoryMetrics,
  isRetryableError,
  lowercase,
  newCryptoFromEnv,
  plain,
  record,
  type StoredRow,
  text,
  trim,
  withDatabase,
  withMetricsCollector,
} from "encx"
import { Kysely, PostgresDialect, sql } from "kysely"
import { Pool } from "pg"

const people = record(
  "people",
  { row: "id" },
  {
    id: plain<string>(),
    email: text()
      .encrypt()
      .index({ normalize: [trim, lowercase] }),
    name: text().encrypt(),
    password: text().hashSecure(),
  },
)

const pool = new Pool({ connectionString: process.env.DATABASE_URL })
// A connection that breaks while nobody uses it is replaced; unheard, it would end the program.
pool.on("error", (error) => console.error(`PostgreSQL: ${error.message}`))
// One that breaks while it is used fails the statement, which says so.
pool.on("connect", (client) => client.on("error", () => {}))

// The table's columns are those of the schema, for TypeScript too.
const db = new Kysely<{ people: StoredRow<typeof people> }>({ dialect: new PostgresDialect({ pool }) })
await sql`
  CREATE TABLE IF NOT EXISTS people (
    id                   uuid PRIMARY KEY,
    email_encrypted      bytea NOT NULL,
    email_index          bytea NOT NULL UNIQUE,
    name_encrypted       bytea NOT NULL,
    password_hash_secure text NOT NULL,
    dek_encrypted        bytea NOT NULL,
    key_version          integer NOT NULL
  )`.execute(db)

const metrics = inMemoryMetrics()
// The versions of the key are in the same database, where every instance of the service finds them.
const crypto = await newCryptoFromEnv(withDatabase(db), withMetricsCollector(metrics))

// --- What it does ---

type Answer = [status: number, body?: unknown]
type Body = Readonly<Record<string, unknown>>

const routes: Readonly<Record<string, (body: Body, id: string) => Promise<Answer>>> = {
  "POST /people": async (body) => {
    const id = globalThis.crypto.randomUUID()
    const { email, name, password } = texts(body, "email", "name", "password")
    const row = await crypto.sealRecord(people, { id, email, name, password })
    const [added] = await db
      .insertInto("people")
      .values(row)
      .onConflict((conflict) => conflict.column("email_index").doNothing())
      .returning("id")
      .execute()
    return added ? [201, added] : [409, { error: "there is an account with this address" }]
  },

  "POST /login": async (body) => {
    const { email, password } = texts(body, "email", "password")
    const { email_index } = crypto.lookup(people, "email", email)
    const row = await db.selectFrom("people").selectAll().where("email_index", "=", email_index).executeTakeFirst()
    // An address that is unknown takes as long as a password that is wrong.
    if (!row) await crypto.hashSecure(password)
    if (!row || !(await crypto.compareRecordHash(people, row, "password", password)))
      return [401, { error: "the address or the password is wrong" }]
    // The pepper or the cost is another by now: this is when the password is at hand.
    if (crypto.needsRehash(row.password_hash_secure))
      await db
        .updateTable("people")
        .set(await crypto.updateRecord(people, row, { password }))
        .where("id", "=", row.id)
        .execute()
    return [200, { id: row.id }]
  },

  "GET /people/:id": async (_, id) => {
    const row = await find(id)
    return row ? [200, await crypto.openRecord(people, row)] : [404]
  },

  "PATCH /people/:id": async (body, id) => {
    const row = await find(id)
    if (!row) return [404]
    const columns = await crypto.updateRecord(people, row, texts(body, "name"))
    await db.updateTable("people").set(columns).where("id", "=", id).execute()
    return [204]
  },

  "GET /health": async () => {
    const health = await crypto.health()
    return [health.status === "unhealthy" ? 503 : 200, health]
  },

  "GET /metrics": async () => [200, metrics.snapshot()],
}

const find = (id: string) => db.selectFrom("people").selectAll().where("id", "=", id).executeTakeFirst()

// --- HTTP ---

class BadRequest extends Error {}

/** The fields of a request that must be there, as text. */
function texts<const Name extends string>(body: Body, ...names: readonly Name[]): Record<Name, string> {
  for (const name of names) if (typeof body[name] !== "string") throw new BadRequest(`"${name}" is missing`)
  return Object.fromEntries(names.map((name) => [name, body[name]])) as Record<Name, string>
}

async function bodyOf(request: IncomingMessage): Promise<Body> {
  let text = ""
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk
    if (text.length > 65_536) throw new BadRequest("the body is too long")
  }
  try {
    return text === "" ? {} : { ...JSON.parse(text) }
  } catch {
    throw new BadRequest("the body is not JSON")
  }
}

async function answer(request: IncomingMessage): Promise<Answer> {
  // What a client sends may be no URL at all: "//", for one.
  const pathname = URL.parse(request.url ?? "/", "http://service")?.pathname ?? ""
  const [, id] = /^\/people\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(pathname) ?? []
  const route = routes[`${request.method} ${id ? "/people/:id" : pathname}`]
  if (!route) return [404]
  try {
    return await route(await bodyOf(request), id ?? "")
  } catch (error) {
    if (error instanceof BadRequest) return [400, { error: error.message }]
    if (error instanceof InvalidInput || error instanceof EncryptionFailed)
      return [400, { error: "a value cannot be used" }]
    // A caller is told no more than whether to come again.
    console.error(error instanceof EncxError ? `${error.code}: ${error.message}` : error)
    return isRetryableError(error) ? [503, { error: "try again later" }] : [500]
  }
}

function serve(): void {
  const server = createServer(async (request, response) => {
    const [status, body] = await answer(request)
    // A client that keeps its connection would keep a service that is to end.
    if (!server.listening) response.setHeader("connection", "close")
    if (status === 503) response.setHeader("retry-after", "5")
    response.writeHead(status, { "content-type": "application/json" })
    response.end(body === undefined ? undefined : JSON.stringify(body))
  })
  server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? "127.0.0.1", () => {
    const { address, port } = server.address() as AddressInfo
    console.log(`Listening on http://${address}:${port}`)
  })
  // What has begun is answered; then the keys are forgotten and the connections closed.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => server.close(() => void close()))
}

// --- Rotation ---

/**
 * Makes a new version of the key and wraps every row's data key anew. The service goes on meanwhile: it opens what either version
 * wrapped, and wraps under the new one within ten minutes. Run it with `rewrap` after that, for the rows of those minutes.
 */
async function rotate(): Promise<void> {
  await crypto.rotateKEK()
  await rewrap()
}

async function rewrap(): Promise<void> {
  const version = await crypto.getCurrentKEKVersion()
  let rewrapped = 0
  for (let after = "00000000-0000-0000-0000-000000000000"; ; ) {
    const rows = await db
      .selectFrom("people")
      .selectAll()
      .where("key_version", "!=", version)
      .where("id", ">", after)
      .orderBy("id")
      .limit(500)
      .execute()
    const last = rows.at(-1)
    if (!last) break
    const keys = await crypto.rewrapRecords(people, rows)
    await db.transaction().execute(async (transaction) => {
      for (const [i, { id, dek_encrypted }] of rows.entries()) {
        // A row that somebody else wrapped meanwhile keeps what they gave it.
        const isAsRead = transaction
          .updateTable("people")
          .where("id", "=", id)
          .where("dek_encrypted", "=", dek_encrypted)
        await isAsRead.set(keys[i] ?? {}).execute()
      }
    })
    rewrapped += rows.length
    after = last.id
  }
  console.log(`Version ${version}: ${rewrapped} rows wrapped anew`)
}

// --- Start ---

async function close(): Promise<void> {
  await crypto.close()
  await db.destroy()
}

const command = { serve, rotate, rewrap }[process.argv[2] ?? "serve"]
if (!command) throw new Error("Cannot run: the commands are serve, rotate and rewrap")
await command()
if (command !== serve) await close()
