import { startServer } from "./_pip.ts"
import type { Server } from "./_process.ts"

/** How ministack is started. */
export interface MinistackOptions {
  /**
   * Whether it checks signatures and policies; `test`/`test` is then the account's root.
   *
   * @default {false}
   */
  readonly auth?: boolean
}

/** Starts ministack: every region, account 000000000000. */
export function startMinistack({ auth = false }: MinistackOptions = {}): Promise<Server> {
  return startServer({
    name: "ministack",
    module: "ministack",
    env: {
      BIND_HOST: "127.0.0.1",
      GATEWAY_PORT: "0",
      AUTH: String(auth),
      // It would listen on two ports more, and remove containers of the machine's Docker that it takes for its own.
      IOT_MTLS_ENABLED: "0",
      SFTP_ENABLED: "0",
      DOCKER_HOST: "unix:///nonexistent",
    },
    ready: "/_ministack/health",
    reset: "/_ministack/reset",
  })
}
