import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { InvalidConfiguration } from "../../core/errors.ts"
import { awsKMS } from "../../providers/aws-kms.ts"
import { awsSecretsManager } from "../../providers/aws-secrets-manager.ts"
import { env } from "../../providers/env.ts"
import { local } from "../../providers/local.ts"
import { memory } from "../../providers/memory.ts"
import { openTelemetry } from "../../providers/opentelemetry.ts"
import { sql } from "../../providers/sql.ts"
import { vaultKV } from "../../providers/vault-kv.ts"
import { vaultTransit } from "../../providers/vault-transit.ts"

const auth = { method: "approle", roleID: "app", secretId: "misspelt" } as const

/** Each with one option that there is not. */
const OPENERS: Readonly<Record<string, (misspelt: object) => unknown>> = {
  awsKMS,
  awsSecretsManager,
  env,
  local: (misspelt) => local({ path: "/nowhere/keys.json", ...misspelt }),
  memory,
  openTelemetry,
  sql: (misspelt) => sql("sqlite:keys.db", misspelt),
  vaultKV,
  vaultTransit,
}

describe("an option that is misspelt", () => {
  for (const [name, open] of Object.entries(OPENERS))
    it(`is refused by ${name}(), which would leave it out unnoticed`, async () => {
      await assert.rejects(
        async () => await open({ allowInProductoin: true }),
        (error: unknown) => {
          assert.ok(error instanceof InvalidConfiguration, String(error))
          assert.match(error.message, /^Cannot use [^:]+: there is no option "allowInProductoin"$/)
          return true
        },
      )
    })

  it("is refused in a login to Vault, too", () => {
    for (const open of [vaultKV, vaultTransit])
      assert.throws(
        () => open({ auth }),
        /^InvalidConfiguration: Cannot use vault-\w+: the login has no option "secretId"$/,
      )
  })
})
