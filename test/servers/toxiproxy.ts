import { goProgram } from "./_installation.ts"
import { callJSON } from "./_json.ts"
import { startNative } from "./_native.ts"
import { type RunningServer, status } from "./_process.ts"

/** What toxiproxy does to the bytes of a connection: https://github.com/Shopify/toxiproxy#toxics */
export type Toxic =
  | { readonly type: "latency"; readonly latency: number; readonly jitter?: number }
  | { readonly type: "bandwidth"; readonly rate: number }
  | { readonly type: "slow_close"; readonly delay: number }
  | { readonly type: "timeout"; readonly timeout: number }
  | { readonly type: "reset_peer"; readonly timeout: number }
  | { readonly type: "slicer"; readonly average_size: number; readonly size_variation: number; readonly delay: number }
  | { readonly type: "limit_data"; readonly bytes: number }

/** Stands between a client and a server, of whatever protocol. */
export interface Proxy {
  /** Where it listens, on 127.0.0.1. */
  readonly port: number
  /** The server's URL with this port in place of its own. */
  readonly url: string
  /**
   * Does something to the bytes, from now on.
   *
   * @param stream whether to what the server answers, or to what the client sends
   * @returns a function that stops it
   */
  add(toxic: Toxic, stream?: "downstream" | "upstream"): Promise<() => Promise<void>>
  /** Ends every connection and takes no new one, until `restore()`. */
  cut(): Promise<void>
  restore(): Promise<void>
  /** Takes every toxic away, and restores it. */
  clear(): Promise<void>
}

/** A toxiproxy that runs. */
export interface Toxiproxy extends RunningServer {
  /** Opens a proxy to a server of 127.0.0.1, by its URL. */
  proxy(server: string): Promise<Proxy>
}

/** Starts toxiproxy, without any proxy. */
export async function startToxiproxy(): Promise<Toxiproxy> {
  const { port, pid, close } = await startNative("toxiproxy", async ({ port }) => ({
    command: goProgram("toxiproxy"),
    args: ["-host", "127.0.0.1", "-port", String(port)],
    signal: "KILL",
    ready: async (running) => {
      await running.until(async () => (await status(`http://127.0.0.1:${port}/version`)) === 200 || undefined)
    },
  }))
  const url = `http://127.0.0.1:${port}`
  let proxies = 0
  return { url, port, pid, close, proxy: (server) => openProxy(url, `proxy-${++proxies}`, server) }
}

async function openProxy(api: string, name: string, server: string): Promise<Proxy> {
  const target = new URL(server)
  const ask = async (path: string, method: string, body?: object): Promise<Record<string, unknown>> => {
    const { status: code, json } = await callJSON(`${api}${path}`, { method, ...(body ? { body } : {}) })
    if (code >= 300) throw new Error(`Cannot set the proxy ${name}: it answered ${code} ${JSON.stringify(json)}`)
    return json
  }
  const upstream = `${target.hostname}:${target.port}`
  const made = await ask("/proxies", "POST", { name, listen: "127.0.0.1:0", upstream, enabled: true })
  const port = Number(String(made["listen"]).split(":").at(-1))
  const toxics = `/proxies/${name}/toxics`
  // Updated with its port, or it would take another when it is restored.
  const enable = async (enabled: boolean): Promise<void> => {
    await ask(`/proxies/${name}`, "POST", { listen: `127.0.0.1:${port}`, upstream, enabled })
  }
  const names = new Set<string>()
  let added = 0
  const remove = async (toxic: string): Promise<void> => {
    if (names.delete(toxic)) await ask(`${toxics}/${toxic}`, "DELETE")
  }
  return {
    port,
    url: server.replace(`:${target.port}`, `:${port}`),
    add: async ({ type, ...attributes }, stream = "downstream") => {
      const toxic = `${type}-${++added}`
      await ask(toxics, "POST", { name: toxic, type, stream, toxicity: 1, attributes })
      names.add(toxic)
      return () => remove(toxic)
    },
    cut: () => enable(false),
    restore: () => enable(true),
    clear: async () => {
      for (const toxic of [...names]) await remove(toxic)
      await enable(true)
    },
  }
}
