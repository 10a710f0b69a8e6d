/** What is looked at before AWS Secrets Manager is used, step by step: each has a way out. */
import type { CallOptions, Diagnosis } from "../core/contracts.ts"
import { SecretNotFound } from "../core/errors.ts"
import type { Connection } from "./_aws.ts"
import { secretDeleted, secretEmpty } from "./_aws-errors.ts"
import { diagnoseClock, diagnosePlace } from "./_aws-kms-diagnosis.ts"
import { attempt, failed } from "./_diagnosis.ts"

/** Looks at one secret and the way to it. Its value is fetched and not looked at: whether it may be is what is asked. */
export async function* diagnoseSecrets(
  connection: Connection,
  path: string,
  options?: CallOptions,
): AsyncGenerator<Diagnosis, void, undefined> {
  if (!(yield* diagnosePlace(connection, options))) return
  const looks = [
    ["secretsmanager:DescribeSecret", "DescribeSecret"],
    ["secretsmanager:GetSecretValue", "GetSecretValue"],
  ] as const
  let isThere = false
  for (const [check, command] of looks) {
    const found = await attempt(() =>
      connection.send({
        operation: "diagnose",
        command,
        target: path,
        input: { SecretId: path },
        read: ({ Name = path, DeletedDate }: { Name?: string; DeletedDate?: Date }) => {
          if (DeletedDate) throw secretDeleted(path, "diagnose")
          return Name
        },
        options,
      }),
    )
    const isAbsent = "error" in found && found.error instanceof SecretNotFound
    // That there is none is an answer, and so the permission is there.
    if (isAbsent && isThere) yield failed(check, secretEmpty(path, "diagnose"))
    else if (isAbsent) yield { check, ok: true, detail: `allowed; there is no "${path}"` }
    else yield "error" in found ? failed(check, found.error) : { check, ok: true, detail: found.value }
    isThere ||= "value" in found
  }
  yield* diagnoseClock(connection)
}
