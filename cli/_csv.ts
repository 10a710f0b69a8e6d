/** CSV in batches, with the line of each record. */
import { createReadStream } from "node:fs"
import { pipeline } from "node:stream/promises"
import { CsvError, parse } from "csv-parse"
import { CommandError, codeOf, withFile } from "./_errors.ts"
import { breathe } from "./_io.ts"

/** One record, and the line on which it ends. */
export interface CSVRecord {
  readonly line: number
  readonly values: Readonly<Record<string, string>>
}

/** How a file is read. */
export interface CSVOptions {
  readonly delimiter?: string | undefined
  /** Records in a batch. */
  readonly batch: () => number
  readonly signal: AbortSignal
  /** Looks at the header; what it throws ends the reading. */
  readonly header: (columns: readonly string[]) => void
}

interface Parsed extends CSVRecord {
  readonly bytes: number
}

// A quote that is never closed would take the rest of the file for one cell.
const MAX_RECORD_BYTES = 16 * 2 ** 20

/**
 * Reads a CSV file and hands over its records, batch by batch; the file is never whole in memory.
 *
 * @param take gets a batch, and how many bytes of the file were read so far
 * @throws {CommandError} when it is no CSV; the line is named
 */
export async function readCSV(
  path: string,
  options: CSVOptions,
  take: (batch: readonly CSVRecord[], bytesRead: number) => Promise<void>,
): Promise<void> {
  const { signal, delimiter = "," } = options
  // csv-parse takes a CRLF within quotes for two lines.
  let excess = 0
  const parser = parse({
    delimiter,
    skip_empty_lines: true,
    max_record_size: MAX_RECORD_BYTES,
    columns: (header: string[]) => {
      checkHeader(path, header)
      options.header(header)
      excess += crlfs(header)
      return header
    },
    on_record: (values: Record<string, string>, { lines, bytes }): Parsed => {
      excess += crlfs(Object.values(values))
      return { line: lines - excess, values, bytes }
    },
  })
  try {
    await withFile("read", path, async () => {
      await pipeline(
        createReadStream(path),
        decodeStrictly,
        parser,
        (records: AsyncIterable<Parsed>) => inBatches(records, options, take),
        { signal },
      )
    })
  } catch (error) {
    throw error instanceof CsvError ? explained(path, error, excess) : error
  }
}

async function inBatches(
  records: AsyncIterable<Parsed>,
  { batch: limit, signal }: CSVOptions,
  take: (batch: readonly CSVRecord[], bytesRead: number) => Promise<void>,
): Promise<void> {
  let batch: CSVRecord[] = []
  let bytesRead = 0
  for await (const { line, values, bytes } of records) {
    batch.push({ line, values })
    bytesRead = bytes
    if (batch.length < limit()) continue
    await take(batch, bytesRead)
    await breathe(signal)
    batch = []
  }
  if (batch.length > 0) await take(batch, bytesRead)
}

// csv-parse would replace what is not UTF-8, and the original would be lost.
async function* decodeStrictly(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true })
  try {
    for await (const chunk of chunks) {
      const text = decoder.decode(chunk, { stream: true })
      if (text !== "") yield text
    }
    decoder.decode()
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new CommandError("INVALID_CSV", "Cannot read the CSV file: it is not UTF-8", {
      hint: "save it as UTF-8",
      cause: error,
    })
  }
}

function checkHeader(path: string, header: readonly string[]): void {
  const lower = header.map((name) => name.toLowerCase())
  const twice = header.find((_, i) => lower.indexOf(lower[i] as string) !== i)
  if (twice !== undefined)
    throw invalid(
      path,
      `two of its columns are called "${twice}"`,
      "a database tells no upper case from lower: rename one",
    )
  if (header.some((name) => name.trim() === ""))
    throw invalid(path, "a column has no name", "its first line must name every column")
}

function crlfs(cells: readonly unknown[]): number {
  return cells.reduce<number>((sum, cell) => sum + String(cell).split("\r\n").length - 1, 0)
}

function explained(path: string, error: CsvError, excess: number): CommandError {
  const { lines, record, columns } = error as CsvError & { lines?: number; record?: unknown[]; columns?: unknown[] }
  const where = lines === undefined ? "" : `line ${lines - excess - crlfs(record ?? [])}: `
  if (codeOf(error) === "CSV_RECORD_INCONSISTENT_COLUMNS" && record && Array.isArray(columns)) {
    return invalid(
      path,
      `${where}it has ${record.length} cells, and the header ${columns.length}`,
      "quote a cell that holds a comma",
    )
  }
  // Its messages quote a cell here and there; what stands before the first colon does not.
  return invalid(path, `${where}${error.message.split(":")[0]?.toLowerCase()}`)
}

function invalid(path: string, state: string, hint?: string): CommandError {
  return new CommandError("INVALID_CSV", `Cannot read "${path}": ${state}`, { hint })
}
