import { existsSync, readFileSync } from "node:fs"
import { systemProgram } from "./_installation.ts"
import { giveAway, runUnprivileged, startNative, unprivileged } from "./_native.ts"
import type { RunningServer } from "./_process.ts"

// What mariadb-install-db reads, less its time zones and help texts; and it would need the client's package.
const SYSTEM_TABLES = ["mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql"]
const SQL_FOLDERS = ["/usr/share/mysql", "/usr/share/mariadb", "/opt/homebrew/share/mysql", "/usr/local/share/mysql"]
// A statement is a line here. The first setting lets root in without a password.
const FIRST = [
  "create database mysql;",
  "use mysql;",
  "set @auth_root_socket = NULL;",
  "set @skip_auth_anonymous = 1;",
  "",
].join("\n")
const LAST = "\ncreate database test character set utf8mb4;\n"

const SETTINGS = [
  "--no-defaults",
  // Nothing here is to outlive the machine.
  "--innodb-flush-method=nosync",
  "--innodb-log-file-size=8M",
  "--innodb-buffer-pool-size=32M",
  "--max-connections=300",
  "--character-set-server=utf8mb4",
]

/**
 * Starts MariaDB with an empty database `test`, of a user `root` without a password.
 *
 * @returns its `url` is `mysql://root@127.0.0.1:PORT/test`
 */
export async function startMariaDB(): Promise<RunningServer> {
  const { port, pid, close } = await startNative("mariadb", async ({ tmp, port }) => {
    const mariadbd = systemProgram("mariadbd") ?? ""
    const data = `${tmp}/data`
    giveAway(tmp)
    await runUnprivileged("mkdir", [data], tmp)
    await runUnprivileged(
      mariadbd,
      [...SETTINGS, "--bootstrap", `--datadir=${data}`, "--enforce-storage-engine=", "--max-allowed-packet=8M"],
      tmp,
      FIRST + systemTables() + LAST,
    )
    const [command, args] = unprivileged(mariadbd, [
      ...SETTINGS,
      ...[`--datadir=${data}`, `--port=${port}`, "--bind-address=127.0.0.1", "--skip-name-resolve"],
      ...[`--socket=${tmp}/socket`, `--pid-file=${tmp}/pid`],
    ])
    return {
      command,
      args,
      signal: "KILL",
      ready: async (running) => {
        await running.until(() => running.log().includes("ready for connections") || undefined)
      },
    }
  })
  return { url: `mysql://root@127.0.0.1:${port}/test`, port, pid, close }
}

function systemTables(): string {
  const folder = SQL_FOLDERS.find((each) => existsSync(`${each}/${SYSTEM_TABLES[0]}`))
  if (folder === undefined) throw new Error(`Cannot start mariadb: none of ${SQL_FOLDERS.join(", ")} has its tables`)
  return SYSTEM_TABLES.map((name) => readFileSync(`${folder}/${name}`, "utf8")).join("\n")
}
