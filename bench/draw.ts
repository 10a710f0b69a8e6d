/** Draws the figures: bars of how fast each contender is, as a share of raw AES-256-GCM, on Node. */
import { NAMES } from "./contenders.ts"
import type { Figure, Results } from "./results.ts"
import { speedOf } from "./tables.ts"

const WIDTH = 760
const LABEL = 240
const BAR = 350
const ROW = 21
const HEAD = 30
const GAP = 16
const TOP = 58
const FOOT = 30

// GitHub shows it on white and on black; it follows the reader's system, not the page.
const STYLE = `text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:17px;font-weight:600}.panel{font-weight:600}.note{font-size:12px;fill:#59636e}.bar{fill:#a8b3bf}.encx{fill:#0969da}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9198a1}.bar{fill:#59636e}.encx{fill:#4493f8}}`

const PANELS = ["seal-64", "seal-65536", "seal-record", "seal-stream", "seal-file"] as const

/** The picture: no script, nothing fetched, with a title and a description for those who do not see it. */
export function draw(results: Results): string {
  const panels = PANELS.map((name) => panelOf(results, name)).filter((rows) => rows.length > 0)
  let y = TOP
  const said: string[] = []
  const body: string[] = []
  for (const rows of panels) {
    const [first] = rows as [Figure, ...Figure[]]
    body.push(text(16, y + 22, first.title, "panel"))
    const scale = BAR / Math.max(1, ...rows.map(shareOf))
    for (const [i, figure] of rows.entries()) {
      const top = y + HEAD + i * ROW
      const share = shareOf(figure)
      const name = results.contenders[figure.contender]?.title ?? figure.contender
      body.push(
        text(LABEL - 8, top + 15, name, "", "end"),
        `<rect class="bar${figure.contender === "encx" ? " encx" : ""}" x="${LABEL}" y="${top + 3}" width="${at(Math.max(1.5, share * scale))}" height="${ROW - 6}" rx="2"/>`,
        text(LABEL + Math.max(1.5, share * scale) + 8, top + 15, `${shortShare(share)} · ${rateOf(figure)}`, "note"),
      )
    }
    said.push(
      `${first.title}: ${rows.map((each) => `${results.contenders[each.contender]?.title ?? each.contender} ${shortShare(shareOf(each))}`).join(", ")}`,
    )
    y += HEAD + rows.length * ROW + GAP
  }
  const height = y + FOOT
  const { cpu, cores } = results.machine
  const foot = `Node ${results.runtimes.node ?? ""}, ${cpu}, ${cores} cores, ${results.date.slice(0, 10)}${results.quick ? ", a quick run" : ""}`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title desc">`,
    `<title id="title">How fast encx is, as a share of raw AES-256-GCM</title>`,
    `<desc id="desc">${escaped(said.join(". "))}.</desc>`,
    `<style>${STYLE}</style>`,
    text(16, 28, "Speed, as a share of raw AES-256-GCM in node:crypto", "title"),
    text(
      16,
      48,
      "More is better. Raw encrypts and does nothing else: no key is derived, wrapped, committed to or kept.",
      "note",
    ),
    ...body,
    text(16, height - 14, foot, "note"),
    "</svg>\n",
  ].join("\n")
}

function panelOf({ figures }: Results, name: string): Figure[] {
  const found = figures.filter((each) => each.case === name && each.runtime === "node" && each.ofRaw !== undefined)
  return NAMES.flatMap((contender) => found.filter((each) => each.contender === contender))
}

function shareOf({ ofRaw }: Figure): number {
  return 1 / (ofRaw as number)
}

function shortShare(share: number): string {
  return String(Number(share.toPrecision(2)))
}

function rateOf(figure: Figure): string {
  if (figure.bytes !== undefined) return speedOf(figure)
  return `${Number((1e9 / figure.ns).toPrecision(2)).toLocaleString("en")} a second`
}

const at = (value: number): string => String(Number(value.toFixed(1)))

function text(x: number, y: number, content: string, style: string, anchor = "start"): string {
  return `<text x="${at(x)}" y="${at(y)}"${style && ` class="${style}"`}${anchor === "start" ? "" : ` text-anchor="${anchor}"`}>${escaped(content)}</text>`
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
}
