/** Calls AWS without its SDK: what a server answers byte for byte, and no retry. It signs nothing. */
import { type Agent, request } from "node:http"

export interface Reply {
  readonly status: number
  readonly type: string
  readonly bytes: number
  readonly text: string
  /** The JSON; throws where it is none. */
  readonly body: Record<string, unknown>
}

export interface CallWith {
  readonly agent?: Agent
  readonly signal?: AbortSignal
  readonly region?: string
  readonly accessKeyID?: string
}

/** `call(url, "kms:GenerateDataKey", { KeyId, KeySpec: "AES_256" })` */
export function call(
  url: string,
  action: string,
  body: Readonly<Record<string, unknown>> = {},
  { agent, signal, region = "eu-west-1", accessKeyID = "test" }: CallWith = {},
): Promise<Reply> {
  const [service = "", operation = ""] = action.split(":")
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const date = new Date().toISOString().replace(/[-:]|\.\d+/g, "")
  const headers = {
    "content-type": "application/x-amz-json-1.1",
    "x-amz-target": `${service === "kms" ? "TrentService" : service}.${operation}`,
    "x-amz-date": date,
    authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyID}/${date.slice(0, 8)}/${region}/${service}/aws4_request, SignedHeaders=host;x-amz-date, Signature=00`,
  }
  const sent = request(
    url,
    { method: "POST", agent: agent ?? false, headers, ...(signal ? { signal } : {}) },
    (answer) => {
      const chunks: Uint8Array[] = []
      answer.on("data", (chunk: Uint8Array) => chunks.push(chunk))
      answer.on("error", reject)
      answer.on("aborted", () => reject(new Error("The answer ended early")))
      answer.on("end", () => {
        const text = chunks.map((chunk) => new TextDecoder().decode(chunk)).join("")
        resolve({
          status: answer.statusCode ?? 0,
          type: answer.headers["content-type"] ?? "",
          bytes: chunks.reduce((sum, { length }) => sum + length, 0),
          text,
          get body() {
            return JSON.parse(text) as Record<string, unknown>
          },
        })
      })
    },
  )
  sent.on("error", reject)
  sent.end(JSON.stringify(body))
  return promise
}
