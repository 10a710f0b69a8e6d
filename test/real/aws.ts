/**
 * The suites on AWS itself: `AWS_REGION=eu-west-1 TEST_KMS_KEY_ID=alias/test-key npm run test:aws`. No test file's name, so that
 * nothing else runs it; it costs some cents.
 */
import { randomUUID } from "node:crypto"
import process from "node:process"
import { describe, it } from "node:test"
import type { SecretManagementService, SecretName } from "../../core/contracts.ts"
import { type AWSKMS, awsKMS } from "../../providers/aws-kms.ts"
import { awsSecretsManager } from "../../providers/aws-secrets-manager.ts"
import { keyManagementServiceSuite, secretManagementServiceSuite } from "../../testing.ts"

const { AWS_REGION: region, TEST_KMS_KEY_ID: alias } = process.env

if (!region || !alias) {
  it("the suites on AWS", { skip: "AWS_REGION and TEST_KMS_KEY_ID are not set" }, () => undefined)
} else {
  describe(`AWS in ${region}, key ${alias}`, () => {
    keyManagementServiceSuite("aws-kms", () => {
      const kms = withoutLifecycle(awsKMS({ region }))
      return { kms, alias, close: () => kms.close() }
    })

    secretManagementServiceSuite("aws-secrets-manager", () => {
      const made = new Set<string>()
      const secrets = placed(awsSecretsManager({ region }), `encx-test-${randomUUID()}`, made)
      return {
        secrets,
        close: async () => {
          await remove(made)
          await secrets.close?.()
        },
      }
    })
  })
}

/** Keys cost money until they are deleted, which takes a week, and can be rotated only so often: the suite leaves that out. */
function withoutLifecycle(kms: AWSKMS): Omit<AWSKMS, "createKey" | "rotateKey"> {
  const { createKey: _, rotateKey: __, ...rest } = kms
  return rest
}

/** The store under a name of its own: one that was deleted is not free again at once. What may have been made is noted. */
function placed(store: SecretManagementService, place: string, made: Set<string>): SecretManagementService {
  const at = (alias: string): string => (alias === "" ? "" : `${place}/${alias}`)
  const noted = (alias: string, secret: SecretName): string => {
    made.add(store.getStoragePath(at(alias), secret))
    return at(alias)
  }
  return {
    provider: store.provider,
    getPepper: (alias, options) => store.getPepper(at(alias), options),
    storePepper: async (alias, pepper, options) => await store.storePepper(noted(alias, "pepper"), pepper, options),
    rotatePepper: (alias, pepper, options) => store.rotatePepper(at(alias), pepper, options),
    pepperExists: (alias, options) => store.pepperExists(at(alias), options),
    getIndexRoot: (alias, options) => store.getIndexRoot(at(alias), options),
    storeIndexRoot: async (alias, sealed, options) =>
      await store.storeIndexRoot(noted(alias, "index-root"), sealed, options),
    getStoragePath: (alias, secret) => store.getStoragePath(at(alias), secret),
    close: async () => await store.close?.(),
  }
}

async function remove(paths: Iterable<string>): Promise<void> {
  const { DeleteSecretCommand, ResourceNotFoundException, SecretsManagerClient } = await import(
    "@aws-sdk/client-secrets-manager"
  )
  const client = new SecretsManagerClient({ region: region as string })
  try {
    for (const SecretId of paths) {
      const removing = client.send(new DeleteSecretCommand({ SecretId, ForceDeleteWithoutRecovery: true }))
      await removing.catch((error: unknown) => {
        if (!(error instanceof ResourceNotFoundException)) throw error
      })
    }
  } finally {
    client.destroy()
  }
}
