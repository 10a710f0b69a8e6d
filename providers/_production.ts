import { env } from "node:process"
import { InvalidConfiguration } from "../core/errors.ts"

/** What providers take that keep keys where they are not protected. */
export interface ProductionOptions {
  /** Start under `NODE_ENV=production` all the same. @default {false} */
  readonly allowInProduction?: boolean
}

/** @throws {InvalidConfiguration} when an option has another name: one that is misspelt would be left out unnoticed */
export function checkNames(provider: string, options: object, names: readonly string[]): void {
  const unknown = Object.keys(options).filter((name) => !names.includes(name))
  if (unknown.length > 0)
    throw new InvalidConfiguration(unknown.map((name) => `Cannot use ${provider}: there is no option "${name}"`))
}

/** Refuses to start in production by accident. */
export function refuseInProduction(
  name: string,
  { allowInProduction = false }: ProductionOptions,
  instead: string,
): void {
  if (allowInProduction || env.NODE_ENV !== "production") return
  throw new InvalidConfiguration(`Cannot use the provider "${name}": NODE_ENV is production`, {
    hint: `${instead}, or say allowInProduction: true`,
  })
}
