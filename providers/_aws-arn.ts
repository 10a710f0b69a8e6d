/** How keys of AWS KMS are named: alias, alias ARN, key id, key ARN. */

/** The parts of an ARN of KMS. */
export interface KeyARN {
  readonly partition: string
  readonly region: string
  readonly account: string
  /** `key/…` or `alias/…` */
  readonly resource: string
}

const ARN = /^arn:(aws[a-z-]*):kms:([a-z0-9-]+):(\d{12}):((?:key|alias)\/[A-Za-z0-9:/_-]+)$/
const KEY_ID = /^(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$/i
const MULTI_REGION = /^key\/mrk-/

/** Reads an ARN, or gives `undefined`. */
export function parseARN(name: string): KeyARN | undefined {
  const [, partition, region, account, resource] = ARN.exec(name) ?? []
  return partition === undefined ? undefined : ({ partition, region, account, resource } as KeyARN)
}

/** The name that KMS takes: a bare one is an alias, ids and ARNs are what they are. */
export function keyIdentifier(name: string): string {
  if (name.startsWith("alias/") || name.startsWith("arn:") || KEY_ID.test(name)) return name
  return `alias/${name}`
}

/** Whether an identifier is an alias, by its name or its ARN. */
export function isAlias(identifier: string): boolean {
  return identifier.startsWith("alias/") || (parseARN(identifier)?.resource.startsWith("alias/") ?? false)
}

/** Whether two ARNs are of one key: equal, or copies of a multi-region key. */
export function sameKey(a: string, b: string): boolean {
  if (a === b) return true
  const [one, other] = [parseARN(a), parseARN(b)]
  if (!one || !other || !MULTI_REGION.test(one.resource)) return false
  return one.resource === other.resource && one.account === other.account && one.partition === other.partition
}

/** Whether the key that answered is the one that was asked; which key an alias of that place stands for, KMS alone knows. */
export function answers(asked: string, answered: string): boolean {
  const arn = parseARN(answered)
  if (!arn?.resource.startsWith("key/")) return false
  const alias = isAlias(asked) ? parseARN(asked) : undefined
  if (alias) return alias.region === arn.region && alias.account === arn.account && alias.partition === arn.partition
  if (isAlias(asked)) return true
  return asked.startsWith("arn:") ? sameKey(asked, answered) : arn.resource === `key/${asked}`
}

/** Regions of other partitions than `aws`, by what their names begin with. */
const PARTITIONS: readonly (readonly [string, string])[] = [
  ["cn-", "aws-cn"],
  ["us-gov-", "aws-us-gov"],
  ["us-iso-", "aws-iso"],
  ["us-isob-", "aws-iso-b"],
  ["eu-isoe-", "aws-iso-e"],
  ["us-isof-", "aws-iso-f"],
  ["eusc-", "aws-eusc"],
]

/** The partition that a region is in: the second part of its ARNs. */
export function partitionOf(region: string): string {
  return PARTITIONS.find(([prefix]) => region.startsWith(prefix))?.[1] ?? "aws"
}
