// Seals and opens a value with a key of AWS KMS. It needs the key and, for password hashes, a pepper in Secrets Manager:
//
//   encx keys create alias/my-encryption-key --kms "awskms:///?region=us-east-1" --no-pepper
//   encx pepper init --kms "awskms:///alias/my-encryption-key?region=us-east-1" \
//     --secrets "awssecretsmanager:///?region=us-east-1" --pepper-alias my-service
//
// docs/aws.md says how else they are made, and which permissions this takes.
import { newCrypto, withKEKAlias, withKMSService, withPepper } from "encx"
import { awsKMS } from "encx/aws-kms"
import { awsSecretsManager } from "encx/aws-secrets-manager"

const region = process.env.AWS_REGION ?? "us-east-1"

// Credentials come from where every AWS program takes them: the environment, a profile, a role.
const kms = awsKMS({ region })
const secrets = awsSecretsManager({ region })

const crypto = await newCrypto(
  withKMSService(kms),
  withKEKAlias("alias/my-encryption-key"),
  withPepper(secrets, "my-service"),
)

// One call: the envelope holds the wrapped data key and the data. The context is needed again to open it.
const plaintext = new TextEncoder().encode("sensitive data")
const envelope = await crypto.seal(plaintext, { tenant: "acme" })
console.log(`Sealed ${plaintext.length} bytes into ${envelope.length}`)
console.log(`Opened: ${new TextDecoder().decode(await crypto.open(envelope, { tenant: "acme" }))}`)

// By hand, as the Go library does it: a data key, the data under it, and the data key under the key in the KMS.
const dek = crypto.generateDEK()
const ciphertext = crypto.encryptData(plaintext, dek)
const wrapped = await crypto.encryptDEK(dek)
const unwrapped = await crypto.decryptDEK(wrapped)
console.log(`Wrapped under ${wrapped.keyID}`)
console.log(`Decrypted: ${new TextDecoder().decode(crypto.decryptData(ciphertext, unwrapped))}`)

// The pepper is in the hash, and in no database.
const hash = await crypto.hashSecure("correct horse battery staple", { context: { user: "7" } })
const same = await crypto.compareSecureHashAndValue("correct horse battery staple", hash, { context: { user: "7" } })
console.log(`Password verified: ${same}`)

dek.fill(0)
unwrapped.fill(0)
await crypto.close()
await kms.close()
await secrets.close()
