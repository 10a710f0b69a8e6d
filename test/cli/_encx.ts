/** Runs the command in this process, in a folder of its own that is its home, too. */
import assert from "node:assert/strict"
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { IO } from "../../cli/_io.ts"
import { run } from "../../cli/_program.ts"

/** What a run did. */
export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly bytes: Uint8Array
  readonly stderr: string
}

/** What a run may be given beside its arguments. */
export interface Given {
  readonly stdin?: Uint8Array | AsyncIterable<Uint8Array> | "silent"
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** Whether a person watches stderr. */
  readonly isTTY?: boolean
  /** Whether stdout is a terminal. */
  readonly isScreen?: boolean
}

/** A home with a key file, unless it is to be empty. */
export class Home {
  readonly folder: string = mkdtempSync(join(tmpdir(), "encx-cli-"))

  constructor() {
    chmodSync(this.folder, 0o700)
  }

  /** With a key, a pepper and an index root. */
  static async withKeys(): Promise<Home> {
    const home = new Home()
    const { code, stderr } = await home.encx(["keys", "create"])
    if (code !== 0) home.remove()
    assert.equal(code, 0, stderr)
    return home
  }

  get keyFile(): string {
    return join(this.folder, ".encx", "keys.json")
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  write(name: string, content: string | Uint8Array): string {
    writeFileSync(this.path(name), content)
    return this.path(name)
  }

  read(name: string): Uint8Array {
    return new Uint8Array(readFileSync(this.path(name)))
  }

  exists(name: string): boolean {
    return existsSync(this.path(name))
  }

  /** The names in the folder, those of the tests' own apart. */
  names(): string[] {
    return readdirSync(this.folder)
      .filter((name) => !name.startsWith("."))
      .sort()
  }

  /** Works on a database as another program would. */
  sqlite<Result>(name: string, use: (db: DatabaseSync) => Result): Result {
    const db = new DatabaseSync(this.path(name))
    try {
      return use(db)
    } finally {
      db.close()
    }
  }

  async encx(
    argv: readonly string[],
    {
      stdin = new Uint8Array(0),
      env = {},
      signal = new AbortController().signal,
      isTTY = false,
      isScreen = false,
    }: Given = {},
  ): Promise<Ran> {
    const out = new Collector(isScreen)
    const err = new Collector(isTTY)
    const code = await run(argv, {
      stdin: stdin === "silent" ? SILENT_IO.stdin : stdin instanceof Uint8Array ? chunks(stdin) : stdin,
      stdout: out,
      stderr: err,
      env: { HOME: this.folder, TMPDIR: this.folder, ...env },
      signal,
      isTTY,
    })
    const ran = { code, stdout: out.text, bytes: out.bytes, stderr: err.text }
    this.#assertNoSecret(ran)
    return ran
  }

  /** Runs and expects success. */
  async ok(argv: readonly string[], given?: Given): Promise<Ran> {
    const ran = await this.encx(argv, given)
    assert.equal(ran.code, 0, ran.stderr || ran.stdout)
    return ran
  }

  // No key and no secret of the key file stands in an output, whatever the run was about.
  #assertNoSecret({ stdout, stderr }: Ran): void {
    if (!existsSync(this.keyFile)) return
    const secrets = [...readFileSync(this.keyFile, "utf8").matchAll(/"(?:key|value)": ?"([^"]+)"/g)].map(
      ([, secret]) => secret as string,
    )
    assert.ok(secrets.length > 0)
    for (const secret of secrets)
      assert.ok(!stdout.includes(secret) && !stderr.includes(secret), "a secret was printed")
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A world in which nobody reads and nobody types. */
export const SILENT_IO: IO = {
  stdin: { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) },
  stdout: { write: (_, done) => done?.() },
  stderr: { write: (_, done) => done?.() },
  env: {},
  signal: new AbortController().signal,
  isTTY: false,
}

class Collector {
  readonly isTTY: boolean
  readonly #chunks: Uint8Array[] = []

  constructor(isTTY: boolean) {
    this.isTTY = isTTY
  }

  write(chunk: string | Uint8Array, done?: (error?: Error | null) => void): boolean {
    this.#chunks.push(typeof chunk === "string" ? new TextEncoder().encode(chunk) : Uint8Array.from(chunk))
    if (done) queueMicrotask(() => done())
    return true
  }

  get bytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#chunks))
  }

  get text(): string {
    return new TextDecoder().decode(this.bytes)
  }
}

async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000)
}

/** A place where each waits until so many are there. */
export function meeting(size: number): () => Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let there = 0
  return async () => {
    there++
    if (there === size) resolve()
    await promise
  }
}

/** The error that a run printed as JSON. */
export function errorOf({ stdout }: Ran): { readonly code: string; readonly message: string; readonly hint?: string } {
  return (JSON.parse(stdout) as { error: { code: string; message: string; hint?: string } }).error
}

/** Asserts that a run failed with a code, and that its error has the form that the command promises. */
export function assertFailed(ran: Ran, exit: number, code: string): void {
  assert.equal(ran.code, exit, ran.stderr || ran.stdout)
  assert.equal(errorOf(ran).code, code)
  assert.equal(ran.stderr, "")
}
