/** The Go peers: built once for each state of their sources, outside of the checkout; JSON lines in and out. */
import assert from "node:assert/strict"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { createInterface } from "node:readline"
import { PEERS, skipIf } from "../vectors.ts"

/** Which program: its folder among the peers. */
export type PeerName = "cobblestone-go" | "go-encx"

const sourcesOf = (name: PeerName): string => join(PEERS, name)
const hasSources = (name: PeerName): boolean => existsSync(join(sourcesOf(name), "go.mod"))
const hasGo = spawnSync("go", ["version"]).status === 0

/** The options of a test that needs a peer. */
export function needsPeer(name: PeerName): { skip: string | false } {
  const absent = hasSources(name) ? "Go is not installed" : `${sourcesOf(name)} is absent (ENCX_PEERS names its folder)`
  return skipIf(!(hasSources(name) && hasGo), absent)
}

/** What the peer answers. */
export type Answer = Readonly<Record<string, unknown>>

/** The peer, running. */
export interface Peer {
  /** Asks; the answer's other properties are those of the command. It rejects when the peer says that it failed. */
  ask<Result = Answer>(op: string, question?: Readonly<Record<string, unknown>>): Promise<Result>
  /** Ends it. */
  close(): Promise<void>
}

function build(name: PeerName): string {
  const sources = sourcesOf(name)
  const digest = createHash("sha256")
  for (const file of readdirSync(sources).toSorted())
    digest.update(`${file}\0`).update(readFileSync(join(sources, file)))
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "encx")
  const suffix = process.platform === "win32" ? ".exe" : ""
  const binary = join(folder, `${name}-${digest.digest("hex").slice(0, 16)}${suffix}`)
  if (existsSync(binary)) return binary
  mkdirSync(folder, { recursive: true })
  const unfinished = `${binary}.${process.pid}`
  const { status, stderr, error } = spawnSync("go", ["build", "-buildvcs=false", "-o", unfinished, "."], {
    cwd: sources,
    encoding: "utf8",
  })
  assert.equal(status, 0, `go build: ${error ?? stderr}`)
  renameSync(unfinished, binary)
  return binary
}

/** Starts a peer; whoever starts it closes it. */
export function startPeer(name: PeerName): Peer {
  assert.ok(hasSources(name) && hasGo, "ENCX_REQUIRE_SERVERS=1, and Go or the peer's sources are absent")
  const child: ChildProcess = spawn(build(name), [], { stdio: ["pipe", "pipe", "inherit"] })
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
