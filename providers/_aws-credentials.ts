/** Credentials from a function of the program's own: what goes wrong there is no outage of AWS. */
import { AuthenticationFailed } from "../core/errors.ts"
import { type AWSService, isAboutCredentials } from "./_aws-errors.ts"

type Given = { readonly accessKeyId?: unknown; readonly secretAccessKey?: unknown } | null | undefined

/** The function for the SDK: what it throws, and what is no credentials, is a failure to sign in. */
export function askedFor<Credentials>(
  service: AWSService,
  credentials: (...given: readonly unknown[]) => Promise<Credentials>,
): (...given: readonly unknown[]) => Promise<Credentials> {
  const failed = (state: string, cause?: unknown): AuthenticationFailed =>
    new AuthenticationFailed(`Cannot sign in to ${service.provider}: the function for credentials ${state}`, {
      provider: service.provider,
      operation: "credentials",
      hint: "it is the option `credentials`: let it give { accessKeyId, secretAccessKey, sessionToken, expiration }",
      ...(cause === undefined ? {} : { cause }),
    })
  return async (...given) => {
    let found: Credentials
    try {
      // The SDK's own functions look at what the client gives them.
      found = await credentials(...given)
    } catch (error) {
      throw isAboutCredentials(error) ? error : failed("failed", error)
    }
    const { accessKeyId, secretAccessKey } = (found as Given) ?? {}
    if (isText(accessKeyId) && isText(secretAccessKey)) return found
    throw failed("gave none")
  }
}

const isText = (value: unknown): boolean => typeof value === "string" && value !== ""
