// Deno 2.9.5 loses what a module throws once it has declared a node:test: the tests after that line do not exist, and the run is green.
declare const Deno: { test(name: string, body: () => void): void }
declare function addEventListener(
  type: "unhandledrejection",
  listener: (event: { readonly reason: unknown }) => void,
): void

addEventListener("unhandledrejection", ({ reason }) => {
  Deno.test("a test file loads", () => {
    throw reason
  })
})
