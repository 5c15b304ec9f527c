/**
 * The legacy contract from the client's side: what the old desktop program does, step by step. It proves nothing about
 * who answers, so new programs take a sealed suite.
 */
import { fromB64u, fromHex, toHex, utf8 } from './encoding.ts'
import { parseObject } from './json.ts'
import { anyBackend } from './platform.ts'

/** A session key as the hand-out's token carries it. */
export type LegacySession = {
  readonly token: string
  /** 32 bytes. */
  readonly key: Uint8Array<ArrayBuffer>
  /** 16 bytes. */
  readonly iv: Uint8Array<ArrayBuffer>
  readonly expiresInS: number
}

export type LegacyReply = {
  readonly httpStatus: number
  readonly supportCode: string | null
  readonly body: Readonly<Record<string, unknown>>
}

const KEY_BYTES = 32
const IV_BYTES = 16

async function post(url: URL, headers: Record<string, string>, body: string | null): Promise<LegacyReply> {
  const reply = await fetch(url, { method: 'POST', headers, body, redirect: 'error' })
  return {
    httpStatus: reply.status,
    supportCode: reply.headers.get('x-support-code'),
    body: (await reply.json()) as Record<string, unknown>,
  }
}

/** @returns the bytes of a claim that is hex of that many, or `null`. */
function bytesOf(claim: unknown, length: number): Uint8Array<ArrayBuffer> | null {
  const bytes = fromHex(claim)
  return bytes?.length === length ? bytes : null
}

/**
 * Asks for a session key.
 * @param baseUrl such as `http://127.0.0.1:3000`.
 * @throws {Error} when the server refuses, with what it said, or gives something else.
 */
export async function requestSessionKey(baseUrl: string): Promise<LegacySession> {
  const { httpStatus, body } = await post(new URL('/api/auth/get-session-key', baseUrl), {}, null)
  if (typeof body.session_token !== 'string')
    throw new Error(`the server gave no session key (HTTP ${httpStatus}): ${JSON.stringify(body)}`)
  const [, payload = ''] = body.session_token.split('.')
  const claims = parseObject(fromB64u(payload) ?? '')
  const key = bytesOf(claims?.key, KEY_BYTES)
  const iv = bytesOf(claims?.iv, IV_BYTES)
  if (key === null || iv === null) throw new Error('the token of the session carries no key')
  return { token: body.session_token, key, iv, expiresInS: Number(body.expires_in) }
}

/**
 * Encrypts a hardware id: AES-256-CBC with PKCS#7 padding, as hex.
 * @param backend such as `forgeBackend(forge)` in a page without a secure context.
 */
export async function encryptHwid(
  { key, iv }: LegacySession,
  hwid: string,
  backend = anyBackend(),
): Promise<string> {
  return toHex(await backend.cbcEncrypt(key, iv, utf8(hwid)))
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
