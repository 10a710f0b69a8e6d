import type { ServerName } from "./_installation.ts"
import type { RunningServer } from "./_process.ts"
import { startMariaDB } from "./mariadb.ts"
import { startMinistack } from "./ministack.ts"
import { startMoto } from "./moto.ts"
import { startPostgres } from "./postgres.ts"
import { startToxiproxy } from "./toxiproxy.ts"
import { startVault } from "./vault.ts"

/** How each server is started that runs as a process. */
export const START: Readonly<Record<ServerName, () => Promise<RunningServer>>> = {
  moto: startMoto,
  ministack: startMinistack,
  vault: startVault,
  toxiproxy: startToxiproxy,
  postgres: startPostgres,
  mariadb: startMariaDB,
}
