import assert from "node:assert/strict"
import { join } from "node:path"
import process from "node:process"
import { describe, it } from "node:test"
import { inspect } from "node:util"
import { InvalidConfiguration } from "../../core/errors.ts"
import { parseURI } from "../../core/uri.ts"
import { newCrypto, withBootstrap, withKEKAlias, withKMSService, withPepper, withRegistry } from "../../mod.ts"
import { kmsOptions } from "../../providers/_aws-uri.ts"
import { memory } from "../../providers/memory.ts"
import { createRegistry, type ProviderURI } from "../../providers/registry.ts"
import { inFolder } from "./_files.ts"

/** What the opener of a scheme is given. */
async function parsed(uri: string): Promise<ProviderURI> {
  let seen: ProviderURI | undefined
  const registry = createRegistry().add("test", {
    parameters: ["region", "key id", "__proto__"],
    open: async (each) => {
      seen = each
      return memory()
    },
  })
  await registry.open(uri)
  return seen as ProviderURI
}

describe("createRegistry()", () => {
  it("open() opens a service by URI, and by bare name", async () => {
    const registry = createRegistry()
    for (const [uri, provider] of [
      ["memory", "memory"],
      ["memory:", "memory"],
      ["memory://", "memory"],
      ["MEMORY://", "memory"],
      ["env", "env"],
      ["local:///nowhere/keys.json", "local"],
      ["local:/nowhere/keys.json", "local"],
    ] as const) {
      assert.equal((await registry.open(uri)).provider, provider, uri)
    }
    assert.deepEqual(registry.schemes, [
      ...[
        "arn",
        "aws-kms",
        "awskms",
        "awssecretsmanager",
        "env",
        "hashivault",
        "hcvault",
        "local",
        "memory",
        "openbao",
      ],
      ...["vaultkv", "vaulttransit"],
    ])
  })

  it("open() leaves a switch that the URI does not name to the environment", () => {
    const named = (uri: string) => kmsOptions(parseURI(uri))
    assert.deepEqual(named("awskms:///alias/app?region=eu-west-1"), { region: "eu-west-1" })
    assert.deepEqual(named("awskms:///alias/app?useFipsEndpoint=false"), { useFipsEndpoint: false })
    assert.deepEqual(named("awskms:///alias/app?useFipsEndpoint=true"), { useFipsEndpoint: true })
  })

  it("open() splits a URI and decodes its parts, once", async () => {
    const uri = await parsed(
      "test://arn:aws:kms:eu-west-1:1:key%2F2/p%20a%25th/%C3%A9?region=eu%2Dwest&key%20id=a=b&__proto__=x",
    )
    assert.deepEqual(
      { ...uri, query: [...uri.query] },
      {
        scheme: "test",
        host: "arn:aws:kms:eu-west-1:1:key/2",
        path: "/p a%th/é",
        query: [
          ["region", "eu-west"],
          ["key id", "a=b"],
          ["__proto__", "x"],
        ],
      },
    )
    assert.deepEqual({ ...(await parsed("test")), query: 0 }, { scheme: "test", host: "", path: "", query: 0 })
  })

  it("add() gives a scheme to one registry, and to no other", async () => {
    const registry = createRegistry().add("my-kms+x", { parameters: [], open: async () => memory() })
    assert.equal((await registry.open("my-kms+x://host")).provider, "memory")
    await assert.rejects(createRegistry().open("my-kms+x://host"), InvalidConfiguration)
    assert.throws(() => registry.add("my-kms+x", { parameters: [], open: async () => memory() }), InvalidConfiguration)
    for (const scheme of ["local", "", "My", "1a", "a_b", "a:"]) {
      assert.throws(
        () => createRegistry().add(scheme, { parameters: [], open: async () => memory() }),
        InvalidConfiguration,
      )
    }
  })

  it("open() rejects, and quotes no more than the scheme, when a URI cannot be used", async () => {
    const registry = createRegistry()
    const good = "local:///home/hush-path/keys.json?allowInProduction=false"
    assert.equal((await registry.open(good)).provider, "local")
    const bad = [
      "vault://hush-user:hush-password@host/hush-path",
      "vault:///hush-path?token=hush-token",
      "local://hush-user:hush-password@host/hush-path",
      "local://hush-user@/hush-path",
      "local:hush-user:hush-password@host",
      "local://hush-host/hush-path",
      "local:hush-path/keys.json",
      "local:///hush-path?passphrase=hush-passphrase",
      "local:///hush-path?hush-name",
      "local:///hush-path?allowInProduction=hush-value",
      "local:///hush-path?allowInProduction=true&allowInProduction=true",
      "local:///hush-path?allowInProduction=true&allow%49nProduction=true",
      "local:///hush-path?allowInProduction=true?hush-more",
      "local:///hush-path#hush-fragment",
      "local:///hush-path/%zz",
      "local:///hush-path/%ff",
      "local:///hush-path?%zz=hush",
      "memory://?hush=hush",
      "env://?hush=hush",
      "://hush-host/hush-path",
      "/hush-path",
      "",
      " memory",
    ]
    for (const uri of bad) {
      const error = await registry.open(uri).catch((reason: unknown) => reason)
      assert.ok(error instanceof InvalidConfiguration, `${uri}: ${String(error)}`)
      assert.doesNotMatch(inspect(error, { depth: null, showHidden: true }) + JSON.stringify(error), /hush/, uri)
    }
    assert.doesNotMatch(inspect([registry, await registry.open(good)], { depth: null, showHidden: true }), /hush/)
  })

  it("open() refuses services without protection when NODE_ENV is production, unless the URI says otherwise", async () => {
    const before = process.env["NODE_ENV"]
    const registry = createRegistry()
    try {
      process.env["NODE_ENV"] = "production"
      for (const uri of ["memory://", "env://", "local:///nowhere/keys.json"]) {
        await assert.rejects(registry.open(uri), InvalidConfiguration)
        await assert.rejects(registry.open(`${uri}?allowInProduction=false`), InvalidConfiguration)
        assert.equal((await registry.open(`${uri}?allowInProduction=true`)).provider, uri.split(":")[0])
      }
    } finally {
      if (before === undefined) delete process.env["NODE_ENV"]
      else process.env["NODE_ENV"] = before
    }
  })
})

describe("newCrypto() with services by URI", () => {
  it("newCrypto() opens local:///… end to end, and another program opens what it sealed", async () => {
    await inFolder(async (folder) => {
      const uri = `local://${join(folder, "a folder", "keys.json").split("/").map(encodeURIComponent).join("/")}`
      const options = [withKMSService(uri), withKEKAlias("app"), withPepper(uri, "app")]
      const first = await newCrypto(...options, withBootstrap({ createKEK: true, createPepper: true }))
      const envelope = await first.seal(Uint8Array.of(1, 2, 3), { tenant: "acme" })
      const index = first.blindIndex("ada", { table: "t", column: "c" })
      await first.close()
      const second = await newCrypto(...options)
      assert.deepEqual(await second.open(envelope, { tenant: "acme" }), Uint8Array.of(1, 2, 3))
      assert.deepEqual(second.blindIndex("ada", { table: "t", column: "c" }), index)
      await second.close()
    })
  })

  it("newCrypto() opens a URI once, closes what it opened with close(), and nothing that it was given", async () => {
    const log: string[] = []
    const registry = createRegistry().add("test", {
      parameters: [],
      open: async ({ host }) => {
        log.push(`open ${host}`)
        const services = memory()
        await services.createKey("app")
        return { ...services, close: async () => void log.push(`close ${host}`) }
      },
    })
    const crypto = await newCrypto(
      withRegistry(registry),
      withKMSService("test://one"),
      withKEKAlias("app"),
      withPepper("test://one", "app"),
      withBootstrap({ createPepper: true }),
    )
    await crypto.close()
    await crypto.close()
    assert.deepEqual(log, ["open one", "close one"])
    const given = (await registry.open("test://two")) as ReturnType<typeof memory>
    const other = await newCrypto(withKMSService(given), withKEKAlias("app"))
    await other.close()
    assert.deepEqual(log.slice(2), ["open two"])
  })
})
