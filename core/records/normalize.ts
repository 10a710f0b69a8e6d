/**
 * What makes two spellings of a text one value of a blind index. The names are part of the index's key. FORMATS §5.
 *
 * @module
 */

/** A step of normalisation: a name that is stored, and what it does. */
export interface Normaliser {
  /** The name in the key; a later meaning of the same name would be another name. */
  readonly name: string
  /** The text, normalised. */
  apply(text: string): string
}

const normaliser = (name: string, apply: (text: string) => string): Normaliser => Object.freeze({ name, apply })

/** White space at both ends goes (`String.prototype.trim`). */
export const trim: Normaliser = normaliser("trim", (text) => text.trim())

/** Lower case, the same in every locale (`toLowerCase`). */
export const lowercase: Normaliser = normaliser("lowercase", (text) => text.toLowerCase())

/** Unicode normalisation form C: one spelling for é. */
export const nfc: Normaliser = normaliser("nfc", (text) => text.normalize("NFC"))

/** Unicode normalisation form KC: one spelling for é, ﬁ and ２, too. */
export const nfkc: Normaliser = normaliser("nfkc", (text) => text.normalize("NFKC"))

/** Only the digits 0 to 9 stay: telephone and card numbers. */
export const digits: Normaliser = normaliser("digits", (text) => text.replace(/[^0-9]/g, ""))

/** Every normaliser, by name. */
export const NORMALISERS: Readonly<Record<string, Normaliser>> = Object.assign(Object.create(null), {
  trim,
  lowercase,
  nfc,
  nfkc,
  digits,
})
