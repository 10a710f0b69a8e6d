import type { Vault } from "./vault.ts"

/** Certificates of an authority that was made for them; PEM each. */
export interface VaultCertificates {
  readonly ca: string
  /** Of 127.0.0.1 and localhost. */
  readonly server: Certificate
  /** Of a client: `app`. */
  readonly client: Certificate
}

export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** An authority of another Vault makes them: no runtime can. */
export async function makeCertificates(vault: Vault): Promise<VaultCertificates> {
  const keys = { key_type: "ec", key_bits: 256 }
  await vault.request("POST", "sys/mounts/pki", { type: "pki", config: { max_lease_ttl: "87600h" } })
  const root = await vault.request("POST", "pki/root/generate/internal", {
    ...keys,
    common_name: "encx test",
    ttl: "87600h",
  })
  await vault.request("POST", "pki/roles/any", { ...keys, allow_any_name: true, enforce_hostnames: false, ttl: "72h" })
  const issue = async (body: object): Promise<Certificate> => {
    const { certificate, private_key } = data(await vault.request("POST", "pki/issue/any", body))
    return { cert: `${certificate}\n`, key: `${private_key}\n` }
  }
  return {
    ca: `${data(root).certificate}\n`,
    server: await issue({ common_name: "localhost", ip_sans: "127.0.0.1" }),
    client: await issue({ common_name: "app" }),
  }
}

function data(answer: Record<string, unknown>): { certificate: string; private_key: string } {
  return answer["data"] as { certificate: string; private_key: string }
}
