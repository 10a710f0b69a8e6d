/** What tests read out of a document. */

/** A fenced block. */
export interface Block {
  readonly language: string
  readonly code: string
  /** The heading above it. */
  readonly heading: string
  /** Of the fence, from 1. */
  readonly line: number
}

/** The fenced blocks of a document, in their order. */
export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = []
  let heading = ""
  let open: { readonly language: string; readonly line: number; readonly code: string[] } | undefined
  for (const [i, line] of markdown.split("\n").entries()) {
    const [fence, language = ""] = /^```(\w*)$/.exec(line) ?? []
    if (open && fence) {
      blocks.push({ language: open.language, code: `${open.code.join("\n")}\n`, heading, line: open.line })
      open = undefined
    } else if (open) open.code.push(line)
    else if (fence) open = { language, line: i + 1, code: [] }
    else heading = /^#+ (.+)$/.exec(line)?.[1] ?? heading
  }
  return blocks
}

/** The text between a heading and the next of its level or above, code left out. */
export function sectionOf(markdown: string, title: string): string {
  const prose = markdown.replace(/^```[\s\S]*?^```$/gm, "")
  const [, level = "", rest = ""] = new RegExp(`^(#+) ${title}$([\\s\\S]*)`, "m").exec(prose) ?? []
  return rest.split(new RegExp(`^#{1,${level.length}} `, "m"))[0] ?? ""
}

/** The rows of the first table of a text, without its head; a cell is its text. */
export function tableOf(text: string): string[][] {
  const lines = /(?:^\|.*\|$\n?)+/m.exec(text)?.[0].trim().split("\n") ?? []
  return lines.slice(2).map((line) =>
    line
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim()),
  )
}

/** The anchors that GitHub gives the headings of a document. */
export function anchorsOf(markdown: string): string[] {
  const prose = markdown.replace(/^```[\s\S]*?^```$/gm, "")
  return [...prose.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  )
}
