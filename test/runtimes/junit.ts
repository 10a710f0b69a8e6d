import { existsSync, readFileSync } from "node:fs"

export interface Counts {
  passed: number
  failed: number
  skipped: number
}

interface Case {
  readonly name: string
  readonly body: string
}

// Attributes are read one by one: Node leaves a «>» in them as it is.
const TESTCASE = /<testcase((?:\s+\w+="[^"]*")*)\s*(?:\/>|>([\s\S]*?)<\/testcase>)/g

/**
 * Counts the tests in a JUnit file; none where there is no file.
 *
 * @param files The test files, by the names the runtime was given
 */
export function countTests(path: string, files: readonly string[]): Counts {
  if (!existsSync(path)) return { passed: 0, failed: 0, skipped: 0 }
  const cases = [...readFileSync(path, "utf8").matchAll(TESTCASE)].map(([, attributes = "", body = ""]) => {
    return { name: /\bname="([^"]*)"/.exec(attributes)?.[1] ?? "", body }
  })
  const tests = cases.filter((each) => !isSuite(each, cases) && !isEmptyFile(each, files))
  const failed = tests.filter(isFailed).length
  const skipped = tests.filter(({ body }) => /<skipped\b/.test(body)).length
  return { passed: tests.length - failed - skipped, failed, skipped }
}

/** Deno lists a suite as a test, beside those in it. */
function isSuite({ name }: Case, cases: readonly Case[]): boolean {
  return cases.some((other) => other.name.startsWith(`${name} &gt; `))
}

/** Node lists a file that declares no test as one that passed. */
function isEmptyFile(each: Case, files: readonly string[]): boolean {
  return files.some((file) => file.endsWith(each.name)) && each.name.endsWith(".ts") && !isFailed(each)
}

function isFailed({ body }: Case): boolean {
  return /<(failure|error)\b/.test(body)
}
