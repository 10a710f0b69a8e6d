/** The SDK's own HTTP handler, with limits: how much an answer may hold, and where plain HTTP may go. */
import { pipeline, Readable, Transform } from "node:stream"
import { InvalidConfiguration } from "../core/errors.ts"

/** The handler, as far as it is used. */
export interface RequestHandler {
  handle(request: HTTPRequest, options?: object): Promise<{ response: { body?: unknown } }>
  destroy?(): void
  updateHttpClientConfig(key: never, value: never): void
  httpHandlerConfigs(): object
  readonly metadata?: { readonly handlerProtocol: string }
}

interface HTTPRequest {
  readonly protocol?: string
  readonly hostname?: string
}

/** The longest answer of any call is a few kilobytes, and a secret has 64 KiB at most. */
const MAX_ANSWER = 128 * 1024
/** Names under `localhost` are left out: many resolvers ask the network for them. */
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i

/** Whether a host is this machine. */
export function isLoopback(hostname: string): boolean {
  return LOOPBACK.test(hostname)
}

/** A handler with limits. */
export function limitedHandler(inner: RequestHandler, provider: string, allowInsecure: boolean): RequestHandler {
  return {
    metadata: inner.metadata ?? { handlerProtocol: "http/1.1" },
    async handle(request, options) {
      // Here and not where endpoints are configured: the environment and profiles configure them, too.
      if (!allowInsecure && request.protocol !== "https:" && !isLoopback(request.hostname ?? "")) {
        throw new InvalidConfiguration(`Cannot use ${provider}: its endpoint is plain HTTP and not on this machine`, {
          hint: "use https:, or say allowInsecure: true",
        })
      }
      const answer = await inner.handle(request, options)
      const { body } = answer.response
      if (body instanceof Readable) answer.response.body = limitedBody(body)
      return answer
    },
    destroy: () => inner.destroy?.(),
    updateHttpClientConfig: (key, value) => inner.updateHttpClientConfig(key, value),
    httpHandlerConfigs: () => inner.httpHandlerConfigs(),
  }
}

function limitedBody(body: Readable): Readable {
  let length = 0
  const limited = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      length += chunk.length
      if (length <= MAX_ANSWER) done(null, chunk)
      else done(Object.assign(new Error(`It is longer than ${MAX_ANSWER} bytes`), { code: "EMSGSIZE" }))
    },
  })
  // Whoever reads it is told what happened.
  return pipeline(body, limited, () => undefined)
}
