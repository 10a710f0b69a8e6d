/** Calls a server that speaks JSON, on a connection of its own. */
import { request as requestHTTP } from "node:http"
import { request as requestHTTPS } from "node:https"

export interface JSONCall {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: object
  /** PEM, for HTTPS. */
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

export interface JSONAnswer {
  readonly status: number
  /** Empty where the answer is. */
  readonly json: Record<string, unknown>
}

/** @throws {Error} when nobody answers, or it is not JSON */
export function callJSON(
  url: string,
  { method = "GET", headers = {}, body, ca, cert, key }: JSONCall = {},
): Promise<JSONAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<JSONAnswer>()
  const call = url.startsWith("https:") ? requestHTTPS : requestHTTP
  const text = body === undefined ? "" : JSON.stringify(body)
  const tls = { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) }
  const length = { "content-length": String(new TextEncoder().encode(text).length) }
  const type = text === "" ? {} : { "content-type": "application/json" }
  const sent = call(
    url,
    { method, agent: false, timeout: 30_000, headers: { ...length, ...type, ...headers }, ...tls },
    (answer) => {
      let said = ""
      answer.setEncoding("utf8")
      answer.on("data", (chunk: string) => (said += chunk))
      answer.on("error", reject)
      answer.on("end", () => {
        try {
          resolve({ status: answer.statusCode ?? 0, json: said.trim() === "" ? {} : JSON.parse(said) })
        } catch (error) {
          reject(error)
        }
      })
    },
  )
  sent.on("error", reject)
  sent.on("timeout", () => sent.destroy(new Error(`${url} did not answer`)))
  sent.end(text)
  return promise
}
