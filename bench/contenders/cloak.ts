/** @47ng/cloak: text to text under one key, which is parsed once; its synchronous functions, the faster ones. It has no context. */
import { createHmac, createSecretKey, randomBytes } from "node:crypto"
import type { Contender, Person } from "../contender.ts"

/** As much of it as is used here: it is not installed where the types are checked. */
interface Cloak {
  readonly generateKey: () => string
  readonly parseKeySync: (key: string) => object
  readonly encryptStringSync: (text: string, key: object) => string
  readonly decryptStringSync: (sealed: string, key: object) => string
}

// Not a literal: it is not installed where the types are checked.
const specifier = "@47ng/cloak"
const cloak = (await import(specifier)) as Cloak
const key = cloak.parseKeySync(cloak.generateKey())
const indexKey = createSecretKey(randomBytes(32))
const seal = (text: string): string => cloak.encryptStringSync(text, key)
const open = (sealed: string): string => cloak.decryptStringSync(sealed, key)

const contender: Contender = {
  values: (context) =>
    context
      ? undefined
      : {
          from: (text) => text,
          text: (opened) => opened as string,
          seal: (plaintext) => seal(plaintext as string),
          open: (sealed) => open(sealed as string),
        },
  records: () => ({
    seal: ({ email, name, phone, note }) => ({
      email: seal(email),
      name: seal(name),
      phone: seal(phone),
      note: seal(note),
      email_index: createHmac("sha256", indexKey).update(email).digest("base64"),
    }),
    open: (row) => {
      const { email, name, phone, note } = row as Omit<Person, "id">
      return { email: open(email), name: open(name), phone: open(phone), note: open(note) }
    },
  }),
}
export default contender
