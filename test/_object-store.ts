/** A store of objects on this machine, for programs that expect one on the net: PUT, and GET with ranges of one version. */

import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

/** A request that came. */
export interface Asked {
  readonly method: string
  readonly path: string
  readonly range: string | undefined
  readonly length: string | undefined
}

/** The store. */
export interface ObjectStore {
  /** Its address, without a slash at the end. */
  readonly url: string
  /** What it holds, by path. */
  readonly objects: Map<string, Uint8Array>
  /** What it was asked, in order. */
  readonly asked: Asked[]
  close(): Promise<void>
}

/** Starts one. */
export async function startObjectStore(): Promise<ObjectStore> {
  const objects = new Map<string, Uint8Array>()
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    const { method = "", url: path = "/", headers } = request
    asked.push({ method, path, range: headers.range, length: headers["content-length"] })
    const answered =
      method === "PUT" ? put(objects, path, request, response) : get(objects.get(path), request, response)
    // A client that breaks off leaves nothing behind.
    answered.catch(() => response.destroy())
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    objects,
    asked,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function put(
  objects: Map<string, Uint8Array>,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const pieces: Uint8Array[] = []
  for await (const piece of request) pieces.push(piece)
  objects.set(path, Buffer.concat(pieces))
  response.writeHead(201).end()
}

async function get(object: Uint8Array | undefined, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (!object) return void response.writeHead(404).end()
  const etag = `"${createHash("sha256").update(object).digest("hex").slice(0, 16)}"`
  if (request.headers["if-match"] !== undefined && request.headers["if-match"] !== etag)
    return void response.writeHead(412).end()
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? []
  if (first === undefined) return void response.writeHead(200, { etag, "content-length": object.length }).end(object)
  const part = object.subarray(Number(first), Number(last) + 1)
  const range = `bytes ${first}-${Number(first) + part.length - 1}/${object.length}`
  response.writeHead(206, { etag, "content-range": range, "content-length": part.length }).end(part)
}
