/**
 * The versions of key-encryption keys in a database: the Go library's table `kek_versions`, in SQLite, PostgreSQL, MySQL and MariaDB,
 * through Kysely.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import { inspect } from "node:util"
import { randomBytes, utf8 } from "../core/bytes.ts"
import type { CallOptions, KEKVersion, KEKVersionStore } from "../core/contracts.ts"
import { Closed, DatabaseUnavailable, EncxError, InvalidConfiguration, InvalidInput } from "../core/errors.ts"
import type { KyselyDatabase, PostgresPool } from "../core/options.ts"
import { type Resilience, type ResilienceOptions, resilient } from "../core/resilience.ts"
import { databaseError, isConflict, isCrowded, isTableMissing } from "./_sql-errors.ts"
import { type OpenDatabase, type Source, sourceOf } from "./_sql-source.ts"
import { createTable, insertFirst, insertNext, type Statements, selectVersions } from "./_sql-versions.ts"

export type { KyselyDatabase, PostgresPool }

/** Options of {@link sql}: how patient it is. Unlike a KMS, a database may make many wait for one another. */
export interface SQLOptions extends ResilienceOptions {
  /** How long one attempt may take, in milliseconds. @default {10_000} */
  readonly requestTimeoutMs?: number
  /** How long a call may take, in milliseconds. @default {15_000} */
  readonly deadlineMs?: number
}

const OPTIONS: readonly (keyof SQLOptions)[] = [
  "attempts",
  "requestTimeoutMs",
  "deadlineMs",
  "breaker",
  "clock",
  "random",
]
const REQUEST_TIMEOUT_MS = 10_000
/** The Go library takes no longer alias. */
const ALIAS_MAX = 256
const KEY_ID_MAX = 1024
/** A transaction that another came before is begun again after a pause; of this many, each takes a random part. */
const PAUSE_MS = { first: 4, longest: 64 } as const

/**
 * Opens the table of key versions, with the first call. It is made where it is missing. A URL's connections are ended by `close()`;
 * those of a `Kysely` or a `pg.Pool` are the program's.
 *
 * @param source `postgres://…`, `mysql://…`, `sqlite:.encx/keys.db` (the Go library's file), a `Kysely`, or a `pg.Pool`
 * @throws {InvalidConfiguration} when it is none of those, or its URL has a parameter that the driver does not heed; nothing of a URL is
 *   quoted; or when an option has another name
 *
 * @example Versions in a file
 * ```ts
 * const services = memory()
 * const crypto = await newCrypto(
 *   withKMSService(services),
 *   withKEKAlias("app"),
 *   withDatabase("sqlite:///home/ada/.encx/keys.db"),
 *   withBootstrap({ createKEK: true }),
 * )
 * await crypto.rotateKEK()
 * assertEquals(await crypto.getCurrentKEKVersion(), 2)
 * await crypto.close()
 * ```
 */
export function sql(source: string | KyselyDatabase | PostgresPool, options: SQLOptions = {}): KEKVersionStore {
  const unknown = Object.keys(options).filter((name) => !(OPTIONS as readonly string[]).includes(name))
  if (unknown.length > 0)
    throw new InvalidConfiguration(
      unknown.map((name) => `Cannot use the database of key versions: there is no option "${name}"`),
    )
  return new SQLVersions(sourceOf(source), options)
}

type Work<Result> = (statements: Statements, signal: AbortSignal) => Promise<Result>

class SQLVersions implements KEKVersionStore {
  readonly #source: Source
  readonly #timeoutMs: number
  readonly #resilience: Resilience
  #connecting: Promise<OpenDatabase & { readonly statements: Statements }> | undefined
  #closed = false

  constructor(source: Source, options: SQLOptions) {
    this.#source = source
    this.#timeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS
    const failures = {
      unavailable: (operation: string, state: string, cause?: unknown) => {
        // Whoever did not answer is not asked over the same connection again.
        this.#drop()
        const failure = { provider: this.provider, operation, ...(cause === undefined ? {} : { cause }) }
        return new DatabaseUnavailable(`Cannot use the database of key versions: ${state}`, failure)
      },
      isThrottled: isCrowded,
    }
    this.#resilience = resilient(failures, { ...options, requestTimeoutMs: this.#timeoutMs })
  }

  get provider(): string {
    return this.#source.dialect.name
  }

  async listVersions(alias: string, options: CallOptions = {}): Promise<readonly KEKVersion[]> {
    this.#checkAlias(alias)
    return await this.#ask("listVersions", options, (statements) => selectVersions(statements, alias))
  }

  async ensureVersion(alias: string, keyID: string, options: CallOptions = {}): Promise<readonly KEKVersion[]> {
    this.#checkAlias(alias)
    checkKeyID(keyID)
    return await this.#ask("ensureVersion", options, async (statements) => {
      const recorded = await selectVersions(statements, alias)
      if (recorded.length > 0) return recorded
      // Where another program was first, it is begun again, and finds that program's.
      await insertFirst(statements, alias, keyID)
      return await selectVersions(statements, alias)
    })
  }

  async addVersion(alias: string, keyID: string, options: CallOptions = {}): Promise<KEKVersion> {
    this.#checkAlias(alias)
    checkKeyID(keyID)
    const once = { ...options, once: true }
    return await this.#ask("addVersion", once, (statements, signal) => insertNext(statements, alias, keyID, signal))
  }

  async close(): Promise<void> {
    this.#closed = true
    const connecting = this.#connecting
    this.#connecting = undefined
    if (!connecting) return
    // What could not be opened has nothing to close.
    const opened = await connecting.catch(() => undefined)
    try {
      await opened?.close()
    } catch (error) {
      throw this.#failure("close", error)
    }
  }

  #checkAlias(alias: string): void {
    const length = utf8(alias, "an alias").length
    if (length < 1 || length > ALIAS_MAX)
      throw new InvalidInput(`Cannot use an alias in a database: it has ${length} bytes, not 1 to ${ALIAS_MAX}`)
    // Its keys ignore them, and two aliases would be one.
    if (this.provider === "mysql" && alias.endsWith(" "))
      throw new InvalidInput("Cannot use an alias in MySQL: it ends with a space")
  }

  // --- Asking ---

  async #ask<Result>(operation: string, options: CallOptions, work: Work<Result>): Promise<Result> {
    this.#checkOpen()
    const attempt = async (signal: AbortSignal): Promise<Result> => {
      try {
        return await this.#unlessConflict(signal, () => this.#withTable(operation, signal, work))
      } catch (error) {
        signal.throwIfAborted()
        throw this.#failure(operation, error)
      }
    }
    return await this.#resilience.call("kek_versions", operation, attempt, options)
  }

  #checkOpen(): void {
    if (this.#closed) throw new Closed("Cannot use the database of key versions: it was closed")
  }

  async #withTable<Result>(operation: string, signal: AbortSignal, work: Work<Result>): Promise<Result> {
    const { statements } = await this.#open()
    signal.throwIfAborted()
    try {
      return await work(statements, signal)
    } catch (error) {
      if (!isTableMissing(error, this.#source.dialect)) throw error
    }
    const failed = await createTable(statements).then(
      () => undefined,
      (error: unknown) => ({ error }),
    )
    try {
      return await work(statements, signal)
    } catch (error) {
      // Where it could not be made, another program may have been first: then it is there, whatever the server called that.
      if (failed === undefined || !isTableMissing(error, this.#source.dialect)) throw error
      throw isConflict(failed.error, this.#source.dialect) ? failed.error : this.#failure(operation, failed.error, true)
    }
  }

  /** Begins again what changed nothing, because another transaction was there first. */
  async #unlessConflict<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    for (let longest: number = PAUSE_MS.first; ; longest = Math.min(PAUSE_MS.longest, longest * 2)) {
      try {
        return await work()
      } catch (error) {
        if (error instanceof EncxError || !isConflict(error, this.#source.dialect)) throw error
        signal.throwIfAborted()
        await sleep((longest * (1 + (randomBytes(1)[0] as number))) / 256, undefined, { signal })
      }
    }
  }

  async #open(): Promise<OpenDatabase & { readonly statements: Statements }> {
    // Between its attempts a call may have outlived the store: nobody would close what it opens now.
    this.#checkOpen()
    this.#connecting ??= this.#connect()
    const connecting = this.#connecting
    try {
      return await connecting
    } catch (error) {
      // The next call tries again.
      if (this.#connecting === connecting) this.#connecting = undefined
      throw error
    }
  }

  async #connect(): Promise<OpenDatabase & { readonly statements: Statements }> {
    const { dialect } = this.#source
    const opened = await this.#source.open(this.#timeoutMs)
    const { sql } = await import("kysely")
    return { ...opened, statements: { db: opened.db, sql, dialect } }
  }

  #drop(): void {
    if (!this.#source.replaceable) return
    const connecting = this.#connecting
    this.#connecting = undefined
    // It is given up: how its end ends is nobody's matter.
    connecting?.then((opened) => opened.close()).catch(() => undefined)
  }

  #failure(operation: string, error: unknown, makesTable = false): unknown {
    const { dialect, passwords = [] } = this.#source
    const show = (value: unknown): string => inspect(value, { depth: 6, showHidden: true })
    return databaseError(error, { operation, dialect, passwords, makesTable }, show)
  }
}

// Some servers cut what is too long, and say nothing.
function checkKeyID(keyID: string): void {
  const length = utf8(keyID, "a key's id").length
  if (length >= 1 && length <= KEY_ID_MAX) return
  throw new InvalidInput(`Cannot record a key: its id has ${length} bytes, not 1 to ${KEY_ID_MAX}`)
}
