/** What is measured, case by case: each is one thing that contenders do over and over, on the same inputs. */
import { Buffer } from "node:buffer"
import { randomFillSync } from "node:crypto"
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs"
import { dirname, join } from "node:path"
import {
  CONTEXT,
  type Contender,
  type Files,
  type Pipe,
  personOf,
  type Records,
  type Streams,
  textOf,
  type Values,
} from "./contender.ts"

/** What is measured together, and can be asked for by name. */
export const GROUPS = ["values", "records", "streams", "files", "import", "misses", "cache", "startup", "size"] as const
export type Group = (typeof GROUPS)[number]

const KiB = 1024
const MiB = 1024 * KiB

/** One case, as it is told to a contender. */
export interface Case {
  readonly name: string
  readonly title: string
  readonly group: Group
  readonly part: "value" | "record" | "stream" | "file"
  readonly side: "seal" | "open"
  readonly size: number
  /** With a context of two pairs. */
  readonly context: boolean
  /** How many bytes of a stream come at once. */
  readonly piece?: number
}

/** A case, made ready: it can be done any number of times. */
export interface Ready {
  /** Does it once; the number says which of the prepared inputs is taken. */
  once(i: number): unknown
  /** Bytes of one time, where throughput is what counts. */
  readonly bytes?: number
  /** Takes away what it left. */
  end?(): void
}

const VALUES = [64, 256, KiB, 64 * KiB, MiB]
const SIDES = ["seal", "open"] as const

/** A size as people write it. */
export function sizeOf(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB"]
  const power = Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  return `${Number((bytes / 1024 ** power).toFixed(1))} ${units[power]}`
}

/** Every case, streams and files of this many bytes. */
export function casesOf(streamBytes: number): Case[] {
  const cases: Case[] = []
  for (const size of VALUES) {
    for (const context of size <= KiB ? [false, true] : [false]) {
      for (const side of SIDES) {
        const name = `${side}-${size}${context ? "-context" : ""}`
        const title = `${side} ${sizeOf(size)}${context ? " with a context" : ""}`
        cases.push({ name, title, group: "values", part: "value", side, size, context })
      }
    }
  }
  const more = (group: Group, part: Case["part"], what: string, size: number): void => {
    for (const side of SIDES)
      cases.push({ name: `${side}-${part}`, title: `${side} ${what}`, group, part, side, size, context: false })
  }
  more("records", "record", "a record, 4 fields and an index", 0)
  for (const piece of [MiB, 64 * KiB])
    for (const side of SIDES)
      cases.push({
        name: piece === MiB ? `${side}-stream` : `${side}-stream-${piece}`,
        title: `${side} a stream of ${sizeOf(streamBytes)} in pieces of ${sizeOf(piece)}`,
        ...{ group: "streams", part: "stream", side, size: streamBytes, context: false, piece },
      })
  more("files", "file", `a file of ${sizeOf(streamBytes)} into another`, streamBytes)
  return cases
}

/**
 * Makes a case ready, and sees that the contender opens what it sealed.
 *
 * @param folder where its files lie; it is made; what they are made of lies above it, one for all
 * @returns `undefined` when the contender does not do that
 */
export async function ready(contender: Contender, each: Case, folder: string): Promise<Ready | undefined> {
  return await PARTS[each.part](contender, each, folder)
}

const PARTS: Readonly<
  Record<Case["part"], (contender: Contender, each: Case, folder: string) => Promise<Ready | undefined>>
> = {
  value: async (contender, each) => {
    const values = await contender.values?.(each.context ? CONTEXT : undefined)
    return values && (await readyValue(values, each))
  },
  record: async (contender, { side }) => {
    const records = await contender.records?.()
    return records && (await readyRecord(records, side))
  },
  stream: async (contender, each) => {
    const streams = await contender.streams?.()
    return streams && (await readyStream(streams, each))
  },
  file: async (contender, each, folder) => {
    const files = await contender.files?.()
    return files && (await readyFile(files, each, folder))
  },
}

function same(is: boolean, what: string): void {
  if (!is) throw new Error(`Cannot measure ${what}: what was opened is not what was sealed`)
}

// --- Values and records ---

// Several, so that none is measured whose every byte lies in the nearest cache.
const SEALED = 16

async function readyValue(values: Values, { title, side, size }: Case): Promise<Ready> {
  const text = textOf(size)
  const plaintext = values.from ? values.from(text) : new Uint8Array(Buffer.from(text))
  const sealed: unknown[] = []
  for (let i = 0; i < SEALED; i++) sealed.push(await values.seal(plaintext))
  const opened = await values.open(sealed[0])
  same((values.text ? values.text(opened) : Buffer.from(opened as Uint8Array).toString()) === text, title)
  const bytes = size >= 64 * KiB ? { bytes: size } : {}
  return side === "seal"
    ? { once: () => values.seal(plaintext), ...bytes }
    : { once: (i) => values.open(sealed[i % SEALED]), ...bytes }
}

async function readyRecord(records: Records, side: Case["side"]): Promise<Ready> {
  const people = Array.from({ length: SEALED }, (_, id) => personOf(id))
  const rows: unknown[] = []
  for (const person of people) rows.push(await records.seal(person))
  const { email, name, phone, note } = await records.open(rows[3])
  same(JSON.stringify(personOf(3)) === JSON.stringify({ id: 3, email, name, phone, note }), "records")
  return side === "seal"
    ? { once: (i) => records.seal(people[i % SEALED] as (typeof people)[number]) }
    : { once: (i) => records.open(rows[i % SEALED]) }
}

// --- Streams ---

function* repeated(block: Uint8Array, size: number): Generator<Uint8Array> {
  for (let left = size; left > 0; left -= block.length) yield left < block.length ? block.subarray(0, left) : block
}

/** All that comes out of a pipe, in blocks of one length. */
async function gathered(pipe: Pipe, source: Iterable<Uint8Array>, size: number, length: number): Promise<Uint8Array[]> {
  const blocks: Uint8Array[] = []
  let block = new Uint8Array(length)
  let filled = 0
  const sink = (piece: Uint8Array): void => {
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + length - filled)
      block.set(part, filled)
      filled += part.length
      at += part.length
      if (filled < length) continue
      blocks.push(block)
      block = new Uint8Array(length)
      filled = 0
    }
  }
  await pipe(source, sink, size)
  if (filled > 0) blocks.push(block.subarray(0, filled))
  return blocks
}

async function readyStream({ seal, open, sealed: sealedOf = (n) => n }: Streams, each: Case): Promise<Ready> {
  const { title, side, size, piece = MiB } = each
  const block = randomFillSync(new Uint8Array(piece))
  const sealedPiece = sealedOf(piece)
  // It ends in the middle of everything.
  const short = Math.min(size, MiB + 17)
  const opened = await gathered(open, await gathered(seal, repeated(block, short), short, sealedPiece), short, short)
  same(Buffer.compare(opened[0] as Uint8Array, Buffer.concat([...repeated(block, short)])) === 0, title)
  let out = 0
  const count = (piece: Uint8Array): void => {
    out += piece.length
  }
  const sealed = side === "open" ? await gathered(seal, repeated(block, size), size, sealedPiece) : []
  return {
    bytes: size,
    once: async () => {
      out = 0
      if (side === "seal") await seal(repeated(block, size), count, size)
      else await open(sealed, count, size)
      if (side === "seal" ? out < size : out !== size) throw new Error(`Cannot measure ${title}: ${out} bytes came out`)
    },
  }
}

// --- Files ---

/** A file of so many bytes that do not repeat within a block; the same one for all who measure in this folder. */
export function sourceFile(folder: string, size: number): string {
  const path = join(folder, `plain-${size}`)
  if (existsSync(path) && statSync(path).size === size) return path
  const file = openSync(path, "w")
  const block = randomFillSync(new Uint8Array(Math.min(size, MiB)))
  for (const each of repeated(block, size)) writeSync(file, each)
  closeSync(file)
  return path
}

async function readyFile(files: Files, { title, side, size }: Case, folder: string): Promise<Ready> {
  const [sealed, opened] = [join(folder, "sealed"), join(folder, "opened")]
  mkdirSync(folder, { recursive: true })
  const sources = dirname(folder)
  const short = sourceFile(sources, Math.min(size, MiB + 17))
  await files.seal(short, sealed)
  await files.open(sealed, opened)
  same(readFileSync(short).equals(readFileSync(opened)), title)
  const source = sourceFile(sources, size)
  await files.seal(source, sealed)
  const end = (): void => {
    for (const path of [sealed, opened]) rmSync(path, { force: true })
  }
  return { bytes: size, once: () => (side === "seal" ? files.seal(source, sealed) : files.open(sealed, opened)), end }
}
