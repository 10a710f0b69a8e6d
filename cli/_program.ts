/** The command as a function: arguments and a world in, an exit code out. */
import { Command, CommanderError } from "commander"
import manifest from "../package.json" with { type: "json" }
import { codeOf, Told, usage } from "./_errors.ts"
import { type IO, write } from "./_io.ts"
import { report } from "./_output.ts"
import { catVerb } from "./cat.ts"
import { demoVerb } from "./demo.ts"
import { doctorVerb } from "./doctor.ts"
import { findVerb } from "./find.ts"
import { importVerb } from "./import.ts"
import { inspectVerb } from "./inspect.ts"
import { keysVerb } from "./keys.ts"
import { openVerb } from "./open.ts"
import { pepperVerb } from "./pepper.ts"
import { rewrapVerb } from "./rewrap.ts"
import { sealVerb } from "./seal.ts"

const VERBS = [
  keysVerb,
  pepperVerb,
  doctorVerb,
  sealVerb,
  openVerb,
  catVerb,
  inspectVerb,
  importVerb,
  findVerb,
  rewrapVerb,
  demoVerb,
] as const

/**
 * Runs the command.
 *
 * @param argv the arguments after `encx`
 * @returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted
 */
export async function run(argv: readonly string[], io: IO): Promise<number> {
  try {
    await execute(argv, io)
    return 0
  } catch (error) {
    if (error instanceof Told) return error.exitCode
    // The reader of a pipe may have enough: head(1) does.
    if (codeOf(error) === "EPIPE") return 0
    return await report(error instanceof CommanderError ? usageOf(error) : error, argv.includes("--json"), io)
  }
}

async function execute(argv: readonly string[], io: IO): Promise<void> {
  const help: string[] = []
  try {
    await program(io, help).parseAsync(argv, { from: "user" })
  } catch (error) {
    if (!(error instanceof CommanderError) || error.exitCode !== 0) throw error
    await write(io.stdout, help.join(""))
  }
}

function program(io: IO, help: string[]): Command {
  const root = new Command("encx")
    .description("Encrypt files and tables, with keys that live in a KMS.")
    .version(manifest.version)
    .addHelpText("after", "\nStart here:\n  $ encx demo\n  $ encx keys create\n  $ encx seal report.pdf")
  for (const verb of VERBS) root.addCommand(verb(io))
  settle(root, io, help)
  return root
}

// Each command is told by itself: addCommand hands nothing down.
function settle(command: Command, io: IO, help: string[]): void {
  command.exitOverride().showSuggestionAfterError(true)
  command.configureOutput({
    writeOut: (text) => void help.push(text),
    writeErr: (text) => void io.stderr.write(text),
    // Its errors are told by report(), as all others are.
    outputError: () => undefined,
  })
  for (const each of command.commands) settle(each, io, help)
}

function usageOf(error: CommanderError): Error {
  if (error.code === "commander.help") return usage("Cannot run: no verb was given", "encx demo shows what it can do")
  const [message = "", suggestion] = error.message.replace(/^error: /, "").split("\n")
  return usage(`Cannot run: ${message}`, suggestion?.replace(/^\(|\)$/g, "") ?? "see --help")
}
