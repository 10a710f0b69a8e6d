/** Who is measured, and how each is set up: as its own documentation has it, for the same work. */
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"

/** Their names, in the order of every table. */
export const NAMES = [
  "raw",
  "encx",
  "cloak",
  "aws-unsigned",
  "aws-signed",
  "age",
  "age-command",
  "openssl",
  "copy",
] as const
export type ContenderName = (typeof NAMES)[number]

/** One of them. */
export interface Listed {
  readonly title: string
  /** The file that does it. */
  readonly module: string
  /** How it is set up: told with the figures. */
  readonly setup: string
  /** Its package, of `bench/package.json`. */
  readonly package?: string
  /** The command that must be there, and how it tells its version: measured beside Node only. */
  readonly command?: readonly [name: string, version: string]
  /** It starts nothing but what the runtime brings. @default {false} */
  readonly onlyNode?: boolean
}

const LIST: Readonly<Record<ContenderName, Omit<Listed, "module">>> = {
  raw: {
    title: "raw AES-256-GCM",
    setup:
      "node:crypto: a KeyObject, nonces from a block of random bytes, one output a message; streams in pieces of 16 KiB, each with its own nonce and tag. On Deno, from 16 KiB on, WebCrypto, the faster one there; 32 calls in flight in a stream. Nothing derived, committed to or kept: the limit",
  },
  encx: {
    title: "encx",
    setup: "newCrypto() over a KMS in memory, the cache with its defaults, no metrics and no hooks",
  },
  cloak: {
    title: "@47ng/cloak",
    package: "@47ng/cloak",
    setup: "encryptStringSync() and decryptStringSync() with a key that is parsed once. Text only; no context, no KMS",
  },
  "aws-unsigned": {
    title: "AWS Encryption SDK, unsigned",
    package: "@aws-crypto/client-node",
    setup:
      "NodeCachingMaterialsManager with encx's limits over a raw AES keyring (no KMS is waited for); suite AES-256-GCM with HKDF-SHA-512 and key commitment; frames of 1 MiB, which are faster than its default of 4 KiB",
  },
  "aws-signed": {
    title: "AWS Encryption SDK, default",
    package: "@aws-crypto/client-node",
    setup: "the same with its default suite, which signs with ECDSA P-384 as well",
  },
  age: {
    title: "age-encryption",
    package: "age-encryption",
    setup: "one X25519 recipient; Web streams in memory and from file to file. Not made for many small messages",
  },
  "age-command": {
    title: "age (command)",
    command: ["age", "--version"],
    setup: "one X25519 recipient; the whole run of the command, and fsync after it",
  },
  openssl: {
    title: "openssl enc (AES-256-CTR)",
    command: ["openssl", "version"],
    setup: "it has no GCM: a bound that authenticates nothing. The whole run of the command, and fsync after it",
  },
  copy: {
    title: "copy and fsync",
    onlyNode: true,
    setup: "copyFile() and fsync: nothing is encrypted",
  },
}

/** All of them, by name. */
export const CONTENDERS: Readonly<Record<ContenderName, Listed>> = Object.fromEntries(
  Object.entries(LIST).map(([name, each]) => [
    name,
    { ...each, module: fileURLToPath(new URL(`./contenders/${name}.ts`, import.meta.url)) },
  ]),
) as Record<ContenderName, Listed>

/** The version of a contender, or that it is not there. */
export function versionOf({ package: packageName, command }: Listed): string | undefined {
  if (command) {
    const { status, stdout } = spawnSync(command[0], command.slice(1), { encoding: "utf8" })
    return status === 0 ? /\d+\.\d+[\w.]*/.exec(stdout)?.[0] : undefined
  }
  const manifest = packageName
    ? join(import.meta.dirname, "node_modules", packageName, "package.json")
    : join(import.meta.dirname, "..", "package.json")
  return existsSync(manifest) ? (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version : undefined
}

/**
 * Installs the packages of the contenders, unless they are there already, as the lock file beside them says.
 *
 * @throws {Error} when npm cannot
 */
export function installContenders(): void {
  const { dependencies } = JSON.parse(readFileSync(join(import.meta.dirname, "package.json"), "utf8")) as {
    dependencies: Record<string, string>
  }
  const missing = (): string[] =>
    Object.entries(dependencies)
      .filter(([name, version]) => versionOf({ title: name, module: "", setup: "", package: name }) !== version)
      .map(([name]) => name)
  if (missing().length === 0) return
  process.stderr.write("Installing the contenders\n")
  // stdout is for the results. A shell, because npm is a .cmd file on Windows.
  spawnSync("npm ci", { cwd: import.meta.dirname, stdio: ["ignore", 2, 2], shell: true })
  if (missing().length > 0) throw new Error(`Cannot install the contenders: npm left out ${missing().join(", ")}`)
}
