import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { once } from "node:events"
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { dirname, join, resolve } from "node:path"
import process from "node:process"
import { after, before, describe, it } from "node:test"
import { AccessDenied } from "../core/errors.ts"
import { newCrypto, withBootstrap, withKEKAlias, withKMSService, withPepper } from "../mod.ts"
import { vaultKV } from "../providers/vault-kv.ts"
import { type VaultTransitOptions, vaultTransit } from "../providers/vault-transit.ts"
import { anchorsOf, type Block, blocksOf, sectionOf, tableOf } from "./_markdown.ts"
import { runProgram, withFolder } from "./_programs.ts"
import { runCommand } from "./_script.ts"
import { newAppRole, newKey, ONCE, transitOf } from "./_vault.ts"
import { goProgram } from "./servers/_installation.ts"
import { needsServer, startVault, type Vault } from "./servers/index.ts"

const root = resolve(import.meta.dirname, "..")
const guide = readFileSync(join(root, "docs/vault.md"), "utf8")
const blocks = blocksOf(guide)
const written = (...languages: string[]): Block[] => blocks.filter(({ language }) => languages.includes(language))

// What a page says is the same on every runtime; that the library works on each is for the suites and the examples.
const elsewhere = process.versions["deno"] ?? process.versions["bun"]
const here = (options: { skip: string | false }): { skip: string | false } =>
  elsewhere === undefined ? options : { skip: "documents are checked on Node" }

describe("docs/vault.md: commands and programs, in their order", here(needsServer("vault")), () => {
  let vault: Vault
  let environment: Record<string, string> = {}
  before(async () => {
    vault = await startVault()
    environment = { VAULT_ADDR: vault.url, VAULT_TOKEN: vault.token }
  })
  after(() => vault?.close())

  const noBash = spawnSync("bash", ["--version"]).status === 0 ? false : "there is no bash"

  const types = async (code: string): Promise<void> =>
    await withFolder(async (folder) => {
      const bin = join(folder, "bin")
      mkdirSync(bin)
      writeFileSync(join(bin, "encx"), `#!/bin/sh\nexec "${process.execPath}" "${join(root, "cli/main.ts")}" "$@"\n`)
      chmodSync(join(bin, "encx"), 0o755)
      const path = [bin, dirname(goProgram("vault")), process.env["PATH"]].join(":")
      const ended = await runCommand("bash", {
        args: ["-euo", "pipefail", "-c", `${code}\nexport -p >"$HOME/exported"`],
        variables: { ...environment, HOME: folder, PATH: path },
      })
      assert.equal(ended.code, 0, `${ended.stdout}${ended.stderr}`)
      const exported = readFileSync(join(folder, "exported"), "utf8").matchAll(
        /^declare -x ((?:ENCX|VAULT)_\w+)="(.*)"$/gm,
      )
      environment = { ...environment, ...Object.fromEntries([...exported].map(([, name, value]) => [name, value])) }
    })

  const runs = async (program: string): Promise<void> => {
    if ((await vault.ask("GET", "transit/keys/app")).status === 404) await vault.request("POST", "transit/keys/app")
    await makePepper(vault)
    const ended = await runProgram(program, { variables: environment })
    assert.equal(ended.code, 0, ended.stderr || ended.stdout)
    for (const [, said] of program.matchAll(/console\.log\(.*\) *\/\/ ([^\n]+)$/gm)) {
      assert.ok(ended.stdout.includes(said as string), `${ended.stdout} does not say ${said}`)
    }
  }

  for (const { language, code, heading, line } of written("sh", "ts")) {
    if (language === "sh") {
      it(`the commands under «${heading}», line ${line}, succeed`, { skip: noBash }, async () => await types(code))
    } else {
      it(`the program under «${heading}», line ${line}, runs and prints what it says`, async () => await runs(code))
    }
  }

  it("each block is of a kind that is tested", () => {
    assert.deepEqual([...new Set(blocks.map(({ language }) => language))].sort(), ["hcl", "sh", "text", "ts"])
  })
})

async function makePepper(vault: Vault): Promise<void> {
  const [kms, secrets] = servicesOf(vault, vault.token)
  const crypto = await newCrypto(
    withKMSService(kms),
    withKEKAlias("app"),
    withPepper(secrets, "app"),
    withBootstrap({ createPepper: true }),
  )
  await crypto.close()
}

function servicesOf(vault: Vault, token: string): [ReturnType<typeof vaultTransit>, ReturnType<typeof vaultKV>] {
  const options = { address: vault.url, token, environment: {} }
  return [vaultTransit(options), vaultKV(options)]
}

// --- Policies ---

describe("docs/vault.md: policies", here(needsServer("vault")), () => {
  let vault: Vault
  before(async () => {
    vault = await startVault()
    await vault.request("POST", "transit/keys/app")
    await makePepper(vault)
  })
  after(() => vault?.close())

  const CONTEXT = { tenant: "acme" }
  const OPERATIONS = {
    wrap: async ([kms]: Services) => await kms.generateDEK(await kms.getKeyID("app"), CONTEXT),
    unwrap: async ([kms]: Services) => {
      const asRoot = transitOf(vault)
      const wrapped = await asRoot.generateDEK(await asRoot.getKeyID("app"), CONTEXT)
      return await kms.decryptDEK(wrapped, CONTEXT)
    },
    pepper: async ([, secrets]: Services) => await secrets.getPepper("app"),
    rotate: async ([kms]: Services) => await kms.rotateKey(await kms.getKeyID("app")),
    "rotate pepper": async ([, secrets]: Services) => await secrets.rotatePepper("app", new Uint8Array(32).fill(7)),
    "create key": async ([kms]: Services) => await kms.createKey("other"),
    "create pepper": async ([, secrets]: Services) => await secrets.storePepper("other", new Uint8Array(32).fill(7)),
  } as const
  type Services = ReturnType<typeof servicesOf>
  type Operation = keyof typeof OPERATIONS

  const ALLOWED: Readonly<Record<string, readonly Operation[]>> = {
    "A service": ["wrap", "unwrap", "pepper"],
    "What only writes": ["wrap"],
    "What only reads": ["unwrap"],
    "Who rotates": ["pepper", "rotate", "rotate pepper"],
  }

  for (const { code, heading } of written("hcl")) {
    it(`«${heading}» allows what it is for, and nothing else`, async () => {
      const allowed = ALLOWED[heading]
      assert.ok(allowed, heading)
      await vault.request("POST", "sys/policies/acl/page", { policy: code })
      const { auth } = (await vault.request("POST", "auth/token/create", { policies: ["page"] })) as {
        auth: { client_token: string }
      }
      const services = servicesOf(vault, auth.client_token)
      for (const [name, operation] of Object.entries(OPERATIONS)) {
        if (allowed.includes(name as Operation)) await operation(services)
        else await assert.rejects(operation(services), AccessDenied, name)
      }
      for (const service of services) await service.close()
    })
  }

  it("the table tells for each row what the operation asks, and no path of it can be left out", async () => {
    const rows = tableOf(sectionOf(guide, "Policies"))
    const capabilities = new Map(
      rows
        .filter(([, path = ""]) => path.startsWith("`"))
        .map(([, path = "", list = ""]) => [path.replaceAll("`", ""), [...list.matchAll(/\w+/g)].join('", "')]),
    )
    const line = (path: string, list = capabilities.get(path)): string =>
      `path "${path}" { capabilities = ["${list}"] }`
    const needs: Readonly<Record<"wrap" | "unwrap" | "rotate", readonly string[]>> = {
      wrap: ["transit/keys/app", "transit/encrypt/app"],
      unwrap: ["transit/decrypt/app"],
      rotate: ["transit/keys/app", "transit/keys/app/rotate"],
    }
    for (const [name, paths] of Object.entries(needs)) {
      for (const left of [undefined, ...paths]) {
        const policy = paths.filter((path) => path !== left).map((path) => line(path))
        await vault.request("POST", "sys/policies/acl/row", {
          policy: policy.join("\n") || line("none/at/all", "read"),
        })
        const { auth } = (await vault.request("POST", "auth/token/create", { policies: ["row"] })) as {
          auth: { client_token: string }
        }
        const services = servicesOf(vault, auth.client_token)
        const call = (): Promise<unknown> => OPERATIONS[name as keyof typeof needs](services)
        if (left === undefined) await call()
        else await assert.rejects(call(), AccessDenied, `${name} without ${left}`)
        for (const service of services) await service.close()
      }
    }
  })
})

// --- When it fails ---

describe("docs/vault.md: «When it fails»", here(needsServer("vault")), () => {
  let vault: Vault
  let secure: Vault
  before(async () => {
    vault = await startVault()
    await vault.request("POST", "transit/keys/app")
    secure = await startVault({ tls: true })
  })
  after(async () => {
    await vault?.close()
    await secure?.close()
  })

  const sealing = async (options: VaultTransitOptions, alias = "app"): Promise<void> => {
    const kms = vaultTransit({ address: vault.url, environment: {}, ...ONCE, ...options })
    try {
      await kms.generateDEK(await kms.getKeyID(alias), {})
    } finally {
      await kms.close()
    }
  }
  const asRoot = (): VaultTransitOptions => ({ token: vault.token })

  const FAILURES: Readonly<Record<string, () => Promise<void>>> = {
    "nothing is configured": () => sealing({}),
    "the token is wrong": () => sealing({ token: "hvs.wrong" }),
    "the role id": async () => {
      const { roleID } = await newAppRole(vault)
      await sealing({ auth: { method: "approle", roleID, secretID: "00000000-0000-0000-0000-000000000000" } })
    },
    "the policy lacks": async () => {
      await vault.request("POST", "sys/policies/acl/reads", {
        policy: 'path "transit/keys/app" { capabilities = ["read"] }',
      })
      const { auth } = (await vault.request("POST", "auth/token/create", { policies: ["reads"] })) as {
        auth: { client_token: string }
      }
      await sealing({ token: auth.client_token })
    },
    "there is no such key": () => sealing(asRoot(), "ap"),
    "it is mounted elsewhere": () => sealing({ ...asRoot(), mount: "nowhere" }),
    "an operator must unseal": async () => {
      await vault.seal()
      await sealing(asRoot()).finally(() => vault.unseal())
    },
    "a rate quota": async () => {
      await vault.request("POST", "sys/quotas/rate-limit/page", { rate: 1, interval: "60s", path: "transit/" })
      try {
        for (let i = 0; i < 10; i++) await sealing(asRoot())
      } finally {
        await vault.request("DELETE", "sys/quotas/rate-limit/page")
      }
    },
    "Vault takes none there": () => sealing({ ...asRoot(), address: vault.url.replace("//", "//ada:secret@") }),
    "the port speaks TLS": () => sealing({ address: secure.url.replace("https:", "http:"), token: secure.token }),
    "an authority of your own": () => sealing({ address: secure.url, token: secure.token }),
    "it was not made for the name": async () => {
      const { ca } = secure.certificates ?? { ca: "" }
      await sealing({ address: secure.url, token: secure.token, caCert: ca, serverName: "vault.example.com" })
    },
    "nobody listens": async () => await sealing({ ...asRoot(), address: `http://127.0.0.1:${await freePort()}` }),
  }

  for (const [said = "", is = ""] of tableOf(sectionOf(guide, "When it fails"))) {
    it(`${is}: it says what the page says`, async () => {
      const [, failure] = Object.entries(FAILURES).find(([start]) => is.startsWith(start)) ?? []
      assert.ok(failure, is)
      await assert.rejects(failure, (error: Error) => {
        assert.equal(error.message, said.replace(/^`|`$/g, ""))
        return true
      })
    })
  }

  it("tells data without a context from data with one as little as Vault does", async () => {
    const name = await newKey(vault)
    const [bound, unbound] = [transitOf(vault), transitOf(vault, { bindContext: false })]
    const wrapped = await unbound.generateDEK(await unbound.getKeyID(name), { a: "b" })
    await assert.rejects(bound.decryptDEK(wrapped, { a: "b" }), { name: "DecryptionFailed" })
    await unbound.decryptDEK(wrapped, { a: "b" })
    await bound.close()
    await unbound.close()
  })
})

/** One that nobody listens at. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

describe("docs/vault.md: links", here({ skip: false }), () => {
  it("lead somewhere", () => {
    const anchors = anchorsOf(guide)
    for (const [, link = ""] of guide.matchAll(/\]\(([^)]+)\)/g)) {
      if (link.startsWith("#")) assert.ok(anchors.includes(link.slice(1)), link)
      else if (!link.startsWith("https:")) assert.ok(existsSync(join(root, "docs", link)), link)
    }
  })
})
