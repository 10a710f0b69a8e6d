/** `node:test`, loaded with the first suite that is declared: whoever imports `encx/testing` for its kit starts no runner. */
import process from "node:process"

interface Runner {
  describe(name: string, declare: () => void): unknown
  it(name: string, run: () => Promise<void> | void): unknown
}
const runner = (): Runner => process.getBuiltinModule("node:test")

/** As `describe` of `node:test`. */
export const describe: (name: string, declare: () => void) => void = (name, declare) => {
  runner().describe(name, declare)
}

/** As `it` of `node:test`. */
export const it: (name: string, run: () => Promise<void> | void) => void = (name, run) => {
  runner().it(name, run)
}
