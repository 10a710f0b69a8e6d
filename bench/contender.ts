/** What is measured of a contender, and on which inputs: all of them get the same. */

/** Something that may be there at once: nobody pays for a promise that he does not make. */
export type Maybe<Value> = Value | Promise<Value>

/** Messages. What a plaintext and a sealed one are is the contender's own business. */
export interface Values {
  /** The text as this contender takes it: outside of the time. @default {its UTF-8 bytes} */
  readonly from?: (text: string) => unknown
  /** The text again, of what was opened. @default {from UTF-8 bytes} */
  readonly text?: (opened: unknown) => string
  seal(plaintext: unknown): Maybe<unknown>
  open(sealed: unknown): Maybe<unknown>
}

/** A record of four encrypted fields, one of which can be searched. */
export interface Person {
  readonly id: number
  readonly email: string
  readonly name: string
  readonly phone: string
  readonly note: string
}

/** Records: all four fields sealed, and a keyed index of the address. */
export interface Records {
  seal(person: Person): Maybe<unknown>
  /** The four fields again. */
  open(row: unknown): Maybe<Omit<Person, "id">>
}

/** Takes every byte of the source and gives what comes out, piece by piece; ends when all of it is out. */
export type Pipe = (source: Iterable<Uint8Array>, sink: (piece: Uint8Array) => void, size: number) => Promise<void>

/** Streams in memory. */
export interface Streams {
  readonly seal: Pipe
  readonly open: Pipe
  /** How many sealed bytes are given at once where so many plain bytes are. @default {as many} */
  readonly sealed?: (plain: number) => number
}

/** Files: the target is complete and on the disk when it ends. */
export interface Files {
  seal(source: string, target: string): Promise<void>
  open(source: string, target: string): Promise<void>
}

/** A figure that is not a time of one thing: `ns` for the whole, and what was counted. */
export interface Counted {
  readonly ns: number
  readonly calls?: number
}

/** What a contender does; where a part is absent, it does not do that. */
export interface Contender {
  /** Messages without, and with a context of two pairs. */
  readonly values?: (context: Readonly<Record<string, string>> | undefined) => Maybe<Values | undefined>
  readonly records?: () => Maybe<Records>
  readonly streams?: () => Maybe<Streams>
  readonly files?: () => Maybe<Files>
  /** Seals that are asked for at the same moment when no key is there; `calls` counts what the KMS was asked. */
  readonly misses?: (callers: number) => Promise<Counted>
  /** Opens of one stored message that are asked for at the same moment when its key is not there. */
  readonly openMisses?: (callers: number) => Promise<Counted>
  /** Data keys out of the cache. */
  readonly hits?: (count: number) => Promise<Counted>
  /** Records sealed in batches, through the cache. */
  readonly imports?: (count: number) => Promise<Counted>
  readonly close?: () => Promise<void>
}

/** The context of a message that has one. */
export const CONTEXT: Readonly<Record<string, string>> = { tenant: "acme", purpose: "payroll" }

/** What a KMS on the same continent takes to answer, in the counts of calls. */
export const KMS_MS = 5

const LETTERS = "the quick brown fox jumps over the lazy dog and runs away at once. "

/** ASCII text of so many bytes, so that a library that takes only text gets the same. */
export function textOf(size: number): string {
  return LETTERS.repeat(Math.ceil(size / LETTERS.length)).slice(0, size)
}

/** The same person for everyone. */
export function personOf(id: number): Person {
  return {
    id,
    email: `ada.lovelace.${id % 1000}@example.org`,
    name: "Augusta Ada King, Countess of Lovelace",
    phone: "+44 20 7946 0958",
    note: "Prefers to be called in the morning; knows the analytical engine well.",
  }
}

/** A source as a Web stream, which is asked block by block. */
export function readableOf(source: Iterable<Uint8Array>): ReadableStream<Uint8Array> {
  const blocks = source[Symbol.iterator]()
  return new ReadableStream({
    pull: (controller) => {
      const { done, value } = blocks.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
  })
}
