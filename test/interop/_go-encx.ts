/** The Go peer of the Go library's formats: built once for each state of its sources, outside of the checkout; JSON lines in and out. */
import assert from "node:assert/strict"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { createInterface } from "node:readline"
import { PEERS, skipIf } from "../vectors.ts"

const SOURCES = join(PEERS, "go-encx")
const hasSources = existsSync(join(SOURCES, "go.mod"))
const hasGo = spawnSync("go", ["version"]).status === 0

/** The options of a test that needs the peer. */
export const needsPeer: { skip: string | false } = skipIf(
  !(hasSources && hasGo),
  `${hasSources ? "Go is not installed" : `${SOURCES} is absent (ENCX_PEERS names its folder)`}`,
)

/** What the peer answers. */
export type Answer = Readonly<Record<string, unknown>>

/** The peer, running. */
export interface Peer {
  /** Asks; the answer's other properties are those of the command. It rejects when the peer says that it failed. */
  ask<Result = Answer>(op: string, question?: Readonly<Record<string, unknown>>): Promise<Result>
  /** Ends it. */
  close(): Promise<void>
}

function build(): string {
  const digest = createHash("sha256")
  for (const file of readdirSync(SOURCES).toSorted())
    digest.update(`${file}\0`).update(readFileSync(join(SOURCES, file)))
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "encx")
  const suffix = process.platform === "win32" ? ".exe" : ""
  const binary = join(folder, `go-encx-${digest.digest("hex").slice(0, 16)}${suffix}`)
  if (existsSync(binary)) return binary
  mkdirSync(folder, { recursive: true })
  const unfinished = `${binary}.${process.pid}`
  const { status, stderr, error } = spawnSync("go", ["build", "-buildvcs=false", "-o", unfinished, "."], {
    cwd: SOURCES,
    encoding: "utf8",
  })
  assert.equal(status, 0, `go build: ${error ?? stderr}`)
  renameSync(unfinished, binary)
  return binary
}

/** Starts the peer; whoever starts it closes it. */
export function startPeer(): Peer {
  assert.ok(hasSources && hasGo, "ENCX_REQUIRE_SERVERS=1, and Go or the peer's sources are absent")
  const child: ChildProcess = spawn(build(), [], { stdio: ["pipe", "pipe", "inherit"] })
  const asked: { resolve(answer: Answer): void; reject(error: Error): void }[] = []
  const fail = (error: Error): void => {
    for (const { reject } of asked.splice(0)) reject(error)
  }
  // It answers in the order in which it is asked.
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
    const { ok, error, ...answer } = JSON.parse(line) as Answer
    const waiting = asked.shift()
    if (ok === true) waiting?.resolve(answer)
    else waiting?.reject(new Error(`the peer: ${String(error)}`))
  })
  const ended = new Promise<void>((resolve) => {
    child.on("close", (code) => {
      fail(new Error(`the peer ended with ${code}`))
      resolve()
    })
  })
  child.on("error", fail)
  return {
    ask: <Result>(op: string, question = {}) =>
      new Promise<Result>((resolve, reject) => {
        asked.push({ resolve: (answer) => resolve(answer as Result), reject })
        child.stdin?.write(`${JSON.stringify({ op, ...question })}\n`)
      }),
    close: async () => {
      child.stdin?.end()
      await ended
    },
  }
}
