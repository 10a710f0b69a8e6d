/** People who do not exist, the same ones each time: what `encx demo` imports, and `examples/data/people.csv`. */

/** What the passwords of the first ten are made of; all others have none. */
export const PASSWORDS = 10

/** How the demo keeps each column. */
export const PEOPLE_PLAN = {
  row: "id",
  encrypt: ["name", "phone", "birth_date", "diagnosis"],
  index: ["email"],
  normalize: ["trim", "lowercase"],
  hash: ["password"],
  plain: ["city"],
} as const

const HEADER = ["id", "name", "email", "phone", "birth_date", "city", "diagnosis", "password"]
const GIVEN = [
  "Ada",
  "Blaise",
  "Chloë",
  "Dmitri",
  "Émilie",
  "Fatima",
  "Grace",
  "Hedy",
  "Ìfẹ́",
  "José",
  "Katharina",
  "Linus",
  "Márta",
  "Nguyễn",
  "Øystein",
]
const MORE = [
  "Priya",
  "Qiang",
  "Rosalind",
  "Søren",
  "Tomáš",
  "Umm",
  "Vera",
  "Wisława",
  "Xóchitl",
  "Yuki",
  "Zoë",
  "太郎",
  "Ольга",
  "محمد",
  "अनु",
]
const FAMILY = [
  "Lovelace",
  "O'Brien",
  "García Márquez",
  "Müller",
  "Sørensen",
  "Nowak",
  "Dvořák",
  "Tanaka",
  "van der Berg",
  "Smith-Jones",
  "Иванова",
  "Li",
  "Okafor",
]
const CITIES = [
  "Aarhus",
  "Bogotá",
  "Cork",
  "Delft",
  "Évora",
  "Fès",
  "Gdańsk",
  "Hà Nội",
  "Łódź",
  "München",
  "Nairobi",
  "Washington, D.C.",
  "São Paulo",
  "Zürich",
]
const DIAGNOSES = [
  "none",
  "asthma",
  "hay fever, seasonal",
  "type 2 diabetes",
  'reports "a dull ache", left knee',
  "migraine; with aura",
  "hypertension",
  "coeliac disease",
]
// A cell of two lines, in one row
const TWO_LINES = { row: 7, text: "hay fever, seasonal\nfollow-up in March" }

/** The CSV file, for any number of people. */
export function peopleCSV(people = 1000): string {
  const random = mulberry32(0x656e_6378)
  const rows = Array.from({ length: people }, (_, i) => person(i + 1, random))
  return `${[HEADER, ...rows].map((row) => row.map(cell).join(",")).join("\n")}\n`
}

function person(id: number, random: () => number): string[] {
  const pick = (list: readonly string[]): string => list[Math.floor(random() * list.length)] as string
  const digits = (length: number): string => Array.from({ length }, () => Math.floor(random() * 10)).join("")
  const two = (number: number): string => String(number).padStart(2, "0")
  const name = `${pick([...GIVEN, ...MORE])} ${pick(FAMILY)}`
  // example.org is for examples (RFC 2606), and 555-01xx is nobody's number.
  const email = `Person.${id}@example.org`
  const phone = `+1 ${2 + Math.floor(random() * 8)}${digits(2)} 555 01${digits(2)}`
  const born = `${1930 + Math.floor(random() * 80)}-${two(1 + Math.floor(random() * 12))}-${two(1 + Math.floor(random() * 28))}`
  const city = pick(CITIES)
  const diagnosis = pick(DIAGNOSES)
  return [
    String(id),
    name,
    email,
    phone,
    born,
    city,
    id === TWO_LINES.row ? TWO_LINES.text : diagnosis,
    id <= PASSWORDS ? `correct horse ${id}` : "",
  ]
}

function cell(text: string): string {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

// Tommy Ettinger's mulberry32, public domain: the same numbers on every machine. It is no source of secrets.
function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
