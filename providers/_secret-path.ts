import type { SecretName } from "../core/contracts.ts"
import { InvalidInput } from "../core/errors.ts"

/** Secrets Manager's letters, which a file and Vault take, too. */
const SECRET_ALIAS = /^[A-Za-z0-9][A-Za-z0-9/_+=.@-]{0,199}$/

/** Where a secret lies; the pepper's is the Go library's. */
export function secretPath(alias: string, secret: SecretName): string {
  if (!SECRET_ALIAS.test(alias) || alias.includes("..")) {
    throw new InvalidInput(`Cannot use the secret alias "${alias}": it is not letters, digits and / _ + = . @ -`, {
      hint: "name the pepper apart from the key: withPepper(store, alias), ENCX_PEPPER_ALIAS, --pepper-alias",
    })
  }
  return `encx/${alias}/${secret}`
}
