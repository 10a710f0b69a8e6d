/** The keys of KMS in one region: found by name, made, copied and renewed. */
import type { CallOptions } from "../core/contracts.ts"
import { EncxError, InvalidConfiguration, KeyExists, KeyNotFound, KMSUnavailable } from "../core/errors.ts"
import { badAnswer, type Connection } from "./_aws.ts"
import { answers, keyIdentifier, parseARN, sameKey } from "./_aws-arn.ts"
import { type AWSService, withHint } from "./_aws-errors.ts"
import type { AWSKMS } from "./aws-kms.ts"

type Methods = "getKeyID" | "describeKey" | "createKey" | "rotateKey" | "moveAlias" | "replicateKey"

/** What a service over KMS does with keys, and not with data keys. */
export interface KMSKeys extends Pick<AWSKMS, Methods> {
  /** An identifier that this region can know: KMS says of a key of another region no more than that it is not there. */
  identify(name: string): Promise<string>
}

const DELETION_DAYS = 7
/** KMS keeps versions to itself: a ciphertext says which it needs. */
export const VERSION = 0

interface KeyMetadata {
  readonly Arn?: string
  readonly KeySpec?: string
  readonly KeyUsage?: string
}

/** The keys of a connection. */
export function kmsKeys(connection: Connection): KMSKeys {
  const { service } = connection

  const identify = async (name: string): Promise<string> => {
    const identifier = keyIdentifier(name)
    const { region } = await connection.open()
    const arn = parseARN(identifier)
    if (identifier.startsWith("arn:") && !arn)
      throw new InvalidConfiguration(`Cannot use the key "${name}": it is no ARN of a KMS key or alias`)
    if (arn && region !== undefined && arn.region !== region)
      throw new InvalidConfiguration(
        `Cannot use the key "${name}": it is in the region "${arn.region}", and ${service.provider} asks "${region}"`,
        { hint: `awsKMS({ region: "${arn.region}" }), AWS_REGION=${arn.region}, or a key of "${region}"` },
      )
    return identifier
  }

  const describe = async (name: string, operation: string, options?: CallOptions): Promise<Required<KeyMetadata>> => {
    options?.signal?.throwIfAborted()
    const target = await identify(name)
    return await connection.send({
      operation,
      command: "DescribeKey",
      target,
      input: { KeyId: target },
      read: ({ KeyMetadata: found }: { KeyMetadata?: KeyMetadata }) => {
        const { Arn = "", KeySpec = "SYMMETRIC_DEFAULT", KeyUsage = "ENCRYPT_DECRYPT" } = found ?? {}
        if (!answers(target, Arn)) throw badAnswer(service, operation, `for the key "${Arn}", not "${target}"`)
        return { Arn, KeySpec, KeyUsage }
      },
      options,
    })
  }

  const resolve = async (name: string, operation: string, options?: CallOptions): Promise<string> => {
    const { Arn, KeySpec, KeyUsage } = await describe(name, operation, options)
    if (KeySpec === "SYMMETRIC_DEFAULT" && KeyUsage === "ENCRYPT_DECRYPT") return Arn
    throw new InvalidConfiguration(`Cannot use the key "${name}": it is ${KeySpec} for ${KeyUsage}`, {
      hint: "create one that is SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT: encx keys create",
    })
  }

  /** What an alias could not be given to is not left behind; nobody else knows of it. */
  const discard = (keyID: string): Promise<void> =>
    connection.send({
      operation: "createKey",
      command: "ScheduleKeyDeletion",
      target: keyID,
      // The only call to which moto, which tests it, takes no ARN
      input: { KeyId: keyID.replace(/^.*\//, ""), PendingWindowInDays: DELETION_DAYS },
      read: () => undefined,
    })

  const createAlias = (alias: string, keyID: string): Promise<void> =>
    connection.send({
      operation: "createKey",
      command: "CreateAlias",
      target: alias,
      input: { AliasName: alias, TargetKeyId: keyID },
      read: () => undefined,
    })

  /** Whether an alias that could not be made stands for the key all the same; `undefined` where KMS does not say. */
  const standsFor = async (alias: string, keyID: string, error: unknown): Promise<boolean | undefined> => {
    // When its answer is lost, the alias may be there, and a second attempt finds it taken: by this key.
    if (!(error instanceof KeyExists || error instanceof KMSUnavailable)) return false
    return await describe(alias, "createKey").then(
      ({ Arn }) => Arn === keyID,
      () => undefined,
    )
  }

  const describeKey: KMSKeys["describeKey"] = async (keyID, options) => ({
    keyID: await resolve(keyID, "describeKey", options),
    currentVersion: VERSION,
    versions: [],
  })

  return {
    identify,
    describeKey,

    async getKeyID(alias, options) {
      return await resolve(alias, "getKeyID", options)
    },

    async createKey(alias, { signal, multiRegion = false } = {}) {
      signal?.throwIfAborted()
      const name = keyIdentifier(alias)
      if (!name.startsWith("alias/"))
        throw new InvalidConfiguration(`Cannot create a key under "${alias}": it is no alias`, {
          hint: "name it alias/app, or app: KMS chooses ids itself",
        })
      const taken = () =>
        new KeyExists(`Cannot create the key "${name}": the alias is taken`, {
          provider: service.provider,
          operation: "createKey",
          hint: "use it, or choose another name",
        })
      const found = await describe(name, "createKey", { signal }).catch((error: unknown) => {
        if (error instanceof KeyNotFound) return undefined
        throw error
      })
      if (found) throw taken()
      const keyID = await connection.send({
        operation: "createKey",
        command: "CreateKey",
        target: name,
        input: {
          Description: `encx: wraps the data keys of ${name}`,
          KeyUsage: "ENCRYPT_DECRYPT",
          KeySpec: "SYMMETRIC_DEFAULT",
          MultiRegion: multiRegion,
        },
        read: ({ KeyMetadata: made }: { KeyMetadata?: KeyMetadata }) => {
          if (made?.Arn && parseARN(made.Arn)) return made.Arn
          throw badAnswer(service, "createKey", "without a key's ARN")
        },
        // A second one, because the answer for the first was lost, would be one that nobody knows of.
        options: { signal, once: true },
      })
      // KMS may not know either of them everywhere for some seconds.
      connection.made(name, keyID)
      // From here on there is a key to look after, whether or not the caller waits for it.
      try {
        await createAlias(name, keyID)
        return keyID
      } catch (error) {
        const named = await standsFor(name, keyID, error)
        if (named) return keyID
        // A key that may bear the alias may have wrapped something by now.
        if (named === undefined)
          throw hinted(
            error,
            service,
            `the key "${keyID}" was made, and KMS does not say whether "${name}" stands for it: look, and if not, schedule its deletion`,
          )
        // Where the alias is taken, it is another's, and as new.
        if (!(error instanceof KeyExists)) connection.unmade(name)
        const left = await discard(keyID).then(
          () => false,
          () => true,
        )
        if (error instanceof KeyExists && !left) throw taken()
        if (!left) throw error
        throw hinted(error, service, `the key "${keyID}" was made and has no alias: schedule its deletion`)
      }
    },

    async rotateKey(keyID, options) {
      options?.signal?.throwIfAborted()
      const resolved = await resolve(keyID, "rotateKey", options)
      await connection.send({
        operation: "rotateKey",
        command: "RotateKeyOnDemand",
        target: resolved,
        input: { KeyId: resolved },
        read: () => undefined,
        options: { ...options, once: true },
      })
      return await describeKey(resolved, options)
    },

    async moveAlias(alias, toKeyID, options) {
      options?.signal?.throwIfAborted()
      const [name, target] = [keyIdentifier(alias), await identify(toKeyID)]
      await connection.send({
        operation: "moveAlias",
        command: "UpdateAlias",
        target: name,
        input: { AliasName: name, TargetKeyId: target },
        read: () => undefined,
        options,
      })
    },

    async replicateKey(keyID, toRegion, options) {
      options?.signal?.throwIfAborted()
      const resolved = await resolve(keyID, "replicateKey", options)
      return await connection.send({
        operation: "replicateKey",
        command: "ReplicateKey",
        target: resolved,
        input: { KeyId: resolved, ReplicaRegion: toRegion },
        read: ({ ReplicaKeyMetadata: copy }: { ReplicaKeyMetadata?: KeyMetadata }) => {
          if (copy?.Arn && sameKey(copy.Arn, resolved) && parseARN(copy.Arn)?.region === toRegion) return copy.Arn
          throw badAnswer(service, "replicateKey", `for the key "${copy?.Arn}"`)
        },
        options,
      })
    },
  }
}

function hinted(error: unknown, service: AWSService, more: string): unknown {
  return error instanceof EncxError ? withHint(error, service, "createKey", more) : error
}
