/** A key store in a file. */
import { createSecretKey, type KeyObject } from "node:crypto"
import * as nodeFS from "node:fs"
import { dirname } from "node:path"
import { wipe } from "../core/bytes.ts"
import { AuthenticationFailed, DecryptionFailed, InvalidConfiguration } from "../core/errors.ts"
import {
  formatKeyFile,
  type KeyFileHead,
  newHead,
  openKeyFile,
  type PassphraseProtection,
  parseKeyFile,
  passphraseKey,
  type SealedKeyFile,
} from "./_key-file-format.ts"
import { EMPTY_STORE, type KeyStorage, type KeyStore } from "./_key-store.ts"
import { type FileSystem, makeFolder, replaceFile, withLock, withSafeFile } from "./_safe-file.ts"

interface Loaded {
  readonly head: KeyFileHead
  readonly store: KeyStore
  readonly signature: string
}

/** The storage over a key file. A file that is not there is an empty store; the first change makes it. */
export function keyFile(path: string, passphrase: string | undefined, fs: FileSystem = nodeFS): KeyStorage {
  let loaded: Loaded | undefined
  let derived: { readonly from: string; readonly key: Promise<KeyObject> } | undefined

  // Argon2id is run once for a salt and a cost, which a rewrite keeps, however many wait for it.
  const keyOf = async (protection: PassphraseProtection): Promise<KeyObject> => {
    if (passphrase === undefined)
      throw new InvalidConfiguration(`Cannot open "${path}": it needs a passphrase`, { hint: "give local() one" })
    const from = JSON.stringify([
      protection.memoryKiB,
      protection.iterations,
      protection.parallelism,
      ...protection.salt,
    ])
    if (derived?.from !== from) {
      const key = derive(passphrase, protection)
      derived = { from, key }
      key.catch(() => {
        if (derived?.key === key) derived = undefined
      })
    }
    return await derived.key
  }

  const unlock = ({ id, protection, sealed }: SealedKeyFile, key: KeyObject): KeyStore => {
    try {
      return openKeyFile(id, protection, sealed, key)
    } catch (error) {
      if (!(error instanceof DecryptionFailed)) throw error
      const failure = { provider: "local", operation: "open" }
      throw new AuthenticationFailed(`Cannot open "${path}": the passphrase is wrong, or the file was changed`, failure)
    }
  }

  const load = async (): Promise<Loaded | undefined> => {
    const read = withSafeFile(
      path,
      ({ signature, content }) => ({
        signature,
        file: loaded?.signature === signature ? undefined : parseKeyFile(content()),
      }),
      fs,
    )
    if (!read) return undefined
    const { signature, file } = read
    if (!file) return loaded
    if (file.protection === "none" && passphrase !== undefined) {
      throw new InvalidConfiguration(`Cannot open "${path}": a passphrase is given, and the file has none`)
    }
    const store = "store" in file ? file.store : unlock(file, await keyOf(file.protection))
    loaded = { head: { id: file.id, protection: file.protection }, store, signature }
    return loaded
  }

  return {
    read: async ({ signal } = {}) => {
      signal?.throwIfAborted()
      return (await load())?.store ?? EMPTY_STORE
    },

    change: async (change, { signal } = {}) => {
      signal?.throwIfAborted()
      makeFolder(dirname(path), fs)
      const replace = async (): Promise<void> => {
        const before = await load()
        const head = before?.head ?? newHead(passphrase !== undefined)
        const store = change(before?.store ?? EMPTY_STORE)
        const key = head.protection === "none" ? undefined : await keyOf(head.protection)
        replaceFile(path, formatKeyFile(head, store, key), fs)
        loaded = undefined
      }
      await withLock(path, replace, { signal, fs })
    },

    close: async () => {
      loaded = undefined
      derived = undefined
    },
  }
}

async function derive(passphrase: string, protection: PassphraseProtection): Promise<KeyObject> {
  const bytes = await passphraseKey(passphrase, protection)
  const key = createSecretKey(bytes)
  wipe(bytes)
  return key
}
