import type { Clock } from '../../clock.ts'
import { fromB64u, toB64u } from '../../crypto/encoding.ts'
import { recordKeys } from '../../crypto/records.ts'
import { wrapSessionKey } from '../../crypto/row-wrap.ts'
import { schedule, sealHello, transcriptHash } from '../../crypto/schedule.ts'
import { type SealedSuite, SIZES } from '../../crypto/suites.ts'
import { Pace } from '../../pace.ts'
import type { Random } from '../../random.ts'
import type { Keyring } from '../../store/keyring.ts'
import { currentKey } from '../../store/ring.ts'
import type { SessionKeyStore } from '../../store/session-keys.ts'
import { MAX_SEQ, type SessionRequest } from '../../wire/sealed.ts'
import type { KeyPairs } from '../key-pairs.ts'

const SESSION_ID_BYTES = 32
const WRAP_NONCE_BYTES = 12
const JTI_BYTES = 16
/** A token outlives its session a little, so that whoever comes late is told by the session and not by the token. */
const TOKEN_GRACE_S = 30

/** What a session's token says; everything but the issuer, whose business it is. */
export type TokenClaims = {
  readonly sub: string
  readonly sid: string
  readonly ste: SealedSuite
  /** RFC 7800: base64url of the 32-byte confirmation value, which only the session key gives. */
  readonly cnf: { readonly dsk1: string }
  readonly jti: string
  readonly iat: number
  readonly exp: number
}

/** Signs a token. */
export type IssueToken = (claims: TokenClaims) => Promise<string>

/** Why there is no session: the form of the request, or a suite, key or point that is not served. */
export type HandshakeRefusal = 'request' | 'kex'

export type Hello = {
  readonly suite: SealedSuite
  readonly kid: string
  readonly sessionId: string
  readonly expiresInS: number
  /** base64url. */
  readonly serverPublic: string
  /** base64url. */
  readonly box: string
}

function suiteIn(text: string): SealedSuite | null {
  return text === 'S1' || text === 'S2' || text === 'S3' ? text : null
}

export type Handshakes = ReturnType<typeof createHandshakes>

export function createHandshakes(deps: {
  store: SessionKeyStore
  keyring: Keyring
  keyPairs: KeyPairs
  clock: Clock
  random: Random
  ttlS: number
}) {
  const { store, keyring, keyPairs, clock, random, ttlS } = deps
  const agreements = new Pace()

  /**
   * Agrees on a session key with a client that has pinned one of our static keys. The key itself never leaves.
   * @returns once the session's row is committed.
   */
  async function begin(
    request: SessionRequest,
    clientIp: string,
    issue: IssueToken,
  ): Promise<Hello | HandshakeRefusal> {
    const suite = suiteIn(request.suite)
    const key = suite === null ? undefined : keyPairs.kex(suite).find(({ kid }) => kid === request.kid)
    if (suite === null || key === undefined) return 'kex'
    const clientPublic = fromB64u(request.pub)
    if (clientPublic?.length !== SIZES[suite].client) return 'request'
    // The costliest thing that anybody may ask for. Of many at once each waits for its turn, and all else does not.
    const agreed = await agreements.run(() => key.prepare()(clientPublic))
    if (agreed === null) return 'kex'
    const sessionId = random(SESSION_ID_BYTES).toString('hex')
    const { serverPublic, ss1, ss2 } = agreed
    const th = transcriptHash({
      ...{ suite, kid: key.kid, staticPublic: key.publicKey, clientPublic },
      ...{ sessionId, expiresInS: ttlS, serverPublic },
    })
    const { helloKey, sessionKey, sessionIv } = schedule(suite, ss1, ss2, th)
    const { confirmation } = recordKeys(suite, sessionId, sessionKey, sessionIv)
    const iat = Math.floor(clock() / 1000)
    const claims = {
      ...{ sub: 'anon', sid: sessionId, ste: suite, cnf: { dsk1: toB64u(confirmation) } },
      ...{ jti: toB64u(random(JTI_BYTES)), iat, exp: iat + ttlS + TOKEN_GRACE_S },
    }
    const [token] = await Promise.all([
      issue(claims),
      store.insert({
        sessionId,
        wrappedKey: wrap(suite, sessionId, sessionIv, sessionKey),
        ivHex: sessionIv.toString('hex'),
        clientIp,
        createdAtMs: iat * 1000,
        expiresAtMs: (iat + ttlS) * 1000,
      }),
    ])
    const plaintext = JSON.stringify({ token, server_time: iat, max_seq: MAX_SEQ })
    const box = toB64u(sealHello(suite, helloKey, th, Buffer.from(plaintext)))
    for (const secret of [ss1, ss2, helloKey, sessionKey]) secret.fill(0)
    return { suite, kid: key.kid, sessionId, expiresInS: ttlS, serverPublic: toB64u(serverPublic), box }
  }

  function wrap(suite: SealedSuite, sessionId: string, iv: Buffer, sessionKey: Buffer): string {
    const { kek } = keyring
    const context = { suite, sessionId, iv }
    return wrapSessionKey(currentKey(kek), kek.current, context, sessionKey, random(WRAP_NONCE_BYTES))
  }

  return { begin }
}
