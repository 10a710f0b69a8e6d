/** What is looked at before the KV engine is used, step by step: each has a way out. */
import type { CallOptions, Diagnosis } from "../core/contracts.ts"
import { AccessDenied, SecretNotFound } from "../core/errors.ts"
import { attempt, failed } from "./_diagnosis.ts"
import { type Connection, recordOf } from "./_vault.ts"
import { secretGone } from "./_vault-errors.ts"
import { diagnoseServer, diagnoseToken, get } from "./_vault-transit-diagnosis.ts"

interface Patient {
  readonly connection: Connection
  readonly mount: string
  readonly path: string
  kept(path: string, operation: string, options?: CallOptions): Promise<number | undefined>
}

/** Fewer than these are soon used up by rotations. */
const FEW = 3

/** Looks at one secret and the way to it. Its value is fetched and not looked at: whether it may be is what is asked. */
export async function* diagnoseKV(
  { connection, mount, path, kept }: Patient,
  options?: CallOptions,
): AsyncGenerator<Diagnosis, void, undefined> {
  if (!(yield* diagnoseServer(connection, options))) return
  if (!(yield* diagnoseToken(connection, options))) return
  const engine = await attempt(() => get(connection, `sys/internal/ui/mounts/${mount}`, options))
  if ("value" in engine) {
    const version = recordOf(engine.value["options"])["version"]
    const ok = engine.value["type"] === "kv" && version === "2"
    const detail = `${String(engine.value["type"])} version ${String(version ?? "1")} at ${mount}/`
    yield {
      check: "engine",
      ok,
      detail,
      ...(ok ? {} : { hint: "name the mount of a KV engine of version 2: { mount }" }),
    }
    if (!ok) return
  } else if (!(engine.error instanceof AccessDenied || engine.error instanceof SecretNotFound)) {
    return yield failed("engine", engine.error)
  }
  const check = `read ${path}`
  const found = await attempt(() =>
    connection.send({
      operation: "diagnose",
      method: "GET",
      path,
      target: path,
      takes: ({ status, data }) => status === 404 && "metadata" in recordOf(data),
      read: ({ status, data }) => {
        const { version, destroyed } = recordOf(data["metadata"])
        if (status === 404) throw secretGone(path, "diagnose", Number(version), destroyed === true)
        return Number(version)
      },
      options,
    }),
  )
  // That there is none is an answer, and so the permission is there.
  if ("error" in found) {
    if (found.error instanceof SecretNotFound) yield { check, ok: true, detail: `allowed; there is no "${path}"` }
    else yield failed(check, found.error)
    return
  }
  yield { check, ok: true, detail: `allowed; version ${found.value}` }
  const versions = await attempt(() => kept(path, "diagnose", options))
  if ("error" in versions) return yield failed("versions", versions.error)
  const number = versions.value
  if (number === undefined) return
  const name = path.slice(`${mount}/data/`.length)
  yield {
    check: "versions",
    ok: number > 1,
    detail: `${number} are kept: hashes of peppers before those can be verified no more`,
    ...(number < FEW ? { hint: `keep more: vault kv metadata put -mount=${mount} -max-versions=10 ${name}` } : {}),
  }
}
