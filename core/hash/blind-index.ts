/**
 * Keyed blind indexes: equal values of one column get equal bytes, which say nothing without the index root. FORMATS §5.
 *
 * @module
 */
import { createSecretKey, type KeyObject } from "node:crypto"
import { abytes, concat, lp, u16, utf8, wipe } from "../bytes.ts"
import { hkdfExpand, hkdfExtract, hmac, labelled } from "../cipher/derive.ts"

const FORMAT = 1

/** Where an index lives and how it is made: any difference makes another key. */
export interface BlindIndexKey {
  /** From 1 to 255; a new version is a new key. */
  readonly version: number
  /** How many bits are kept, 8 to 256. */
  readonly bits: number
  /** Empty for none. */
  readonly tenant: string
  readonly table: string
  readonly column: string
  readonly name: string
  /** The names of the normalisers, in order. */
  readonly normalisers: readonly string[]
}

/** What {@link widthProblem} looks at. */
export interface IndexWidth {
  readonly bits: number
  /** Whether the database holds the column unique. */
  readonly unique: boolean
  /** How many distinct values the column will have, for a beacon. */
  readonly distinct: number | undefined
}

/** The root of all blind indexes of a program. Only the extracted key is kept (RFC 5869 §2.2), in the runtime's key object. */
export class IndexRoot {
  readonly #prk: KeyObject

  /** Takes 32 bytes; they may be wiped afterwards. */
  constructor(root: Uint8Array) {
    abytes(root, 32, "index root")
    const prk = hkdfExtract("sha256", new Uint8Array(0), root)
    this.#prk = createSecretKey(prk)
    wipe(prk)
  }

  /** The index of an encoded value: `01 ‖ version ‖ bits`. */
  index(key: BlindIndexKey, encodedValue: Uint8Array): Uint8Array {
    const mac = hmac("sha256", this.#keyOf(key), encodedValue)
    const kept = mac.slice(0, Math.ceil(key.bits / 8))
    const spare = kept.length * 8 - key.bits
    kept[kept.length - 1] = (kept[kept.length - 1] as number) & (0xff << spare)
    return concat(Uint8Array.of(FORMAT, key.version), kept)
  }

  // Deriving one takes two HMACs, using it one. As many are kept as a program uses at a time: a tenant is part of them.
  readonly #keys = new Map<string, KeyObject>()

  #keyOf(key: BlindIndexKey): KeyObject {
    const { version, bits, tenant, table, column, name, normalisers } = key
    const id = JSON.stringify([version, bits, tenant, table, column, name, normalisers])
    const known = this.#keys.get(id)
    if (known) return known
    const derived = hkdfExpand("sha256", this.#prk, info(key), 32)
    const made = createSecretKey(derived)
    wipe(derived)
    const [oldest] = this.#keys.keys()
    if (this.#keys.size >= KEPT && oldest !== undefined) this.#keys.delete(oldest)
    this.#keys.set(id, made)
    return made
  }
}

const KEPT = 256

function info({ version, bits, tenant, table, column, name, normalisers }: BlindIndexKey): Uint8Array {
  const names = [tenant, table, column, name, normalisers.join(",")]
  return labelled(
    "encx.v2.bidx",
    Uint8Array.of(version),
    u16(bits),
    ...names.map((each) => lp(utf8(each, "an index's name"), "an index's name")),
  )
}

/**
 * Why an index must not have this width, or `undefined`. A beacon (8 to 63 bits) makes many values share an index on purpose:
 * with X distinct values, 2^N stays under X/2, so that an index does not tell values apart, and above √X, so that it still finds.
 */
export function widthProblem({ bits, unique, distinct }: IndexWidth): string | undefined {
  if (!Number.isInteger(bits) || bits < 8 || bits > 256) return `${bits} bits are not 8 to 256`
  if (unique && bits < 128) return `${bits} bits cannot be unique: 128 can`
  if (bits >= 64) return undefined
  if (distinct === undefined) return `${bits} bits are a beacon: it needs "distinct", the number of distinct values`
  if (!(2 ** bits < distinct / 2))
    return `${bits} bits tell ${distinct} values apart: 2^bits must be below half of them`
  if (!(2 ** bits > Math.sqrt(distinct)))
    return `${bits} bits do not find among ${distinct} values: 2^bits must be above their square root`
  return undefined
}
