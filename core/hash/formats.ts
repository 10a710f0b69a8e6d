/**
 * Which form a password hash has: this library's own, or the Go library's. A new one has the form that is asked for, a stored
 * one tells by what it begins with; neither is ever tried for the other.
 *
 * @module
 */

import { wipe } from "../bytes.ts"
import type { CallOptions, Context } from "../contracts.ts"
import { InvalidFormat, InvalidInput } from "../errors.ts"
import type { GoType } from "../go-encx/codec.ts"
import { isGoHash } from "../go-encx/hash.ts"
import { serialise } from "./basic.ts"
import type { PasswordHasher } from "./password.ts"

interface Options extends CallOptions {
  readonly context?: Context
  readonly format?: "encx2" | "go-encx"
  readonly type?: GoType<unknown>
}

/** Hashes a value in the form that is asked for. @internal */
export async function hashSecure(
  hasher: PasswordHasher,
  value: unknown,
  { context = {}, format, type, ...options }: Options,
): Promise<string> {
  if (format === undefined || format === "encx2") {
    if (type !== undefined) throw new InvalidInput('Cannot hash a value: only the format "go-encx" has a type')
    return await hasher.hash(value as string | Uint8Array, context, options)
  }
  if (format !== "go-encx") throw new InvalidInput(`Cannot hash a value: the format "${format}" is unknown`)
  if (Object.keys(context).length > 0)
    throw new InvalidInput('Cannot hash a value: the format "go-encx" binds no context')
  return await withSerialised(value, type, (serialised) => hasher.hashGo(serialised, options))
}

/** Whether a stored hash is that of a value. @internal */
export async function compareSecure(
  hasher: PasswordHasher,
  value: unknown,
  stored: string,
  { context = {}, format, type, ...options }: Options,
): Promise<boolean> {
  if (format !== undefined && (format === "go-encx") !== isGoHash(stored))
    throw new InvalidFormat(`Cannot verify a hash: it is not of the format "${format}"`)
  if (!isGoHash(stored)) return await hasher.verify(value as string | Uint8Array, stored, context, options)
  return await withSerialised(value, type, (serialised) => hasher.verifyGo(serialised, stored, options))
}

async function withSerialised<Result>(
  value: unknown,
  type: GoType<unknown> | undefined,
  use: (serialised: Uint8Array) => Promise<Result>,
): Promise<Result> {
  const serialised = serialise(value, type)
  try {
    return await use(serialised)
  } finally {
    wipe(serialised)
  }
}
