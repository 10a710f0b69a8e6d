import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { after, before, describe, it } from "node:test"
import { type RuntimeName, runtimePath } from "./runtimes/paths.ts"

const root = resolve(import.meta.dirname, "..")
const runtimes: readonly RuntimeName[] = ["node22.13", "node22", "node24", "node26", "deno", "bun"]

const PROGRAM = `
import { writeFileSync } from "node:fs"
import { newCrypto, plain, record, text, trim, withBootstrap, withKEKAlias, withKMSService, withPepper } from "encx"
import { awsKMS } from "encx/aws-kms"
import { awsSecretsManager } from "encx/aws-secrets-manager"
import { createRegistry } from "encx/registry"
import { local } from "encx/local"
import { env } from "encx/env"
import { memory } from "encx/memory"

const [folder] = process.argv.slice(2)
const keys = "local://" + folder + "/keys.json"
const crypto = await newCrypto(withKMSService(keys), withKEKAlias("app"), withPepper(keys, "app"), withBootstrap({ createKEK: true, createPepper: true }))
const users = record("users", { row: "id" }, { id: plain(), email: text().encrypt().index({ normalize: [trim] }), password: text().hashSecure() })
const row = await crypto.sealRecord(users, { id: 7, email: "ada@example.org", password: "correct horse" })
const user = await crypto.openRecord(users, row)
const found = crypto.lookup(users, "email", " ada@example.org")
const same = Buffer.compare(found.email_index, row.email_index) === 0
const verified = await crypto.compareRecordHash(users, row, "password", "correct horse")
const opened = await crypto.open(await crypto.seal(new TextEncoder().encode("secret"), { a: "b" }), { a: "b" })
writeFileSync(folder + "/plain", new Uint8Array(3 * 2 ** 20))
await crypto.sealFile(folder + "/plain", folder + "/sealed", {}, { workers: 2 })
const { bytesWritten } = await crypto.openFile(folder + "/sealed", folder + "/opened", {}, { workers: 2 })
await crypto.rotateKEK()
const version = await crypto.getCurrentKEKVersion()
await crypto.close()
const missing = await Promise.all(
  [awsKMS().getKeyID("app"), awsSecretsManager().getPepper("app")].map((call) => call.catch(({ code, message, hint }) => ({ code, message, hint }))),
)
console.log(JSON.stringify({ user, same, verified, opened: new TextDecoder().decode(opened), bytesWritten, version, providers: [local, env, memory].map((each) => typeof each), schemes: createRegistry().schemes, missing }))
`

const EXPECTED = {
  user: { id: 7, email: "ada@example.org" },
  same: true,
  verified: true,
  opened: "secret",
  bytesWritten: 3 * 2 ** 20,
  version: 2,
  providers: ["function", "function", "function"],
  schemes: [
    ...["arn", "aws-kms", "awskms", "awssecretsmanager", "env", "hashivault", "hcvault", "local", "memory", "openbao"],
    ...["vaultkv", "vaulttransit"],
  ],
  missing: [
    {
      code: "MISSING_DEPENDENCY",
      message: 'Cannot use aws-kms: the package "@aws-sdk/client-kms" is not installed',
      hint: "npm install @aws-sdk/client-kms @smithy/node-http-handler",
    },
    {
      code: "MISSING_DEPENDENCY",
      message: 'Cannot use aws-secrets-manager: the package "@aws-sdk/client-secrets-manager" is not installed',
      hint: "npm install @aws-sdk/client-secrets-manager @smithy/node-http-handler",
    },
  ],
}

const TYPES = `
import { type KeyManagementService, newCrypto, withKEKAlias, withKMSService } from "encx"
import { memory } from "encx/memory"
import { keyManagementServiceSuite, newTestCrypto } from "encx/testing"
const kms: KeyManagementService = memory()
const crypto = await newCrypto(withKMSService(kms), withKEKAlias("app"))
const envelope: Uint8Array = await crypto.seal(new Uint8Array(1))
// @ts-expect-error an envelope is bytes
const text: string = envelope
export { keyManagementServiceSuite, newTestCrypto, text }
`

// Packing and six runtimes are the same whoever starts them: once is enough.
const elsewhere =
  process.versions.deno ?? process.versions.bun ?? (process.versions.node.startsWith("24.") ? undefined : "")

describe("the packed tarball", { skip: elsewhere === undefined ? false : "it is packed and tried on Node 24" }, () => {
  let folder = ""
  const run = (command: string, args: string[], cwd: string, input = ""): string => {
    const { status, stdout, stderr, error } = spawnSync(command, args, {
      cwd,
      encoding: "utf8",
      input,
      timeout: 120_000,
    })
    assert.equal(status, 0, `${command} ${args.join(" ")}: ${error ?? ""}${stdout}${stderr}`)
    return stdout
  }

  before(() => {
    folder = mkdtempSync(join(tmpdir(), "encx-consumer-"))
    chmodSync(folder, 0o700)
    // Built in a copy, so that a build beside this one is not disturbed.
    const copy = join(folder, "copy")
    for (const entry of [
      "cli",
      "core",
      "docs",
      "providers",
      "test/kit",
      "test/suites",
      "tools",
      "mod.ts",
      "testing.ts",
      "package.json",
      "tsconfig.json",
      "tsconfig.build.json",
      "README.md",
      "LICENSE",
      "CHANGELOG.md",
    ]) {
      cpSync(join(root, entry), join(copy, entry), { recursive: true })
    }
    cpSync(join(root, "node_modules"), join(copy, "node_modules"), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !path.includes("node-linux") && !path.includes("node-win"),
    })
    run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"], copy)
    run(process.execPath, ["tools/build-cli.mjs"], copy)
    run("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder], copy)
    const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"))
    assert.ok(tarball)

    const consumer = join(folder, "consumer")
    mkdirSync(join(consumer, "node_modules/encx"), { recursive: true })
    run(
      "tar",
      ["-xzf", join(folder, tarball), "--strip-components=1", "-C", join(consumer, "node_modules/encx")],
      folder,
    )
    cpSync(join(root, "node_modules/hash-wasm"), join(consumer, "node_modules/hash-wasm"), { recursive: true })
    writeFileSync(join(consumer, "package.json"), JSON.stringify({ type: "module", dependencies: { encx: "*" } }))
    writeFileSync(join(consumer, "deno.json"), JSON.stringify({ nodeModulesDir: "manual" }))
    writeFileSync(join(consumer, "main.mjs"), PROGRAM)
    writeFileSync(join(consumer, "types.ts"), TYPES)
  })

  after(() => rmSync(folder, { recursive: true, force: true }))

  for (const name of runtimes) {
    const path = runtimePath(name)
    const skip = path === undefined && "not installed here: npm run test:matrix installs it"
    it(`works in a project on ${name}`, { skip }, () => {
      const consumer = join(folder, "consumer")
      const keys = mkdtempSync(join(folder, "keys-"))
      const args = [...(name === "deno" ? ["run", "-A"] : []), "main.mjs", keys]
      assert.deepEqual(JSON.parse(run(path as string, args, consumer)), EXPECTED)
    })

    it(`brings a command that works on ${name}`, { skip }, () => {
      const keys = mkdtempSync(join(folder, "command-"))
      const command = join(folder, "consumer/node_modules/encx/dist/cli/main.js")
      const encx = (...args: string[]): string =>
        run(
          path as string,
          [...(name === "deno" ? ["run", "-A"] : []), command, ...args, "--kms", `local://${keys}/keys.json`],
          keys,
        )
      encx("keys", "create")
      writeFileSync(join(keys, "note.txt"), "secret")
      encx("seal", "note.txt")
      encx("open", "note.txt.encx", "-o", "opened.txt")
      assert.equal(statSync(join(keys, "opened.txt")).size, 6)
    })
  }

  it("has types that a TypeScript project compiles against", () => {
    const consumer = join(folder, "consumer")
    const tsc = join(root, "node_modules/typescript/bin/tsc")
    run(
      process.execPath,
      [
        tsc,
        "--noEmit",
        "--strict",
        "--module",
        "nodenext",
        "--target",
        "es2024",
        "--skipLibCheck",
        "false",
        "--types",
        "",
        "types.ts",
      ],
      consumer,
    )
  })

  it("holds what is used and nothing else", () => {
    const packed = join(folder, "consumer/node_modules/encx")
    const names = readdirSync(packed, { recursive: true }).map(String)
    assert.ok(!names.some((name) => /\.test\.|node_modules|(^|\/)(tools|examples|bench|vectors)\//.test(name)))
    assert.ok(
      !names.some((name) => name.endsWith(".ts") && !name.endsWith(".d.ts")),
      "no source that a runtime would refuse to strip",
    )
    assert.ok(names.some((name) => name.endsWith("THIRD-PARTY-NOTICES")))
  })
})
