/** `openssl enc` with AES-256-CTR: it has no GCM, so this is a bound that authenticates nothing. */
import { randomBytes } from "node:crypto"
import type { Contender } from "../contender.ts"
import { command, run } from "./_command.ts"

const [key, iv] = [randomBytes(32).toString("hex"), randomBytes(16).toString("hex")]
const enc = (source: string, target: string, ...more: string[]): void =>
  void run("openssl", ["enc", "-aes-256-ctr", "-K", key, "-iv", iv, "-in", source, "-out", target, ...more])

const contender: Contender = command(enc, (source, target) => enc(source, target, "-d"))
export default contender
