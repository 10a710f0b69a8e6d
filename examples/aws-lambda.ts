// A function of AWS Lambda. The Crypto is made once for each instance of the function, outside the handler, and with it the
// data-key cache: a warm call that finds its key there asks no service of AWS.
import { type Crypto, newCrypto, withDEKCache, withKEKAlias, withKMSService, withPepper } from "encx"
import { awsKMS } from "encx/aws-kms"
import { awsSecretsManager } from "encx/aws-secrets-manager"

// Lambda sets AWS_REGION and the credentials of the function's role.
const kms = awsKMS({ requestTimeoutMs: 2_000, deadlineMs: 5_000 })
const secrets = awsSecretsManager({ requestTimeoutMs: 2_000, deadlineMs: 5_000 })

let starting: Promise<Crypto> | undefined

function getCrypto(): Promise<Crypto> {
  starting ??= newCrypto(
    withKMSService(kms),
    withKEKAlias(process.env.ENCX_KEK_ALIAS ?? "alias/my-encryption-key"),
    withPepper(secrets, process.env.ENCX_PEPPER_ALIAS ?? "my-service"),
    // Many small instances: each has a cache of its own, so a key may serve for longer.
    withDEKCache({ maxAgeMs: 900_000, maxMessages: 100_000, capacity: 100 }),
  ).catch((error: unknown) => {
    // A start that failed must not fail every later call of this instance: the next one starts anew.
    starting = undefined
    throw error
  })
  return starting
}

// Begun while Lambda loads this file, which costs no call's time; whoever calls first is told if it failed.
getCrypto().catch(() => undefined)

/** What the function is asked. */
export interface Event {
  readonly tenant: string
  /** What is to be sealed; without it, `sealed` is opened. */
  readonly value?: string
  /** Base64. */
  readonly sealed?: string
}

/** What it answers. */
export interface Answer {
  readonly value?: string
  readonly sealed?: string
}

export async function handler(event: Event): Promise<Answer> {
  const crypto = await getCrypto()
  const context = { tenant: event.tenant }
  if (event.value !== undefined) {
    const envelope = await crypto.seal(new TextEncoder().encode(event.value), context)
    return { sealed: Buffer.from(envelope).toString("base64") }
  }
  const opened = await crypto.open(new Uint8Array(Buffer.from(event.sealed ?? "", "base64")), context)
  return { value: new TextDecoder().decode(opened) }
}
