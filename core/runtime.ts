/**
 * Which runtime this is: asked here and nowhere else, where one of them does the same work much faster in another way.
 *
 * @module
 */

/** Deno computes AES-GCM many times faster where it is asked through WebCrypto; see `cipher/bulk.ts`. */
export const isDeno: boolean = "Deno" in globalThis

/** Node, and none of those that are like it: a worker thread pays where a file is large; see `files/convert.ts`. */
export const isNode: boolean = !isDeno && !("Bun" in globalThis)
