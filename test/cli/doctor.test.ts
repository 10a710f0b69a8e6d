import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { chmodSync, readFileSync, writeFileSync } from "node:fs"
import process from "node:process"
import { test } from "node:test"
import { type Check, Checkup } from "../../cli/_checkup.ts"
import type { Services } from "../../cli/_services.ts"
import { examine } from "../../cli/doctor.ts"
import { AccessDenied, type KeyManagementService, KMSUnavailable, SecretStorageUnavailable } from "../../mod.ts"
import { memory } from "../../providers/memory.ts"
import { Home, type Ran, SILENT_IO } from "./_encx.ts"

const POSIX = process.platform !== "win32"

interface Report {
  readonly ok: boolean
  readonly provider?: string
  readonly checks: readonly Check[]
  readonly notChecked: readonly string[]
}

const reportOf = ({ stdout }: Ran): Report => JSON.parse(stdout) as Report
const failed = ({ checks }: Report): string[] => checks.filter(({ ok }) => !ok).map(({ check }) => check)
const check = ({ checks }: Report, name: string): Check => {
  const found = checks.find((each) => each.check === name)
  assert.ok(found, `${name} was checked`)
  return found
}

test("doctor says of a key file that all is well, and changes nothing", async () => {
  const home = await Home.withKeys()
  try {
    const before = readFileSync(home.keyFile, "utf8")
    const { stdout, stderr } = await home.ok(["doctor"])
    assert.equal(stderr, "")
    assert.match(
      stdout,
      /^✓ configuration +KMS local:\/\/\S+ \(default\), key "default" \(default\), secrets in the KMS/,
    )
    assert.match(stdout, /\n✓ key +"default" → [0-9a-f-]{36}\n/)
    assert.match(stdout, /\n✓ wrap latency +[\d.]+ ms, the median of 5 \(/)
    assert.match(stdout, /\n✓ pepper +version 1 \([0-9a-f]{8}\) at "encx\/default\/pepper"\n/)
    assert.match(stdout, /\n\nAll is well\.\n$/)
    assert.doesNotMatch(stdout, /✗|→ [a-z]+ it/)
    const report = reportOf(await home.ok(["doctor", "--json"]))
    assert.deepEqual([report.ok, report.provider, report.notChecked], [true, "local", []])
    assert.deepEqual(
      report.checks.map((each) => each.check),
      [
        "configuration",
        "key file",
        "alias",
        "protection",
        "key",
        "key version",
        "wrap",
        "unwrap",
        "wrap latency",
        "pepper",
        "index root",
      ],
    )
    if (POSIX) assert.match(check(report, "key file").detail, /mode 600, in a folder of mode 700$/)
    assert.equal(readFileSync(home.keyFile, "utf8"), before)
  } finally {
    home.remove()
  }
})

test("doctor says of an empty home what to make, and makes nothing", async () => {
  const home = new Home()
  try {
    const ran = await home.encx(["doctor", "--json"])
    assert.deepEqual([ran.code, ran.stderr], [1, ""])
    const report = reportOf(ran)
    assert.deepEqual(failed(report), ["key file", "key", "pepper", "index root"])
    assert.equal(check(report, "key").code, "KEY_NOT_FOUND")
    assert.match(check(report, "key").hint ?? "", /encx keys create/)
    assert.match(check(report, "pepper").detail, /^absent/)
    assert.match(check(report, "pepper").hint ?? "", /encx pepper init/)
    assert.deepEqual(report.notChecked, ["key version", "wrap", "unwrap", "wrap latency"])
    const text = await home.encx(["doctor"])
    assert.equal(text.code, 1)
    assert.match(text.stdout, /\n {22} → .*encx keys create/)
    assert.match(text.stdout, /\nNot checked: key version, wrap, unwrap, wrap latency\.\n4 of 5 checks failed\.\n$/)
    assert.equal(home.exists(".encx"), false)
  } finally {
    home.remove()
  }
})

test("doctor --no-pepper asks for the key alone", async () => {
  const home = new Home()
  try {
    await home.ok(["keys", "create", "--no-pepper"])
    assert.deepEqual(failed(reportOf(await home.encx(["doctor", "--json"]))), ["pepper", "index root"])
    const report = reportOf(await home.ok(["doctor", "--no-pepper", "--json"]))
    assert.ok(!report.checks.some((each) => /pepper|root/.test(each.check)))
  } finally {
    home.remove()
  }
})

test("doctor names what is wrong with a key file, and the command that mends it", { skip: !POSIX }, async () => {
  const home = await Home.withKeys()
  try {
    chmodSync(home.keyFile, 0o644)
    const loose = await home.encx(["doctor", "--json"])
    assert.equal(loose.code, 1)
    assert.deepEqual(failed(reportOf(loose)), ["key file"])
    assert.equal(check(reportOf(loose), "key file").hint, `chmod 600 "${home.keyFile}"`)
    assert.ok(reportOf(loose).notChecked.includes("pepper"), "what was not asked is not absent")
    chmodSync(home.keyFile, 0o600)
    writeFileSync(home.keyFile, readFileSync(home.keyFile, "utf8").slice(0, -20))
    const cut = reportOf(await home.encx(["doctor", "--json"]))
    assert.deepEqual(failed(cut), ["alias"])
    assert.ok(cut.notChecked.includes("key") && cut.notChecked.includes("pepper"))
    const under = reportOf(await home.encx(["doctor", "--kms", `local://${home.write("file", "x")}/k`, "--json"]))
    assert.match(check(under, "key file").detail, /ENOTDIR/)
  } finally {
    home.remove()
  }
})

test("doctor tells an index root that is another key's", async () => {
  const home = await Home.withKeys()
  try {
    await home.ok(["keys", "create", "other", "--no-pepper"])
    const ran = await home.encx(["doctor", "--alias", "other", "--pepper-alias", "default", "--json"])
    assert.equal(ran.code, 1)
    assert.deepEqual(failed(reportOf(ran)), ["index root"])
    assert.equal(check(reportOf(ran), "index root").code, "KEY_NOT_ALLOWED")
  } finally {
    home.remove()
  }
})

test("doctor checks a KMS that keeps no secrets, and minds that only where a pepper was asked for", async () => {
  const home = new Home()
  const name = `ENCX_TEST_${process.pid}`
  process.env[name] = randomBytes(32).toString("base64")
  try {
    const argv = ["doctor", "--kms", "env://", "--alias", name, "--json"]
    const report = reportOf(await home.ok(argv))
    assert.equal(check(report, "pepper").ok, true)
    assert.doesNotMatch(JSON.stringify(report), /in the KMS/)
    const asked = reportOf(await home.encx([...argv, "--pepper-alias", "app"]))
    assert.deepEqual(failed(asked), ["pepper"])
    assert.match(check(asked, "pepper").hint ?? "", /--secrets/)
    await home.ok([...argv, "--pepper-alias", "app", "--no-pepper"])
  } finally {
    delete process.env[name]
    home.remove()
  }
})

test("doctor takes no configuration for granted, and quotes no key that was given for a name", async () => {
  const home = new Home()
  const key = randomBytes(32).toString("base64")
  const unpadded = key.slice(0, 43)
  try {
    for (const argv of [
      ["--kms", `vault:key=${key}`],
      ["--kms", `env://${encodeURIComponent(key)}`, "--alias", key],
      ["--kms", "env://", "--alias", key],
      ["--kms", "env://", "--alias", `aA1${unpadded.slice(0, 40)}`],
      ["--kms", "env://", "--alias", "A", "--secrets", `memory://${unpadded}`],
      ["--kms", "env://", "--alias", randomBytes(32).toString("hex"), "--pepper-alias", key],
      ["--pepper-alias", key],
      ["--kms", `local:///k?key=${key}`],
      ["--kms", key],
    ]) {
      for (const how of [[], ["--json"]]) {
        const ran = await home.encx(["doctor", ...argv, ...how])
        assert.equal(ran.code, 1, argv.join(" "))
        assert.ok(
          !ran.stdout.includes(unpadded.slice(0, 20)) && !ran.stderr.includes(unpadded.slice(0, 20)),
          ran.stdout,
        )
      }
    }
    const unknown = reportOf(await home.encx(["doctor", "--kms", "vault:x", "--json"]))
    assert.deepEqual(failed(unknown), ["configuration"])
    assert.equal(unknown.provider, undefined)
    assert.match(check(unknown, "configuration").hint ?? "", /known are/)
  } finally {
    home.remove()
  }
})

test("doctor says what put each setting there", async () => {
  const home = new Home()
  try {
    const env = { ENCX_KMS: `local://${home.path("k.json")}`, ENCX_KEK_ALIAS: "env", ENCX_PEPPER_ALIAS: "peppers" }
    await home.ok(["keys", "create"], { env })
    const { detail } = check(reportOf(await home.ok(["doctor", "--alias", "env", "--json"], { env })), "configuration")
    assert.match(detail, /k\.json \(ENCX_KMS\), key "env" \(--alias\), .*pepper "peppers" \(ENCX_PEPPER_ALIAS\)$/)
  } finally {
    home.remove()
  }
})

// --- Services that fail ---

async function examined(
  change: (services: ReturnType<typeof memory>) => Partial<KeyManagementService & ReturnType<typeof memory>>,
  signal: AbortSignal = SILENT_IO.signal,
): Promise<Report> {
  const kept = memory()
  await kept.createKey("app")
  await kept.storePepper(
    "app",
    new Uint8Array(32).map((_, i) => i),
  )
  const kms = { ...kept, ...change(kept) }
  const written: string[] = []
  const write = (text: string | Uint8Array, done?: () => void): void => {
    written.push(String(text))
    done?.()
  }
  const io = { ...SILENT_IO, signal, stdout: { write } }
  const checkup = new Checkup(io, true)
  const services: Services = { kms, alias: "app", secrets: kms, pepperAlias: "app" }
  await examine(checkup, services, io, { pepper: true })
  await checkup.finish({})
  return JSON.parse(written.join("")) as Report
}

const denied = (operation: string): AccessDenied =>
  new AccessDenied(`Cannot ${operation}: access denied`, { provider: "aws-kms", operation, hint: `allow ${operation}` })

test("doctor shows the hint of a permission that is missing, and goes on", async () => {
  const noWrap = await examined(() => ({ encryptDEK: () => Promise.reject(denied("encryptDEK")) }))
  assert.deepEqual(failed(noWrap), ["wrap", "index root"])
  assert.deepEqual(check(noWrap, "wrap"), {
    check: "wrap",
    ok: false,
    detail: "Cannot encryptDEK: access denied",
    hint: "allow encryptDEK",
    code: "ACCESS_DENIED",
  })
  assert.deepEqual(noWrap.notChecked, ["unwrap", "wrap latency"])
  const noUnwrap = await examined(() => ({ decryptDEK: () => Promise.reject(denied("decryptDEK")) }))
  assert.deepEqual(failed(noUnwrap), ["unwrap", "index root"])
  assert.equal(check(noUnwrap, "wrap latency").ok, true)
  const noMaking = await examined(() => ({ generateDEK: () => Promise.reject(denied("generateDEK")) }))
  assert.deepEqual(failed(noMaking), ["generate", "index root"])
  const noDescription = await examined(() => ({ describeKey: () => Promise.reject(denied("describeKey")) }))
  assert.deepEqual(failed(noDescription), ["key version", "index root"])
})

test("doctor tells a KMS that unwraps another key, or answers for another", async () => {
  const other = await examined(() => ({ decryptDEK: () => Promise.resolve(new Uint8Array(32)) }))
  assert.ok(failed(other).includes("unwrap"))
  assert.match(check(other, "unwrap").detail, /is another/)
  const named = await examined((kept) => ({
    encryptDEK: async (...call) => ({ ...(await kept.encryptDEK(...call)), keyID: "another" }),
  }))
  assert.match(check(named, "wrap").detail, /answered for the key "another"/)
})

test("doctor tells absent from could not ask", async () => {
  const unasked = (operation: string) => () =>
    Promise.reject(new SecretStorageUnavailable("Cannot read the secret: no answer", { provider: "memory", operation }))
  const report = await examined(() => ({ getPepper: unasked("getPepper") }))
  assert.deepEqual(
    [check(report, "pepper").code, check(report, "pepper").detail],
    ["SECRET_STORAGE_UNAVAILABLE", "Cannot read the secret: no answer"],
  )
  assert.match(check(report, "index root").detail, /^absent/)
  const down = await examined(() => ({
    getKeyID: () => Promise.reject(new KMSUnavailable("Cannot ask", { provider: "memory", operation: "getKeyID" })),
  }))
  assert.equal(check(down, "key").code, "KMS_UNAVAILABLE")
})

test("doctor refuses a pepper that no program starts with", async () => {
  const flat = await examined((kept) => ({
    getPepper: async (...call) =>
      (await kept.getPepper(...call)).map((each) => ({ ...each, value: new Uint8Array(32) })),
  }))
  assert.match(check(flat, "pepper").detail, /all zero/)
  const unstaged = await examined((kept) => ({
    getPepper: async (...call) =>
      (await kept.getPepper(...call)).map((each) => ({ ...each, stage: "previous" as const })),
  }))
  assert.match(check(unstaged, "pepper").detail, /none is current/)
})

test("doctor tells what the provider found, and a diagnosis that breaks off", async () => {
  const report = await examined(() => ({
    diagnose: async function* () {
      yield { check: "region", ok: true, detail: "eu-west-1" }
      yield { check: "clock", ok: false, detail: "400 s behind", hint: "set it" }
      throw new Error("it broke")
    },
  }))
  assert.deepEqual(failed(report), ["clock", "provider", "index root"])
  assert.equal(check(report, "clock").hint, "set it")
  assert.equal(check(report, "provider").detail, "it broke")
  assert.equal(check(report, "key").ok, true)
})

test("doctor that is interrupted ends", async () => {
  const controller = new AbortController()
  const run = examined(
    () => ({
      encryptDEK: async (_id, _dek, _context, options) => {
        controller.abort(new Error("enough"))
        options?.signal?.throwIfAborted()
        throw new Error("it was given no signal")
      },
    }),
    controller.signal,
  )
  await assert.rejects(run, /enough/)
})
