import assert from "node:assert/strict"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { base64, concat, fromHex, hex, utf8 } from "../core/bytes.ts"
import { type Context, encodeContext } from "../core/cipher/context.ts"
import { unwrapDEK, wrapDEK } from "../core/cipher/dek-wrap.ts"
import { encodeHeader, type KeyEntry, parseRowKey, providerOf } from "../core/cipher/envelope.ts"
import type { KeyManagementService } from "../core/contracts.ts"
import { type DatabaseKDF, type DEKSpec, databaseKey, keyCheck } from "../core/database/database-key.ts"
import { IndexRoot } from "../core/hash/blind-index.ts"
import { argon2Problem, PasswordHasher } from "../core/hash/password.ts"
import { Peppers } from "../core/hash/pepper.ts"
import { pepperID } from "../core/hash/pepper-id.ts"
import { DataKeys } from "../core/keys/data-keys.ts"
import { DataKey, SealingKey } from "../core/keys/dek.ts"
import { DEK_CACHE_DEFAULTS, DEKCache } from "../core/keys/dek-cache.ts"
import { sealWith } from "../core/keys/envelopes.ts"
import { Keyring, kmsContext } from "../core/keys/keyring.ts"
import { checkColumn, openColumn, sealColumn } from "../core/records/column.ts"
import { blindIndexAt } from "../core/records/find.ts"
import { columnContext } from "../core/records/identity.ts"
import { NORMALISERS } from "../core/records/normalize.ts"
import { decodeValue, encodeValue, SEALED_NULL, type ValueType } from "../core/records/value.ts"
import {
  DecryptionFailed,
  EncxError,
  InvalidInput,
  newCrypto,
  type Option,
  withAdditionalKEK,
  withKEKAlias,
  withKMSContext,
  withKMSService,
} from "../mod.ts"
import {
  formatKeyFile,
  newHead,
  openKeyFile,
  type PassphraseProtection,
  parseKeyFile,
  passphraseKey,
} from "../providers/_key-file-format.ts"
import type { KeyStore } from "../providers/_key-store.ts"

type Json = Record<string, unknown>
interface Vector {
  readonly id: string
  readonly op: string
  readonly in: Json
  readonly out?: Json
  readonly unwraps?: number
}
interface VectorKey {
  readonly provider: number
  readonly ref: string
  readonly version: number
  readonly kek?: string
  readonly salt?: string
  readonly wrapped?: string
}

// --- Reading the vectors' own notation ---

function bytesOf(value: unknown): Uint8Array {
  if (typeof value === "string") return fromHex(value, "a vector")
  const { b64, pattern } = value as { b64?: string; pattern?: number }
  if (b64 !== undefined) return new Uint8Array(Buffer.from(b64, "base64"))
  return Uint8Array.from({ length: pattern as number }, (_, i) => (131 * i + Math.floor(i / 256)) % 256)
}

function typeOf(type: unknown): ValueType {
  return (type === "integer" ? "bigint" : type) as ValueType
}

// How a vector's JSON spells a value of each type, and back.
const SPELLING: Record<string, { parse(value: unknown): unknown; print(value: unknown): unknown }> = {
  text: { parse: (value) => value, print: (value) => value },
  padded: { parse: (value) => value, print: (value) => value },
  bytes: { parse: bytesOf, print: (value) => hex(value as Uint8Array) },
  boolean: { parse: (value) => value, print: (value) => value },
  integer: { parse: (value) => BigInt(value as string), print: String },
  bigint: { parse: (value) => BigInt(value as string), print: String },
  number: {
    parse: (value) => new DataView(bytesOf(value).buffer).getFloat64(0),
    print: (value) => hex(encodeValue("number", value).slice(1)),
  },
  date: { parse: (value) => new Date(Number(value)), print: (value) => String((value as Date).getTime()) },
  json: { parse: (value) => JSON.parse(value as string), print: (value) => JSON.stringify(value) },
  null: { parse: () => null, print: () => null },
}
const TYPE_NAMES = ["null", "text", "bytes", "boolean", "integer", "number", "date", "json", "padded"]

// A vector's JSON is a text. JavaScript puts keys like "1" first, so not every text is what JSON.stringify writes of its value.
function encodeJSON(value: unknown, text: string): Uint8Array {
  const encoded = encodeValue("json", value)
  return JSON.stringify(value) === text ? encoded : concat(encoded.subarray(0, 1), utf8(text, "a vector"))
}

function rowOf(row: unknown): unknown {
  return typeof row === "object" && row !== null ? BigInt((row as { int: string }).int) : row
}

function contextOf(input: Json): Context {
  const { table, column, row, tenant } = input
  return columnContext(
    {
      table: table as string,
      row: row === undefined ? undefined : (rowOf(row) as string),
      tenant: tenant as string | undefined,
    },
    column as string,
  )
}

function entriesOf(input: Json): KeyEntry[] {
  const dekID = bytesOf(input.dek_id)
  const fixed = (input.kms_context ?? {}) as Context
  if (Object.keys(fixed).some((name) => name === "purpose" || name === "dek_id"))
    throw new InvalidInput("Cannot use a KMS context: its pairs are the library's")
  return (input.keys as VectorKey[]).map(({ provider, ref, version, kek, salt, wrapped }) => ({
    provider,
    ref,
    version,
    wrapped:
      wrapped !== undefined
        ? bytesOf(wrapped)
        : wrapDEK({ kek: bytesOf(kek), ref, version }, kmsContext(dekID, fixed), bytesOf(input.dek), bytesOf(salt)),
  }))
}

// A KMS over one vector's key: it unwraps as the format says, or gives what the vector says.
function kmsOf(
  { provider, ref, version, kek }: VectorKey,
  calls: { unwraps: number; used: unknown },
): KeyManagementService {
  const { name, keyID } = providerOf({ provider, ref })
  const refuse = (): never => {
    throw new Error("vectors open, and do nothing else")
  }
  return {
    provider: name,
    getKeyID: async () => keyID,
    describeKey: refuse,
    encryptDEK: refuse,
    decryptDEK: async (wrapped, context) => {
      calls.unwraps++
      calls.used = { provider, ref, version: wrapped.version }
      if (kek === undefined) throw new DecryptionFailed()
      return unwrapDEK(
        { kek: bytesOf(kek), ref, version: wrapped.version === version ? version : -1 >>> 0 },
        context,
        wrapped.ciphertext,
      )
    },
  }
}

const NOBODY: VectorKey = { provider: 7, ref: "nobody", version: 1 }

async function opener(input: Json, calls: { unwraps: number; used: unknown }) {
  const keys = input.keys as VectorKey[]
  const [first = NOBODY, ...others] = keys
  const options: Option[] = [
    withKMSService(kmsOf(first, calls)),
    withKEKAlias("vector"),
    ...others.map((key) => withAdditionalKEK(kmsOf(key, calls), "vector")),
    withKMSContext((input.kms_context ?? {}) as Context),
  ]
  return await newCrypto(...options)
}

async function ringOf(input: Json, calls: { unwraps: number; used: unknown }): Promise<DataKeys> {
  const keks = (input.keys as VectorKey[]).map((key) => ({
    kms: kmsOf(key, calls),
    alias: "vector",
    wraps: true,
    kmsContext: (input.kms_context ?? {}) as Context,
  }))
  const keyring = new Keyring(keks, performance)
  await keyring.resolve()
  return new DataKeys(keyring, new DEKCache(DEK_CACHE_DEFAULTS, performance))
}

function hasher(pepper: Uint8Array[], { m, t, p }: Json): PasswordHasher {
  const cost = { memoryKiB: (m ?? 65536) as number, iterations: (t ?? 3) as number, parallelism: (p ?? 4) as number }
  const problem = argon2Problem(cost)
  if (problem) throw new InvalidInput(`Cannot hash: ${problem}`)
  return new PasswordHasher(new Peppers(pepper as [Uint8Array]), cost)
}

function storeOf(data: unknown): KeyStore {
  const file = parseKeyFile(
    JSON.stringify({ format: "encx-local-1", id: "00000000-0000-4000-8000-000000000000", protection: "none", data }),
  )
  return (file as { store: KeyStore }).store
}

function protectionOf({ m, t, p, argon_salt }: Json): PassphraseProtection {
  return { memoryKiB: m as number, iterations: t as number, parallelism: p as number, salt: bytesOf(argon_salt) }
}

// --- The operations ---

type Calls = { unwraps: number; used: unknown }
const OPERATIONS: Record<string, (input: Json, calls: Calls) => Promise<Json> | Json> = {
  context: ({ context }) => ({ encoded: hex(encodeContext(context as Context)) }),

  seal: (input) => {
    const encoded = encodeContext(input.context as Context | undefined)
    const key = new SealingKey(new DataKey(bytesOf(input.dek_id), bytesOf(input.dek)), entriesOf(input), 0)
    return { envelope: hex(sealWith(key, bytesOf(input.plaintext), encoded, bytesOf(input.salt))) }
  },

  open: async (input, calls) => {
    const crypto = await opener(input, calls)
    const supplied = input.dek === undefined ? {} : { dek: bytesOf(input.dek), dekID: input.dek_id as string }
    const plaintext = await crypto.open(bytesOf(input.envelope), input.context as Context | undefined, supplied)
    return { plaintext: hex(plaintext), used: calls.used, unwraps: calls.unwraps }
  },

  wrapDEK: ({ kek, ref, version, dek, dek_id, kms_context, salt }) => ({
    wrapped: hex(
      wrapDEK(
        { kek: bytesOf(kek), ref: ref as string, version: version as number },
        kmsContext(bytesOf(dek_id), (kms_context ?? {}) as Context),
        bytesOf(dek),
        bytesOf(salt),
      ),
    ),
  }),
  unwrapDEK: ({ kek, ref, version, dek_id, kms_context, wrapped }) => ({
    dek: hex(
      unwrapDEK(
        { kek: bytesOf(kek), ref: ref as string, version: version as number },
        kmsContext(bytesOf(dek_id), (kms_context ?? {}) as Context),
        bytesOf(wrapped),
      ),
    ),
  }),

  sealColumn: (input) => {
    const type = input.type as string
    const value = (SPELLING[type] as { parse(value: unknown): unknown }).parse(input.value)
    const encoded =
      value === null
        ? SEALED_NULL.slice()
        : type === "json"
          ? encodeJSON(value, input.value as string)
          : encodeValue(typeOf(type), value)
    return {
      column: hex(
        sealColumn(
          new DataKey(bytesOf(input.dek_id), bytesOf(input.dek)),
          contextOf(input),
          encoded,
          bytesOf(input.salt),
        ),
      ),
    }
  },
  openColumn: (input) => {
    const sealed = bytesOf(input.sealed)
    checkColumn(sealed, "vector")
    const encoded = openColumn(new DataKey(bytesOf(input.dek_id), bytesOf(input.dek)), contextOf(input), sealed)
    if (encoded === undefined) throw new DecryptionFailed()
    const found = TYPE_NAMES[encoded[0] as number] ?? "text"
    const type = (input.type as string | undefined) ?? (found === "null" ? "text" : found)
    const value = decodeValue(typeOf(type), encoded, found === "null")
    return {
      type: value === null ? "null" : type,
      value: (SPELLING[type] as { print(value: unknown): unknown }).print(value),
    }
  },

  sealRowKey: (input) => ({
    dek_encrypted: hex(encodeHeader({ dekID: bytesOf(input.dek_id), hasContext: false, keys: entriesOf(input) })),
  }),
  openRowKey: async (input, calls) => {
    const dataKeys = await ringOf(input, calls)
    const dek = await dataKeys.open(parseRowKey(bytesOf(input.dek_encrypted)), {}, (each) =>
      hex(new Uint8Array(each.key.export())),
    )
    return { dek, unwraps: calls.unwraps }
  },

  blindIndex: ({
    root,
    version,
    bits,
    table,
    column,
    name,
    type,
    value,
    tenant,
    normalisers = [],
    unique,
    distinct,
  }) => {
    const options = {
      name: name as string,
      version: version as number,
      bits: bits as number,
      unique: (unique ?? false) as boolean,
      normalize: (normalisers as string[]).map(
        (each) => NORMALISERS[each] ?? { name: each, apply: (text: string) => text },
      ),
      ...(distinct === undefined ? {} : { distinct: distinct as number }),
    }
    const parsed = (SPELLING[type as string] as { parse(value: unknown): unknown }).parse(value)
    const place = { table: table as string, column: column as string, tenant: tenant as string | undefined }
    return { index: hex(blindIndexAt(new IndexRoot(bytesOf(root)), place, typeOf(type), options, parsed)) }
  },

  pepperID: ({ pepper }) => ({ id: hex(pepperID(bytesOf(pepper))) }),
  hashSecure: async (input) => {
    const { pepper, context, value, salt } = input
    const text = typeof value === "string" ? value : bytesOf(value)
    return {
      hash: await hasher([bytesOf(pepper)], input).hash(
        text,
        (context ?? {}) as Context,
        {},
        salt === undefined ? undefined : bytesOf(salt),
      ),
    }
  },
  compareSecure: async ({ hash, value, context, peppers }) => {
    const text = typeof value === "string" ? value : bytesOf(value)
    return {
      match: await hasher((peppers as string[]).map(bytesOf), {}).verify(
        text,
        hash as string,
        (context ?? {}) as Context,
      ),
    }
  },

  deriveSqlcipherKey: ({ dek, dek_spec, database_id, kdf }) => ({
    key: hex(
      databaseKey(
        bytesOf(dek),
        (dek_spec ?? "AES_256") as DEKSpec,
        bytesOf((database_id as string).replaceAll("-", "")),
        kdf as DatabaseKDF,
      ),
    ),
  }),
  sqlcipherCheck: ({ dek, database_id, dek_id }) => ({
    check: base64(keyCheck(bytesOf(dek), bytesOf((database_id as string).replaceAll("-", "")), bytesOf(dek_id))),
  }),

  writeLocalKeyFile: async (input) => {
    const { passphrase, id, data, salt } = input
    const protection = passphrase === undefined ? ("none" as const) : protectionOf(input)
    const key = protection === "none" ? undefined : await passphraseKey(passphrase as string, protection)
    return {
      file: formatKeyFile(
        { ...newHead(false), id: id as string, protection },
        storeOf(data),
        key,
        salt === undefined ? undefined : bytesOf(salt),
      ),
    }
  },
  readLocalKeyFile: async ({ file, passphrase }) => {
    const parsed = parseKeyFile(file as string)
    const store =
      "store" in parsed
        ? parsed.store
        : openKeyFile(
            parsed.id,
            parsed.protection,
            parsed.sealed,
            await passphraseKey(passphrase as string, parsed.protection),
          )
    return { id: parsed.id, data: JSON.parse(formatKeyFile({ id: parsed.id, protection: "none" }, store)).data }
  },
}

async function run({ op, in: input }: Vector, calls: Calls): Promise<Json> {
  const operation = OPERATIONS[op]
  assert.ok(operation, `the operation ${op} is known`)
  return await operation(input, calls)
}

function normalizedOut(out: Json): Json {
  const { envelope, type, value } = out
  if (type === "json") return { type, value: JSON.stringify(JSON.parse(value as string)) }
  return typeof envelope === "object" && envelope !== null ? { ...out, envelope: hex(bytesOf(envelope)) } : out
}

function vectorSuite(name: string, path: string, counts: { valid: number; refused: number } | undefined): void {
  const { valid, refused } = JSON.parse(readFileSync(path, "utf8")) as { valid: Vector[]; refused: Vector[] }

  describe(name, () => {
    it("holds the vectors it should", () => {
      if (counts) assert.deepEqual({ valid: valid.length, refused: refused.length }, counts)
      assert.ok(valid.length >= 77 && refused.length >= 89)
    })

    for (const vector of valid) {
      it(`${vector.op} gives what the vector says: ${vector.id}`, async () => {
        assert.deepEqual(await run(vector, { unwraps: 0, used: undefined }), normalizedOut(vector.out as Json))
      })
    }

    for (const vector of refused) {
      it(`${vector.op} refuses with a typed error: ${vector.id}`, async () => {
        const calls = { unwraps: 0, used: undefined }
        await assert.rejects(
          async () => await run(vector, calls),
          // Lengths of keys are checked at the door, by RangeError; everything else has a class of its own.
          (error: unknown) =>
            error instanceof EncxError || (error instanceof RangeError && error.message.startsWith("Cannot use")),
        )
        if (vector.unwraps !== undefined) assert.equal(calls.unwraps, vector.unwraps)
      })
    }
  })
}

vectorSuite("native vectors", join(import.meta.dirname, "vectors", "native.json"), { valid: 77, refused: 89 })

const elsewhere = process.env.ENCX_VECTORS
if (elsewhere !== undefined && existsSync(join(elsewhere, "native.json"))) {
  vectorSuite("native vectors of ENCX_VECTORS", join(elsewhere, "native.json"), undefined)
}
