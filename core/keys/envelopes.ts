/**
 * Self-contained envelopes: a value with its wrapped data key. FORMATS §3.
 *
 * @module
 */
import { abytes, concat, copyOf, equal, fromHex, wipe } from "../bytes.ts"
import { isBulk } from "../cipher/bulk.ts"
import { isCommittedTo, openMessage, sealMessage } from "../cipher/cobblestone.ts"
import { type Context, encodeContext, hasPairs } from "../cipher/context.ts"
import { bodyContext, encodeHeader, type Header, type ParsedEnvelope, parseEnvelope } from "../cipher/envelope.ts"
import type { CallOptions } from "../contracts.ts"
import { DecryptionFailed, KeyNotAllowed, type Try } from "../errors.ts"
import type { DataKeys } from "./data-keys.ts"
import { type DataKey, DEK_LENGTH, type SealingKey, withDataKey } from "./dek.ts"
import { openLarge, sealLarge } from "./large-envelopes.ts"

/** What `seal` takes beside the bytes and the context. */
export interface SealOptions extends CallOptions {
  /** Data keys of one partition never serve another: the tenant, say. Nothing of it is stored. @default {""} */
  readonly partition?: string
}

/** What `open` takes beside the bytes and the context. */
export interface OpenOptions extends SealOptions {
  /** The data key of an envelope that holds none, 32 bytes. */
  readonly dek?: Uint8Array
  /** The id of that data key, 32 hex digits. */
  readonly dekID?: string
}

/** What trying one key of an envelope gave. */
export interface Verification extends Try {
  /** Whether this key opens the envelope. */
  readonly ok: boolean
}

/** Seals one message with a key. The salt is new random bytes; anything else is for known-answer tests. @internal */
export function sealWith(
  key: SealingKey,
  plaintext: Uint8Array,
  encodedContext: Uint8Array,
  salt?: Uint8Array,
): Uint8Array {
  const { dek } = key
  const hasContext = hasPairs(encodedContext)
  const binding = bodyContext({ dekID: dek.id, hasContext }, encodedContext)
  return sealMessage(dek.messages, binding, plaintext, key.header(hasContext), salt)
}

/** Seals a value into an envelope: at once, when the key is there. @internal */
export function sealEnvelope(
  dataKeys: DataKeys,
  plaintext: Uint8Array,
  context: Context | undefined,
  options: SealOptions = {},
): Uint8Array | Promise<Uint8Array> {
  abytes(plaintext, undefined, "plaintext")
  const encoded = encodeContext(context)
  if (isBulk(plaintext.length)) return sealLarge(dataKeys, plaintext, encoded, options)
  let own = plaintext
  const sealed = dataKeys.seal("envelope", { messages: 1, bytes: plaintext.length }, options, (key) =>
    sealWith(key, own, encoded),
  )
  if (!(sealed instanceof Promise)) return sealed
  // The caller may change its bytes while the KMS is asked.
  own = copyOf(plaintext)
  return sealed.finally(() => wipe(own))
}

/** Opens an envelope: at once, when the key is there. @internal */
export function openEnvelope(
  dataKeys: DataKeys,
  envelope: Uint8Array,
  context: Context | undefined,
  options: OpenOptions = {},
): Uint8Array | Promise<Uint8Array> {
  abytes(envelope, undefined, "envelope")
  const { parsed, binding } = prepare(envelope, context)
  let { body } = parsed
  const attempt = (dek: DataKey): Uint8Array | undefined => openMessage(dek.messages, binding, body)
  if (options.dek !== undefined) {
    const plaintext = withDataKey(parsed.dekID, supplied(parsed, options.dek, options.dekID ?? ""), attempt)
    if (plaintext === undefined) throw new DecryptionFailed()
    return plaintext
  }
  if (isBulk(body.length)) return openLarge(dataKeys, parsed, binding, options)
  const opened = dataKeys.open(parsed, options, attempt)
  // The caller may change its bytes while the KMS is asked.
  if (opened instanceof Promise) body = copyOf(body)
  return opened
}

function supplied({ dekID }: Header, dek: Uint8Array, id: string): Uint8Array {
  if (!equal(fromHex(id, "the id of a data key"), dekID)) {
    throw new KeyNotAllowed("Cannot open an envelope: the data key given is that of another id")
  }
  abytes(dek, DEK_LENGTH, "dek")
  return copyOf(dek)
}

// Everything that can be refused without asking anybody is refused here.
function prepare(
  envelope: Uint8Array,
  context: Context | undefined,
): { parsed: ParsedEnvelope; binding: Uint8Array[] } {
  const encoded = encodeContext(context)
  const parsed = parseEnvelope(envelope)
  if (parsed.hasContext !== hasPairs(encoded)) throw new DecryptionFailed()
  return { parsed, binding: bodyContext(parsed, encoded) }
}

/**
 * Wraps an envelope's data key anew; the body stays as it is, byte for byte.
 *
 * @param context as it was sealed with: the key must be the right one before its old wraps go
 * @internal
 */
export async function rewrapEnvelope(
  dataKeys: DataKeys,
  envelope: Uint8Array,
  context: Context | undefined,
  options: CallOptions = {},
): Promise<Uint8Array> {
  abytes(envelope, undefined, "envelope")
  // The body is joined to the new header after the KMS was asked: it is that which was checked.
  const { parsed, binding } = prepare(copyOf(envelope), context)
  const { keys } = await dataKeys.rewrap(parsed, options, (dek) => isCommittedTo(dek.messages, binding, parsed.body))
  return concat(encodeHeader({ ...parsed, keys }), parsed.body)
}

/** Tries every key of an envelope that this program allows, so that one that is lost shows while another still works. @internal */
export async function verifyEnvelope(
  dataKeys: DataKeys,
  envelope: Uint8Array,
  context: Context | undefined,
  options: CallOptions = {},
): Promise<Verification[]> {
  abytes(envelope, undefined, "envelope")
  const { parsed, binding } = prepare(copyOf(envelope), context)
  return await dataKeys.tryEach(parsed, options, (dek) => openMessage(dek.messages, binding, parsed.body) !== undefined)
}
