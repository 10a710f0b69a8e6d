// What a database's URL may say, beside where the database is: what its driver heeds, and no word that would be without effect.
import assert from "node:assert/strict"
import { join, resolve } from "node:path"
import { describe, it, mock } from "node:test"
import { inspect } from "node:util"
import { createPool } from "mysql2"
import pg from "pg"
import { InvalidConfiguration } from "../../core/errors.ts"
import { MYSQL2_PARAMETERS, PG_PARAMETERS } from "../../providers/_sql-parameters.ts"
import { sql } from "../../providers/sql.ts"

const SECRET = "hunter2"
const POSTGRES = `postgres://ada:${SECRET}@127.0.0.1:1/app`
const MYSQL = `mysql://ada:${SECRET}@127.0.0.1:1/app`

/** What is said of a URL, which quotes none of its secrets. */
function refusal(url: string, ...secrets: readonly string[]): string {
  let said = ""
  assert.throws(
    () => sql(url),
    (error: unknown) => {
      assert.ok(error instanceof InvalidConfiguration, String(error))
      const seen = `${inspect(error, { depth: 10, showHidden: true })}${JSON.stringify(error)}`
      for (const secret of [SECRET, ...secrets]) assert.ok(!seen.includes(secret), `it shows ${secret}: ${seen}`)
      said = `${error.message.replace(/^Cannot use the database's URL: /, "")}; ${error.hint}`
      return true
    },
    url,
  )
  return said
}

describe("a database's URL", () => {
  it("is taken with what its driver heeds", async () => {
    for (const url of [
      `${POSTGRES}?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&application_name=encx`,
      `${POSTGRES}?sslmode=disable`,
      `${POSTGRES}?uselibpqcompat=true&sslmode=require`,
      `${POSTGRES}?ssl=true`,
      `${POSTGRES.replace("postgres:", "postgresql:")}?host=%2Frun%2Fpostgresql`,
      `${MYSQL}?ssl=${encodeURIComponent('{"verifyIdentity":true,"minVersion":"TLSv1.2"}')}&charset=utf8mb4`,
      `${MYSQL.replace("mysql:", "mariadb:")}?ssl={"rejectUnauthorized":true}`,
    ])
      await sql(url).close?.()
  })

  it("is refused where TLS would be left out for a word that is misspelt", () => {
    for (const [parameters, said] of [
      ["sslmode=verify-ful", /^its parameter "sslmode" has a value that pg .*; did you mean "verify-full"\?$/],
      ["sslmode=VERIFY-FULL", /did you mean "verify-full"\?$/],
      ["sslmode=allow", /; known are disable, prefer, require, verify-ca, verify-full, no-verify$/],
      ["sslmode=", /^its parameter "sslmode" is empty; /],
      ["ssl=false", /; known are true, 1, 0, no-verify$/],
      ["uselibpqcompat=1&sslmode=require", /^its parameter "uselibpqcompat" has a value/],
      ["sslmod=verify-full", /^its parameter 1 is none that pg heeds; did you mean "sslmode"\?$/],
      ["SSLMODE=verify-full", /did you mean "sslmode"\?$/],
      [
        "application_name=encx&ssl-mode=verify-full",
        /^its parameter 2 is none that pg heeds; did you mean "sslmode"\?$/,
      ],
      ["sslmode=verify-full&sslmode=disable", /^its parameter "sslmode" stands there twice; /],
      ["sslmode=verify-full#x", /^it has a fragment; /],
      ["tls=true", /; known are sslmode, /],
      ["constructor=x", /is none that pg heeds/],
    ] as const)
      assert.match(refusal(`${POSTGRES}?${parameters}`), said, parameters)
    for (const [parameters, said] of [
      ["sslmode=verify-full", /^its parameter 1 is none that mysql2 heeds; known are ssl, /],
      ["Ssl={}", /did you mean "ssl"\?$/],
      ["ssl=", /^its parameter "ssl" is empty; /],
      ['ssl={"verifyIdentiy":true}', /^its parameter "ssl" has a name .*; did you mean "verifyIdentity"\?$/],
      ['ssl={"rejectUnauthorized":true}&ssl=false', /^its parameter "ssl" stands there twice; /],
      ["connectionLimit=50", /is none that mysql2 heeds/],
    ] as const)
      assert.match(refusal(`${MYSQL}?${parameters}`), said, parameters)
  })

  it("is refused where a password goes on behind a question mark, and none of it is told", () => {
    for (const url of ["postgres://ada:12?rest-of-it@db/app", "mysql://ada:12?rest-of-it@db/app"])
      assert.match(refusal(url, "rest-of-it", "rest"), /is none that/)
    refusal(`${POSTGRES}?sslmode=${SECRET}&password=another-one`, "another-one")
    refusal(`${MYSQL}?password=another-one`, "another-one")
  })

  it("keeps a password that is a parameter out of what is told, though the driver's error bears it", async () => {
    const store = sql("postgres://ada@127.0.0.1:1/app?password=127.0.0.1", { attempts: 1, breaker: false })
    const failed = await store.listVersions("app").catch((error: unknown) => error)
    assert.match(String(failed), /it cannot be reached/)
    assert.doesNotMatch(inspect(failed, { depth: 10, showHidden: true }).replace(/\n +at .*/g, ""), /127\.0\.0\.1/)
    await store.close?.()
  })
})

describe("the parameters of a URL", () => {
  const file = encodeURIComponent(join(resolve(import.meta.dirname, "../.."), "package.json"))

  it("of PostgreSQL are those that pg heeds", () => {
    type Seen = { readonly connectionParameters: object }
    const seen = (query: string): string =>
      inspect(
        (new pg.Client({ connectionString: `postgres://db/app?${query}` }) as unknown as Seen).connectionParameters,
        {
          depth: 5,
          showHidden: true,
        },
      )
    // Some mean nothing without TLS, or without one another.
    const beside = { sslmode: "", ssl: "", uselibpqcompat: "sslmode=require" } as Record<string, string>
    for (const [name, values] of Object.entries(PG_PARAMETERS.names)) {
      const before = beside[name] ?? "ssl=true"
      for (const value of values ?? [/^ssl/.test(name) ? file : "7"]) {
        const isDefault = ["disable", "0", "postgres", "false"].includes(value)
        const heeded = seen(`${before}&${name}=${value}`) !== seen(before)
        assert.ok(heeded || isDefault, `${name}=${value}`)
      }
    }
  })

  it("of MySQL are those that mysql2 heeds", async () => {
    const values: Record<string, string> = { ssl: "{}", charset: "utf8mb4", connectAttributes: "{}", timezone: "Z" }
    const complaints = mock.method(console, "error", () => undefined)
    try {
      const complaintsOf = async (name: string): Promise<number> => {
        const before = complaints.mock.callCount()
        await createPool({ uri: `mysql://db/app?${name}=${values[name] ?? "1"}` })
          .promise()
          .end()
        return complaints.mock.callCount() - before
      }
      assert.equal(await complaintsOf("sslmode"), 1, "the driver says so where it heeds none of the name")
      for (const name of Object.keys(MYSQL2_PARAMETERS.names)) assert.equal(await complaintsOf(name), 0, name)
    } finally {
      complaints.mock.restore()
    }
  })
})
