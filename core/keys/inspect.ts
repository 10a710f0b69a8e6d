/**
 * What an envelope tells without a key. FORMATS §3.
 *
 * @module
 */
import { abytes, hex } from "../bytes.ts"
import { openedSize } from "../cipher/chunks.ts"
import { parseHeader, providerOf } from "../cipher/envelope.ts"

/** One key of an envelope. */
export interface InspectedKey {
  readonly provider: string
  readonly keyID: string
  readonly version: number
  /** Bytes of the wrapped key. */
  readonly wrappedBytes: number
}

/** What an envelope tells without a key. Nothing of it is authenticated. */
export interface Inspection {
  readonly version: 2
  readonly suite: "Cobblestone-256"
  /** 32 hex digits. */
  readonly dekID: string
  /** Whether a context must be given to open it. */
  readonly hasContext: boolean
  readonly keys: readonly InspectedKey[]
  /** Bytes of the body; 0 in a row's `dek_encrypted`. */
  readonly bodyBytes: number
  /** Bytes of the plaintext, where a body of that length has one. */
  readonly plainBytes: number | undefined
}

/**
 * What an envelope, or a row's `dek_encrypted`, tells without a key.
 *
 * @param envelope all of it, or its beginning: 33 KiB are always enough
 * @param sealedBytes how many bytes all of it has
 */
export function inspectEnvelope(envelope: Uint8Array, sealedBytes: number = envelope.length): Inspection {
  abytes(envelope, undefined, "envelope")
  const { dekID, hasContext, keys, body } = parseHeader(envelope)
  const bodyBytes = sealedBytes - (envelope.length - body.length)
  return {
    version: 2,
    suite: "Cobblestone-256",
    dekID: hex(dekID),
    hasContext,
    keys: keys.map((entry) => ({
      provider: providerOf(entry).name,
      keyID: providerOf(entry).keyID,
      version: entry.version,
      wrappedBytes: entry.wrapped.length,
    })),
    bodyBytes,
    plainBytes: openedSize(bodyBytes),
  }
}
