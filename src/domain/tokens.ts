import { createHash } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { AppError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { OperatorToken, TokenStore } from '../store/tokens.ts'
import type { Actor, Events } from './events.ts'
import { newId } from './ids.ts'
import { requireTexts } from './texts.ts'

const TOKEN_BYTES = 32
const TOKEN = /^kop_[A-Za-z0-9_-]{43}$/

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

export type Tokens = ReturnType<typeof createTokens>

export function createTokens(deps: { store: TokenStore; events: Events; clock: Clock; random: Random }) {
  const { store, events, clock, random } = deps

  /** @returns the token's text, which is kept nowhere: 256 random bits after the prefix `kop_`. */
  async function create(
    actor: Actor,
    name: string,
    expiresAtMs: number | null,
  ): Promise<OperatorToken & { token: string }> {
    requireTexts({ tokenName: name })
    const token = `kop_${random(TOKEN_BYTES).toString('base64url')}`
    const row: OperatorToken = {
      id: newId('tok', random),
      name,
      createdAtMs: clock(),
      expiresAtMs,
      revokedAtMs: null,
    }
    await store.create(
      row,
      hashOf(token),
      events.build('authn_token_created', actor, { detail: { id: row.id, name } }),
    )
    return { ...row, token }
  }

  /** The operator behind a token, read anew for each request: a revoked token is dead at once. */
  async function authenticate(token: string): Promise<OperatorToken | null> {
    // Found by its hash in an index: how long that takes tells nothing about any token.
    const row = TOKEN.test(token) ? await store.findByHash(hashOf(token)) : null
    const isLiving =
      row !== null && row.revokedAtMs === null && (row.expiresAtMs ?? Number.POSITIVE_INFINITY) > clock()
    return isLiving ? row : null
  }

  /** @throws {AppError} `token_not_found`. */
  async function revoke(actor: Actor, id: string): Promise<void> {
    const event = events.build('authn_token_revoked', actor, { detail: { id } })
    if (!(await store.revoke(id, clock(), event)))
      throw new AppError('token_not_found', { detail: `no living token has the id "${id}"` })
  }

  return { create, authenticate, revoke, list: () => store.list() }
}
