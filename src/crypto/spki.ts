import { createPublicKey, type KeyObject } from 'node:crypto'

const PEM_LINE = /.{64}/g

/**
 * Reads a raw public key. As PEM (RFC 7468), which is a text: of an object Node 24 first asks four times whether it is a
 * key of its own, each time by an exception, so that JWK takes ten times as long and DER four times.
 * @param prefix the SubjectPublicKeyInfo (RFC 5280 section 4.1) up to the key's first byte.
 * @throws {Error} of node:crypto for bytes that are no public key of that kind.
 */
export function publicKeyFrom(prefix: Uint8Array, raw: Uint8Array): KeyObject {
  const lines = Buffer.concat([prefix, raw]).toString('base64').replace(PEM_LINE, '$&\n')
  return createPublicKey(`-----BEGIN PUBLIC KEY-----\n${lines}\n-----END PUBLIC KEY-----\n`)
}
