import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { dirname, join } from "node:path"
import process from "node:process"
import { describe, it } from "node:test"
import {
  AuthenticationFailed,
  DecryptionFailed,
  EncxError,
  InvalidConfiguration,
  InvalidFormat,
  KeyNotFound,
  KMSUnavailable,
  SecretStorageUnavailable,
  UnsafeFile,
} from "../../core/errors.ts"
import { keyFile } from "../../providers/_key-file.ts"
import { keyStoreServices } from "../../providers/_key-store.ts"
import type { FileSystem } from "../../providers/_safe-file.ts"
import { type LocalServices, local } from "../../providers/local.ts"
import { keyManagementServiceSuite, secretManagementServiceSuite } from "../../testing.ts"
import { runScript } from "../_script.ts"
import { bytes32, rejectsWith } from "../suites/_assert.ts"
import { inFolder, newFolder, snapshot, watchedFileSystem } from "./_files.ts"

const PASSPHRASE = "correct horse battery staple"

for (const [name, options] of [
  ["local", {}],
  ["local under a passphrase", { passphrase: PASSPHRASE }],
] as const) {
  const open = (): { services: LocalServices; close(): Promise<void> } => {
    const { folder, remove } = newFolder()
    const services = local({ path: join(folder, "keys", "keys.json"), ...options })
    return {
      services,
      close: async () => {
        await services.close()
        remove()
      },
    }
  }
  keyManagementServiceSuite(name, async () => {
    const { services, close } = open()
    await services.createKey("app")
    return { kms: services, alias: "app", close }
  })
  secretManagementServiceSuite(name, () => {
    const { services, close } = open()
    return { secrets: services, close }
  })
}

/** A key file with the key "app". */
async function withKeyFile(
  run: (file: { path: string; folder: string; keyID: string }) => Promise<void>,
  passphrase?: string,
): Promise<void> {
  await inFolder(async (outer) => {
    const folder = join(outer, "keys")
    const path = join(folder, "keys.json")
    const kms = local(passphrase === undefined ? { path } : { path, passphrase })
    await run({ path, folder, keyID: await kms.createKey("app") })
  })
}

const modeOf = (path: string): string => (lstatSync(path).mode & 0o777).toString(8)

describe("local()", () => {
  for (const umask of [0, 0o022, 0o077]) {
    it(`createKey() makes a file 0600 in a folder 0700 when the umask is ${umask.toString(8)}`, async () => {
      const before = process.umask(umask)
      try {
        await withKeyFile(async ({ path, folder }) => {
          assert.deepEqual([modeOf(folder), modeOf(path), modeOf(`${path}.lock`)], ["700", "600", "600"])
        })
      } finally {
        process.umask(before)
      }
    })
  }

  it("getKeyID() says that there is none, with a hint, and creates nothing when there is no file", async () => {
    await inFolder(async (folder) => {
      const path = join(folder, "not", "yet", "keys.json")
      const hint = new RegExp(`create it first.*${path}`)
      await assert.rejects(local({ path }).getKeyID("app"), { code: "KEY_NOT_FOUND", hint })
      await assert.rejects(local({ path, passphrase: PASSPHRASE }).getPepper("app"), { code: "SECRET_NOT_FOUND", hint })
      assert.equal(await local({ path }).pepperExists("app"), false)
      assert.deepEqual(readdirSync(folder), [])
    })
  })

  it("getKeyID() sees at once what another process or object changed", async () => {
    await withKeyFile(async ({ path, keyID }) => {
      const [first, second] = [local({ path }), local({ path })]
      assert.equal((await first.describeKey(keyID)).currentVersion, 1)
      await second.rotateKey(keyID)
      assert.equal((await first.describeKey(keyID)).currentVersion, 2)
    })
  })

  it("createKey() takes away what a killed writer left, and nothing else", async () => {
    await withKeyFile(async ({ path, folder }) => {
      const leftover = `${path}.0123456789abcdef.tmp`
      const others = [`${path}.bak`, `${path}.0123.tmp`, join(folder, "other.json.0123456789abcdef.tmp")]
      for (const each of [leftover, ...others]) writeFileSync(each, "{}", { mode: 0o600 })
      await local({ path }).createKey("second")
      assert.deepEqual(
        readdirSync(folder).sort(),
        [path, `${path}.lock`, ...others].map((each) => each.slice(folder.length + 1)).sort(),
      )
    })
  })

  it("local() refuses to start when NODE_ENV is production, unless it has a passphrase or is told otherwise", () => {
    const before = process.env["NODE_ENV"]
    const path = "/nowhere/keys.json"
    try {
      process.env["NODE_ENV"] = "production"
      assert.throws(() => local({ path }), InvalidConfiguration)
      assert.equal(local({ path, passphrase: PASSPHRASE }).provider, "local")
      assert.equal(local({ path, allowInProduction: true }).provider, "local")
    } finally {
      if (before === undefined) delete process.env["NODE_ENV"]
      else process.env["NODE_ENV"] = before
    }
  })

  it("local() refuses a path when it is not absolute, or none that the system takes", () => {
    assert.throws(() => local({ path: "keys.json" }), InvalidConfiguration)
    assert.throws(() => local({ path: "" }), InvalidConfiguration)
    const misspelt = { path: "/nowhere/keys.json", passphrse: "hunter2" }
    assert.throws(() => local(misspelt), /there is no option "passphrse"$/)
    assert.throws(() => local({ path: "/nowhere/keys\0.json" }), InvalidConfiguration)
  })
})

// --- What is refused ---

type Spoil = (file: { path: string; folder: string }) => void
const UNSAFE: Readonly<Record<string, Spoil>> = {
  "the file is a symbolic link": ({ path }) => {
    renameSync(path, `${path}.target`)
    symlinkSync(`${path}.target`, path)
  },
  "the file has a second name": ({ path }) => linkSync(path, `${path}.link`),
  "the file may be read by all": ({ path }) => chmodSync(path, 0o644),
  "the file may be read by its group": ({ path }) => chmodSync(path, 0o640),
  "the folder may be written by its group": ({ folder }) => chmodSync(folder, 0o770),
  "the folder may be written by all": ({ folder }) => chmodSync(folder, 0o1777),
  "the file is a folder": ({ path }) => {
    rmSync(path)
    mkdirSync(path)
  },
  "the file is too large": ({ path }) => writeFileSync(path, " ".repeat(2 ** 20 + 1)),
}
const UNSAFE_LOCK: Readonly<Record<string, Spoil>> = {
  "the lock is a symbolic link": ({ path }) => {
    writeFileSync(`${path}.victim`, "keep me", { mode: 0o600 })
    rmSync(`${path}.lock`)
    symlinkSync(`${path}.victim`, `${path}.lock`)
  },
  "the lock has a second name": ({ path }) => linkSync(`${path}.lock`, `${path}.link`),
  "the lock may be read by all": ({ path }) => chmodSync(`${path}.lock`, 0o644),
}

const POSIX = { skip: process.platform === "win32" }

describe("local(): files that others could read or replace", POSIX, () => {
  for (const [what, spoil] of Object.entries(UNSAFE)) {
    it(`every method rejects and changes nothing when ${what}`, async () => {
      await withKeyFile(async ({ path, folder, keyID }) => {
        assert.equal(await local({ path }).getKeyID("app"), keyID)
        spoil({ path, folder })
        const before = snapshot(folder)
        const kms = local({ path })
        await rejectsWith(kms.getKeyID("app"), UnsafeFile)
        await rejectsWith(kms.pepperExists("app"), UnsafeFile)
        await rejectsWith(kms.createKey("other"), UnsafeFile)
        await rejectsWith(kms.rotateKey(keyID), UnsafeFile)
        assert.deepEqual(snapshot(folder), before)
      })
    })
  }

  for (const [what, spoil] of Object.entries(UNSAFE_LOCK)) {
    it(`createKey() and rotateKey() reject and change nothing when ${what}`, async () => {
      await withKeyFile(async ({ path, folder, keyID }) => {
        await local({ path }).rotateKey(keyID)
        spoil({ path, folder })
        const before = snapshot(folder)
        await rejectsWith(local({ path }).createKey("other"), UnsafeFile)
        await rejectsWith(local({ path }).rotateKey(keyID), UnsafeFile)
        assert.deepEqual(snapshot(folder), before)
        assert.equal(await local({ path }).getKeyID("app"), keyID, "what only reads needs no lock")
      })
    })
  }

  it("every method rejects at once when the file, or its lock, is a FIFO", async () => {
    await withKeyFile(async ({ path, folder }) => {
      rmSync(`${path}.lock`)
      execFileSync("mkfifo", ["-m", "600", `${path}.lock`])
      await rejectsWith(local({ path }).createKey("other"), UnsafeFile)
      rmSync(`${path}.lock`)
      rmSync(path)
      execFileSync("mkfifo", ["-m", "600", path])
      // In a process of its own: opening a FIFO the wrong way waits for ever, and nothing in the process moves.
      const { stdout, stderr } = await runScript(new URL("./_open.ts", import.meta.url), {
        args: [path],
        timeoutMs: 10_000,
      })
      assert.deepEqual(stdout.trim(), `["UNSAFE_FILE","UNSAFE_FILE"]`, stderr)
      assert.ok(lstatSync(path).isFIFO())
      assert.ok(snapshot(folder).every((line) => !line.includes(".tmp")))
    })
  })

  it("createKey() leaves an unsafe folder empty", async () => {
    await inFolder(async (folder) => {
      const path = join(folder, "keys.json")
      chmodSync(folder, 0o770)
      await rejectsWith(local({ path }).createKey("app"), UnsafeFile)
      assert.deepEqual(readdirSync(folder), [])
      chmodSync(folder, 0o700)
      await local({ path }).createKey("app")
    })
  })

  it("every method rejects with a typed error when the lock is a folder, or no lock of ours", async () => {
    await withKeyFile(async ({ path, keyID }) => {
      rmSync(`${path}.lock`)
      mkdirSync(`${path}.lock`)
      await rejectsWith(local({ path }).rotateKey(keyID), EncxError)
      rmSync(`${path}.lock`, { recursive: true })
      writeFileSync(`${path}.lock`, "this is not a database, and it is longer than a header ".repeat(100), {
        mode: 0o600,
      })
      await rejectsWith(local({ path }).rotateKey(keyID), EncxError)
      rmSync(`${path}.lock`)
      assert.equal((await local({ path }).rotateKey(keyID)).currentVersion, 2)
    })
  })
})

describe("local(): files that are not whole", () => {
  for (const passphrase of [undefined, PASSPHRASE]) {
    it(`every method rejects when ${passphrase === undefined ? "the file" : "a file under a passphrase"} is cut anywhere`, async () => {
      await withKeyFile(async ({ path, keyID }) => {
        const whole = readFileSync(path)
        const kms = local(passphrase === undefined ? { path } : { path, passphrase })
        assert.equal(await kms.getKeyID("app"), keyID)
        for (let length = 0; length < whole.length; length++) {
          writeFileSync(path, whole.subarray(0, length))
          await rejectsWith(kms.getKeyID("app"), InvalidFormat)
          if (length % 50 !== 0) continue
          await rejectsWith(kms.rotateKey(keyID), InvalidFormat)
          assert.deepEqual(readFileSync(path), whole.subarray(0, length))
        }
        writeFileSync(path, whole)
        assert.equal(await kms.getKeyID("app"), keyID)
      }, passphrase)
    })
  }

  it("every method rejects when a property is unknown, missing or stands there twice", async () => {
    await withKeyFile(async ({ path, folder, keyID }) => {
      const kms = local({ path })
      await kms.storePepper("app", bytes32(1))
      const whole = readFileSync(path, "utf8")
      const objects = [...whole.matchAll(/\{"(\w+)":/g)]
      assert.equal(objects.length, 6, "the file, its data, a key, its version, a secret, its version")
      const changed = objects.flatMap(({ 0: start, 1: first, index }) => [
        `${whole.slice(0, index)}{"extra":1,${whole.slice(index + 1)}`,
        `${whole.slice(0, index)}{"__proto__":{},${whole.slice(index + 1)}`,
        `${whole.slice(0, index)}{"${first}":null,${whole.slice(index + 1)}`,
        `${whole.slice(0, index)}{"x${first}":${whole.slice(index + start.length)}`,
      ])
      assert.equal(await kms.getKeyID("app"), keyID)
      for (const content of changed) {
        writeFileSync(path, content)
        const before = snapshot(folder)
        await rejectsWith(kms.getKeyID("app"), InvalidFormat)
        await rejectsWith(kms.createKey("other"), InvalidFormat)
        assert.deepEqual(snapshot(folder), before)
      }
    })
  })

  it("every method rejects and changes nothing when the passphrase is another, missing, or one too many", async () => {
    await withKeyFile(async ({ path, folder, keyID }) => {
      const before = snapshot(folder)
      assert.equal(await local({ path, passphrase: PASSPHRASE }).getKeyID("app"), keyID)
      const wrong = local({ path, passphrase: `${PASSPHRASE}.` })
      await rejectsWith(wrong.getKeyID("app"), DecryptionFailed, AuthenticationFailed)
      await rejectsWith(wrong.createKey("other"), DecryptionFailed, AuthenticationFailed)
      await rejectsWith(local({ path }).getKeyID("app"), InvalidConfiguration)
      await rejectsWith(local({ path }).rotateKey(keyID), InvalidConfiguration)
      assert.deepEqual(snapshot(folder), before)
    }, PASSPHRASE)
    await withKeyFile(async ({ path, folder, keyID }) => {
      const before = snapshot(folder)
      const kms = local({ path, passphrase: PASSPHRASE })
      await rejectsWith(kms.getKeyID("app"), InvalidConfiguration)
      await rejectsWith(kms.rotateKey(keyID), InvalidConfiguration)
      assert.deepEqual(snapshot(folder), before)
    })
  })
})

// --- Faults of the disk ---

function over(path: string, fs: FileSystem): LocalServices {
  return keyStoreServices("local", keyFile(path, undefined, fs), "none")
}

/** Breaks the call with this number, from 1; a descriptor that is to be closed is closed all the same. */
function breakingAt(
  broken: number,
  code: string,
): { fs: FileSystem; broke: () => string | undefined; renamed: () => boolean } {
  let calls = 0
  let broke: string | undefined
  let renamed = false
  const fs = watchedFileSystem((name, call) => {
    if (++calls !== broken) {
      const result = call()
      if (name === "renameSync") renamed = true
      return result
    }
    broke = name
    if (name === "closeSync") call()
    throw Object.assign(new Error(`${code}: broken on purpose, ${name}`), { code })
  })
  return { fs, broke: () => broke, renamed: () => renamed }
}

describe("local(): faults of the disk", () => {
  for (const code of ["ENOSPC", "EIO", "EROFS"]) {
    it(`rotateKey() leaves the file whole and no remains when any call fails with ${code}`, async () => {
      const seen = new Set<string>()
      let failures = 0
      for (let n = 1; ; n++) {
        let finished = false
        await withKeyFile(async ({ path, folder, keyID }) => {
          const before = snapshot(folder)
          const { fs, broke, renamed } = breakingAt(n, code)
          const error = await over(path, fs)
            .rotateKey(keyID)
            .then(
              () => undefined,
              (reason: unknown) => reason,
            )
          finished = broke() === undefined
          if (finished) return assert.equal(error, undefined)
          seen.add(broke() as string)
          failures++
          assert.ok(error instanceof KMSUnavailable, `${broke()}: ${String(error)}`)
          assert.equal(error.retryable, true)
          assert.equal((error.cause as { code?: string }).code, code)
          if (!renamed()) assert.deepEqual(snapshot(folder), before, `${broke()}, call ${n}`)
          assert.deepEqual(readdirSync(folder).sort(), ["keys.json", "keys.json.lock"])
          const { currentVersion } = await local({ path }).describeKey(keyID)
          assert.equal(currentVersion, renamed() ? 2 : 1)
          assert.equal((await local({ path }).rotateKey(keyID)).currentVersion, currentVersion + 1)
        })
        if (finished) break
      }
      assert.ok(failures >= 15, `${failures} calls failed`)
      for (const name of ["openSync", "writeSync", "fsyncSync", "closeSync", "renameSync"])
        assert.ok(seen.has(name), name)
    })
  }

  it("getKeyID() says «could not ask», and not «absent», when the file cannot be read", async () => {
    await withKeyFile(async ({ path, keyID }) => {
      assert.equal(await over(path, breakingAt(0, "EIO").fs).getKeyID("app"), keyID)
      let n = 1
      for (; ; n++) {
        const { fs, broke } = breakingAt(n, "EIO")
        const reading = over(path, fs).getKeyID("absent")
        await rejectsWith(reading, ...((await reading.catch(() => broke())) ? [KMSUnavailable] : [KeyNotFound]))
        if (broke() === undefined) break
      }
      assert.ok(n > 4, `${n} calls`)
    })
  })

  it("every method of the secret store says SecretStorageUnavailable when the file cannot be read", async () => {
    await withKeyFile(async ({ path }) => {
      const broken = over(path, breakingAt(1, "EIO").fs)
      await rejectsWith(broken.getPepper("app"), SecretStorageUnavailable)
      await rejectsWith(over(path, breakingAt(1, "EIO").fs).pepperExists("app"), SecretStorageUnavailable)
      await rejectsWith(over(path, breakingAt(1, "EIO").fs).getIndexRoot("app"), SecretStorageUnavailable)
      await rejectsWith(over(path, breakingAt(1, "EIO").fs).storePepper("app", bytes32(1)), SecretStorageUnavailable)
    })
  })

  it("createKey() writes the whole file when the system takes a byte at a time", async () => {
    await withKeyFile(async ({ path }) => {
      let writes = 0
      const slow = watchedFileSystem((name, call, args) => {
        if (name !== "writeSync") return call()
        writes++
        const [descriptor, bytes, offset] = args as [number, Uint8Array, number]
        return call(descriptor, bytes, offset, 1)
      })
      const created = await over(path, slow).createKey("second")
      assert.ok(writes > 300)
      assert.equal(await local({ path }).getKeyID("second"), created)
    })
  })

  it("rotateKey() syncs the file before it renames it, and the folder after", async () => {
    await withKeyFile(async ({ path, keyID }) => {
      const log: string[] = []
      const fs = watchedFileSystem((name, call, args) => {
        const result = call()
        const what =
          name === "openSync"
            ? `open ${args[0] === dirname(path) ? "folder" : String(args[0]).endsWith(".tmp") ? "temporary" : ""}`
            : name
        if (/open (folder|temporary)|writeSync|fsyncSync|renameSync/.test(what)) log.push(what)
        return result
      })
      await over(path, fs).rotateKey(keyID)
      assert.deepEqual(log, ["open temporary", "writeSync", "fsyncSync", "renameSync", "open folder", "fsyncSync"])
    })
  })
})
