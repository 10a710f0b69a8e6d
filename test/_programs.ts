/** Runs programs as a person would write them, from a document or from `examples/`: `encx` is the source beside this file. */
import assert from "node:assert/strict"
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { type Ended, runScript, type ScriptOptions } from "./_script.ts"

const ROOT = resolve(import.meta.dirname, "..")
const EXPORTS = JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8")).exports as Record<string, string>

/** Lends a folder that only this user can read, and takes it away. */
export async function withFolder<Result>(use: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), "encx-program-"))
  chmodSync(folder, 0o700)
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The program with absolute specifiers, so that it runs anywhere: `encx` from the source, packages from this checkout. */
export function located(program: string): string {
  return program.replace(/(\bfrom |\bimport\()"([^".:][^":]*)"/g, (_, before: string, specifier: string) => {
    return `${before}"${/^encx(\/|$)/.test(specifier) ? source(specifier) : import.meta.resolve(specifier)}"`
  })
}

function source(specifier: string): string {
  const path = EXPORTS[specifier.replace(/^encx/, ".")]
  assert.ok(path, `${specifier} is exported`)
  return pathToFileURL(join(ROOT, path)).href
}

/** Runs a program to its end, in a home of its own, where it stands; `/home/ada` in it is that home. */
export async function runProgram(program: string, { variables = {}, ...options }: ScriptOptions = {}): Promise<Ended> {
  return await withFolder(async (folder) => {
    const script = join(folder, "program.ts")
    writeFileSync(script, located(program.replaceAll("/home/ada", folder)))
    return await runScript(pathToFileURL(script), {
      cwd: folder,
      ...options,
      variables: { HOME: folder, ...variables },
    })
  })
}
