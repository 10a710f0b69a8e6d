import assert from "node:assert/strict"
import { chmodSync, statSync, symlinkSync, truncateSync } from "node:fs"
import process from "node:process"
import { test } from "node:test"
import { Interrupted } from "../../cli/_errors.ts"
import { assertFailed, errorOf, Home, meeting } from "./_encx.ts"

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const POSIX = process.platform !== "win32"

test("seal and open give the file again, mode 0600, and leave nothing else", async () => {
  const home = await Home.withKeys()
  try {
    const file = home.write("a.txt", "hello")
    const sealed = await home.ok(["seal", file])
    assert.match(sealed.stdout, /^Sealed .*a\.txt into .*a\.txt\.encx \(\d+ bytes\)\.\n$/)
    assert.equal(sealed.stderr, "")
    await home.ok(["open", `${file}.encx`, "-o", home.path("b.txt")])
    assert.deepEqual(home.read("b.txt"), utf8("hello"))
    assert.deepEqual(home.names(), ["a.txt", "a.txt.encx", "b.txt"])
    if (POSIX) for (const name of ["a.txt.encx", "b.txt"]) assert.equal(statSync(home.path(name)).mode & 0o777, 0o600)
  } finally {
    home.remove()
  }
})

test("open takes the name without .encx, and asks for one where there is none", async () => {
  const home = await Home.withKeys()
  try {
    await home.ok(["seal", home.write("a.txt", "hello"), "-o", home.path("c.txt.encx")])
    await home.ok(["open", home.path("c.txt.encx")])
    assert.deepEqual(home.read("c.txt"), utf8("hello"))
    assertFailed(await home.encx(["open", home.path("a.txt"), "--json"]), 2, "USAGE")
  } finally {
    home.remove()
  }
})

test("seal and open are pipes with -", async () => {
  const home = await Home.withKeys()
  try {
    const plaintext = utf8("x".repeat(5000))
    const sealed = await home.ok(["seal", "-"], { stdin: plaintext })
    const opened = await home.ok(["open", "-"], { stdin: sealed.bytes })
    assert.deepEqual(opened.bytes, plaintext)
    assert.deepEqual(home.names(), [])
    assertFailed(await home.encx(["seal", "-", "--json"], { stdin: plaintext }), 2, "USAGE")
  } finally {
    home.remove()
  }
})

test("open needs the context that seal was given", async () => {
  const home = await Home.withKeys()
  try {
    await home.ok(["seal", home.write("a", "hello"), "--context", "tenant=acme", "--context", "q=a=b"])
    const open = (...context: string[]) =>
      home.encx(["open", home.path("a.encx"), "-o", home.path("b"), "--json", ...context])
    assertFailed(await open(), 1, "DECRYPTION_FAILED")
    assertFailed(await open("--context", "tenant=acme", "--context", "q=c"), 1, "DECRYPTION_FAILED")
    assertFailed(await open("--context", "tenant"), 2, "USAGE")
    assertFailed(await open("--context", "q=a", "--context", "q=b"), 2, "USAGE")
    assert.equal(home.exists("b"), false)
    assert.equal((await open("--context", "q=a=b", "--context", "tenant=acme")).code, 0)
  } finally {
    home.remove()
  }
})

test("open writes nothing when a bit was changed", async () => {
  const home = await Home.withKeys()
  try {
    await home.ok(["seal", home.write("a", "hello")])
    const envelope = home.read("a.encx")
    envelope[envelope.length - 1] = (envelope.at(-1) as number) ^ 1
    home.write("a.encx", envelope)
    assertFailed(await home.encx(["open", home.path("a.encx"), "-o", home.path("b"), "--json"]), 1, "DECRYPTION_FAILED")
    assert.deepEqual(home.names(), ["a", "a.encx"])
  } finally {
    home.remove()
  }
})

test("an existing output is refused without --force, before it is touched", async () => {
  const home = await Home.withKeys()
  try {
    const file = home.write("a", "new")
    home.write("a.encx", "old")
    assertFailed(await home.encx(["seal", file, "--json"]), 1, "FILE_EXISTS")
    assert.deepEqual(home.read("a.encx"), utf8("old"))
    await home.ok(["seal", file, "--force"])
    home.write("a", "old")
    const text = await home.encx(["open", `${file}.encx`])
    assert.equal(text.code, 1)
    assert.match(text.stderr, /^encx: Cannot write ".*a": it exists already\n {2}replace it with --force/)
    await home.ok(["open", `${file}.encx`, "--force"])
    assert.deepEqual(home.read("a"), utf8("new"))
  } finally {
    home.remove()
  }
})

test("of many that seal into one file at once, one does, and the others leave it alone", async () => {
  const home = await Home.withKeys()
  try {
    const texts = Array.from({ length: 8 }, (_, i) => `text ${i}`)
    const all = meeting(texts.length)
    // Whoever reads has found no such file: all find none, and then all write.
    const late = async function* (text: string): AsyncGenerator<Uint8Array> {
      await all()
      yield utf8(text)
    }
    const ran = await Promise.all(
      texts.map((text) => home.encx(["seal", "-", "-o", home.path("one"), "--json"], { stdin: late(text) })),
    )
    const winner = texts.filter((_, i) => ran[i]?.code === 0)
    assert.equal(winner.length, 1)
    for (const each of ran.filter(({ code }) => code !== 0)) {
      assertFailed(each, 1, "FILE_EXISTS")
      assert.match(errorOf(each).message, /^Cannot write ".*one": it exists already$/)
    }
    assert.deepEqual(home.names(), ["one"])
    const { stdout } = await home.ok(["open", home.path("one"), "-o", "-"])
    assert.deepEqual([stdout], winner)
  } finally {
    home.remove()
  }
})

test("a file that came while another was sealed stays as it is", async () => {
  const home = await Home.withKeys()
  try {
    const meanwhile = async function* (): AsyncGenerator<Uint8Array> {
      home.write("one", "of another program")
      yield utf8("mine")
    }
    const ran = await home.encx(["seal", "-", "-o", home.path("one"), "--json"], { stdin: meanwhile() })
    assertFailed(ran, 1, "FILE_EXISTS")
    assert.deepEqual(home.read("one"), utf8("of another program"))
    assert.deepEqual(home.names(), ["one"])
  } finally {
    home.remove()
  }
})

test("--force replaces no folder", async () => {
  const home = await Home.withKeys()
  try {
    assertFailed(
      await home.encx(["seal", home.write("a", "x"), "-o", home.folder, "--force", "--json"]),
      1,
      "FILE_ERROR",
    )
  } finally {
    home.remove()
  }
})

test("inspect tells the keys and needs none", async () => {
  const home = await Home.withKeys()
  const other = new Home()
  try {
    await home.ok(["seal", home.write("a", "hello"), "--context", "k=v"])
    const text = await other.ok(["inspect", home.path("a.encx")])
    assert.match(text.stdout, /context +needed to open it/)
    assert.match(text.stdout, /body +77 bytes\nplaintext +5 bytes\n/)
    assert.match(text.stdout, /local +[0-9a-f-]{36} +1 +104/)
    const json = JSON.parse((await other.ok(["inspect", home.path("a.encx"), "--json"])).stdout)
    assert.equal(json.hasContext, true)
    assert.equal(json.keys[0].provider, "local")
    const piped = await other.ok(["inspect", "-"], { stdin: home.read("a.encx") })
    assert.equal(piped.stdout, text.stdout)
    assertFailed(await other.encx(["inspect", home.path("a"), "--json"]), 1, "INVALID_FORMAT")
  } finally {
    home.remove()
    other.remove()
  }
})

test("inspect reads the beginning of a file of any size", async () => {
  const home = await Home.withKeys()
  try {
    await home.ok(["seal", home.write("a", "hello")])
    const header = home.read("a.encx").length - 77
    truncateSync(home.path("a.encx"), 2 ** 36)
    const { bodyBytes, plainBytes } = JSON.parse((await home.ok(["inspect", home.path("a.encx"), "--json"])).stdout)
    assert.equal(bodyBytes, 2 ** 36 - header)
    assert.ok(plainBytes < bodyBytes && plainBytes > bodyBytes * 0.999)
  } finally {
    home.remove()
  }
})

test("a file of another key is refused, and the key is named", async () => {
  const home = await Home.withKeys()
  const other = await Home.withKeys()
  try {
    await home.ok(["seal", home.write("a", "hello")])
    const ran = await other.encx(["open", home.path("a.encx"), "-o", home.path("b"), "--json"])
    assertFailed(ran, 1, "KEY_NOT_ALLOWED")
    assert.equal(home.exists("b"), false)
  } finally {
    home.remove()
    other.remove()
  }
})

test("a missing file, a missing folder and a missing key are told apart", async () => {
  const home = await Home.withKeys()
  const empty = new Home()
  try {
    assertFailed(await home.encx(["seal", home.path("none"), "--json"]), 1, "FILE_NOT_FOUND")
    assertFailed(
      await home.encx(["seal", home.write("a", "x"), "-o", home.path("none/a"), "--json"]),
      1,
      "FILE_NOT_FOUND",
    )
    const noKey = await empty.encx(["seal", home.path("a"), "-o", empty.path("a.encx")])
    assert.equal(noKey.code, 1)
    assert.match(noKey.stderr, /^encx: Cannot find the key "default".*\n {2}.*encx keys create/)
    assert.equal(empty.exists(".encx"), false, "nothing is made silently")
    assert.deepEqual(empty.names(), [])
  } finally {
    home.remove()
    empty.remove()
  }
})

test("a key file that others may read is refused", { skip: !POSIX }, async () => {
  const home = await Home.withKeys()
  try {
    chmodSync(home.keyFile, 0o644)
    const ran = await home.encx(["seal", home.write("a", "x"), "--json"])
    assertFailed(ran, 1, "UNSAFE_FILE")
    assert.match(ran.stdout, /chmod 600/)
    assert.deepEqual(home.names(), ["a"])
  } finally {
    home.remove()
  }
})

test("a key file behind a link is refused", { skip: !POSIX }, async () => {
  const home = await Home.withKeys()
  try {
    symlinkSync(home.keyFile, home.path("link.json"))
    assertFailed(
      await home.encx(["seal", home.write("a", "x"), "--kms", `local://${home.path("link.json")}`, "--json"]),
      1,
      "UNSAFE_FILE",
    )
  } finally {
    home.remove()
  }
})

test("Ctrl-C ends with 130 and leaves nothing", async () => {
  const home = await Home.withKeys()
  try {
    const signal = AbortSignal.abort(new Interrupted())
    const ran = await home.encx(["seal", home.write("a", "x")], { signal })
    assert.equal(ran.code, 130)
    assert.equal(ran.stderr, "encx: interrupted; what is there is whole\n")
    assert.deepEqual(home.names(), ["a"])
  } finally {
    home.remove()
  }
})

test("Ctrl-C is heard while standard input has nothing to say", async () => {
  const home = await Home.withKeys()
  try {
    const controller = new AbortController()
    const running = home.encx(["seal", "-", "-o", home.path("a.encx")], { stdin: "silent", signal: controller.signal })
    setTimeout(() => controller.abort(new Interrupted()), 50)
    assert.equal((await running).code, 130)
    assert.deepEqual(home.names(), [])
  } finally {
    home.remove()
  }
})
