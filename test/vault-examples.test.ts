import assert from "node:assert/strict"
import { globSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { after, before, describe, it } from "node:test"
import { newCrypto, withBootstrap, withKEKAlias, withKMSService, withPepper } from "../mod.ts"
import { runProgram } from "./_programs.ts"
import { enableAuth, newAppRole, secretsOf, transitOf } from "./_vault.ts"
import { needsServer, startVault, type Vault } from "./servers/index.ts"

const folder = join(resolve(import.meta.dirname, ".."), "examples")

describe("examples for Vault", needsServer("vault"), () => {
  let vault: Vault
  before(async () => {
    vault = await startVault()
    await vault.request("POST", "transit/keys/app")
    const kms = transitOf(vault)
    const secrets = secretsOf(vault)
    const crypto = await newCrypto(
      withKMSService(kms),
      withKEKAlias("app"),
      withPepper(secrets, "app"),
      withBootstrap({ createPepper: true }),
    )
    await crypto.close()
    await kms.close()
    await secrets.close()
    await enableAuth(vault, "approle")
    const policy = 'path "secret/data/encx/app/*" { capabilities = ["read"] }'
    await vault.request("POST", "sys/policies/acl/reads-pepper", { policy })
  })
  after(() => vault?.close())

  it("are all run here", () => {
    assert.deepEqual(globSync("vault-*.ts", { cwd: folder }), ["vault-basic.ts"])
  })

  it("vault-basic.ts logs in by AppRole, seals and opens a record, and re-wraps an envelope", async () => {
    const { roleID, secretID } = await newAppRole(vault, { token_policies: ["uses-transit", "reads-pepper"] })
    const variables = {
      ...{ VAULT_ADDR: vault.url, VAULT_ROLE_ID: roleID, VAULT_SECRET_ID: secretID, VAULT_TOKEN: undefined },
      ...{ VAULT_NAMESPACE: undefined, VAULT_CACERT: undefined },
    }
    const ended = await runProgram(readFileSync(join(folder, "vault-basic.ts"), "utf8"), { variables })
    assert.equal(ended.code, 0, ended.stderr || ended.stdout)
    assert.equal(ended.stderr, "")
    assert.match(ended.stdout, /^Stored: id, email_encrypted, /m)
    assert.match(ended.stdout, /^Opened: Ada@Example\.org\nRenewed: a document$/m)
  })
})
