/**
 * The legacy contract from the client's side: what the old desktop program does, step by step. It shows the protocol
 * and tests a server; it proves nothing about who answers. New programs should wait for the sealed suites.
 */
import { createCipheriv } from 'node:crypto'

/** A session key as the hand-out's token carries it. */
export type LegacySession = {
  readonly token: string
  /** 32 bytes. */
  readonly key: Uint8Array
  /** 16 bytes. */
  readonly iv: Uint8Array
  readonly expiresInS: number
}

export type LegacyReply = {
  readonly httpStatus: number
  readonly supportCode: string | null
  readonly body: Readonly<Record<string, unknown>>
}

async function post(url: URL, headers: Record<string, string>, body: string | null): Promise<LegacyReply> {
  const reply = await fetch(url, { method: 'POST', headers, body, redirect: 'error' })
  return {
    httpStatus: reply.status,
    supportCode: reply.headers.get('x-support-code'),
    body: (await reply.json()) as Record<string, unknown>,
  }
}

/**
 * Asks for a session key.
 * @param baseUrl such as `http://127.0.0.1:3000`.
 * @throws {Error} when the server refuses, with what it said.
 */
export async function requestSessionKey(baseUrl: string): Promise<LegacySession> {
  const { httpStatus, body } = await post(new URL('/api/auth/get-session-key', baseUrl), {}, null)
  if (typeof body.session_token !== 'string')
    throw new Error(`the server gave no session key (HTTP ${httpStatus}): ${JSON.stringify(body)}`)
  const [, payload = ''] = body.session_token.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as { key: string; iv: string }
  return {
    token: body.session_token,
    key: Buffer.from(claims.key, 'hex'),
    iv: Buffer.from(claims.iv, 'hex'),
    expiresInS: Number(body.expires_in),
  }
}

/** Encrypts a hardware id: AES-256-CBC with PKCS#7 padding, as hex. */
export function encryptHwid({ key, iv }: LegacySession, hwid: string): string {
  const cipher = createCipheriv('aes-256-cbc', key, iv)
  return cipher.update(hwid, 'utf8', 'hex') + cipher.final('hex')
}

/** Posts an encrypted hardware id, and a licence key where there is one. Refusals are replies, not exceptions. */
export function checkLicence(
  baseUrl: string,
  { token }: LegacySession,
  encryptedHwid: string,
  licenceKey?: string,
): Promise<LegacyReply> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const body = { hwid: encryptedHwid, ...(licenceKey === undefined ? {} : { licence: licenceKey }) }
  return post(new URL('/api/licence/check', baseUrl), headers, JSON.stringify(body))
}
