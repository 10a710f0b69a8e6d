// No error, no log and no inspected object shows a secret, in any of its spellings.
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { chmodSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { inspect } from "node:util"
import { base64 } from "../core/bytes.ts"
import type { KeyManagementService } from "../core/contracts.ts"
import {
  bigint,
  boolean,
  bytes,
  type Crypto,
  configFromEnv,
  date,
  integer,
  json,
  newCrypto,
  number,
  type Option,
  paddedText,
  plain,
  record,
  text,
  withArgon2,
  withBootstrap,
  withIndexRoot,
  withKEKAlias,
  withKMSService,
  withLogger,
  withMetricsCollector,
  withObservabilityHook,
  withPepper,
} from "../mod.ts"
import { keyFile } from "../providers/_key-file.ts"
import { formatKeyFile, newHead } from "../providers/_key-file-format.ts"
import { keyStoreServices } from "../providers/_key-store.ts"
import { env } from "../providers/env.ts"
import { type LocalServices, local } from "../providers/local.ts"
import { memory } from "../providers/memory.ts"
import { createRegistry } from "../providers/registry.ts"
import { encoded, leaks, raw, SECRETS, shown, written } from "./_canary.ts"
import { inFolder, watchedFileSystem } from "./providers/_files.ts"

// --- What fails ---

/** A name, and something that must throw or reject. */
type Failure = readonly [name: string, run: () => unknown]

const users = record(
  "users",
  { row: "id" },
  {
    id: plain<number>(),
    note: text().encrypt().index(),
    short: paddedText().encrypt(),
    count: integer().encrypt(),
    size: number().encrypt(),
    large: bigint().encrypt(),
    flag: boolean().encrypt(),
    born: date().encrypt(),
    blob: bytes().encrypt(),
    more: json().encrypt(),
    password: text().hashSecure(),
  },
)
const { plaintext, password } = SECRETS
const USER = {
  id: 1,
  note: plaintext,
  short: plaintext.slice(0, 12),
  count: 1,
  size: 1.5,
  large: 1n,
  flag: true,
  born: new Date(0),
  blob: raw("plaintext"),
  more: { plaintext },
  password,
}

const flip = (sealed: Uint8Array, at = sealed.length - 1): Uint8Array =>
  sealed.map((byte, i) => (i === at ? byte ^ 1 : byte))

function ofEnvironment(): Failure[] {
  const value = encoded("kek")
  const kms = env({
    variables: { GOOD: value, A: `${value}!`, B: encoded("kek").slice(0, 40), C: `${value}\n`, D: SECRETS.kek },
  })
  const wrapped = () => kms.encryptDEK("GOOD", raw("dek"), {})
  return [
    ["a variable that is no base64", () => kms.getKeyID("A")],
    ["a variable that is short", () => kms.getKeyID("B")],
    ["a variable with a line end", () => kms.describeKey("C")],
    ["a variable that holds the key as text", () => kms.encryptDEK("D", raw("dek"), {})],
    ["a variable that is not there", () => kms.getKeyID("E")],
    ["a key in place of its variable's name", () => kms.getKeyID(value)],
    ["a data key that is short, wrapped by a variable", () => kms.encryptDEK("GOOD", raw("dek").subarray(1), {})],
    ["a data key that is text, wrapped by a variable", () => kms.encryptDEK("GOOD", SECRETS.dek as never, {})],
    [
      "a changed wrap of a variable",
      async () => kms.decryptDEK({ ...(await wrapped()), ciphertext: flip((await wrapped()).ciphertext) }, {}),
    ],
    ["another context of a variable's wrap", async () => kms.decryptDEK(await wrapped(), { a: "b" })],
    ["another version of a variable", async () => kms.decryptDEK({ ...(await wrapped()), version: 2 }, {})],
    ["an environment without a KMS", () => configFromEnv({ ENCX_KEK_ALIAS: "a", OTHER: SECRETS.kek })],
  ]
}

async function ofKeyFile(folder: string): Promise<Failure[]> {
  const at = "2026-01-01T00:00:00Z"
  const store = {
    keys: [
      {
        alias: "app",
        ref: "11111111-1111-4111-8111-111111111111",
        versions: [{ version: 1, key: raw("kek"), state: "enabled", created_at: at } as const],
      },
    ],
    secrets: [
      {
        path: "encx/app/pepper",
        versions: [{ version: 1, stage: "current", value: raw("pepper"), created_at: at } as const],
      },
    ],
  }
  const whole = formatKeyFile(newHead(false), store)
  const file = (name: string, content: string): LocalServices => {
    const path = join(folder, `${name}.json`)
    writeFileSync(path, content, { mode: 0o600 })
    return local({ path })
  }
  const good = file("good", whole)
  assert.equal(await good.getKeyID("app"), store.keys[0]?.ref)
  const changed: Readonly<Record<string, string>> = {
    "cut in its key": whole.slice(0, whole.indexOf(encoded("kek")) + 30),
    "cut in its pepper": whole.slice(0, whole.indexOf(encoded("pepper")) + 30),
    "that is a key alone": SECRETS.kek,
    "that is a key in base64": `"${encoded("kek")}"`,
    "with an unknown property": whole.replace('"alias"', `"${SECRETS.kek}":1,"alias"`),
    "with a repeated property": whole.replace('"version":1', '"version":1,"version":1'),
    "with a short key": whole.replace(encoded("kek"), base64(raw("kek").subarray(1))),
    "with a key without padding": whole.replace(encoded("kek"), encoded("kek").replace("=", "")),
    "with a key for its format": whole.replace("encx-local-1", SECRETS.kek),
    "with a key for its state": whole.replace("enabled", SECRETS.kek),
    "with a key for its time": whole.replace(at, SECRETS.kek),
    "with a key for its version": whole.replace('"version":1', `"version":"${SECRETS.kek}"`),
    "with a key for its protection": whole.replace('"none"', `"${SECRETS.kek}"`),
    "with a pepper for its stage": whole.replace("current", SECRETS.pepper),
    "with two keys of a ref": whole.replace('"keys":[', `"keys":[${JSON.stringify(JSON.parse(whole).data.keys[0])},`),
  }
  for (const content of Object.values(changed)) assert.notEqual(content, whole)
  const path = (name: string): string => join(folder, name)
  writeFileSync(path("open.json"), whole)
  chmodSync(path("open.json"), 0o644)
  symlinkSync(path("good.json"), path("link.json"))
  const sealed = local({ path: path("sealed.json"), passphrase: SECRETS.passphrase })
  await sealed.createKey("app")
  writeFileSync(path("cut.json"), readFileSync(path("sealed.json"), "utf8").slice(0, -40), { mode: 0o600 })
  const broken = (call: string, code: string): LocalServices => {
    const fs = watchedFileSystem((name, run) => {
      if (name === call) throw Object.assign(new Error(`${code}: broken on purpose`), { code })
      return run()
    })
    return keyStoreServices("local", keyFile(path("good.json"), undefined, fs), "none")
  }
  return [
    ...Object.entries(changed).map(
      ([what, content], i): Failure => [`a key file ${what}`, () => file(`bad${i}`, content).getKeyID("app")],
    ),
    ["a key file that others may read", () => local({ path: path("open.json") }).getKeyID("app")],
    ["a key file that is a link", () => local({ path: path("link.json") }).getKeyID("app")],
    ["a key that is not in the file", () => good.encryptDEK("other", raw("dek"), {})],
    ["a key that is there already", () => good.createKey("app")],
    ["a version that is not there", () => good.decryptDEK({ keyID: "app", version: 7, ciphertext: raw("dek") }, {})],
    ["a pepper that is there already", () => good.storePepper("app", raw("pepper"))],
    ["a pepper that is not there", () => good.rotatePepper("other", raw("pepper"))],
    ["a pepper under a path that climbs", () => good.storePepper("../app", raw("pepper"))],
    ["a key file that cannot be read", () => broken("readFileSync", "EIO").getKeyID("app")],
    ["a key file that cannot be written", () => broken("writeSync", "ENOSPC").createKey("more")],
    ["a pepper that cannot be written", () => broken("renameSync", "EROFS").storePepper("more", raw("pepper"))],
    [
      "a passphrase for a file without",
      () => local({ path: path("good.json"), passphrase: SECRETS.passphrase }).getKeyID("app"),
    ],
    ["a file with a passphrase, without it", () => local({ path: path("sealed.json") }).getKeyID("app")],
    [
      "a wrong passphrase",
      () => local({ path: path("sealed.json"), passphrase: `${SECRETS.passphrase}x` }).getKeyID("app"),
    ],
    [
      "a cut file under a passphrase",
      () => local({ path: path("cut.json"), passphrase: SECRETS.passphrase }).getKeyID("app"),
    ],
    [
      "a passphrase that is too long",
      () => local({ path: path("new.json"), passphrase: SECRETS.passphrase.repeat(200) }).createKey("app"),
    ],
    [
      "a passphrase with a lone surrogate",
      () => local({ path: path("new.json"), passphrase: `${SECRETS.passphrase}\ud800` }).createKey("app"),
    ],
    [
      "a passphrase in place of a path",
      () => local({ path: SECRETS.passphrase.slice(0, 0), passphrase: SECRETS.passphrase }),
    ],
  ]
}

function ofConfiguration(kms: LocalServices): Failure[] {
  const start = (...options: Option[]): Promise<Crypto> =>
    newCrypto(withKMSService(kms), withKEKAlias("app"), ...options)
  return [
    ["a pepper that is short", () => start(withPepper(raw("pepper").subarray(1)))],
    ["a pepper that is long", () => start(withPepper([raw("pepper"), Uint8Array.of(...raw("pepper"), 0)]))],
    ["a pepper that is text", () => start(withPepper(SECRETS.pepper as never))],
    ["a pepper that is hex", () => start(withPepper(`a${Buffer.from(SECRETS.pepper).toString("hex")}` as never))],
    ["peppers that are text", () => start(withPepper([SECRETS.pepper] as never))],
    ["an index root that is short", () => start(withIndexRoot(raw("root").subarray(1)))],
    ["a store without a pepper", () => start(withPepper(kms, "absent"))],
    ["a URI with a password", () => start(withKMSService(`vault://ada:${SECRETS.password}@host/`))],
    ["a URI with a token", () => start(withKMSService(`vault://host/?token=${SECRETS.password}`))],
    ["a URI with a passphrase", () => start(withKMSService(`local:///k.json?passphrase=${SECRETS.passphrase}`))],
    ["a URI with a password and a slash in it", () => start(withKMSService(`local://ada:/${SECRETS.password}@host/`))],
    ["a URI with a broken escape", () => createRegistry().open(`local:///${SECRETS.password}%zz`)],
    ["a URI that is a key", () => createRegistry().open(`${encoded("kek")}`)],
  ]
}

async function ofProgram(crypto: Crypto, kms: LocalServices): Promise<Failure[]> {
  const context = { table: "t" }
  const envelope = await crypto.seal(raw("plaintext"), context)
  const data = crypto.encryptData(raw("plaintext"), raw("dek"))
  const wrapped = await crypto.encryptDEK(raw("dek"))
  const hash = await crypto.hashSecure(password)
  const row = await crypto.sealRecord(users, USER)
  assert.deepEqual(Buffer.from(await crypto.open(envelope, context)).toString(), plaintext)
  assert.equal((await crypto.openRecord(users, row)).note, plaintext)
  const other = await newCrypto(withKMSService(kms), withKEKAlias("other"))
  const peppered = await newCrypto(withKMSService(kms), withKEKAlias("app"), withPepper(raw("dek")))
  const busy = await newCrypto(
    withKMSService(kms),
    withKEKAlias("app"),
    withPepper(raw("pepper")),
    withArgon2({ concurrency: 1, queue: 0 }),
  )
  const closed = await newCrypto(withKMSService(kms), withKEKAlias("app"))
  await closed.close()
  const answers = async (answer: Partial<KeyManagementService>): Promise<Crypto> =>
    await newCrypto(withKMSService({ ...kms, ...answer }), withKEKAlias("app"))
  const wrong = (field: string, value: unknown): Failure => [
    `a record whose field "${field}" is ${typeof value}`,
    () => crypto.sealRecord(users, { ...USER, [field]: value } as never),
  ]
  const circular: Record<string, unknown> = { plaintext }
  circular["self"] = circular
  return [
    ["an envelope that was changed", () => crypto.open(flip(envelope), context)],
    ["an envelope that was cut", () => crypto.open(envelope.subarray(0, -20), context)],
    ["an envelope with another context", () => crypto.open(envelope, { table: "u" })],
    ["an envelope that is plaintext", () => crypto.open(raw("plaintext"), context)],
    ["an envelope of another key", () => other.open(envelope, context)],
    ["an envelope that is text", () => crypto.open(plaintext as never)],
    [
      "an envelope and a data key of another id",
      () => crypto.open(envelope, context, { dek: raw("dek"), dekID: "00".repeat(16) }),
    ],
    [
      "an envelope and another data key",
      () => crypto.open(envelope, context, { dek: raw("dek"), dekID: crypto.inspect(envelope).dekID }),
    ],
    [
      "an envelope and a short data key",
      () => crypto.open(envelope, context, { dek: raw("dek").subarray(1), dekID: crypto.inspect(envelope).dekID }),
    ],
    [
      "an envelope and a data key for its id",
      () => crypto.open(envelope, context, { dek: raw("dek"), dekID: SECRETS.dek }),
    ],
    ["a re-wrap with another context", () => crypto.rewrap(envelope, {})],
    ["an inspection of plaintext", () => crypto.inspect(raw("plaintext"))],
    ["a plaintext that is text", () => crypto.seal(plaintext as never)],
    ["a context that is text", () => crypto.seal(raw("plaintext"), plaintext as never)],
    ["a context with bytes in it", () => crypto.seal(raw("plaintext"), { a: raw("plaintext") } as never)],
    ["data under a short key", () => crypto.encryptData(raw("plaintext"), raw("dek").subarray(1))],
    ["data under a key that is text", () => crypto.encryptData(raw("plaintext"), SECRETS.dek as never)],
    ["data that is text", () => crypto.encryptData(plaintext as never, raw("dek"))],
    ["data that was changed", () => crypto.decryptData(flip(data), raw("dek"))],
    ["data under another key", () => crypto.decryptData(data, raw("kek"))],
    ["a wrap of a short data key", () => crypto.encryptDEK(raw("dek").subarray(1))],
    ["a wrap of a data key that is text", () => crypto.encryptDEK(SECRETS.dek as never)],
    ["a wrap under an id that is a key", () => crypto.encryptDEK(raw("dek"), { dekID: SECRETS.dek })],
    ["a wrap that was changed", () => crypto.decryptDEK({ ...wrapped, ciphertext: flip(wrapped.ciphertext) })],
    ["a wrap of another id", () => crypto.decryptDEK({ ...wrapped, dekID: "00".repeat(16) })],
    ["a wrap of another key", () => other.decryptDEK(wrapped)],
    [
      "a wrap of a version that is not there",
      () => crypto.decryptDEKWithVersion(wrapped.ciphertext, 9, { dekID: wrapped.dekID }),
    ],
    ["a password that is too long", () => crypto.hashSecure(password.repeat(200))],
    ["a password with a lone surrogate", () => crypto.hashSecure(`${password}\ud800`)],
    ["a password that is a list", () => crypto.hashSecure([password] as never)],
    ["a password without a pepper", () => other.hashSecure(password)],
    ["a password in place of a hash", () => crypto.compareSecureHashAndValue(hash, password)],
    [
      "a password in the middle of a hash",
      () => crypto.compareSecureHashAndValue(password, hash.replace("v=19", password)),
    ],
    [
      "a password for a parameter of a hash",
      () => crypto.compareSecureHashAndValue(password, hash.replace("m=65536", `m=${password}`)),
    ],
    ["a hash under another pepper", () => peppered.compareSecureHashAndValue(password, hash)],
    ["passwords when the queue is full", () => Promise.all([busy.hashSecure(password), busy.hashSecure(password)])],
    [
      "a password whose caller left",
      () => crypto.hashSecure(password, { signal: AbortSignal.abort(new Error("left")) }),
    ],
    ["an index without a root", () => other.blindIndex(plaintext, { table: "t", column: "c" })],
    [
      "an index of a text that is to be a number",
      () => crypto.blindIndex(plaintext, { table: "t", column: "c", type: "integer" }),
    ],
    ["a look-up of a list", () => crypto.lookup(users, "note", [plaintext] as never)],
    ["a look-up of a lone surrogate", () => crypto.lookup(users, "note", `${plaintext}\ud800`)],
    wrong("note", [plaintext]),
    wrong("note", `${plaintext}\ud800`),
    wrong("short", `${plaintext}\ud800`),
    ...["count", "size", "large", "flag", "born", "blob"].map((field) => wrong(field, plaintext)),
    wrong("more", circular),
    wrong("more", { plaintext, large: 1n }),
    wrong("password", password.repeat(200)),
    ["a record without a field", () => crypto.sealRecord(users, { ...USER, note: undefined } as never)],
    [
      "a row with plaintext in a sealed column",
      () => crypto.openRecord(users, { ...row, note_encrypted: raw("plaintext") } as never),
    ],
    [
      "a row with text in a sealed column",
      () => crypto.openRecord(users, { ...row, note_encrypted: plaintext } as never),
    ],
    [
      "a row with a data key in place of its wrap",
      () => crypto.openRecord(users, { ...row, dek_encrypted: raw("dek") } as never),
    ],
    [
      "a row with two columns exchanged",
      () => crypto.openRecord(users, { ...row, note_encrypted: row.short_encrypted } as never),
    ],
    ["a row of another id", () => crypto.openRecord(users, { ...row, id: 2 })],
    [
      "a row with a password in place of its hash",
      () => crypto.compareRecordHash(users, { ...row, password_hash_secure: password } as never, "password", password),
    ],
    ["an update of the row's id", () => crypto.updateRecord(users, row, { id: 2, note: plaintext } as never)],
    [
      "a KMS that answers a short data key",
      async () =>
        (
          await answers({
            generateDEK: async (keyID) => ({
              plaintext: raw("dek").subarray(1),
              ciphertext: raw("root"),
              keyID,
              version: 1,
            }),
          })
        ).seal(raw("plaintext")),
    ],
    [
      "a KMS that answers for another key",
      async () =>
        (await answers({ encryptDEK: async () => ({ ciphertext: raw("root"), keyID: "other", version: 1 }) })).seal(
          raw("plaintext"),
        ),
    ],
    [
      "a KMS that answers too short a wrap",
      async () =>
        (
          await answers({ encryptDEK: async (keyID) => ({ ciphertext: raw("dek").subarray(20), keyID, version: 1 }) })
        ).seal(raw("plaintext")),
    ],
    [
      "a KMS that unwraps too much",
      async () => (await answers({ decryptDEK: async () => Uint8Array.of(...raw("dek"), 1) })).open(envelope, context),
    ],
    [
      "a KMS that unwraps another key",
      async () => (await answers({ decryptDEK: async () => raw("dek") })).open(envelope, context),
    ],
    ["a program that was closed", () => closed.seal(raw("plaintext"))],
  ]
}

describe("secrets", () => {
  it("leaks() finds a secret in each of its spellings", () => {
    const secret = raw("dek")
    const spellings = {
      text: SECRETS.dek,
      "upper case": SECRETS.dek.toUpperCase(),
      hex: Buffer.from(secret).toString("hex"),
      base64: base64(secret),
      "base64 behind one byte": base64(Uint8Array.of(0, ...secret, 9)),
      "base64url behind two": Buffer.from([1, 2, ...secret]).toString("base64url"),
      bytes: inspect(secret),
      list: JSON.stringify([...secret]),
      JSON: JSON.stringify({ ...secret }).replaceAll(/"\d+":/g, ""),
      buffer: inspect(Buffer.from(secret)),
      "an error's message": shown(new Error(`no: ${SECRETS.dek}`)),
      "an error's cause": shown(new Error("no", { cause: new Error("deep", { cause: { secret } }) })),
      "a hidden property": shown(
        Object.defineProperty(new Error("no"), "secret", { value: secret, enumerable: false }),
      ),
      "the first half": SECRETS.dek.slice(0, 17),
      "the second half": base64(secret.subarray(15)),
    }
    for (const [name, spelling] of Object.entries(spellings)) assert.notDeepEqual(leaks(spelling), [], name)
    assert.deepEqual(leaks(shown(new Error("Cannot decrypt data"))), [])
  })

  it("no error, no log and no object shows a secret when something fails", async () => {
    await inFolder(async (folder) => {
      const kms = memory()
      await kms.createKey("app")
      await kms.createKey("other")
      await kms.storePepper("app", raw("pepper"))
      const crypto = await newCrypto(
        withKMSService(kms),
        withKEKAlias("app"),
        withPepper(kms, "app"),
        withIndexRoot(raw("root")),
        withBootstrap({}),
      )
      const found: string[] = []
      const names = new Set<string>()
      const output = await written(async () => {
        const failures = [
          ...ofEnvironment(),
          ...(await ofKeyFile(folder)),
          ...ofConfiguration(kms),
          ...(await ofProgram(crypto, kms)),
        ]
        for (const [name, run] of failures) {
          let error: unknown
          try {
            await run()
          } catch (thrown) {
            error = thrown
          }
          if (!(error instanceof Error)) found.push(`${name}: it must fail`)
          names.add(name)
          found.push(...leaks(shown(error)).map((leak) => `${name}: ${leak}: ${String(error)}`))
        }
      })
      found.push(...leaks(output).map((leak) => `the output: ${leak}`))
      const sealed = local({ path: join(folder, "sealed.json"), passphrase: SECRETS.passphrase })
      await sealed.getKeyID("app")
      const objects = {
        crypto,
        kms,
        sealed,
        env: env({ variables: { A: encoded("kek") } }),
        stats: crypto.stats(),
        users,
        registry: createRegistry(),
      }
      for (const [name, object] of Object.entries(objects))
        found.push(...leaks(shown(object)).map((leak) => `the object "${name}": ${leak}`))
      assert.deepEqual(found, [])
      assert.ok(names.size >= 110, `${names.size} different failures`)
    })
  })

  it("no secret reaches a metric, a hook, a log or a health check, when all goes well and when something fails", async () => {
    const kms = memory()
    await kms.createKey("app")
    await kms.createKey("other")
    await kms.storePepper("app", raw("pepper"))
    const told: unknown[][] = []
    const tell =
      (name: string) =>
      (...all: unknown[]): void => {
        told.push([name, ...all])
      }
    const crypto = await newCrypto(
      withKMSService(kms),
      withKEKAlias("app"),
      withPepper(kms, "app"),
      withIndexRoot(raw("root")),
      withMetricsCollector({
        incrementCounter: tell("counter"),
        incrementCounterBy: tell("counter"),
        setGauge: tell("gauge"),
        recordTiming: tell("timing"),
        recordValue: tell("value"),
      }),
      withObservabilityHook({
        onProcessStart: tell("start"),
        onProcessComplete: tell("complete"),
        onError: tell("error"),
        onKeyOperation: tell("key"),
      }),
      withLogger({ debug: tell("debug"), info: tell("info"), warn: tell("warn"), error: tell("log") }),
    )
    const failures = await ofProgram(crypto, kms)
    for (const [, run] of failures) await Promise.allSettled([(async () => await run())()])
    await crypto.rotateKEK()
    const health = await crypto.health()
    await crypto.close()
    const found = [...told, health].flatMap((each) =>
      leaks(shown(each)).map((leak) => `${leak}: ${inspect(each).slice(0, 200)}`),
    )
    assert.deepEqual(found, [])
    for (const name of ["counter", "gauge", "timing", "start", "complete", "error", "key", "debug", "info", "log"])
      assert.ok(
        told.some(([each]) => each === name),
        name,
      )
  })
})
