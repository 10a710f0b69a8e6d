import { once } from "node:events"
import { type AddressInfo, createServer, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { apply, type Effect } from "./_faults.ts"
import { type RecordedRequest, readRequest } from "./_request.ts"
import { forward, requestReader, type WireAnswer, type WireRequest } from "./_wire.ts"

/** A fault, and which requests meet it. */
export type Fault = Effect & {
  /** The operations that meet it; otherwise every one. */
  readonly operation?: string | readonly string[]
  /** Whether a request meets it. */
  readonly when?: (request: RecordedRequest) => boolean
  /** How many of these requests pass before. */
  readonly after?: number
  /** How many meet it; otherwise every one. */
  readonly times?: number
  /** Before anything else happens to it. */
  readonly latencyMs?: number
}

/** Stands between a client and an emulator. */
export interface FaultProxy {
  readonly url: string
  readonly port: number
  /** Of several, the first that a request meets. To set it is to count anew; `undefined` lets everything pass. */
  fault: Fault | readonly Fault[] | undefined
  /** What came, oldest first. */
  readonly requests: readonly RecordedRequest[]
  /** How many of an operation came, or how many at all. */
  count(operation?: string): number
  /** The actions that IAM must allow for what came, sorted. */
  actions(): string[]
  /** The client's connections. */
  readonly sockets: Gauge
  /** Requests without the end of their answer. */
  readonly inFlight: Gauge
  /** Forgets what came; what is open stays counted. */
  forget(): void
  /** Ends every connection; calling it twice is calling it once. */
  close(): Promise<void>
}

/** How many there are, were at most at once, and were in all. */
export interface Gauge {
  readonly open: number
  readonly peak: number
  readonly total: number
}

/**
 * Starts a proxy in this process.
 *
 * @param target the URL of an emulator, or a function that gives it for a request
 */
export async function startFaultProxy(target: string | ((request: RecordedRequest) => string)): Promise<FaultProxy> {
  const targetOf = typeof target === "string" ? () => target : target
  const faults = new Faults()
  const requests: Mutable<RecordedRequest>[] = []
  const sockets = new Count()
  const inFlight = new Count()
  const ends = new Map<Socket, AbortController>()
  let came = 0
  let connected = 0

  const serve = async (wire: WireRequest, socket: Socket, connection: number, signal: AbortSignal): Promise<void> => {
    const request: Mutable<RecordedRequest> = readRequest(wire, ++came, connection)
    requests.push(request)
    inFlight.up()
    try {
      const fault = faults.meet(request)
      if (fault) request.fault = fault.kind
      if (fault?.latencyMs) await sleep(fault.latencyMs, undefined, { signal })
      let answer: Promise<WireAnswer> | undefined
      const ask = (): Promise<WireAnswer> => (answer ??= forward(wire, new URL(targetOf(request)), signal))
      const sends = (status: number): void => {
        request.status = status
      }
      await apply({ request, socket, signal, answer: ask, sends }, fault ?? { kind: "none" })
      if (wire.headers.get("connection")?.toLowerCase() === "close") socket.end()
    } catch (error) {
      // The client went away, or the emulator did: the first has no one to tell, the second looks as it would without us.
      if (!signal.aborted) socket.destroy()
      if (!signal.aborted && request.status === undefined) request.fault ??= `emulator: ${(error as Error).message}`
    } finally {
      request.endedAt = performance.now()
      inFlight.down()
    }
  }

  const server = createServer({ noDelay: true }, (socket) => {
    sockets.up()
    const end = new AbortController()
    const connection = ++connected
    ends.set(socket, end)
    let turn: Promise<void> = Promise.resolve()
    const refuse = (): void =>
      void socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    const read = requestReader((wire) => {
      turn = turn.then(() => serve(wire, socket, connection, end.signal))
    }, refuse)
    socket.on("data", read)
    // A client may reset its connection, which is its right here; the close follows.
    socket.on("error", () => undefined)
    socket.on("close", () => {
      ends.delete(socket)
      sockets.down()
      end.abort(new Error("The client has gone"))
    })
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo

  let closing: Promise<void> | undefined
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    get fault() {
      return faults.all
    },
    set fault(value) {
      faults.set(value)
    },
    requests,
    count: (operation) => requests.filter((each) => operation === undefined || each.operation === operation).length,
    actions: () => [...new Set(requests.flatMap((each) => each.actions))].sort(),
    sockets,
    inFlight,
    forget: () => {
      requests.length = 0
      sockets.forget()
      inFlight.forget()
    },
    close: () => {
      closing ??= new Promise((resolve) => {
        server.close(() => resolve())
        for (const [socket, end] of ends) {
          end.abort(new Error("The proxy is closed"))
          socket.destroy()
        }
      })
      return closing
    },
  }
}

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] }

class Faults {
  all: Fault | readonly Fault[] | undefined
  #counted: { readonly fault: Fault; seen: number }[] = []

  set(all: Fault | readonly Fault[] | undefined): void {
    this.all = all
    this.#counted = (all === undefined ? [] : [all].flat()).map((fault) => ({ fault, seen: 0 }))
  }

  meet(request: RecordedRequest): Fault | undefined {
    return this.#counted.find((each) => {
      const { operation, when, after = 0, times = Number.POSITIVE_INFINITY } = each.fault
      if (operation !== undefined && ![operation].flat().includes(request.operation)) return false
      if (when && !when(request)) return false
      each.seen++
      return each.seen > after && each.seen <= after + times
    })?.fault
  }
}

class Count implements Gauge {
  open = 0
  peak = 0
  total = 0

  up(): void {
    this.open++
    this.total++
    this.peak = Math.max(this.peak, this.open)
  }

  down(): void {
    this.open--
  }

  forget(): void {
    this.peak = this.open
    this.total = this.open
  }
}
