// Runs its arguments on this project's own Node. Plain JavaScript, because the machine's Node may be too old for anything else.
import { spawn } from "node:child_process"
import { createRequire } from "node:module"

const { arch, argv, execPath, platform, versions } = process
const signals = ["SIGINT", "SIGTERM", "SIGHUP"]

const { node, flags } = pinnedNode() ?? machineNode() ?? refuse()
const child = spawn(node, [...flags, ...argv.slice(2)], { stdio: "inherit" })
for (const signal of signals) {
  process.on(signal, () => {
    // A terminal gives its Ctrl-C to the child too, and a program may take a second one for «stop at once».
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal)
  })
}
child.on("error", (error) => {
  console.error(`Cannot start ${node}: ${error.message}`)
  process.exit(1)
})
child.on("exit", (code, signal) => {
  if (!signal) process.exit(code ?? 1)
  for (const each of signals) process.removeAllListeners(each)
  process.kill(process.pid, signal)
})

function pinnedNode() {
  const file = platform === "win32" ? `node-win-${arch}/bin/node.exe` : `node-${platform}-${arch}/bin/node`
  try {
    return { node: createRequire(import.meta.url).resolve(file), flags: [] }
  } catch (error) {
    if (error.code !== "MODULE_NOT_FOUND") throw error
    return undefined
  }
}

function machineNode() {
  const [major, minor] = versions.node.split(".").map(Number)
  if (major < 22 || (major === 22 && minor < 13)) return undefined
  const quiet = major === 22 ? ["--disable-warning=ExperimentalWarning"] : []
  // Node strips types without a flag from 22.18 on.
  const loader = major === 22 && minor < 18 ? ["--import", import.meta.resolve("tsx")] : []
  return { node: execPath, flags: [...quiet, ...loader] }
}

function refuse() {
  console.error(
    `Cannot run on Node ${versions.node}: 22.13 or newer is needed, and no pinned Node is installed for ${platform}-${arch} (npm ci)`,
  )
  process.exit(1)
}
