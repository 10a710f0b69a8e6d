/**
 * AWS Secrets Manager: `encx/aws-secrets-manager`. It needs `@aws-sdk/client-secrets-manager` and `@smithy/node-http-handler`,
 * which are imported with the first call.
 *
 * Secrets are text in base64, as the Go library stores its peppers; Secrets Manager's own versions and stages are used.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import { abytes, base64, copyOf, fromBase64 } from "../core/bytes.ts"
import type {
  CallOptions,
  Diagnosis,
  SecretManagementService,
  SecretName,
  SecretStage,
  SecretVersion,
} from "../core/contracts.ts"
import { EncxError, SecretExists, SecretNotFound, SecretStorageUnavailable } from "../core/errors.ts"
import { type AWSClient, type AWSCredentials, type AWSOptions, badAnswer, Connection } from "./_aws.ts"
import { type AWSService, secretDeleted, secretEmpty, unavailable, withHint } from "./_aws-errors.ts"
import { diagnoseSecrets } from "./_aws-secrets-diagnosis.ts"
import { secretPath } from "./_secret-path.ts"

/** Options of {@link awsSecretsManager}. */
export interface AWSSecretsManagerOptions extends AWSOptions {
  /** The KMS key that new secrets are sealed with. @default {aws/secretsmanager, a key of the account} */
  readonly kmsKeyID?: string
}

/** What {@link awsSecretsManager} returns. */
export interface AWSSecretsManager extends SecretManagementService {
  /** `aws-secrets-manager` */
  readonly provider: "aws-secrets-manager"
  /** Looks whether this store can be used with the secrets under an alias. */
  diagnose(alias: string, options?: CallOptions): AsyncIterable<Diagnosis>
  /** Closes the connections, for good: whatever is asked later rejects with `Closed`. */
  close(): Promise<void>
}

const PROVIDER = "aws-secrets-manager"
const SDK = {
  name: "@aws-sdk/client-secrets-manager",
  client: "SecretsManagerClient",
  load: () => import("@aws-sdk/client-secrets-manager"),
} as const
const SERVICE: AWSService = {
  provider: PROVIDER,
  prefix: "secretsmanager",
  keeps: "secret",
  creation: "encx pepper init, or withBootstrap({ createPepper: true })",
  options: ["kmsKeyID"],
  Unavailable: SecretStorageUnavailable,
  NotFound: SecretNotFound,
  Exists: SecretExists,
}
const PEPPER_LENGTH = 32
const STAGES: readonly (readonly [label: string, stage: SecretStage])[] = [
  ["AWSCURRENT", "current"],
  ["AWSPREVIOUS", "previous"],
  ["AWSPENDING", "pending"],
]
/** The version that was current may be gone when two rotations come between its name and its value; then it is looked up once more. */
const LOOKS = 2

interface SecretValue {
  readonly VersionId?: string
  readonly SecretString?: string
  readonly SecretBinary?: Uint8Array
}

/**
 * A secret store over AWS Secrets Manager: the pepper at `encx/{alias}/pepper`, the sealed index root at
 * `encx/{alias}/index-root`. A deleted secret is not absent while it can be restored: `SecretDeleted`. Nor is one that has no
 * current version: `SecretEmpty`.
 *
 * @throws {InvalidConfiguration} when an option cannot be used
 *
 * @example Peppers in Ireland
 * ```ts
 * import { awsSecretsManager } from "encx/aws-secrets-manager"
 * const secrets = awsSecretsManager({ region: "eu-west-1" })
 * assertEquals(secrets.getStoragePath("app"), "encx/app/pepper")
 * await secrets.close()
 * ```
 */
export function awsSecretsManager(options: AWSSecretsManagerOptions = {}): AWSSecretsManager {
  const { kmsKeyID } = options
  const connection = new Connection(SERVICE, SDK, options)

  /** The stages of a secret's versions, the current one first: without one, it is no secret to work with. */
  const stages = (path: string, operation: string, options?: CallOptions): Promise<[SecretStage, string][]> =>
    connection.send({
      operation,
      command: "DescribeSecret",
      target: path,
      input: { SecretId: path },
      read: (answer: { Name?: string; DeletedDate?: Date; VersionIdsToStages?: Record<string, string[]> }) => {
        if (answer.Name !== path) throw badAnswer(SERVICE, operation, `for the secret "${answer.Name}", not "${path}"`)
        if (answer.DeletedDate) throw secretDeleted(path, operation)
        const versions = Object.entries(answer.VersionIdsToStages ?? {})
        if (!versions.some(([, labels]) => labels.includes("AWSCURRENT"))) throw secretEmpty(path, operation)
        return STAGES.flatMap(([label, stage]) =>
          // A version that is current may be labelled as pending, too, when a rotation has just ended.
          versions
            .filter(([, labels]) => labels.includes(label) && (stage !== "pending" || !labels.includes("AWSCURRENT")))
            .map(([id]): [SecretStage, string] => [stage, id]),
        )
      },
      options,
    })

  const fetchValue = (path: string, version: string, operation: string, options?: CallOptions): Promise<Uint8Array> =>
    connection.send({
      operation,
      command: "GetSecretValue",
      target: path,
      input: { SecretId: path, VersionId: version },
      read: ({ VersionId, SecretString, SecretBinary }: SecretValue) => {
        if (VersionId !== version)
          throw badAnswer(SERVICE, operation, `with the version "${VersionId}", not "${version}"`)
        if (SecretBinary) return copyOf(SecretBinary)
        return fromBase64((SecretString ?? "").trim(), `the secret "${path}"`)
      },
      options,
    })

  /** What the stages hold that are asked for. */
  const read = async (
    path: string,
    wanted: readonly SecretStage[],
    operation: string,
    options: CallOptions = {},
  ): Promise<SecretVersion[]> => {
    options.signal?.throwIfAborted()
    for (let looks = 1; ; looks++) {
      const found = (await stages(path, operation, options)).filter(([stage]) => wanted.includes(stage))
      try {
        const values: SecretVersion[] = []
        // One after the other: when one fails, none of the others goes on behind the caller's back.
        for (const [stage, version] of found) {
          const value = await fetchValue(path, version, operation, options).catch((error: unknown) => {
            // Secrets Manager labels a version when a rotation begins; it gets its value later.
            if (stage === "pending" && error instanceof SecretNotFound) return undefined
            throw error
          })
          if (value) values.push({ version, stage, value })
        }
        return values
      } catch (error) {
        if (!(error instanceof SecretNotFound)) throw error
        // The secret is there, whatever became of this version of it.
        if (looks === LOOKS)
          throw unavailable(SERVICE, operation, `a version of "${path}" went while it was read`, error)
      }
    }
  }

  const store = async (path: string, what: string, value: Uint8Array, operation: string, options?: CallOptions) => {
    options?.signal?.throwIfAborted()
    const token = randomUUID()
    const alias = path.slice("encx/".length, path.lastIndexOf("/"))
    try {
      await connection.send({
        operation,
        command: "CreateSecret",
        target: path,
        input: {
          Name: path,
          SecretString: base64(value),
          Description: `ENCX ${what} for ${alias}`,
          // It is the version's id, and tells this creation from another's.
          ClientRequestToken: token,
          ...(kmsKeyID === undefined ? {} : { KmsKeyId: kmsKeyID }),
        },
        read: () => undefined,
        options,
      })
    } catch (error) {
      // When its answer is lost, the secret may be there all the same: as this version.
      if (!(error instanceof SecretExists || error instanceof SecretStorageUnavailable)) throw error
      if (!(await isVersion(path, token, operation, error, options))) throw error
    }
  }

  /** Whether a secret that could not be created, because of an error, is this version all the same. */
  const isVersion = async (path: string, token: string, operation: string, error: EncxError, options?: CallOptions) => {
    try {
      return (await stages(path, operation, options)).some(([, version]) => version === token)
    } catch (reason) {
      if (reason instanceof SecretNotFound) return false
      // Of one that is there and cannot be looked at, it is not known whose it is.
      if (error instanceof SecretExists || !(reason instanceof EncxError)) throw reason
      throw withHint(error, SERVICE, operation, `whether it was stored is not known: ${reason.message}`)
    }
  }

  return {
    provider: PROVIDER,

    async getPepper(alias, options) {
      return await read(secretPath(alias, "pepper"), ["current", "previous", "pending"], "getPepper", options)
    },

    async storePepper(alias, pepper, options) {
      abytes(pepper, PEPPER_LENGTH, "pepper")
      await store(secretPath(alias, "pepper"), "pepper", pepper, "storePepper", options)
    },

    async rotatePepper(alias, pepper, options) {
      abytes(pepper, PEPPER_LENGTH, "pepper")
      const path = secretPath(alias, "pepper")
      const SecretString = base64(pepper)
      options?.signal?.throwIfAborted()
      // Secrets Manager would give a secret without a value its first one.
      await stages(path, "rotatePepper", options)
      await connection.send({
        operation: "rotatePepper",
        command: "PutSecretValue",
        target: path,
        // With the same token, a second attempt is the first: AWSCURRENT moves once.
        input: { SecretId: path, SecretString, ClientRequestToken: randomUUID() },
        read: () => undefined,
        options,
      })
    },

    async pepperExists(alias, options) {
      const path = secretPath(alias, "pepper")
      options?.signal?.throwIfAborted()
      try {
        await stages(path, "pepperExists", options)
        return true
      } catch (error) {
        if (error instanceof SecretNotFound) return false
        throw error
      }
    },

    async getIndexRoot(alias, options) {
      const [found] = await read(secretPath(alias, "index-root"), ["current"], "getIndexRoot", options)
      return (found as SecretVersion).value
    },

    async storeIndexRoot(alias, sealed, options) {
      await store(secretPath(alias, "index-root"), "index root", sealed, "storeIndexRoot", options)
    },

    getStoragePath: (alias: string, secret: SecretName = "pepper") => secretPath(alias, secret),

    diagnose: (alias, options) => diagnoseSecrets(connection, secretPath(alias, "pepper"), options),

    async close() {
      await connection.close()
    },
  }
}

export type { AWSClient, AWSCredentials, AWSOptions }
