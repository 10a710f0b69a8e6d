import assert from "node:assert/strict"
import { after, before, describe, it } from "node:test"
import { assertManyRotate, assertSurvivesKills } from "./_rotation.ts"
import { DATABASES, type DatabaseServer } from "./providers/_databases.ts"

// With more of both: npm run test:rotation.
const [PROCESSES, ROTATIONS] = [8, 10]

for (const kind of DATABASES) {
  describe(`rotateKEK() on ${kind.name}`, kind.options, () => {
    let server: DatabaseServer
    before(async () => {
      server = await kind.start()
    })
    after(async () => await server?.close())

    it(`leaves no gap and fails nobody when ${PROCESSES} processes rotate ${ROTATIONS} times each`, async () => {
      await assertManyRotate(await server.fresh(), PROCESSES, ROTATIONS)
    })

    if (kind.name === "mariadb") return
    it("leaves the old or the new state when the process is killed around any statement, and the next rotation works", async () => {
      const outcomes = await assertSurvivesKills(() => server.fresh())
      assert.ok((outcomes["old"] ?? 0) >= 8 && (outcomes["new"] ?? 0) >= 3, JSON.stringify(outcomes))
    })
  })
}
