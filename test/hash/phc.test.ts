import assert from "node:assert/strict"
import { test } from "node:test"
import { hex, randomBytes } from "../../core/bytes.ts"
import { PasswordHasher } from "../../core/hash/password.ts"
import { Peppers } from "../../core/hash/pepper.ts"
import { pepperID } from "../../core/hash/pepper-id.ts"
import { costProblem, floorProblem, formatPHC, parsePHC, type StoredHash } from "../../core/hash/phc.ts"
import { Busy, InvalidFormat } from "../../mod.ts"

const pepper = randomBytes(32)
const base64 = (length: number): string => Buffer.alloc(length, 0xa5).toString("base64").replaceAll("=", "")

const KEY_ID = Buffer.from(pepperID(pepper)).toString("base64").replaceAll("=", "")
const PARTS = {
  name: "encx2-argon2id",
  version: "v=19",
  m: "m=65536",
  t: "t=3",
  p: "p=4",
  keyid: `keyid=${KEY_ID}`,
  salt: base64(16),
  hash: base64(32),
}
type Parts = typeof PARTS

const phc = (changed: Partial<Parts> = {}): string => {
  const { name, version, m, t, p, keyid, salt, hash } = { ...PARTS, ...changed }
  return `$${name}$${version}$${[m, t, p, keyid].join(",")}$${salt}$${hash}`
}

// --- What is malformed ---

const NUMBERS = [
  "",
  "-1",
  "+4",
  " 4",
  "4 ",
  "04",
  "00",
  "4.0",
  "4e0",
  "0x4",
  "4_0",
  "1,5",
  "NaN",
  "Infinity",
  "null",
  "٤",
  "４",
  "4\0",
  "4\n",
  "99999999999",
  "4294967296",
  "4294967300",
  "18446744073709551616",
  "1e9",
]

const OUT_OF_RANGE: Readonly<Record<"m" | "t" | "p", readonly number[]>> = {
  m: [0, 1, 7, 8, 31, 262_145, 1_048_576, 4_294_967_295],
  t: [0, 17, 100, 255, 256, 4_294_967_295],
  p: [0, 17, 128, 255, 256, 257, 16_777_215, 4_294_967_295],
}

// What stands before and after the good string.
const STRANGERS = ["$", " ", "\n", "\0", "=", ",", "-", "\u00a0", "\ufeff", "\ud800", "é", "💧"]

const changes = (name: keyof Parts, values: readonly string[]): string[] =>
  values.map((value) => phc({ [name]: value }))
const parameters = (list: string): string => `$${PARTS.name}$${PARTS.version}$${list}$${PARTS.salt}$${PARTS.hash}`

// A length in bytes that is refused, and every way to spell bytes that is not the one.
function misspelt(good: string): string[] {
  const [first, last] = [good.slice(0, -1), good.slice(-1)]
  return [
    `${good}=`,
    `${good}==`,
    `=${first}`,
    `${first}=`,
    `${first}-`,
    `${first}_`,
    `${first}.`,
    `${first} `,
    `${first}\n`,
    `${first}\0`,
    `${first}é`,
    `${first}٤`,
    `${first}\ud83d`,
    ` ${good}`,
    `${good} `,
    // The last character's spare bits are set.
    `${first}${String.fromCharCode(last.charCodeAt(0) + 1)}`,
  ]
}

// The Go library's form is no form of ours: it is told by its prefix, and read elsewhere.
const FROM_GO = `$argon2id$v=19$m=65536,t=3,p=4$${PARTS.salt}$${PARTS.hash}`

const MALFORMED: readonly string[] = [
  ...new Set([
    "",
    " ",
    "$",
    "$$$$$",
    "$$$$$$",
    "password",
    PARTS.name,
    `$${PARTS.name}`,
    `$${PARTS.name}$`,
    "x".repeat(513),
    `${phc()}${"A".repeat(512)}`,
    `$${PARTS.name}${"$".repeat(500)}`,
    "$".repeat(512),
    ",".repeat(512),
    "x".repeat(2 ** 20),
    phc({ hash: "A".repeat(2 ** 20) }),
    phc({ m: `m=${"9".repeat(2 ** 20)}` }),
    phc({ m: `m=${"0".repeat(300)}65536` }),
    // What other programs write
    FROM_GO,
    "$2b$12$abcdefghijklmnopqrstuuO3uM6q0xG0gkz7f9b9x9b9x9b9x9b9x",
    "5f4dcc3b5aa765d61d8327deb882cf99",
    ...changes("name", [
      "",
      "argon2id",
      "argon2i",
      "argon2d",
      "encx2-argon2i",
      "encx2-argon2d",
      "encx-argon2id",
      "encx3-argon2id",
      "Encx2-argon2id",
      "encx2_argon2id",
      "encx2-argon2id ",
      " encx2-argon2id",
      "encx2-argon2id\0",
      "encx2-argon2idx",
    ]),
    ...changes("version", [
      "",
      "19",
      "v=",
      "v=16",
      "v=18",
      "v=20",
      "v=019",
      "v=19 ",
      " v=19",
      "V=19",
      "v=0x13",
      "v=1９",
      "v=19,",
      "v=+19",
      "v=19.0",
      "v=190",
      "w=19",
    ]),
    ...(["m", "t", "p"] as const).flatMap((name) => [
      ...changes(
        name,
        NUMBERS.map((number) => `${name}=${number}`),
      ),
      ...changes(
        name,
        OUT_OF_RANGE[name].map((number) => `${name}=${number}`),
      ),
      ...changes(name, [
        "",
        name,
        "4",
        `${name.toUpperCase()}=4`,
        ` ${name}=4`,
        `${name} =4`,
        `${name}==4`,
        `x=4`,
        `${PARTS[name]},${PARTS[name]}`,
      ]),
    ]),
    // m · t
    phc({ m: "m=262144", t: "t=5" }),
    phc({ m: "m=65537", t: "t=16" }),
    phc({ m: "m=131072", t: "t=9" }),
    phc({ m: "m=32", p: "p=5" }),
    phc({ m: "m=127", p: "p=16" }),
    ...[
      "",
      ",",
      ",,,",
      "m=65536",
      "m=65536,t=3",
      "m=65536,t=3,p=4",
      `t=3,m=65536,p=4,${PARTS.keyid}`,
      `m=65536,p=4,t=3,${PARTS.keyid}`,
      `p=4,t=3,m=65536,${PARTS.keyid}`,
      `${PARTS.keyid},m=65536,t=3,p=4`,
      `m=65536,t=3,${PARTS.keyid},p=4`,
      `m=65536,t=3,p=4,${PARTS.keyid},`,
      `,m=65536,t=3,p=4,${PARTS.keyid}`,
      `m=65536,,t=3,p=4,${PARTS.keyid}`,
      `m=65536,t=3,p=4,${PARTS.keyid},${PARTS.keyid}`,
      `m=65536,t=3,p=4,${PARTS.keyid},data=AAAA`,
      `m=65536,t=3,p=4,data=AAAA,${PARTS.keyid}`,
      `m=65536;t=3;p=4;${PARTS.keyid}`,
      `m=65536, t=3, p=4, ${PARTS.keyid}`,
    ].map(parameters),
    ...changes("keyid", [KEY_ID, "", "keyid", `KeyID=${KEY_ID}`, `keyid=${hex(pepperID(pepper))}`]),
    ...changes(
      "keyid",
      [0, 1, 2, 3, 5, 6, 8, 32].map((length) => `keyid=${base64(length)}`),
    ),
    ...changes(
      "keyid",
      misspelt(KEY_ID).map((each) => `keyid=${each}`),
    ),
    ...changes("salt", [0, 1, 7, 49, 50, 64, 300].map(base64)),
    ...changes("salt", misspelt(PARTS.salt)),
    ...changes("hash", [0, 1, 15, 65, 66, 128, 300].map(base64)),
    ...changes("hash", misspelt(PARTS.hash)),
    ...STRANGERS.flatMap((stranger) => [`${stranger}${phc()}`, `${phc()}${stranger}`]),
    ...["$", ",", "=", ""].flatMap((other) =>
      [...phc().matchAll(/[$,=]/g)].flatMap(({ 0: separator, index }) =>
        separator === other ? [] : [phc().slice(0, index) + other + phc().slice(index + 1)],
      ),
    ),
    phc().toUpperCase(),
    phc().replaceAll("$", "$$$$"),
    phc().slice(1),
    [...phc()].reverse().join(""),
  ]),
]

test("parsePHC() throws InvalidFormat when a string is malformed", () => {
  assert.equal(parsePHC(phc()).memoryKiB, 65_536)
  assert.ok(MALFORMED.length >= 300, `${MALFORMED.length}`)
  for (const stored of MALFORMED) assert.throws(() => parsePHC(stored), InvalidFormat, stored.slice(0, 200))
})

test("parsePHC() throws InvalidFormat when a string is cut anywhere", () => {
  const stored = formatPHC({ ...parsePHC(phc()), hash: randomBytes(64), salt: randomBytes(48) })
  assert.equal(parsePHC(stored).hash.length, 64)
  let shorter = 0
  for (let length = 0; length < stored.length; length++) {
    try {
      // A shorter hash is a hash; nothing else that is cut is.
      assert.ok(parsePHC(stored.slice(0, length)).hash.length < 64)
      assert.ok(length > stored.lastIndexOf("$"))
      shorter++
    } catch (error) {
      assert.ok(error instanceof InvalidFormat, String(error))
    }
  }
  assert.ok(shorter < 48)
})

test("parsePHC() throws InvalidFormat when it gets no text", () => {
  assert.equal(parsePHC(phc()).iterations, 3)
  for (const other of [undefined, null, 1, {}, [phc()], new String(phc()), Buffer.from(phc())] as unknown as string[]) {
    assert.throws(() => parsePHC(other), InvalidFormat)
  }
})

test("verify() refuses a malformed string in less than a millisecond when nothing may run", async () => {
  const hasher = new PasswordHasher(new Peppers([pepper]), {
    memoryKiB: 65_536,
    iterations: 3,
    parallelism: 4,
    concurrency: 1,
    queue: 0,
  })
  // The only place is taken, and nobody may wait: whatever ran Argon2 would be refused as busy.
  const holding = hasher.hash("password", {})
  await assert.rejects(hasher.verify("password", phc(), {}), Busy)
  for (const stored of MALFORMED) {
    await assert.rejects(hasher.verify("password", stored, {}), InvalidFormat)
    if (stored !== FROM_GO) assert.throws(() => hasher.needsRehash(stored), InvalidFormat)
  }
  const fresh = await holding
  assert.equal(await hasher.verify("password", fresh, {}), true)

  // The best of five: the machine may do something else meanwhile, and what takes long takes long each time.
  const best = MALFORMED.map((stored) => {
    const times = Array.from({ length: 5 }, () => {
      const start = performance.now()
      try {
        parsePHC(stored)
      } catch {
        // Counted above.
      }
      return performance.now() - start
    })
    return Math.min(...times)
  })
  assert.ok(Math.max(...best) < 1, `${Math.max(...best)} ms`)
})

// --- What is well-formed ---

test("parsePHC() is the way back from formatPHC() when parts are at their limits", () => {
  let read = 0
  for (const [memoryKiB, iterations] of [
    [8, 1],
    [8, 16],
    [262_144, 1],
    [262_144, 4],
    [65_536, 16],
    [19_456, 2],
  ] as const) {
    for (const parallelism of [1, 4, 16]) {
      if (memoryKiB < 8 * parallelism) continue
      for (const salt of [8, 16, 47, 48]) {
        for (const hash of [16, 32, 63, 64]) {
          const made: StoredHash = {
            memoryKiB,
            iterations,
            parallelism,
            keyID: randomBytes(4),
            salt: randomBytes(salt),
            hash: randomBytes(hash),
          }
          const stored = formatPHC(made)
          const parsed = parsePHC(stored)
          assert.deepEqual(parsed, made)
          assert.equal(formatPHC(parsed), stored)
          read++
        }
      }
    }
  }
  assert.equal(read, (2 * 1 + 4 * 3) * 16)
})

test("formatPHC() writes what FORMATS §6 says", () => {
  const stored = formatPHC({
    memoryKiB: 65_536,
    iterations: 3,
    parallelism: 4,
    keyID: new Uint8Array(4),
    salt: new Uint8Array(16),
    hash: new Uint8Array(32),
  })
  assert.equal(stored, `$encx2-argon2id$v=19$m=65536,t=3,p=4,keyid=AAAAAA$${"A".repeat(22)}$${"A".repeat(43)}`)
})

test("costProblem() tells of a cost when it is beyond a cap, and floorProblem() when it is below the floor", () => {
  const cost = (memoryKiB: number, iterations: number, parallelism = 1) => ({ memoryKiB, iterations, parallelism })
  for (const good of [cost(8, 1), cost(262_144, 4), cost(65_536, 16, 16), cost(128, 16, 16)])
    assert.equal(costProblem(good), undefined)
  const bad = [
    cost(7, 1),
    cost(127, 1, 16),
    cost(262_145, 1),
    cost(262_144, 5),
    cost(8, 0),
    cost(8, 17),
    cost(8, 1, 0),
    cost(200, 1, 17),
    cost(8.5, 1),
    cost(8, Number.NaN),
  ]
  for (const each of bad) assert.equal(typeof costProblem(each), "string")
  for (const [m, t] of [
    [47_104, 1],
    [19_456, 2],
    [12_288, 3],
    [9216, 4],
    [7168, 5],
  ] as const) {
    assert.equal(floorProblem(cost(m, t)), undefined)
    assert.equal(floorProblem(cost(m + 1, t)), undefined)
    assert.equal(floorProblem(cost(m, t + 1)), undefined)
    assert.equal(typeof floorProblem(cost(m - 1, t)), "string")
    if (t > 1) assert.equal(typeof floorProblem(cost(m, t - 1)), "string")
  }
})
