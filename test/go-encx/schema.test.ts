import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { GoField, goString, goTime, pointer } from "../../core/go-encx/mod.ts"
import { InvalidConfiguration, plain, record, text } from "../../mod.ts"

const options = { layout: "go-encx" } as const

function problems(table: string, fields: Record<string, unknown>, more: object = {}): readonly string[] {
  try {
    record(table, { ...options, ...more }, fields as never)
  } catch (error) {
    assert.ok(error instanceof InvalidConfiguration)
    return error.problems
  }
  return []
}

describe('record() of the layout "go-encx"', () => {
  it("takes plain fields, and fields that are encrypted, hashed or both", () => {
    const users = record("users", options, {
      ID: plain<number>(),
      Email: goString().encrypt().hashBasic(),
      Password: goString().hashSecure(),
      Recovery: pointer(goString()).encrypt().hashSecure(),
    })
    assert.equal(users.table, "users")
    assert.equal(users.layout, "go-encx")
    assert.ok(Object.isFrozen(users) && Object.isFrozen(users.fields))
  })

  it("lists every problem at once", () => {
    const both = new GoField(goString().type, { encrypted: true, hashedBasic: true, hashedSecure: true })
    const found = problems(
      "",
      {
        "first name": goString().encrypt(),
        __proto__x: plain(),
        Both: both,
        Nothing: goString(),
        Other: text().encrypt(),
        Junk: {},
        Absent: undefined,
        Metadata: plain(),
        Key_Version: plain(),
        Email: goString().encrypt(),
        email_encrypted: plain(),
        EMAIL: goString().hashBasic(),
        email: goString().hashBasic(),
      },
      { row: "ID", tenant: "Org" },
    )
    const wanted = [
      /its table has no name/,
      /it has a "row"/,
      /it has a "tenant"/,
      /"first name" is no name of a Go field/,
      /"Both" has both hashes/,
      /"Nothing" is neither plain, encrypted nor hashed/,
      /"Other" is no field of this layout/,
      /"Junk" is no field of this layout/,
      /"Absent" is no field of this layout/,
      /two of its columns are called "metadata"/,
      /two of its columns are called "key_version"/,
      /two of its columns are called "email_encrypted"/,
      /two of its columns are called "email_hash"/,
    ]
    for (const each of wanted)
      assert.ok(
        found.some((problem) => each.test(problem)),
        `${each} of ${found.join("\n")}`,
      )
    assert.equal(found.length, wanted.length)
  })

  it("refuses names that Go would not take, or lower-cases otherwise", () => {
    for (const name of ["", "1st", "a-b", "a b", "a.b", "İD", "ΟΔΟΣ", "\ud800", "a\u0000", "__proto__", "__PROTO__"])
      assert.ok(problems("t", { [name]: goString().encrypt() }).length > 0, JSON.stringify(name))
    // As a plain field, its column would be an object's prototype, and lost.
    assert.match(problems("t", { __PROTO__: plain(), A: goString().encrypt() })[0] ?? "", /cannot be called __PROTO__/)
    for (const name of ["Prénom", "名前", "_x", "X1", "constructor", "toString"])
      assert.deepEqual(problems("t", { [name]: goString().encrypt() }), [], name)
  })

  it("refuses both hashes in either order, and a schema of which nothing is sealed", () => {
    const sealed = goString() as unknown as {
      hashBasic(): { hashSecure(): unknown }
      hashSecure(): { hashBasic(): unknown }
    }
    assert.match(problems("t", { A: sealed.hashBasic().hashSecure() })[0] ?? "", /both hashes/)
    assert.match(problems("t", { A: sealed.hashSecure().hashBasic() })[0] ?? "", /both hashes/)
    assert.match(problems("t", { ID: plain() })[0] ?? "", /none of its fields is encrypted or hashed/)
    assert.match(problems("t", {})[0] ?? "", /none of its fields/)
  })

  it("refuses another layout, and fields of this one in the other: they would be stored as they are", () => {
    assert.throws(
      () => record("t", { layout: "go" } as never, { A: goString().encrypt() } as never),
      InvalidConfiguration,
    )
    assert.throws(
      () => record("t", { row: "unbound" }, { A: goTime().encrypt() } as never),
      (error: unknown) => error instanceof InvalidConfiguration && /"A" is no field of this layout/.test(error.message),
    )
  })

  it("keeps a field as it is when it says something more of it", () => {
    const email = goString()
    const sealed = email.encrypt()
    assert.deepEqual(email.spec, { encrypted: false, hashedBasic: false, hashedSecure: false })
    assert.deepEqual(sealed.hashBasic().spec, { encrypted: true, hashedBasic: true, hashedSecure: false })
    assert.deepEqual(sealed.spec, { encrypted: true, hashedBasic: false, hashedSecure: false })
    assert.equal(sealed.type.name, "string")
  })
})
