/** Checks, told one by one as they end. */
import { EncxError } from "../mod.ts"
import { type IO, write } from "./_io.ts"
import { hintOf, messageOf, printable } from "./_output.ts"

/** What one check found. */
export interface Check {
  readonly check: string
  readonly ok: boolean
  /** What was found; no secret. */
  readonly detail: string
  /** What to do. */
  readonly hint?: string
  /** The error's code, where one was met. */
  readonly code?: string
}

/** What a check that went well says. */
export type Found = string | Omit<Check, "check">

const WIDTH = 20

/** The checks of one run. People read each as it ends; programs get all of them at the end. */
export class Checkup {
  readonly #io: IO
  readonly #json: boolean
  readonly #checks: Check[] = []
  readonly #notChecked: string[] = []

  constructor(io: IO, json: boolean) {
    this.#io = io
    this.#json = json
  }

  /** Whether all went well so far. */
  get ok(): boolean {
    return this.#checks.every(({ ok }) => ok)
  }

  /** Notes what a check found, unless another found the same before it: two services may be reached in one way. */
  async addNew(check: Check): Promise<void> {
    const { ok, check: name, detail } = check
    const told = this.#checks.some((each) => each.ok === ok && each.detail === detail && (!ok || each.check === name))
    if (!told) await this.add(check)
    else if (!this.#checks.some((each) => each.check === name)) this.skip(name)
  }

  /** Notes what a check found. */
  async add(check: Check): Promise<void> {
    this.#checks.push(check)
    if (this.#json) return
    const { ok, check: name, detail, hint } = check
    const lines = [`${ok ? "✓" : "✗"} ${printable(name).padEnd(WIDTH)} ${printable(detail)}`]
    if (hint !== undefined) lines.push(`${" ".repeat(WIDTH + 2)} → ${printable(hint)}`)
    await write(this.#io.stdout, `${lines.join("\n")}\n`)
  }

  /** Names checks that nothing could be learnt from. */
  skip(...names: readonly string[]): void {
    this.#notChecked.push(...names)
  }

  /**
   * Runs a check and notes how it went. What went as one before it did is not told again: a provider's own checks come first.
   *
   * @returns whether it went well
   */
  async run(name: string, check: () => Promise<Found>): Promise<boolean> {
    try {
      const found = await check()
      const done = typeof found === "string" ? { check: name, ok: true, detail: found } : { check: name, ...found }
      if (!this.#checks.some((before) => before.ok && done.ok && before.check === name)) await this.add(done)
      return done.ok
    } catch (error) {
      this.#io.signal.throwIfAborted()
      if (this.#io.env.ENCX_DEBUG && error instanceof Error) await write(this.#io.stderr, `${error.stack ?? error}\n`)
      await this.addNew(failure(name, error))
      return false
    }
  }

  /** Tells the whole. */
  async finish(rest: Readonly<Record<string, unknown>>): Promise<void> {
    const { ok } = this
    const failed = this.#checks.filter((each) => !each.ok).length
    if (this.#json) {
      const whole = { ok, ...rest, checks: this.#checks, notChecked: this.#notChecked }
      await write(this.#io.stdout, `${JSON.stringify(whole)}\n`)
      return
    }
    const skipped = this.#notChecked.length === 0 ? "" : `Not checked: ${this.#notChecked.join(", ")}.\n`
    const result = ok ? "All is well." : `${failed} of ${this.#checks.length} checks failed.`
    await write(this.#io.stdout, `\n${skipped}${result}\n`)
  }
}

/** A check that met an error. */
export function failure(check: string, error: unknown): Check {
  const hint = hintOf(error)
  const code = error instanceof EncxError ? error.code : undefined
  return {
    check,
    ok: false,
    detail: messageOf(error),
    ...(hint === undefined ? {} : { hint }),
    ...(code === undefined ? {} : { code }),
  }
}
