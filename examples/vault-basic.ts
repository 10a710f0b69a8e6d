// Seals and opens records with a key of Vault, and renews their wrapped keys. It needs VAULT_ADDR, an AppRole
// (VAULT_ROLE_ID, VAULT_SECRET_ID) or a token, the transit key «app» and a pepper:
//
//   vault write -f transit/keys/app
//   encx pepper init --kms "vaulttransit:///app" --secrets "vaultkv:///" --pepper-alias app
//
// docs/vault.md says how the rest is set up, and which policy this takes.
import { lowercase, newCrypto, plain, record, text, trim, withKEKAlias, withKMSService, withPepper } from "encx"
import { vaultKV } from "encx/vault-kv"
import { vaultTransit } from "encx/vault-transit"

// Both log in with their first call, renew their tokens while they are used, and revoke them when they are closed.
const kms = vaultTransit()
const secrets = vaultKV()
const crypto = await newCrypto(withKMSService(kms), withKEKAlias("app"), withPepper(secrets, "app"))

const users = record(
  "users",
  { row: "id" },
  {
    id: plain<number>(),
    email: text()
      .encrypt()
      .index({ normalize: [trim, lowercase] }),
    password: text().hashSecure(),
  },
)

const row = await crypto.sealRecord(users, { id: 7, email: "Ada@Example.org", password: "correct horse" })
console.log(`Stored: ${Object.keys(row).join(", ")}`)
console.log(`Opened: ${(await crypto.openRecord(users, row)).email}`)

// The key of one envelope, wrapped anew under the newest version: the data stays as it is.
const envelope = await crypto.seal(new TextEncoder().encode("a document"), { tenant: "acme" })
const renewed = await crypto.rewrap(envelope, { tenant: "acme" })
console.log(`Renewed: ${new TextDecoder().decode(await crypto.open(renewed, { tenant: "acme" }))}`)

await crypto.close()
await kms.close()
await secrets.close()
