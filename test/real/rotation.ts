// The long version of rotation.test.ts: npm run test:rotation
import assert from "node:assert/strict"
import { after, before, describe, it } from "node:test"
import { assertManyRotate, assertSurvivesKills } from "../_rotation.ts"
import { DATABASES, type DatabaseServer } from "../providers/_databases.ts"

const [PROCESSES, ROTATIONS] = [16, 100]

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

    it("leaves the old or the new state when the process is killed around any statement", async () => {
      const outcomes = await assertSurvivesKills(() => server.fresh(), "every statement")
      assert.ok(outcomes.old >= 8 && outcomes.new >= 3, JSON.stringify(outcomes))
    })
  })
}
