import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { describe, it } from "node:test"
import { type Environment, VARIABLES } from "../core/config.ts"
import type { KeyManagementService, SecretManagementService } from "../core/contracts.ts"
import {
  Closed,
  InvalidConfiguration,
  KeyNotFound,
  KMSUnavailable,
  SecretStorageUnavailable,
  UninitializedPepper,
  UnknownPepper,
} from "../core/errors.ts"
import {
  configFromEnv,
  type DEKCacheOptions,
  newCrypto,
  newCryptoFromEnv,
  type Option,
  withAdditionalKEK,
  withArgon2,
  withBootstrap,
  withClock,
  withDEKCache,
  withIndexRoot,
  withKEKAlias,
  withKMSContext,
  withKMSService,
  withPepper,
  withRegistry,
  withRetiredKEK,
} from "../mod.ts"
import { parseKeyFile } from "../providers/_key-file-format.ts"
import { local } from "../providers/local.ts"
import { type LocalServices, memory } from "../providers/memory.ts"
import { createRegistry } from "../providers/registry.ts"
import { inFolder } from "./providers/_files.ts"
import { bytes32, rejectsWith } from "./suites/_assert.ts"

const MESSAGE = Uint8Array.of(1, 2, 3)
const ALL = withBootstrap({ createKEK: true, createPepper: true })

async function services(...aliases: string[]): Promise<LocalServices> {
  const made = memory()
  for (const alias of aliases) await made.createKey(alias)
  return made
}

/** What `newCrypto` says of these options. */
async function problems(...options: Option[]): Promise<readonly string[]> {
  const error = await newCrypto(...options).catch((reason: unknown) => reason)
  assert.ok(error instanceof InvalidConfiguration, String(error))
  for (const problem of error.problems) assert.ok(error.message.includes(problem))
  return error.problems
}

describe("newCrypto(): options", () => {
  it("newCrypto() works with the least that it needs", async () => {
    const crypto = await newCrypto(withKMSService(await services("app")), withKEKAlias("app"))
    assert.deepEqual(await crypto.open(await crypto.seal(MESSAGE)), MESSAGE)
    assert.equal(crypto.alias, "app")
  })

  it("newCrypto() reports every problem at once", async () => {
    const found = await problems(
      { colour: "blue" } as Option,
      withKMSService("unknown://hush"),
      withKEKAlias(""),
      withAdditionalKEK("memory://?hush=1", "\ud800"),
      withRetiredKEK({} as KeyManagementService, "old"),
      withPepper([bytes32(1), new Uint8Array(32)]),
      withIndexRoot(new Uint8Array(31)),
      withDEKCache({ maxAgeMs: 0, maxMessages: 2 ** 33, maxBytes: 1.5, weight: 1 } as DEKCacheOptions),
      withArgon2({ memoryKiB: 1024, iterations: 1 }),
      withKMSContext({ purpose: "mine" }),
    )
    const expected = [
      /option "colour"/,
      /scheme "unknown"/,
      /KEK alias.*empty/,
      /unknown query parameter/,
      /not a key management service/,
      /the pepper: its bytes are all zero/,
      /the index root: it has 31 bytes/,
      /"maxAgeMs"/,
      /"maxMessages".*2\^32/,
      /"maxBytes"/,
      /"weight"/,
      /Argon2.*below the floor/,
      /KMS context.*"purpose"/,
    ]
    for (const each of expected)
      assert.ok(
        found.some((problem) => each.test(problem)),
        `${each} in ${found.join("\n")}`,
      )
    assert.ok(found.length >= expected.length)
    assert.doesNotMatch(found.join(), /hush/)
  })

  it("newCrypto() says what is missing when it is given nothing", async () => {
    assert.deepEqual((await problems()).length, 2)
    assert.match((await problems({})).join(), /withKMSService.*withKEKAlias/)
  })

  it("newCrypto() refuses each option alone when it is out of its range", async () => {
    const good = [withKMSService(await services("app")), withKEKAlias("app")]
    await newCrypto(
      ...good,
      withPepper(bytes32(1)),
      withIndexRoot(bytes32(2)),
      withKMSContext({ team: "a" }),
      withArgon2({ queue: 0 }),
    )
    const bad: Option[] = [
      withPepper(new Uint8Array(31)),
      withPepper(new Uint8Array(33)),
      withPepper(new Uint8Array(32)),
      withPepper([]),
      withPepper(await services(), ""),
      withPepper({ provider: "none" } as unknown as SecretManagementService, "app"),
      withIndexRoot(new Uint8Array(0)),
      withKMSContext({ dek_id: "1" }),
      withKMSContext({ "": "1" }),
      withKMSContext({ a: "\udc00" }),
      withKMSContext({ a: "x".repeat(9000) }),
      withKMSContext(Object.fromEntries(Array.from({ length: 63 }, (_, i) => [`k${i}`, ""]))),
      withDEKCache({ capacity: 0 }),
      withDEKCache({ maxAgeMs: Number.NaN }),
      withDEKCache({ maxBytes: Number.POSITIVE_INFINITY }),
      withDEKCache({ maxMessages: -1 }),
      withArgon2({ concurrency: 0 }),
      withArgon2({ queue: -1 }),
      withArgon2({ parallelism: 17 }),
      withArgon2({ memoryKiB: 2 ** 30 }),
      withKEKAlias("\ud800"),
      withKEKAlias(7 as unknown as string),
      withKMSService(7 as unknown as string),
      withKMSService(""),
    ]
    for (const [i, each] of bad.entries()) assert.equal((await problems(...good, each)).length, 1, `option ${i}`)
  })

  it("newCrypto() takes the later of two, adds to lists, and mixes functions with literals", async () => {
    const [first, second, third] = [await services("a"), await services("b"), await services("c")]
    const crypto = await newCrypto(
      withKMSService(await services()),
      { kekAlias: "never" },
      withDEKCache(false),
      withAdditionalKEK(second, "b"),
      { kms: first, kekAlias: "a", additionalKEKs: [{ kms: third, alias: "c" }] },
      withDEKCache({ maxAgeMs: 1000 }),
      { pepper: undefined } as unknown as Option,
    )
    const envelopes = [await crypto.seal(MESSAGE), await crypto.seal(MESSAGE)]
    assert.equal(crypto.stats().cache.hits, 1, "the later DEK cache is on")
    const keyIDs = await Promise.all([first.getKeyID("a"), second.getKeyID("b"), third.getKeyID("c")])
    assert.deepEqual(
      crypto
        .inspect(envelopes[0] as Uint8Array)
        .keys.map(({ keyID }) => keyID)
        .sort(),
      keyIDs.sort(),
    )
    for (const [kms, alias] of [
      [first, "a"],
      [second, "b"],
      [third, "c"],
    ] as const) {
      const alone = await newCrypto(withKMSService(kms), withKEKAlias(alias))
      assert.deepEqual(await alone.open(envelopes[0] as Uint8Array), MESSAGE)
    }
  })

  it("withRetiredKEK() opens what its key wrapped, and wraps nothing", async () => {
    const [old, current] = [await services("old"), await services("new")]
    const before = await (await newCrypto(withKMSService(old), withKEKAlias("old"))).seal(MESSAGE)
    const without = await newCrypto(withKMSService(current), withKEKAlias("new"))
    await assert.rejects(without.open(before), { code: "KEY_NOT_ALLOWED" })
    const crypto = await newCrypto(withKMSService(current), withKEKAlias("new"), withRetiredKEK(old, "old"))
    assert.deepEqual(await crypto.open(before), MESSAGE)
    assert.deepEqual(
      crypto.inspect(await crypto.seal(MESSAGE)).keys.map(({ keyID }) => keyID),
      [await current.getKeyID("new")],
    )
  })

  it("withClock() ages the cached keys", async () => {
    let now = 0
    const kms = await services("app")
    const crypto = await newCrypto(
      withKMSService(kms),
      withKEKAlias("app"),
      withClock({ now: () => now }),
      withDEKCache({ maxAgeMs: 10 }),
    )
    await crypto.seal(MESSAGE)
    now = 9
    await crypto.seal(MESSAGE)
    assert.equal(crypto.stats().kms.encryptDEK, 1)
    now = 10
    await crypto.seal(MESSAGE)
    assert.equal(crypto.stats().kms.encryptDEK, 2)
  })

  it("withDEKCache() keeps the key that all share when a message is too large for any", async () => {
    const crypto = await newCrypto(
      withKMSService(await services("app")),
      withKEKAlias("app"),
      withDEKCache({ maxBytes: 100 }),
    )
    const dekID = async (bytes: number): Promise<string> =>
      crypto.inspect(await crypto.seal(new Uint8Array(bytes))).dekID
    const shared = await dekID(40)
    const own = [await dekID(101), await dekID(1000)]
    assert.equal(new Set([shared, ...own]).size, 3)
    assert.equal(await dekID(60), shared, "up to the last byte")
    const { cache, kms } = crypto.stats()
    assert.deepEqual([cache.hits, cache.misses, cache.size, kms.encryptDEK], [1, 3, 1, 3])
    assert.deepEqual(cache.evictions, { age: 0, messages: 0, bytes: 0, capacity: 0, invalidated: 0 })
    await crypto.close()
  })

  it("newCrypto() closes what it opened when it cannot start", async () => {
    const closed: string[] = []
    const failure = new KMSUnavailable("Cannot open: broken on purpose", { provider: "test", operation: "open" })
    const registry = createRegistry()
      .add("good", {
        parameters: [],
        open: async () => ({ ...(await services("app")), close: async () => void closed.push("good") }),
      })
      .add("down", { parameters: [], open: () => Promise.reject(failure) })
    const good = [withRegistry(registry), withKMSService("good://"), withKEKAlias("app")]
    await (await newCrypto(...good)).close()
    assert.deepEqual(closed.splice(0), ["good"])
    await rejectsWith(newCrypto(...good, withKEKAlias("absent")), KeyNotFound)
    assert.deepEqual(closed.splice(0), ["good"], "the key is absent")
    await problems(...good, withDEKCache({ capacity: 0 }))
    assert.deepEqual(closed.splice(0), ["good"], "an option is wrong")
    await rejectsWith(newCrypto(...good, withAdditionalKEK("down://", "app")), KMSUnavailable)
    assert.deepEqual(closed.splice(0), ["good"], "another service cannot be opened")
  })
})

// --- Creating ---

/** The methods that ask whether something is there. */
type Failing = "getKeyID" | "getPepper" | "getIndexRoot"

/** Services of which one method cannot be asked, and a log of what they were asked to create. */
function partlyDown(
  inner: LocalServices,
  down: Failing | undefined,
): { services: KeyManagementService & SecretManagementService; created: string[] } {
  const created: string[] = []
  const failure = { provider: "memory", operation: down ?? "" }
  const fail = (): Promise<never> =>
    Promise.reject(
      down === "getKeyID"
        ? new KMSUnavailable("Cannot ask: broken on purpose", failure)
        : new SecretStorageUnavailable("Cannot ask: broken on purpose", failure),
    )
  return {
    created,
    services: {
      ...inner,
      ...(down === undefined ? {} : { [down]: fail }),
      createKey: async (alias, options) => {
        created.push("key")
        return await inner.createKey(alias, options)
      },
      storePepper: async (alias, pepper, options) => {
        created.push("pepper")
        await inner.storePepper(alias, pepper, options)
      },
      storeIndexRoot: async (alias, sealed, options) => {
        created.push("index root")
        await inner.storeIndexRoot(alias, sealed, options)
      },
    },
  }
}

describe("newCrypto(): what is created", () => {
  it("newCrypto() creates nothing when it is not told to", async () => {
    const { services: kms, created } = partlyDown(memory(), undefined)
    const options = [withKMSService(kms), withKEKAlias("app"), withPepper(kms, "app")]
    await rejectsWith(newCrypto(...options), KeyNotFound)
    await rejectsWith(newCrypto(...options, withBootstrap({})), KeyNotFound)
    await rejectsWith(newCrypto(...options, withBootstrap({ createPepper: true })), KeyNotFound)
    assert.deepEqual(created, [])
    await rejectsWith(newCrypto(...options, withBootstrap({ createKEK: true })), UninitializedPepper)
    assert.deepEqual(created, ["key"])
    await newCrypto(...options, ALL)
    assert.deepEqual(created, ["key", "pepper", "index root"])
    await newCrypto(...options, ALL)
    await newCrypto(...options)
    assert.deepEqual(created, ["key", "pepper", "index root"])
  })

  for (const down of ["getKeyID", "getPepper", "getIndexRoot"] as const) {
    for (const there of [false, true]) {
      it(`newCrypto() creates nothing when ${down}() could not ask and the secret is ${there ? "there" : "absent"}`, async () => {
        const inner = await services("app")
        if (there) {
          await newCrypto(withKMSService(inner), withKEKAlias("app"), withPepper(inner, "app"), ALL)
        } else if (down === "getIndexRoot") await inner.storePepper("app", bytes32(1))
        const { services: kms, created } = partlyDown(inner, down)
        const expected = down === "getKeyID" ? KMSUnavailable : SecretStorageUnavailable
        const options = [withKMSService(kms), withKEKAlias("app"), withPepper(kms, "app")]
        await rejectsWith(newCrypto(...options), expected)
        await rejectsWith(newCrypto(...options, ALL), expected)
        assert.deepEqual(created, [])
      })
    }
  }

  it("newCrypto() makes one key, one pepper and one index root when 50 programs start for the first time at once", async () => {
    await inFolder(async (folder) => {
      const path = join(folder, "keys", "keys.json")
      const programs = await Promise.all(
        Array.from({ length: 50 }, () => {
          const own = local({ path })
          return newCrypto(withKMSService(own), withKEKAlias("app"), withPepper(own, "app"), ALL)
        }),
      )
      const file = parseKeyFile(readFileSync(path, "utf8"))
      assert.ok("store" in file)
      assert.deepEqual(
        file.store.keys.map(({ alias, versions }) => [alias, versions.length]),
        [["app", 1]],
      )
      assert.deepEqual(
        file.store.secrets.map(({ path, versions }) => [path, versions.length]),
        [
          ["encx/app/pepper", 1],
          ["encx/app/index-root", 1],
        ],
      )
      assert.deepEqual(readdirSync(join(folder, "keys")).sort(), ["keys.json", "keys.json.lock"])
      const indexes = programs.map((each) =>
        Buffer.from(each.blindIndex("ada", { table: "t", column: "c" })).toString("hex"),
      )
      assert.equal(new Set(indexes).size, 1)
      const [first, last] = [programs[0], programs[49]]
      assert.deepEqual(await last?.open((await first?.seal(MESSAGE)) as Uint8Array), MESSAGE)
      const hash = (await first?.hashSecure("password")) as string
      assert.equal(await last?.compareSecureHashAndValue("password", hash), true)
      assert.equal(await last?.compareSecureHashAndValue("Password", hash), false)
      await Promise.all(programs.map((each) => each.close()))
    })
  })
})

// --- The end ---

describe("newCrypto(): the end", () => {
  it("every method refuses to work when the object was closed, and closing it again does nothing", async () => {
    const crypto = await newCrypto(
      withKMSService(await services("app")),
      withKEKAlias("app"),
      withPepper(bytes32(1)),
      withIndexRoot(bytes32(2)),
    )
    const place = { table: "t", column: "c" }
    const envelope = await crypto.seal(MESSAGE)
    const wrapped = await crypto.encryptDEK(bytes32(3))
    const hash = await crypto.hashSecure("password")
    assert.deepEqual(await crypto.open(envelope), MESSAGE)
    assert.ok(crypto.blindIndex("ada", place).length > 0)
    await crypto.close()
    await crypto.close()
    assert.equal(crypto.stats().cache.size, 0)
    for (const call of [
      () => crypto.seal(MESSAGE),
      () => crypto.open(envelope),
      () => crypto.rewrap(envelope),
      () => crypto.verify(envelope),
      () => crypto.encryptDEK(bytes32(3)),
      () => crypto.decryptDEK(wrapped),
      () => crypto.rotateKEK(),
      () => crypto.describeKEK(),
      () => crypto.hashSecure("password"),
      () => crypto.compareSecureHashAndValue("password", hash),
    ]) {
      await rejectsWith(call(), Closed)
    }
    assert.throws(() => crypto.needsRehash(hash), Closed)
    assert.throws(() => crypto.blindIndex("ada", place), Closed)
  })

  it("[Symbol.asyncDispose]() closes it", async () => {
    const crypto = await newCrypto(withKMSService(await services("app")), withKEKAlias("app"))
    await crypto.seal(MESSAGE)
    await crypto[Symbol.asyncDispose]()
    await rejectsWith(crypto.seal(MESSAGE), Closed)
  })
})

describe("configFromEnv()", () => {
  it("configFromEnv() gives the options that the variables name", async () => {
    assert.deepEqual(configFromEnv({ ENCX_KMS: "memory", ENCX_KEK_ALIAS: "app" }), [
      { kms: "memory" },
      { kekAlias: "app" },
    ])
    const all = { ENCX_KMS: "local:///k", ENCX_KEK_ALIAS: "app", ENCX_PEPPER_ALIAS: "p", ENCX_SECRETS: "memory" }
    assert.deepEqual(configFromEnv(all).at(-1), { pepper: { store: "memory", alias: "p" } })
    assert.deepEqual(configFromEnv({ ...all, ENCX_SECRETS: "" }).at(-1), {
      pepper: { store: "local:///k", alias: "p" },
    })
    const crypto = await newCrypto(...configFromEnv({ ...all, ENCX_KMS: "memory", ENCX_SECRETS: undefined }), ALL)
    assert.deepEqual(await crypto.open(await crypto.seal(MESSAGE)), MESSAGE)
    assert.match(await crypto.hashSecure("password"), /^\$encx2-argon2id\$/)
    await crypto.close()
  })

  it("configFromEnv() names every variable that is missing or empty", () => {
    for (const environment of [{}, { ENCX_KMS: "", ENCX_KEK_ALIAS: "" }, { ENCX_PEPPER_ALIAS: "p" }]) {
      assert.throws(
        () => configFromEnv(environment),
        (error) =>
          error instanceof InvalidConfiguration &&
          error.problems.length === 2 &&
          /ENCX_KMS.*ENCX_KEK_ALIAS/.test(error.message),
      )
    }
    assert.throws(() => configFromEnv({ ENCX_KMS: "memory" }), /ENCX_KEK_ALIAS/)
    assert.throws(() => configFromEnv({ ENCX_KMS: "awskms://?region=eu-west-1" }), /ENCX_KEK_ALIAS/)
  })

  it("configFromEnv() needs no alias when the URI names the key", () => {
    for (const uri of [
      "awskms:///alias/app?region=eu-west-1",
      "awskms://alias/app",
      "aws-kms://arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
      "arn:aws:kms:eu-west-1:123456789012:alias/app",
    ]) {
      assert.deepEqual(configFromEnv({ ENCX_KMS: uri }), [{ kms: uri }])
    }
  })

  it("newCryptoFromEnv() reads process.env, and options given to it win", async () => {
    await withVariables({ ENCX_KMS: "memory://", ENCX_KEK_ALIAS: "app" }, async () => {
      const crypto = await newCryptoFromEnv(ALL, withKEKAlias("other"))
      assert.equal(crypto.alias, "other")
      await crypto.close()
    })
  })

  it("newCryptoFromEnv() asks the environment for nothing that is given, and names only what is missing", async () => {
    const kms = await services("app")
    const ask = async (...options: Option[]): Promise<void> => await (await newCryptoFromEnv(...options)).close()
    await withVariables({}, async () => {
      await ask(withKMSService(kms), withKEKAlias("app"))
      await ask({ kms, kekAlias: "app" })
      await assert.rejects(ask(withKMSService(kms)), (error) => {
        assert.ok(error instanceof InvalidConfiguration)
        assert.equal(error.problems.length, 1)
        assert.match(error.message, /ENCX_KEK_ALIAS is not set/)
        return true
      })
      await assert.rejects(ask(withKEKAlias("app")), (error) => {
        assert.ok(error instanceof InvalidConfiguration)
        assert.equal(error.problems.length, 1)
        assert.match(error.message, /ENCX_KMS is not set/)
        return true
      })
    })
    await withVariables({ ENCX_KEK_ALIAS: "app" }, async () => await ask(withKMSService(kms)))
    await withVariables({ ENCX_KMS: "memory" }, async () => await ask(withKEKAlias("app"), ALL))
    await withVariables({ ENCX_SECRETS: "memory" }, async () => {
      await assert.rejects(ask(withKMSService(kms), withKEKAlias("app")), /ENCX_PEPPER_ALIAS is not/)
      await ask(withKMSService(kms), withKEKAlias("app"), withPepper(bytes32(1)))
    })
  })

  it("newCryptoFromEnv() keeps the pepper of the environment when keys are given", async () => {
    const [kms, other] = [await services("app"), await services("app")]
    await (await newCrypto(withKMSService(kms), withKEKAlias("app"), withPepper(kms, "p"), ALL)).close()
    const given = [withKMSService(kms), withKEKAlias("app")]
    await withVariables({ ENCX_PEPPER_ALIAS: "p" }, async () => {
      const [first, second] = [await newCryptoFromEnv(...given), await newCryptoFromEnv(...given)]
      const hash = await first.hashSecure("password")
      assert.equal(await second.compareSecureHashAndValue("password", hash), true)
      const own = await newCryptoFromEnv(...given, withPepper(bytes32(1)))
      // A pepper that is given wins.
      await rejectsWith(own.compareSecureHashAndValue("password", hash), UnknownPepper)
      for (const crypto of [first, second, own]) await crypto.close()
    })
    // A store in the environment is not the KMS that is given.
    await withVariables({ ENCX_PEPPER_ALIAS: "p", ENCX_SECRETS: "memory" }, async () => {
      await rejectsWith(newCryptoFromEnv(...given), UninitializedPepper)
    })
    await withVariables({ ENCX_PEPPER_ALIAS: "p" }, async () => {
      await rejectsWith(newCryptoFromEnv(withKMSService(other), withKEKAlias("app")), UninitializedPepper)
    })
  })

  it("newCryptoFromEnv() takes options that are undefined as newCrypto() does", async () => {
    const none = undefined as unknown as Option
    const empty = { kms: undefined, kekAlias: undefined, pepper: undefined } as unknown as Option
    await withVariables({ ENCX_KMS: "memory", ENCX_KEK_ALIAS: "app", ENCX_PEPPER_ALIAS: "p" }, async () => {
      const crypto = await newCryptoFromEnv(none, empty, ALL)
      assert.equal(crypto.alias, "app")
      assert.match(await crypto.hashSecure("password"), /^\$encx2-argon2id\$/)
      await crypto.close()
    })
    await withVariables({}, async () => {
      await rejectsWith(newCryptoFromEnv(none, empty), InvalidConfiguration)
      const crypto = await newCryptoFromEnv(empty, none, withKMSService(await services("app")), withKEKAlias("app"))
      assert.deepEqual(await crypto.open(await crypto.seal(MESSAGE)), MESSAGE)
      await crypto.close()
    })
  })
})

/** Runs with these variables of encx and no others. */
async function withVariables(variables: Environment, run: () => Promise<void>): Promise<void> {
  const before = { ...process.env }
  const set = (environment: Environment): void => {
    for (const name of Object.keys(VARIABLES)) {
      const value = environment[name]
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
  try {
    set(variables)
    await run()
  } finally {
    set(before)
  }
}
