// The same with an AWS configuration of your own: whose credentials, how long a request may take, how often it is repeated.
import { isRetryableError, KMSError, newCrypto, withDEKCache, withKEKAlias, withKMSService } from "encx"
import { awsKMS } from "encx/aws-kms"

const kms = awsKMS({
  region: "us-west-2",
  // A profile of ~/.aws/config would be: profile: "production". A function is asked again when what it gave expires.
  credentials: async () => ({
    accessKeyId: required("AWS_ACCESS_KEY_ID"),
    secretAccessKey: required("AWS_SECRET_ACCESS_KEY"),
    ...(process.env.AWS_SESSION_TOKEN && { sessionToken: process.env.AWS_SESSION_TOKEN }),
  }),
  attempts: 3, // the first included; the SDK's own retries are off, so that the two never multiply
  requestTimeoutMs: 2_000, // for each attempt
  deadlineMs: 5_000, // for all of them, pauses included
  maxSockets: 100,
  breaker: { failures: 5, openMs: 10_000 },
})

try {
  const crypto = await newCrypto(
    withKMSService(kms),
    withKEKAlias("alias/my-encryption-key"),
    withDEKCache({ maxAgeMs: 60_000, maxMessages: 1_000 }),
  )
  const envelope = await crypto.seal(new TextEncoder().encode("sensitive data"))
  console.log(new TextDecoder().decode(await crypto.open(envelope)))
  console.log("KMS calls:", crypto.stats().kms)
  await crypto.close()
} catch (error) {
  if (!(error instanceof KMSError)) throw error
  console.error(`${error.code}: ${error.message}`)
  console.error(isRetryableError(error) ? "Try again later." : (error.hint ?? ""))
  process.exitCode = 1
} finally {
  await kms.close()
}

function required(name: string): string {
  const value = process.env[name]
  if (value) return value
  throw new Error(`Cannot read the environment: ${name} is not set`)
}
