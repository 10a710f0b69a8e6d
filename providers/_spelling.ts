/** The name among `known` that a misspelt one most likely means. */
export function didYouMean(name: string, known: readonly string[]): string | undefined {
  const near = known.map((each) => ({ each, edits: distance(name.toLowerCase(), each.toLowerCase()) }))
  const best = near.sort((a, b) => a.edits - b.edits)[0]
  const allowed = name.length < 4 ? 1 : Math.max(2, Math.floor(name.length / 3))
  return best && best.edits <= allowed ? `did you mean "${best.each}"?` : undefined
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      next.push(Math.min((row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1, (row[j] ?? 0) + (b[j] === letter ? 0 : 1)))
    }
    row = next
  }
  return row[b.length] ?? 0
}
