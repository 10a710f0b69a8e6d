import { systemProgram } from "./_installation.ts"
import { giveAway, runUnprivileged, startNative, unprivileged } from "./_native.ts"
import type { RunningServer } from "./_process.ts"

const SETTINGS = {
  listen_addresses: "127.0.0.1",
  // Nothing here is to outlive the machine.
  fsync: "off",
  // Else a part of it would be outside its folder, and stay there when it ends by force.
  dynamic_shared_memory_type: "mmap",
  max_connections: "300",
} as const

/**
 * Starts PostgreSQL with an empty database `postgres`, of a user `postgres` without a password.
 *
 * @returns its `url` is `postgres://postgres@127.0.0.1:PORT/postgres`
 */
export async function startPostgres(): Promise<RunningServer> {
  const { port, pid, close } = await startNative("postgres", async ({ tmp, port }) => {
    const data = `${tmp}/data`
    giveAway(tmp)
    await runUnprivileged(
      systemProgram("initdb") ?? "",
      ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"],
      tmp,
    )
    const settings = Object.entries(SETTINGS).flatMap(([name, value]) => ["-c", `${name}=${value}`])
    const [command, args] = unprivileged(systemProgram("postgres") ?? "", [
      ...["-D", data, "-p", String(port), "-k", tmp],
      ...settings,
    ])
    return {
      command,
      args,
      signal: "QUIT",
      ready: async (running) => {
        await running.until(() => running.log().includes("ready to accept connections") || undefined)
      },
    }
  })
  return { url: `postgres://postgres@127.0.0.1:${port}/postgres`, port, pid, close }
}
