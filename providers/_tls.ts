/** What it means when TLS fails, by the codes that the runtimes give: no outage, and nothing that asking again mends. */

/** What is wrong, and what to do. */
export interface TLSProblem {
  readonly state: string
  readonly hint: string
}

/** Codes of OpenSSL and of Node, which Deno and Bun give, too. */
const CERTIFICATE = /CERT|^UNABLE_TO_|^HOSTNAME_MISMATCH$|^INVALID_(CA|PURPOSE)$/
const DATES = /^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/
const NAME = /ALTNAME|HOSTNAME/
/** Node says no more than EPROTO and OpenSSL's words, Deno and Bun have them in the code. */
const PROTOCOL = /wrong version number|unsupported protocol|alert protocol version|handshake failure|http request/

/** The problem with TLS that an error is about, or `undefined`: a connection that broke may hold the next time. */
export function tlsProblem(code: string, message: string): TLSProblem | undefined {
  if (DATES.test(code))
    return {
      state: `its certificate has expired, or is not valid yet (${code})`,
      hint: "look at the clock of this machine, and at the certificate of the endpoint",
    }
  if (NAME.test(code))
    return {
      state: `its certificate is of another host (${code})`,
      hint: "check the endpoint: its host must be one that the certificate names",
    }
  if (CERTIFICATE.test(code))
    return {
      state: `its certificate is not trusted (${code})`,
      hint: "somebody else may answer in its place; if the authority is your own, name it: NODE_EXTRA_CA_CERTS=ca.pem (on Deno, DENO_CERT)",
    }
  if (PROTOCOL.test(`${code} ${message}`.replaceAll("_", " ").toLowerCase()))
    return {
      state: `its endpoint speaks no TLS that this program does (${code})`,
      hint: "check the endpoint's port, and whether it is https: or http:; a proxy on the way may answer in its place",
    }
  return undefined
}
