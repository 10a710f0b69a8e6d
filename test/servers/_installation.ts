/** Where the servers are installed, and what a test says that needs them. */
import { createHash } from "node:crypto"
import { existsSync, globSync, readFileSync } from "node:fs"
import { homedir, userInfo } from "node:os"
import { delimiter, isAbsolute, join, sep } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { skipIf } from "../vectors.ts"

/** The servers that pip installs; each has a file of pins here. */
export const PIP_SERVERS = ["moto", "ministack"] as const
export type PipServer = (typeof PIP_SERVERS)[number]

/** The servers that Go builds; each has a folder here, a Go module with the checksums of all that goes into it. */
export const GO_SERVERS = ["vault", "toxiproxy"] as const
export type GoServer = (typeof GO_SERVERS)[number]

/** The servers of the machine's own packages. */
export const PACKAGED_SERVERS = ["postgres", "mariadb"] as const
export type PackagedServer = (typeof PACKAGED_SERVERS)[number]

export type ServerName = PipServer | GoServer | PackagedServer
export const SERVERS: readonly ServerName[] = [...PIP_SERVERS, ...GO_SERVERS, ...PACKAGED_SERVERS]

/** What Go builds for a server: the program's path in its folder, and the package that it is. */
interface GoBuild {
  readonly tags?: string
  readonly programs: Readonly<Record<string, string>>
}

const KUBERNETES = "vault-plugin-auth-kubernetes"

export const GO_BUILDS: Readonly<Record<GoServer, GoBuild>> = {
  vault: {
    // Keeps approle, cert, jwt, userpass, kv, pki and transit.
    tags: "minimal",
    programs: {
      vault: ".",
      [`plugins/${KUBERNETES}`]: `github.com/hashicorp/${KUBERNETES}/cmd/${KUBERNETES}`,
    },
  },
  toxiproxy: { programs: { toxiproxy: "github.com/Shopify/toxiproxy/v2/cmd/server" } },
}

const isPip = (name: ServerName): name is PipServer => PIP_SERVERS.some((each) => each === name)
const isGo = (name: ServerName): name is GoServer => GO_SERVERS.some((each) => each === name)

// --- Where they are ---

/** A server's file of pins. */
export function pins(name: PipServer): string {
  return here(`${name}.txt`)
}

/** The folder of a server that Go builds. */
export function recipe(name: GoServer): string {
  return here(name)
}

/** Where a server is, or will be. The two of pip share a folder; the machine's packages are where they are. */
export function installation(name: Exclude<ServerName, PackagedServer> = "moto"): string {
  return isGo(name) ? goFolder(name) : pipFolder()
}

// Named for what is in it, so that other pins are another folder, and whole: it is put there by a rename.
function pipFolder(): string {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}\n`)
  for (const name of PIP_SERVERS) hash.update(readFileSync(pins(name)))
  return join(cacheFolder(), "encx", `servers-${hash.digest("hex").slice(0, 12)}`)
}

function goFolder(name: GoServer): string {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch} ${JSON.stringify(GO_BUILDS[name])}\n`)
  const files = globSync("**/*.{go,mod,sum}", { cwd: recipe(name) }).map((path) => path.split(sep).join("/"))
  for (const path of files.sort()) hash.update(`${path}\n`).update(readFileSync(join(recipe(name), path)))
  return join(cacheFolder(), "encx", `${name}-${hash.digest("hex").slice(0, 12)}`)
}

/** A server's Python, of which a moved folder keeps working; the scripts beside it hold the path that they were made at. */
export function python(name: PipServer, folder: string = installation(name)): string {
  return join(folder, name, process.platform === "win32" ? "Scripts/python.exe" : "bin/python")
}

/** A program that Go built. */
export function goProgram(name: GoServer, program: string = name, folder: string = installation(name)): string {
  return join(folder, process.platform === "win32" ? `${program}.exe` : program)
}

/** A program of the machine's packages: Debian keeps PostgreSQL's of each version in a folder of their own. */
export function systemProgram(program: string): string | undefined {
  const versions = globSync("/usr/lib/postgresql/*/bin")
  const newest = versions.sort((a, b) => a.localeCompare(b, "en", { numeric: true })).reverse()
  const path = (process.env.PATH ?? "").split(delimiter).filter((each) => isAbsolute(each))
  return [...newest, ...path, "/usr/sbin", "/usr/local/sbin"].map((each) => join(each, program)).find(existsSync)
}

// --- Whether they are there ---

/** Whether servers are there; a Python that has been removed since leaves a link to nothing. */
export function isInstalled(names: readonly ServerName[] = SERVERS): boolean {
  return names.every((name) => missing(name) === undefined)
}

/** What is missing of a server, or undefined. */
export function missing(name: ServerName): string | undefined {
  if (isPip(name)) return existsSync(python(name)) ? undefined : installation()
  if (isGo(name)) {
    const whole = Object.keys(GO_BUILDS[name].programs).every((program) => existsSync(goProgram(name, program)))
    return whole ? undefined : installation(name)
  }
  const program = name === "postgres" ? "initdb" : "mariadbd"
  return systemProgram(program) === undefined ? `${program} (${name})` : undefined
}

/** The options of a test that needs servers; where they are absent and required, starting one fails it. */
export function needsServer(...names: readonly ServerName[]): { skip: string | false } {
  const absent = (names.length > 0 ? names : SERVERS).map(missing).find((each) => each !== undefined)
  return skipIf(absent !== undefined, absentServer(absent ?? ""))
}

/** What is said where one is absent. */
export function absentServer(what: string): string {
  return `${what} is absent (npm run servers)`
}

function cacheFolder(): string {
  const { XDG_CACHE_HOME = "", HOME = "" } = process.env
  // «All paths set in these environment variables must be absolute. […] consider the path invalid and ignore it» (XDG 0.8)
  if (isAbsolute(XDG_CACHE_HOME)) return XDG_CACHE_HOME
  return join(HOME || homedir() || userInfo().homedir, ".cache")
}

function here(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url))
}
