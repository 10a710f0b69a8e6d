/** The faults that the proxy injects: each kind, what it may be told, and what it does. */
import type { Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { type AwsErrorName, awsError, errorOfStatus } from "./_aws-errors.ts"
import type { RecordedRequest } from "./_request.ts"
import { ascii, chunk, concat, head, type WireAnswer } from "./_wire.ts"

/** What happens to a request that the fault meets. */
export type Effect =
  /** Nothing but the latency. */
  | { readonly kind: "none" }
  /** An answer of this status, with the error that the service gives it (429: `ThrottlingException` …). */
  | { readonly kind: "status"; readonly status: 429 | 500 | 502 | 503 | 504; readonly message?: string }
  /** An error by name, with the status and the text that AWS documents unless others are given. */
  | { readonly kind: "error"; readonly name: AwsErrorName; readonly status?: number; readonly message?: string }
  /** The connection is reset: half-way through the answer, or before the emulator hears of the request. */
  | { readonly kind: "reset"; readonly at?: "body" | "request" }
  /** No answer, ever; with `forward`, the emulator has done what was asked. */
  | { readonly kind: "silence"; readonly forward?: boolean }
  /** One byte a second, from the status line or from the body on. */
  | { readonly kind: "trickle"; readonly from?: "head" | "body"; readonly intervalMs?: number }
  /** JSON that ends early, in an answer that is whole. */
  | { readonly kind: "truncate"; readonly keep?: number }
  /** Another content type, `text/html`, and another body where one is given. */
  | { readonly kind: "content-type"; readonly type?: string; readonly body?: string }
  /** The true answer with a field that makes it this long, 10 MiB; chunked, or with its length told. */
  | { readonly kind: "oversize"; readonly bytes?: number; readonly framing?: "chunked" | "length" }
  /** Another key in the answer: in `KeyId`, and in what else names the key. */
  | { readonly kind: "key-id"; readonly keyID?: string }
  /** A data key of this many bytes. */
  | { readonly kind: "dek-length"; readonly bytes: number }
  /** The answer's JSON, changed at will. */
  | { readonly kind: "rewrite"; readonly body: (answer: Json) => Json }

export type FaultKind = Effect["kind"]
export type Json = Record<string, unknown>

/** What an effect works with. */
export interface Exchange {
  readonly request: RecordedRequest
  readonly socket: Socket
  /** Aborts when the client or the proxy has gone. */
  readonly signal: AbortSignal
  /** The emulator's answer; it is asked once. */
  readonly answer: () => Promise<WireAnswer>
  /** Notes the status that the client is sent. */
  readonly sends: (status: number) => void
}

const JSON_TYPE = "application/x-amz-json-1.1"
/** A key that no emulator has made, in the account and region of the true one. */
const OTHER_KEY = "00000000-0000-4000-8000-00000000dead"
const MEBIBYTE = 1024 * 1024

const EFFECTS: { readonly [Kind in FaultKind]: (x: Exchange, effect: Effect & { kind: Kind }) => Promise<void> } = {
  none: async (x) => send(x, await x.answer()),
  status: (x, { status, message }) => {
    const { body } = awsError(errorOfStatus(status, x.request.service), x.request, { message })
    return send(x, made(x.request, status, body))
  },
  error: (x, { name, status, message }) => {
    const error = awsError(name, x.request, { status, message })
    return send(x, made(x.request, error.status, error.body))
  },
  reset: async (x, { at = "body" }) => {
    if (at === "body") {
      const answer = await x.answer()
      x.sends(answer.status)
      await write(x, concat([head(answer, answer.body.length), answer.body.subarray(0, answer.body.length >> 1)]))
      // A reset overtakes what was written and not yet read.
      await sleep(20, undefined, { signal: x.signal })
    }
    x.socket.resetAndDestroy()
  },
  silence: async (x, { forward = false }) => {
    if (forward) await x.answer()
    await new Promise((resolve) => x.signal.addEventListener("abort", resolve, { once: true }))
  },
  trickle: async (x, { from = "head", intervalMs = 1_000 }) => {
    const answer = await x.answer()
    const start = head(answer, answer.body.length)
    x.sends(answer.status)
    if (from === "body") await write(x, start)
    for (const byte of from === "body" ? answer.body : concat([start, answer.body])) {
      await sleep(intervalMs, undefined, { signal: x.signal })
      await write(x, Uint8Array.of(byte))
    }
  },
  truncate: async (x, { keep }) => {
    const answer = await x.answer()
    await send(x, { ...answer, body: answer.body.subarray(0, keep ?? answer.body.length >> 1) })
  },
  "content-type": async (x, { type = "text/html", body }) => {
    const answer = await x.answer()
    const headers = new Map([...answer.headers, ["content-type", type]])
    await send(x, { ...answer, headers, body: body === undefined ? answer.body : ascii(body) })
  },
  oversize: async (x, { bytes = 10 * MEBIBYTE, framing = "chunked" }) => {
    const answer = await x.answer()
    const short = ascii(JSON.stringify({ ...parse(answer), Padding: "" }))
    const [before, after] = [short.subarray(0, -2), short.subarray(-2)]
    const body = concat([before, new Uint8Array(Math.max(0, bytes - short.length)).fill(120), after])
    if (framing === "length") return send(x, { ...answer, body })
    x.sends(answer.status)
    await write(x, head(answer, undefined))
    for (let at = 0; at < body.length; at += 64 * 1024) await write(x, chunk(body.subarray(at, at + 64 * 1024)))
    await write(x, chunk(new Uint8Array(0)))
  },
  "key-id": (x, { keyID }) =>
    rewrite(x, (answer) => {
      const other = (value: unknown): string =>
        keyID ?? String(value).replace(/[^/]+$/, String(value).includes("/mrk-") ? "mrk-dead" : OTHER_KEY)
      const rename = (object: Json): Json =>
        Object.fromEntries(
          Object.entries(object).map(([key, value]) => [
            key,
            /^(KeyId|SourceKeyId|Arn)$/.test(key) ? other(value) : value,
          ]),
        )
      const { KeyMetadata } = answer
      return { ...rename(answer), ...(KeyMetadata ? { KeyMetadata: rename(KeyMetadata as Json) } : {}) }
    }),
  "dek-length": (x, { bytes }) =>
    rewrite(x, (answer) => ({ ...answer, Plaintext: btoa(String.fromCharCode(...new Uint8Array(bytes).fill(7))) })),
  rewrite: (x, { body }) => rewrite(x, body),
}

/** Every kind. */
export const FAULTS: readonly FaultKind[] = Object.keys(EFFECTS) as FaultKind[]

/** Answers a request as the effect says. */
export function apply<Kind extends FaultKind>(x: Exchange, effect: Effect & { kind: Kind }): Promise<void> {
  return (EFFECTS[effect.kind] as (x: Exchange, effect: Effect & { kind: Kind }) => Promise<void>)(x, effect)
}

function made({ number }: RecordedRequest, status: number, body: Json): WireAnswer {
  const id = `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`
  const headers = new Map([
    ["content-type", JSON_TYPE],
    ["date", new Date().toUTCString()],
    ["x-amzn-requestid", id],
  ])
  return { status, headers, body: ascii(JSON.stringify(body)) }
}

/** Errors stay as they are: there is no key and no data key in them. */
async function rewrite(x: Exchange, change: (answer: Json) => Json): Promise<void> {
  const answer = await x.answer()
  await send(x, answer.status === 200 ? { ...answer, body: ascii(JSON.stringify(change(parse(answer)))) } : answer)
}

function parse({ body }: WireAnswer): Json {
  return JSON.parse(new TextDecoder().decode(body)) as Json
}

async function send(x: Exchange, answer: WireAnswer): Promise<void> {
  x.sends(answer.status)
  await write(x, concat([head(answer, answer.body.length), answer.body]))
}

/** Waits until the bytes are with the system, so that a client that reads slowly slows us. */
function write({ socket, signal }: Exchange, bytes: Uint8Array): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const stop = (): void => reject(signal.reason)
  if (signal.aborted) stop()
  signal.addEventListener("abort", stop, { once: true })
  socket.write(bytes, (error) => {
    signal.removeEventListener("abort", stop)
    if (error) reject(error)
    else resolve()
  })
  return promise
}
