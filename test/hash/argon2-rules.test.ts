// The Go library has three sets of rules for Argon2's parameters, and two defaults.
import assert from "node:assert/strict"
import { globSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { describe, it } from "node:test"
import { type Argon2Options, argon2Problem, PasswordHasher } from "../../core/hash/password.ts"
import { Peppers } from "../../core/hash/pepper.ts"
import { DEFAULT_COST, parsePHC } from "../../core/hash/phc.ts"
import { InvalidConfiguration, newCrypto, withArgon2, withBootstrap, withKEKAlias, withKMSService } from "../../mod.ts"
import { memory } from "../../providers/memory.ts"

const root = resolve(import.meta.dirname, "../..")
const source = (path: string): string => readFileSync(join(root, path), "utf8")

describe("defect 28: the parameters of Argon2", () => {
  const COSTS: readonly Argon2Options[] = [
    {},
    { memoryKiB: 65_536, iterations: 3, parallelism: 2 },
    { memoryKiB: 19_456, iterations: 2, parallelism: 1 },
    { memoryKiB: 19_455, iterations: 2, parallelism: 1 },
    { memoryKiB: 8_192, iterations: 2, parallelism: 1 },
    { memoryKiB: 4_096, iterations: 1, parallelism: 1 },
    { memoryKiB: 7_168, iterations: 5, parallelism: 1 },
    { memoryKiB: 262_145 },
    { memoryKiB: 1_048_576, iterations: 1 },
    { iterations: 0 },
    { iterations: 100 },
    { parallelism: 0 },
    { parallelism: 17 },
    { parallelism: 255 },
    { memoryKiB: 65_536.5 },
  ]

  it("have one set of rules, which newCrypto() and the hasher share", async () => {
    let refused = 0
    for (const cost of COSTS) {
      const kms = memory()
      const start = () =>
        newCrypto(withKMSService(kms), withKEKAlias("app"), withBootstrap({ createKEK: true }), withArgon2(cost))
      const problem = argon2Problem(cost)
      if (problem === undefined) {
        await (await start()).close()
        continue
      }
      refused++
      await assert.rejects(start(), (error) => {
        assert.ok(error instanceof InvalidConfiguration)
        assert.ok(error.message.includes(problem), `${error.message} says that ${problem}`)
        return true
      })
    }
    assert.ok(refused >= 9 && refused < COSTS.length)
  })

  it("have one default, which is what is hashed with and needs no rehash", async () => {
    const hasher = new PasswordHasher(new Peppers([new Uint8Array(32).fill(7)]), {})
    const hash = await hasher.hash("password", {})
    const { memoryKiB, iterations, parallelism } = parsePHC(hash)
    assert.deepEqual({ memoryKiB, iterations, parallelism }, DEFAULT_COST)
    assert.equal(hasher.needsRehash(hash), false)
  })

  it("are checked at one place, and neither the environment nor the command has others", () => {
    const checkers = globSync("{core,cli,providers}/**/*.ts", { cwd: root }).filter((path) =>
      /\bfloorProblem\b/.test(source(path)),
    )
    assert.deepEqual(checkers.map((path) => path.replaceAll("\\", "/")).sort(), [
      "core/hash/password.ts",
      "core/hash/phc.ts",
    ])
    for (const path of ["core/config.ts", ...globSync("cli/*.ts", { cwd: root })])
      assert.ok(!/memoryKiB|iterations|parallelism/.test(source(path)), path)
  })
})
