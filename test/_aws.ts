/** What the tests of the AWS guide and of the examples share: an AWS of their own, with the keys and secrets that they name. */
import { newCrypto, withBootstrap, withKEKAlias, withKMSService, withPepper } from "../mod.ts"
import { type AWSKMS, awsKMS } from "../providers/aws-kms.ts"
import { type AWSSecretsManager, awsSecretsManager } from "../providers/aws-secrets-manager.ts"
import { type FaultProxy, type Server, startFaultProxy, startMoto } from "./servers/index.ts"

/** An emulator, behind a proxy that notes what is asked. */
export interface AWS {
  readonly proxy: FaultProxy
  /** The environment of a program that is to ask it, and nobody else. */
  readonly variables: Readonly<Record<string, string | undefined>>
  /** Where it is; what is asked there is not noted. */
  at(region?: string): { readonly region: string; readonly endpoint: string; readonly credentials: typeof CREDENTIALS }
  /** A KMS in a region, not noted. */
  kms(region?: string): AWSKMS
  /** A secret store in a region, not noted. */
  secrets(region?: string): AWSSecretsManager
  /** Empties it. */
  reset(): Promise<void>
  close(): Promise<void>
}

/** Of nobody: the ones that AWS uses in its own examples. */
export const CREDENTIALS = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}

/** The services of the guide, in the environment of a program. */
export const SERVICES = {
  ENCX_KMS: "awskms:///?region=us-east-1",
  ENCX_SECRETS: "awssecretsmanager:///?region=us-east-1",
} as const
/** What `furnish` makes. */
export const SERVED = { ENCX_KEK_ALIAS: "alias/my-encryption-key", ENCX_PEPPER_ALIAS: "my-service" } as const

/** Starts one. */
export async function startAWS(start: () => Promise<Server> = startMoto): Promise<AWS> {
  const server = await start()
  const proxy = await startFaultProxy(server.url)
  const at: AWS["at"] = (region = "us-east-1") => ({ region, endpoint: server.url, credentials: CREDENTIALS })
  return {
    proxy,
    variables: environment(proxy.url),
    at,
    kms: (region) => awsKMS(at(region)),
    secrets: (region) => awsSecretsManager(at(region)),
    reset: async () => {
      await server.reset()
      proxy.forget()
    },
    close: async () => {
      await proxy.close()
      await server.close()
    },
  }
}

// Nothing of the machine's: no profile, no other region, no instance whose role could be asked for.
function environment(url: string): Record<string, string | undefined> {
  return {
    AWS_ENDPOINT_URL: url,
    AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    AWS_SESSION_TOKEN: undefined,
    AWS_REGION: "us-east-1",
    AWS_DEFAULT_REGION: "us-east-1",
    AWS_PROFILE: undefined,
    AWS_CONFIG_FILE: "/nonexistent",
    AWS_SHARED_CREDENTIALS_FILE: "/nonexistent",
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_PAGER: "",
  }
}

/** Makes what the guide and the examples take for granted: keys in three regions, a pepper and an index root. */
export async function furnish(aws: AWS): Promise<void> {
  for (const region of ["us-west-2", "eu-west-1"]) await lent(aws.kms(region), makeKeys)
  await lent(aws.kms(), async (kms) => {
    await makeKeys(kms)
    await lent(aws.secrets(), async (secrets) => {
      const crypto = await newCrypto(
        withKMSService(kms),
        withKEKAlias("alias/my-encryption-key"),
        withPepper(secrets, "my-service"),
        withBootstrap({ createPepper: true }),
      )
      await crypto.close()
    })
  })
}

/** A multi-region key with a copy, and an alias in both regions. */
export async function furnishGlobal(aws: AWS): Promise<void> {
  const { CreateAliasCommand, KMSClient } = await import("@aws-sdk/client-kms")
  const copy = await lent(aws.kms(), async (kms) => {
    return await kms.replicateKey(await kms.createKey("alias/my-global-key", { multiRegion: true }), "eu-west-1")
  })
  const client = new KMSClient({ ...aws.at("eu-west-1"), maxAttempts: 1 })
  await client.send(new CreateAliasCommand({ AliasName: "alias/my-global-key", TargetKeyId: copy }))
  client.destroy()
}

async function makeKeys(kms: AWSKMS): Promise<void> {
  for (const alias of ["alias/my-encryption-key", "alias/my-key"]) await kms.createKey(alias)
}

/** Lends a service, and closes it. */
export async function lent<Service extends { close(): Promise<void> }, Result>(
  service: Service,
  use: (service: Service) => Promise<Result>,
): Promise<Result> {
  try {
    return await use(service)
  } finally {
    await service.close()
  }
}
