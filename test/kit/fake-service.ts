/**
 * Services that fail when they are told to, for the tests of a program.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import { randomBytes } from "../../core/bytes.ts"
import type { KeyManagementService, SecretManagementService, WrappedDEK } from "../../core/contracts.ts"
import {
  AccessDenied,
  AuthenticationFailed,
  InvalidConfiguration,
  KeyDisabled,
  KeyNotFound,
  KMSUnavailable,
  SecretNotFound,
  SecretStorageUnavailable,
} from "../../core/errors.ts"
import { around, CALLS, type ServiceCall } from "../../core/service.ts"
import { type LocalServices, memory } from "../../providers/memory.ts"

/** A method of a KMS that asks it. */
export type KMSMethod =
  | "getKeyID"
  | "describeKey"
  | "encryptDEK"
  | "decryptDEK"
  | "generateDEK"
  | "reencryptDEK"
  | "createKey"
  | "rotateKey"

/** A method of a secret store that asks it. */
export type SecretsMethod =
  | "getPepper"
  | "storePepper"
  | "rotatePepper"
  | "pepperExists"
  | "getIndexRoot"
  | "storeIndexRoot"

/**
 * How a call goes wrong: it cannot be asked, the permission is missing, the credentials are wrong, the key is not there or
 * disabled, it never answers, it answers late, it answers nonsense.
 */
export type FaultKind =
  | "unavailable"
  | "denied"
  | "unauthenticated"
  | "lost"
  | "disabled"
  | "hang"
  | "slow"
  | "nonsense"

/** What goes wrong, where and how often. */
export interface Fault<Method extends string = string> {
  /** How. */
  readonly kind: FaultKind
  /** Of which methods. @default {every one} */
  readonly methods?: readonly Method[]
  /** How many calls go well before. @default {0} */
  readonly after?: number
  /** How many calls go wrong. @default {Infinity} */
  readonly times?: number
  /** With which probability one goes wrong, from 0 to 1, by the generator that `seed` starts. @default {1} */
  readonly probability?: number
  /** How late a slow one answers. @default {50} */
  readonly delayMs?: number
  /** What is thrown in place of the kind's own error. */
  readonly error?: Error
}

/** Options of {@link fakeKMS} and {@link fakeSecrets}. */
export interface FakeOptions<Method extends string> {
  /** What goes wrong from the start; the first fault that applies to a call is the one that happens. @default {[]} */
  readonly faults?: readonly Fault<Method>[]
  /** What the generator of probabilities starts with. @default {1} */
  readonly seed?: number
}

/** What fakes have beside the service. */
export interface Fake<Method extends string> {
  /** How often each method was called, failures included. */
  readonly calls: Readonly<Record<Method, number>>
  /** Adds a fault; what it returns takes it away. */
  inject(fault: Fault<Method>): () => void
  /** Takes every fault away. */
  heal(): void
}

/** A KMS in memory that fails when it is told to. */
export type FakeKMS = KeyManagementService &
  Required<Pick<KeyManagementService, "createKey" | "rotateKey" | "generateDEK" | "reencryptDEK" | "close">> &
  Fake<KMSMethod>

/** A secret store in memory that fails when it is told to. */
export type FakeSecrets = SecretManagementService & Fake<SecretsMethod>

/**
 * A key management service in memory, of the provider `memory`, that counts its calls and fails when it is told to. Without a fault
 * it passes the conformance suite. It starts without a key: `createKey(alias)`.
 *
 * @throws {InvalidConfiguration} under `NODE_ENV=production`
 */
export function fakeKMS(options: FakeOptions<KMSMethod> = {}): FakeKMS {
  return faulty<KeyManagementService, KMSMethod>(complete(memory()), CALLS.kms, options, kmsFault) as FakeKMS
}

/**
 * A secret store in memory that counts its calls and fails when it is told to. Without a fault it passes the conformance suite. It
 * starts empty.
 *
 * @throws {InvalidConfiguration} under `NODE_ENV=production`
 */
export function fakeSecrets(options: FakeOptions<SecretsMethod> = {}): FakeSecrets {
  const methods = ["provider", "getStoragePath", "close", ...Object.keys(CALLS.secrets)]
  const services = memory()
  const store = Object.fromEntries(methods.map((name) => [name, Reflect.get(services, name)]))
  return faulty(store as unknown as SecretManagementService, CALLS.secrets, options, secretsFault) as FakeSecrets
}

// --- Faults ---

type Thrown = (kind: FaultKind, call: ServiceCall) => Error

function faulty<Service extends object, Method extends string>(
  service: Service,
  methods: Readonly<Record<string, number>>,
  { faults = [], seed = 1 }: FakeOptions<Method>,
  errorOf: Thrown,
): Service & Fake<Method> {
  const random = generator(seed)
  let active = faults.map((fault) => armed(fault, Object.keys(methods)))
  const calls = Object.fromEntries(Object.keys(methods).map((name) => [name, 0])) as Record<Method, number>
  const asked = around(service, methods, async (call) => {
    calls[call.method as Method]++
    call.options.signal?.throwIfAborted()
    const fault = active.find((each) => each.applies(call.method, random))?.fault
    if (!fault) return await call.make(call.options)
    const { signal } = call.options
    if (fault.error) throw fault.error
    if (fault.kind === "hang") return await untilAborted(signal)
    if (fault.kind === "nonsense") return nonsense(call)
    if (fault.kind !== "slow") throw errorOf(fault.kind, call)
    await sleep(fault.delayMs ?? 50, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted())
    return await call.make(call.options)
  })
  const fake: Fake<Method> = {
    calls,
    inject(fault) {
      const added = armed(fault, Object.keys(methods))
      active = [...active, added]
      return () => {
        active = active.filter((each) => each !== added)
      }
    },
    heal() {
      active = []
    },
  }
  return Object.assign(asked, fake)
}

interface Armed<Method extends string> {
  readonly fault: Fault<Method>
  applies(method: string, random: () => number): boolean
}

const KINDS: readonly FaultKind[] = [
  ...(["unavailable", "denied", "unauthenticated", "lost", "disabled"] as const),
  ...(["hang", "slow", "nonsense"] as const),
]

function armed<Method extends string>(fault: Fault<Method>, known: readonly string[]): Armed<Method> {
  const { methods, probability = 1, times = Number.POSITIVE_INFINITY, after = 0 } = fault
  if (!(probability >= 0 && probability <= 1))
    throw new InvalidConfiguration("Cannot inject a fault: its probability is not from 0 to 1")
  if (!KINDS.includes(fault.kind)) throw new InvalidConfiguration("Cannot inject a fault: its kind is none")
  const unknown = methods?.find((name) => !known.includes(name))
  if (unknown !== undefined)
    throw new InvalidConfiguration(`Cannot inject a fault: the service has no method "${unknown}"`)
  let [well, wrong] = [after, times]
  return {
    fault,
    applies(method, random) {
      if (methods && !(methods as readonly string[]).includes(method)) return false
      if (wrong <= 0) return false
      if (well-- > 0) return false
      if (probability < 1 && random() >= probability) return false
      wrong--
      return true
    },
  }
}

function untilAborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true })
  })
}

/** Numbers from 0 to less than 1, the same for the same seed: mulberry32. */
function generator(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const PROVIDER = "memory"
const WORDS: Readonly<Record<Exclude<FaultKind, "hang" | "slow" | "nonsense">, string>> = {
  unavailable: "it is told to be unavailable",
  denied: "it is told to deny",
  unauthenticated: "it is told to know nobody",
  lost: "it is told to have lost it",
  disabled: "it is told to have disabled it",
}
const KMS_ERRORS = {
  unavailable: KMSUnavailable,
  denied: AccessDenied,
  unauthenticated: AuthenticationFailed,
  lost: KeyNotFound,
  disabled: KeyDisabled,
} as const
const SECRETS_ERRORS = { ...KMS_ERRORS, unavailable: SecretStorageUnavailable, lost: SecretNotFound } as const

const errorsOf =
  (what: string, classes: typeof KMS_ERRORS | typeof SECRETS_ERRORS): Thrown =>
  (kind, { method }) => {
    const named = kind as keyof typeof WORDS
    const Failure = classes[named]
    return new Failure(`Cannot use ${what}: ${WORDS[named]}`, { provider: PROVIDER, operation: method })
  }
const kmsFault = errorsOf("the fake KMS", KMS_ERRORS)
const secretsFault = errorsOf("the fake secret store", SECRETS_ERRORS)

/** An answer of the right shape that cannot be right. */
function nonsense({ method }: ServiceCall): unknown {
  const bytes = randomBytes(31)
  const wrapped: WrappedDEK = { ciphertext: bytes, keyID: "nonsense", version: 99 }
  const answers: Readonly<Record<string, unknown>> = {
    getKeyID: "nonsense",
    createKey: "nonsense",
    describeKey: { keyID: "nonsense", currentVersion: 99, versions: [] },
    rotateKey: { keyID: "nonsense", currentVersion: 99, versions: [] },
    encryptDEK: wrapped,
    reencryptDEK: wrapped,
    generateDEK: { ...wrapped, plaintext: bytes },
    decryptDEK: bytes,
    getPepper: [{ version: "99", stage: "current", value: bytes }],
    pepperExists: true,
    getIndexRoot: bytes,
  }
  return answers[method]
}

/** The methods that a service in memory leaves out. */
function complete(services: LocalServices): KeyManagementService {
  const { provider, getKeyID, describeKey, encryptDEK, decryptDEK, createKey, rotateKey, close } = services
  return {
    ...{ provider, getKeyID, describeKey, encryptDEK, decryptDEK, createKey, rotateKey, close },
    async generateDEK(keyID, context, options) {
      const plaintext = randomBytes(32)
      return { ...(await encryptDEK(keyID, plaintext, context, options)), plaintext }
    },
    async reencryptDEK(wrapped, context, toKeyID, options) {
      const dek = await decryptDEK(wrapped, context, options)
      try {
        return await encryptDEK(toKeyID, dek, context, options)
      } finally {
        dek.fill(0)
      }
    },
  }
}
