import { createHash } from "node:crypto"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { makeCertificates, type VaultCertificates } from "./_certificates.ts"
import { goProgram } from "./_installation.ts"
import { callJSON, type JSONAnswer } from "./_json.ts"
import { startNative } from "./_native.ts"
import type { RunningServer } from "./_process.ts"

/** How Vault is started. */
export interface VaultOptions {
  /**
   * Whether it speaks HTTPS, with a certificate of an authority of its own; or also wants a certificate of its
   * clients, without which it ends the connection.
   *
   * @default {false}
   */
  readonly tls?: boolean | "client-certificates"
  /**
   * Whether it has the auth method `kubernetes`, which is a plugin here.
   *
   * @default {false}
   */
  readonly kubernetes?: boolean
}

/** A Vault that runs, initialized and unsealed: `transit/`, and as `vault server -dev` has it, KV version 2 at `secret/`. */
export interface Vault extends RunningServer {
  /** The root token. */
  readonly token: string
  /** With HTTPS. */
  readonly certificates: VaultCertificates | undefined
  /** Where `ca.pem`, `client.pem` and `client-key.pem` are, with HTTPS. */
  readonly folder: string
  /**
   * Calls its API as root: `request("POST", "sys/policies/acl/app", { policy })`.
   *
   * @throws {Error} unless it answers 2xx
   */
  request(method: string, path: string, body?: object): Promise<Record<string, unknown>>
  /** Calls its API as root, or as the headers say, and gives the answer whatever it is. */
  ask(method: string, path: string, body?: object, headers?: Readonly<Record<string, string>>): Promise<JSONAnswer>
  seal(): Promise<void>
  unseal(): Promise<void>
}

/** Two nodes of one Vault on raft. */
export interface VaultCluster {
  readonly leader: Vault
  /** Forwards to the leader; with `X-Vault-No-Request-Forwarding` it redirects there. */
  readonly standby: Vault
  close(): Promise<void>
}

interface NodeOptions {
  readonly certificates?: VaultCertificates | undefined
  /** Whether it wants certificates of its clients. */
  readonly clients?: boolean
  readonly raft?: boolean
  /** Whether it has processes of its own to end. */
  readonly plugins?: boolean
}

interface Node extends RunningServer {
  readonly folder: string
  readonly certificates: VaultCertificates | undefined
}

const LIMIT_MS = 30_000
const POLL_MS = 20

/** Starts one. */
export async function startVault({ tls = false, kubernetes = false }: VaultOptions = {}): Promise<Vault> {
  const certificates = tls === false ? undefined : await certificatesOfAnother()
  const node = await startNode({ certificates, clients: tls === "client-certificates", plugins: kubernetes })
  return await orClose(node, async () => {
    const vault = await initialize(node)
    if (kubernetes) await registerKubernetes(vault)
    return vault
  })
}

/** Starts two. */
export async function startVaultCluster(): Promise<VaultCluster> {
  const first = await startNode({ raft: true })
  return await orClose(first, async () => {
    const { key, token } = await unsealFirst(first)
    const leader = asVault(first, token, key)
    await mountEngines(leader)
    const second = await startNode({ raft: true })
    return await orClose(second, async () => {
      const standby = asVault(second, token, key)
      await standby.request("POST", "sys/storage/raft/join", { leader_api_addr: first.url })
      await standby.unseal()
      await until(async () => (await standby.ask("GET", "sys/health")).status === 429, "the second node is no standby")
      const close = async (): Promise<void> => {
        await Promise.all([first.close(), second.close()])
      }
      return { leader, standby, close }
    })
  })
}

// --- A node ---

async function startNode({ certificates, clients, raft, plugins }: NodeOptions): Promise<Node> {
  const { port, pid, ready, close } = await startNative(
    "vault",
    async ({ tmp, port }) => {
      const scheme = certificates ? "https" : "http"
      if (raft) mkdirSync(join(tmp, "raft"))
      if (certificates) writeCertificates(tmp, certificates)
      const settings = {
        storage: raft ? { raft: { path: join(tmp, "raft"), performance_multiplier: 1 } } : { inmem: {} },
        listener: {
          tcp: {
            address: `127.0.0.1:${port}`,
            cluster_address: `127.0.0.1:${port + 1}`,
            ...(certificates ? listenerFiles(tmp, clients) : { tls_disable: true }),
          },
        },
        api_addr: `${scheme}://127.0.0.1:${port}`,
        cluster_addr: `https://127.0.0.1:${port + 1}`,
        plugin_directory: dirname(kubernetesPlugin()),
        disable_mlock: true,
      }
      writeFileSync(join(tmp, "vault.json"), JSON.stringify(settings))
      return {
        command: goProgram("vault"),
        args: ["server", `-config=${join(tmp, "vault.json")}`],
        signal: plugins ? "TERM" : "KILL",
        ready: async (running) => {
          await running.until(() => running.log().includes("Vault server started!") || undefined)
          return { url: `${scheme}://127.0.0.1:${port}`, folder: tmp }
        },
      }
    },
    { ports: 2 },
  )
  return { ...ready, port, pid, certificates, close }
}

function listenerFiles(folder: string, clients = false): object {
  const path = (name: string): string => join(folder, name)
  const server = { tls_cert_file: path("server.pem"), tls_key_file: path("server-key.pem") }
  return clients
    ? { ...server, tls_client_ca_file: path("ca.pem"), tls_require_and_verify_client_cert: true }
    : { ...server, tls_disable_client_certs: true }
}

function writeCertificates(folder: string, { ca, server, client }: VaultCertificates): void {
  const files = { ca, server: server.cert, "server-key": server.key, client: client.cert, "client-key": client.key }
  for (const [name, pem] of Object.entries(files)) writeFileSync(join(folder, `${name}.pem`), pem, { mode: 0o600 })
}

async function certificatesOfAnother(): Promise<VaultCertificates> {
  const other = await startVault()
  try {
    return await makeCertificates(other)
  } finally {
    await other.close()
  }
}

// --- Its first use ---

async function initialize(node: Node): Promise<Vault> {
  const { key, token } = await unsealFirst(node)
  const vault = asVault(node, token, key)
  await mountEngines(vault)
  return vault
}

async function unsealFirst(node: Node): Promise<{ key: string; token: string }> {
  const uninitialized = asVault(node, "", "")
  const made = await uninitialized.request("PUT", "sys/init", { secret_shares: 1, secret_threshold: 1 })
  const [key = ""] = made["keys_base64"] as string[]
  const token = String(made["root_token"])
  await asVault(node, token, key).unseal()
  await until(async () => (await uninitialized.ask("GET", "sys/health")).status === 200, "it does not become active")
  return { key, token }
}

async function mountEngines(vault: Vault): Promise<void> {
  await vault.request("POST", "sys/mounts/transit", { type: "transit" })
  await vault.request("POST", "sys/mounts/secret", { type: "kv", options: { version: "2" } })
  // It turns the mount into one of version 2 behind the answer's back.
  await until(async () => (await vault.ask("GET", "secret/config")).status === 200, "secret/ does not become ready")
}

/** Under the name that it has where it is built in. */
async function registerKubernetes(vault: Vault): Promise<void> {
  const path = kubernetesPlugin()
  const sha256 = createHash("sha256").update(readFileSync(path)).digest("hex")
  const command = "vault-plugin-auth-kubernetes"
  await vault.request("PUT", "sys/plugins/catalog/auth/kubernetes", { sha256, command })
}

function kubernetesPlugin(): string {
  return goProgram("vault", "plugins/vault-plugin-auth-kubernetes")
}

function asVault(node: Node, token: string, key: string): Vault {
  const { ca, client } = node.certificates ?? {}
  const ask: Vault["ask"] = (method, path, body, headers) =>
    callJSON(`${node.url}/v1/${path}`, {
      method,
      headers: headers ?? (token === "" ? {} : { "x-vault-token": token }),
      ...(body ? { body } : {}),
      ...(ca ? { ca } : {}),
      ...client,
    })
  const request: Vault["request"] = async (method, path, body) => {
    const { status, json } = await ask(method, path, body)
    if (status >= 300) throw new Error(`Vault answers ${status} to ${method} ${path}: ${JSON.stringify(json)}`)
    return json
  }
  return {
    ...node,
    token,
    ask,
    request,
    seal: async () => {
      await request("PUT", "sys/seal")
    },
    unseal: async () => {
      await request("PUT", "sys/unseal", { key })
      await until(async () => (await ask("GET", "sys/health")).status !== 503, "it stays sealed")
    },
  }
}

async function until(holds: () => Promise<boolean>, otherwise: string): Promise<void> {
  for (const start = performance.now(); !(await holds()); await sleep(POLL_MS)) {
    if (performance.now() - start > LIMIT_MS) throw new Error(`Cannot start vault: ${otherwise}`)
  }
}

async function orClose<Result>(server: RunningServer, use: () => Promise<Result>): Promise<Result> {
  try {
    return await use()
  } catch (error) {
    await server.close()
    throw error
  }
}
