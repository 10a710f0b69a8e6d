/** A server of Python: on a port that it chose itself. */
import { fileURLToPath } from "node:url"
import { type PipServer, python } from "./_installation.ts"
import { makeFolder, requireInstalled, type Server, startProcess, status } from "./_process.ts"

export interface ServerOrder {
  readonly name: PipServer
  readonly module: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Answers 200 when the server is ready. */
  readonly ready: string
  /** A POST to it empties the server. */
  readonly reset: string
}

const LISTENS = /Running on http:\/\/127\.0\.0\.1:(\d+)/
const RUN = fileURLToPath(new URL("_run.py", import.meta.url))

/** @throws {Error} when it is not installed, ends at once, or is not ready in time */
export async function startServer({ name, module, args = [], env = {}, ready, reset }: ServerOrder): Promise<Server> {
  requireInstalled(name)
  const running = startProcess({
    name,
    command: python(name),
    // Isolated from the machine's Python settings, unbuffered because its port is read from its log.
    args: ["-I", "-u", RUN, module, ...args],
    env,
    tmp: makeFolder(name),
    ends: "kill",
  })
  try {
    const port = await running.until(() => LISTENS.exec(running.log())?.[1])
    const url = `http://127.0.0.1:${port}`
    await running.until(async () => (await status(`${url}${ready}`)) === 200 || undefined)
    running.letGo()
    const empty = async (): Promise<void> => {
      const answer = await status(`${url}${reset}`, "POST")
      if (answer !== 200) throw new Error(`Cannot empty ${name}: it answered ${answer}`)
    }
    return { url, port: Number(port), pid: running.pid, reset: empty, close: running.close }
  } catch (error) {
    await running.close()
    throw error
  }
}
