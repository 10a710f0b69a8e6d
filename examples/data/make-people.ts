/**
 * Writes people.csv: 1,000 people who do not exist, the same ones each time.
 *
 *     node examples/data/make-people.ts
 */
import { writeFileSync } from "node:fs"
import { peopleCSV } from "../../cli/_people.ts"

writeFileSync(new URL("people.csv", import.meta.url), peopleCSV())
