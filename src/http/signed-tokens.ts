import { createPublicKey } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import fastify, { type FastifyInstance } from 'fastify'
import { LRUCache } from 'lru-cache'
import type { App } from '../app.ts'
import type { SigningKey } from '../crypto/jwk.ts'
import { memoised } from '../memo.ts'

const TOKEN_MAX_CHARACTERS = 2048
/** The signature has 64 bytes in their one spelling: decoders overlook the four bits that its last character has left over. */
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]$/

/** What tokens of one kind have in common: `typ` (RFC 8725, section 3.11), `aud`, and the claims that none lacks. */
export type TokenKind<T extends object> = {
  readonly type: string
  readonly audience: string
  readonly required: readonly string[]
  /** What there is to know of a token, from claims that are genuine; `null` where they are not of this kind. */
  readonly read: (claims: unknown) => T | null
  /** Of so many tokens that is remembered. */
  readonly rememberedMax: number
}

/** @fastify/jwt for one key: it takes its keys at registration, and ours change while the server runs. */
async function holderOf(
  { kid, privateKey }: SigningKey,
  issuer: string,
  { type, audience, required }: TokenKind<object>,
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
export function createSignedTokens<T extends object>(
  { keyPairs, issuer }: Pick<App, 'keyPairs' | 'issuer'>,
  kind: TokenKind<T>,
) {
  /** One for each key of a ring, by key id; the current key's first. */
  const holders = memoised(async (keys: readonly SigningKey[]) => {
    const all = await Promise.all(
      keys.map(async (key) => [key.kid, await holderOf(key, issuer, kind)] as const),
    )
    return { byKid: new Map(all), current: all[0]?.[1] as FastifyInstance }
  })

  /**
   * By token: a signature is checked once, and one that was made here not at all. Ends with its ring, as a key that was
   * retired vouches for nothing.
   */
  const remembered = memoised(
    (_ring: readonly SigningKey[]) => new LRUCache<string, T>({ max: kind.rememberedMax }),
  )

  function note(ring: readonly SigningKey[], token: string, claims: unknown): T | null {
    const known = kind.read(claims)
    if (known !== null) remembered(ring).set(token, known)
    return known
  }

  async function check(token: string): Promise<T | null> {
    const ring = keyPairs.jwt()
    const { byKid } = await holders(ring)
    if (token.length > TOKEN_MAX_CHARACTERS || !TOKEN.test(token)) return null
    try {
      return note(ring, token, byKid.get(kidIn(token))?.jwt.verify(token))
    } catch {
      return null
    }
  }

  return {
    sign: async (claims: object): Promise<string> => {
      const ring = keyPairs.jwt()
      const { current } = await holders(ring)
      const token = current.jwt.sign(claims)
      note(ring, token, claims)
      return token
    },
    /** What a token says that a key in force has signed, at once where that is known; `null` for every cause alike. */
    genuine: (token: string): T | Promise<T | null> => remembered(keyPairs.jwt()).get(token) ?? check(token),
  }
}
