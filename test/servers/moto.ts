import { startServer } from "./_pip.ts"
import type { Server } from "./_process.ts"

/** Starts moto: every region, account 123456789012, any credentials. */
export function startMoto(): Promise<Server> {
  return startServer({
    name: "moto",
    module: "moto.server",
    args: ["-H", "127.0.0.1", "-p", "0"],
    ready: "/moto-api/",
    reset: "/moto-api/reset",
  })
}
