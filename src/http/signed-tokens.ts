import { createPublicKey } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import fastify, { type FastifyInstance } from 'fastify'
import type { App } from '../app.ts'
import type { SigningKey } from '../crypto/jwk.ts'
import { memoised } from '../memo.ts'

const TOKEN_MAX_CHARACTERS = 2048
/** The signature has 64 bytes in their one spelling: decoders overlook the four bits that its last character has left over. */
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]$/

/** What tokens of one kind have in common: `typ` (RFC 8725, section 3.11), `aud`, and the claims that none lacks. */
export type TokenKind = {
  readonly type: string
  readonly audience: string
  readonly required: readonly string[]
}

/** @fastify/jwt for one key: it takes its keys at registration, and ours change while the server runs. */
async function holderOf(
  { kid, privateKey }: SigningKey,
  issuer: string,
  { type, audience, required }: TokenKind,
): Promise<FastifyInstance> {
  const holder = fastify()
  await holder.register(fastifyJwt, {
    secret: {
      private: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      public: createPublicKey(privateKey).export({ format: 'pem', type: 'spki' }).toString(),
    },
    decode: { complete: true },
    sign: { algorithm: 'EdDSA', kid, header: { alg: 'EdDSA', typ: type }, iss: issuer, aud: audience },
    verify: {
      algorithms: ['EdDSA'],
      allowedIss: issuer,
      allowedAud: audience,
      checkTyp: type,
      // What is expected of `iss` and `aud` is not asked of a token that has none.
      requiredClaims: ['iss', 'aud', ...required],
      // Expiry is judged by the one clock that sessions live by, not by this process's own.
      ignoreExpiration: true,
      cache: false,
    },
  })
  await holder.ready()
  return holder
}

function kidIn(token: string): string {
  const [header = ''] = token.split('.', 1)
  return JSON.parse(Buffer.from(header, 'base64url').toString('latin1')).kid
}

/** Tokens that one of our keys signed: EdDSA (RFC 8037), under the ring `jwt`. */
export function createSignedTokens({ keyPairs, issuer }: Pick<App, 'keyPairs' | 'issuer'>, kind: TokenKind) {
  /** One for each key of a ring, by key id; the current key's first. */
  const holders = memoised(async (keys: readonly SigningKey[]) => {
    const all = await Promise.all(
      keys.map(async (key) => [key.kid, await holderOf(key, issuer, kind)] as const),
    )
    return { byKid: new Map(all), current: all[0]?.[1] as FastifyInstance }
  })

  return {
    /** The ring that is in force: whatever is remembered of tokens ends with it. */
    ring: () => keyPairs.jwt(),
    sign: async (claims: object): Promise<string> => {
      const { current } = await holders(keyPairs.jwt())
      return current.jwt.sign(claims)
    },
    /** Verifies tokens at once, under the ring that is in force: the claims, or `null` for every cause alike. */
    verifier: async (): Promise<(token: string) => unknown> => {
      const { byKid } = await holders(keyPairs.jwt())
      return (token) => {
        if (token.length > TOKEN_MAX_CHARACTERS || !TOKEN.test(token)) return null
        try {
          return byKid.get(kidIn(token))?.jwt.verify(token) ?? null
        } catch {
          return null
        }
      }
    },
  }
}
