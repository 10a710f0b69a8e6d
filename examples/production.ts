// The same in production: keys in AWS KMS, the pepper in Secrets Manager, and the versions of the key in PostgreSQL, where every
// instance of the service finds them. It takes DATABASE_URL and KMS_KEY_ALIAS from the environment, region and credentials from
// where every AWS program has them, and `npm install encx pg kysely` beside the AWS SDK (docs/aws.md).
import {
  isRetryableError,
  newCrypto,
  plain,
  record,
  text,
  withDatabase,
  withDEKCache,
  withKEKAlias,
  withKMSService,
  withPepper,
} from "encx"
import { awsKMS } from "encx/aws-kms"
import { awsSecretsManager } from "encx/aws-secrets-manager"
import { Pool } from "pg"

const kms = awsKMS()
const secrets = awsSecretsManager()

// Database for key versioning
const db = new Pool({ connectionString: required("DATABASE_URL") })
// A connection that breaks is replaced, and whoever uses it is told; unheard, it would end the program.
db.on("error", (error) => console.error(`PostgreSQL: ${error.message}`))
db.on("connect", (client) => client.on("error", () => {}))

try {
  const crypto = await newCrypto(
    withKMSService(kms),
    withKEKAlias(required("KMS_KEY_ALIAS")),
    withPepper(secrets, process.env.ENCX_PEPPER_ALIAS ?? "my-service"),
    withDatabase(db),
    withDEKCache({ maxAgeMs: 300_000, maxMessages: 1_000 }),
  )

  // Your application logic here
  const users = record(
    "users",
    { row: "id" },
    { id: plain<number>(), email: text().encrypt(), password: text().hashSecure() },
  )
  const row = await crypto.sealRecord(users, { id: 7, email: "ada@example.org", password: "correct horse" })
  const user = await crypto.openRecord(users, row)
  console.log(`Sealed under version ${row.key_version} of ${await crypto.getKMSKeyIDForVersion(row.key_version)}`)
  console.log(`Opened: ${user.email}`)
  await crypto.close()
} catch (error) {
  console.error(error)
  if (isRetryableError(error)) console.error("Try again later.")
  process.exitCode = 1
} finally {
  await db.end()
  await kms.close()
  await secrets.close()
}

function required(name: string): string {
  const value = process.env[name]
  if (value) return value
  throw new Error(`Cannot read the environment: ${name} is not set`)
}
