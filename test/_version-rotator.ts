// Rotates the key of a program with a database: node _version-rotator.ts {"url", "rotations", …}; tells what it did as JSON.
import { existsSync, writeFileSync } from "node:fs"
import process from "node:process"
import { Kysely } from "kysely"
import type { KeyManagementService } from "../core/contracts.ts"
import { newCrypto, withDatabase, withKEKAlias, withKMSService } from "../mod.ts"
import { watchedDialect } from "./providers/_dialects.ts"

export interface VersionRotatorOrder {
  readonly url: string
  readonly rotations: number
  /** The process says that it is ready by a file beside this one, and waits until this one is there. */
  readonly gate?: string
  /** Ends the process by SIGKILL around this statement of its rotation, from 1; with 0 it counts them. */
  readonly kill?: { readonly when: "before" | "after"; readonly statement: number }
}

export interface VersionRotatorReport {
  /** The key that each rotation had made. */
  readonly rotated: readonly string[]
  /** The statements of the last rotation. */
  readonly statements: readonly string[]
}

export const ROTATED_ALIAS = "rotated"

/** A KMS that makes a key of another name with each rotation, and keeps nothing. */
export function namingKMS(prefix: string): KeyManagementService & { last(): string } {
  let made = 0
  const last = (): string => `${prefix}-${made}`
  const refuse = async (): Promise<never> => {
    throw new Error("this KMS only names keys")
  }
  return {
    provider: "naming",
    last,
    getKeyID: async (name) => name,
    describeKey: async (keyID) => ({ keyID, currentVersion: 0, versions: [] }),
    encryptDEK: refuse,
    decryptDEK: refuse,
    rotateKey: async () => {
      made++
      return { keyID: last(), currentVersion: 0, versions: [] }
    },
  }
}

function die(): never {
  process.kill(process.pid, "SIGKILL")
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10_000)
  throw new Error("this process should be dead")
}

async function rotate({ url, rotations, gate, kill }: VersionRotatorOrder): Promise<void> {
  let statements: string[] = []
  let rotating = false
  const dialect = await watchedDialect(url, async (statement, run) => {
    statements.push(statement)
    const at = rotating ? statements.length : Number.NaN
    if (kill?.when === "before" && kill.statement === at) die()
    const result = await run()
    if (kill?.when === "after" && kill.statement === at) die()
    return result
  })
  const db = new Kysely<Record<string, never>>({ dialect })
  const kms = namingKMS(`key-of-${process.pid}`)
  const options = [withKMSService(kms), withKEKAlias(ROTATED_ALIAS)]
  // What is watched is a Kysely of the program's; else it has connections of its own.
  const crypto = await newCrypto(...options, withDatabase(kill ? db : url))
  if (gate !== undefined) {
    writeFileSync(`${gate}.${process.pid}`, "")
    while (!existsSync(gate)) await new Promise((resolve) => setTimeout(resolve, 1))
  }
  const rotated: string[] = []
  for (let i = 0; i < rotations; i++) {
    statements = []
    rotating = true
    await crypto.rotateKEK()
    rotated.push(kms.last())
  }
  await crypto.close()
  await db.destroy()
  console.log(JSON.stringify({ rotated, statements } satisfies VersionRotatorReport))
}

if (process.argv[2]?.startsWith("{")) await rotate(JSON.parse(process.argv[2]) as VersionRotatorOrder)
