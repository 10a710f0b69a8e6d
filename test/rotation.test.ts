import assert from "node:assert/strict"
import { after, before, describe, it } from "node:test"
import { assertManyRotate, assertSurvivesKills } from "./_rotation.ts"
import { DATABASES, type DatabaseServer } from "./providers/_databases.ts"

// With more of both: npm run test:rotation.
const [PROCESSES, ROTATIONS] = [4, 10]

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
    it("leaves the old or the new state when the process is killed after any change, and the next rotation works", async () => {
      assert.deepEqual(await assertSurvivesKills(() => server.fresh(), "changes"), { old: 3, new: 1 })
    })
  })
}
