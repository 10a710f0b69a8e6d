import { spawnSync } from "node:child_process"
import { mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import process from "node:process"
import { makeWhole, run, type Say, withPartial } from "./_install-run.ts"
import { GO_BUILDS, type GoServer, goProgram, installation, isInstalled, recipe } from "./_installation.ts"

/** Builds servers, one after the other: what they have in common is compiled once, and nothing of it is kept. */
export async function buildWithGo(names: readonly GoServer[], say: Say): Promise<void> {
  if (spawnSync("go", ["version"]).status !== 0) throw new Error(`Go 1.25.3 or newer is needed for ${names.join(", ")}`)
  await withPartial(join(dirname(installation("vault")), "go"), async (caches) => {
    for (const name of names) {
      await makeWhole(
        installation(name),
        () => isInstalled([name]),
        (into) => build(name, into, caches, say),
      )
    }
  })
}

async function build(name: GoServer, into: string, caches: string, say: Say): Promise<void> {
  const { programs, tags = "" } = GO_BUILDS[name]
  const cwd = recipe(name)
  const env = environment(caches)
  const tagged = `-tags=${tags}`
  let packages = 0
  let downloads = 0
  await run("go", ["list", "-deps", tagged, ...Object.values(programs)], {
    cwd,
    env,
    line: (line) => {
      if (line.startsWith("go: downloading ")) say(`${name}: ${++downloads} modules`)
      else packages++
    },
  })
  let compiled = 0
  for (const [program, source] of Object.entries(programs)) {
    const path = goProgram(name, program, into)
    mkdirSync(dirname(path), { recursive: true })
    // Neither inlined nor described for a debugger: a third less to compile, for what runs a few seconds.
    const flags = ["-v", "-trimpath", tagged, "-gcflags=all=-l -dwarf=false", "-ldflags=-s -w", "-o", path]
    // It says each package that it has compiled.
    await run("go", ["build", ...flags, source], {
      cwd,
      env,
      line: () => say(`${name}: ${++compiled} of about ${packages} packages`),
    })
  }
}

/** The machine's module proxy and checksum database hold; caches and flags do not. */
function environment(caches: string): NodeJS.ProcessEnv {
  const folders = { GOMODCACHE: join(caches, "modules"), GOCACHE: join(caches, "builds"), GOTMPDIR: caches }
  // Writable, so that they can be taken away.
  return { ...process.env, ...folders, GOFLAGS: "-buildvcs=false -modcacherw", CGO_ENABLED: "0", GOWORK: "off" }
}
