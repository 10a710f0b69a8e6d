/** Secrets to look for, how they may be spelt, and all places where they might show. */
import { Buffer } from "node:buffer"
import process from "node:process"
import { inspect } from "node:util"
import { base64 } from "../core/bytes.ts"

/** Each is 32 bytes of text, so that it is a key, a secret, a password and something to search for. */
export const SECRETS = {
  kek: "KekCanary-7Qm2xV9sLp4Rt8Wz0AbCdE",
  pepper: "PepCanary-3Hn6yB1dKf5Jg9Xc2VmNqT",
  root: "RootCanary-8Zs4uE7aPo2Li6Mk1WrYh",
  dek: "DekCanary-5Tj9iC3vGb7Nx1Fq4OuSlD",
  plaintext: "TxtCanary-2Rk8mZ6wHe4Yp0Bv9IxUaG",
  password: "PwdCanary-6Lf1oD5tQj3Sn7Ec8KyVzM",
  passphrase: "PhrCanary-9Wb4gX2rUi6Ta0Ho5PlNsJ",
} as const
type Secret = keyof typeof SECRETS
/** Its bytes, in memory of their own. */
export const raw = (secret: Secret): Uint8Array => Uint8Array.from(Buffer.from(SECRETS[secret]))
/** Its base64. */
export const encoded = (secret: Secret): string => base64(raw(secret))

// --- Searching ---

/** How a secret may be spelt; halves of it, so that a cut one is found as well. Lower case, without white space. */
const SPELLINGS: readonly { readonly secret: string; readonly spelling: string }[] = Object.values(SECRETS).flatMap(
  (secret) =>
    [secret.slice(0, 16), secret.slice(16)].flatMap((half) => {
      const buffer = Buffer.from(half)
      // A text in the middle of others has one of three spellings in base64; what its neighbours share is cut off.
      const inBase64 = [0, 1, 2].map((shift) =>
        Buffer.concat([Buffer.alloc(shift), buffer])
          .toString("base64")
          .slice(shift === 0 ? 0 : 4, -4),
      )
      const spellings = [
        half,
        buffer.toString("hex"),
        ...inBase64,
        ...inBase64.map((each) => each.replaceAll("+", "-").replaceAll("/", "_")),
        [...buffer].join(","),
      ]
      return spellings.map((spelling) => ({ secret, spelling: spelling.toLowerCase() }))
    }),
)

/** The secrets that a text shows, and in which spelling. */
export function leaks(output: string): string[] {
  const searched = output.replace(/\s+/g, "").toLowerCase()
  return SPELLINGS.filter(({ spelling }) => searched.includes(spelling)).map(
    ({ secret, spelling }) => `${secret} as ${spelling}`,
  )
}

/** Every own property that can be reached, enumerable or not. */
function everything(value: unknown, seen = new Set<unknown>()): string {
  if (typeof value === "string") return value
  if (typeof value !== "object" || value === null) return String(value)
  if (seen.has(value)) return ""
  seen.add(value)
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex")
  return Reflect.ownKeys(value)
    .map((key) => `${String(key)}: ${everything(Reflect.get(value, key), seen)}`)
    .join("\n")
}

const INSPECT = {
  depth: Number.POSITIVE_INFINITY,
  showHidden: true,
  maxArrayLength: null,
  maxStringLength: null,
} as const

/** All that can be seen of a value. */
export function shown(value: unknown): string {
  const own = typeof value === "object" && value !== null ? Object.getOwnPropertyNames(value) : []
  const ignoreBigInts = (_key: string, each: unknown): unknown => (typeof each === "bigint" ? String(each) : each)
  return [
    inspect(value, INSPECT),
    String(value),
    JSON.stringify(value, own),
    JSON.stringify(value, ignoreBigInts),
    everything(value),
  ].join("\n")
}

// --- What is written meanwhile ---

const CONSOLE = ["log", "info", "warn", "error", "debug", "trace", "dir"] as const

/** Runs, and gives all that was written, logged or warned of. */
export async function written(run: () => Promise<void>): Promise<string> {
  const output: string[] = []
  const undo: (() => void)[] = []
  for (const stream of [process.stdout, process.stderr]) {
    const { write } = stream
    stream.write = ((...args: Parameters<typeof write>) => {
      output.push(typeof args[0] === "string" ? args[0] : Buffer.from(args[0]).toString("latin1"))
      return Reflect.apply(write, stream, args)
    }) as typeof write
    undo.push(() => {
      stream.write = write
    })
  }
  for (const method of CONSOLE) {
    const original = console[method]
    console[method] = (...args: unknown[]): void => {
      output.push(args.map((each) => (typeof each === "string" ? each : inspect(each, INSPECT))).join(" "))
    }
    undo.push(() => {
      console[method] = original
    })
  }
  const warn = (warning: Error): void => {
    output.push(shown(warning))
  }
  process.on("warning", warn)
  undo.push(() => process.off("warning", warn))
  try {
    await run()
    await new Promise((resolve) => setTimeout(resolve, 10))
  } finally {
    for (const each of undo) each()
  }
  return output.join("\n")
}
