/** The `age` command with one X25519 recipient; its identity is in no file. */
import type { Contender } from "../contender.ts"
import { command, run } from "./_command.ts"

const identity = run("age-keygen", [])
const recipient = run("age-keygen", ["-y"], identity).trim()

const contender: Contender = command(
  (source, target) => void run("age", ["--encrypt", "-r", recipient, "-o", target, source]),
  (source, target) => void run("age", ["--decrypt", "-i", "-", "-o", target, source], identity),
)
export default contender
