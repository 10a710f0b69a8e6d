import assert from "node:assert/strict"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import type { Check } from "../../cli/_checkup.ts"
import { newToken } from "../_vault.ts"
import { needsServer, startVault, type Vault } from "../servers/index.ts"
import { Home, type Ran } from "./_encx.ts"

const reportOf = ({ stdout }: Ran): { ok: boolean; checks: Check[] } => JSON.parse(stdout)

describe("the command on Vault", needsServer("vault"), () => {
  let vault: Vault
  let home: Home
  let printed = ""
  const saved = { VAULT_ADDR: process.env["VAULT_ADDR"], VAULT_TOKEN: process.env["VAULT_TOKEN"] }
  const encx = async (...argv: string[]): Promise<Ran> => {
    const ran = await home.encx(argv, { env: { ENCX_KMS: "vaulttransit:///app", ENCX_SECRETS: "vaultkv" } })
    printed += ran.stdout + ran.stderr
    return ran
  }
  const ok = async (...argv: string[]): Promise<string> => {
    const { code, stdout, stderr } = await encx(...argv)
    assert.equal(code, 0, stderr)
    return stdout
  }

  before(async () => {
    vault = await startVault()
    home = new Home()
    Object.assign(process.env, { VAULT_ADDR: vault.url, VAULT_TOKEN: vault.token })
  })
  after(async () => {
    for (const [name, value] of Object.entries(saved)) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
    home?.remove()
    await vault?.close()
  })

  it("makes a key and its secrets, seals, rotates, and opens what the version before sealed", async () => {
    const before = reportOf(await encx("doctor", "--json"))
    assert.ok(
      !before.ok && before.checks.some(({ check, hint }) => check === "key" && /encx keys create/.test(hint ?? "")),
    )
    assert.match(await ok("keys", "create"), /^Created key, pepper, index root under "app"/)
    home.write("plain.txt", "correct horse")
    await ok("seal", home.path("plain.txt"), "-o", home.path("sealed"))
    assert.match(await ok("keys", "rotate"), /^Rotated "app" to version 2/)
    assert.match(await ok("keys", "list"), /default\/transit\/app/)
    await ok("open", home.path("sealed"), "-o", home.path("opened.txt"))
    assert.equal(new TextDecoder().decode(home.read("opened.txt")), "correct horse")
    assert.match(await ok("inspect", home.path("sealed")), /vault-transit +default\/transit\/app +1 /)
    assert.match(await ok("pepper", "rotate"), /secret\/data\/encx\/app\/pepper" to version 2/)
    assert.match(await ok("pepper", "status"), /current/)
    const { ok: well, checks } = reportOf(await encx("doctor", "--json"))
    assert.ok(well, JSON.stringify(checks.filter((each) => !each.ok)))
    for (const check of ["server", "token", "key type", "rotation", "update transit/encrypt/app", "engine", "versions"])
      assert.ok(
        checks.some((each) => each.check === check),
        check,
      )
    assert.equal((await encx("keys", "create")).code, 1)
    assert.ok(!printed.includes(vault.token))
  })

  it("doctor names the path that a policy lacks", async () => {
    const token = await newToken(vault, { "transit/keys/app": ["read"], "secret/data/encx/*": ["read"] })
    process.env["VAULT_TOKEN"] = token
    const { checks } = reportOf(await encx("doctor", "--json"))
    process.env["VAULT_TOKEN"] = vault.token
    const hints = checks.filter((each) => !each.ok).map(({ hint }) => hint)
    assert.ok(hints.includes('add to the token\'s policy: path "transit/encrypt/app" { capabilities = ["update"] }'))
    assert.ok(!printed.includes(token))
  })
})
