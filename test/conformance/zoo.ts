import { createDecipheriv, createECDH, createHash, decapsulate, generateKeyPairSync } from 'node:crypto'
import type { Run } from '../../conformance/index.ts'
import { lp, toB64u } from '../../src/crypto/encoding.ts'
import { expand } from '../../src/crypto/expand.ts'
import { componentDigest } from '../../src/crypto/fingerprint.ts'
import { openReply, type RecordKeys, type ReplyContext } from '../../src/crypto/records.ts'
import type { SealedSuite } from '../../src/crypto/suites.ts'
import { newX25519Key, x25519, x25519Public } from '../../src/crypto/x25519.ts'
import { xwingEncapsulate } from '../../src/crypto/xwing.ts'
import { p256ByHand } from '../support/curves.ts'
import {
  type HttpReply,
  type Json,
  post,
  type Request,
  type Share,
  SOUND,
  type Steps,
  share,
} from './sound-client.ts'

/** A client with one flaw, and the rows of the table that it must fail: these and no other. */
export type Animal = {
  readonly name: string
  readonly suite?: SealedSuite
  /** Made anew for each kit, as some flaws are about what is remembered. */
  readonly flaw: () => Partial<Steps>
  readonly fails: readonly string[]
}

const ZEROS = Buffer.alloc(32)

/** Goes through all handlers of errors, as a crash does. */
class Crash extends Error {}
const crashes: Partial<Steps> = {
  whenUnavailable: (_, error) => {
    if (error instanceof Crash) throw error
    return 'unavailable'
  },
}

function membersOf({ text }: HttpReply): Json {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}

/** Everything that comes, however long it is and however long it takes. */
async function postPatiently({ url, headers, body }: Request): Promise<HttpReply> {
  const reply = await fetch(url, { method: 'POST', headers, body, redirect: 'manual' })
  return { status: reply.status, text: await reply.text() }
}

/** With the limit of the size, and a time-out that begins anew with every byte. */
async function postBytewise(request: Request, timeoutMs: number): Promise<HttpReply> {
  const { url, headers, body } = request
  const reply = await fetch(url, { method: 'POST', headers, body, redirect: 'manual' })
  const chunks: Uint8Array[] = []
  const reader = reply.body?.getReader()
  for (let size = 0; size < 64 * 1024; ) {
    const late = new Promise<never>((_, reject) => setTimeout(reject, timeoutMs).unref())
    const next = await Promise.race([reader?.read(), late])
    if (next?.value === undefined)
      return { status: reply.status, text: Buffer.concat(chunks).toString('utf8') }
    chunks.push(next.value)
    size += next.value.length
  }
  await reader?.cancel()
  throw new Error('the reply is too large')
}

/** AES-256-GCM with whatever tag it is told to look at; none at all if that is empty. */
function gcm(key: Buffer, nonce: Buffer, aad: Buffer, ciphertext: Buffer, tag: Buffer): Buffer | null {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: Math.max(tag.length, 4) })
  decipher.setAAD(aad)
  const plaintext = decipher.update(ciphertext)
  if (tag.length === 0) return plaintext
  try {
    decipher.setAuthTag(tag)
    decipher.final()
    return plaintext
  } catch {
    return null
  }
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

/** Opens an S1 reply, but takes for the tag what it likes. */
function openWithTag(
  { suite, sessionId, sessionIv, serverToClient }: RecordKeys,
  { seq, op, salt, requestHash }: ReplyContext,
  ciphertext: Buffer,
  tag: Buffer,
): Buffer | null {
  const nonce = Buffer.from(sessionIv)
  nonce.writeUInt8(nonce.readUInt8(11) ^ seq, 11)
  const parts = [Buffer.of(Number(suite.slice(1))), lp(sessionId), u64(seq), lp(op), lp(requestHash)]
  const aad = Buffer.concat([lp('dsk1/res'), ...parts])
  const info = Buffer.concat([lp('dsk1/mk'), u64(seq), lp(salt), lp(requestHash)])
  return gcm(expand(serverToClient, info, 32), nonce, aad, ciphertext, tag)
}

/** Forgets to look whether a point lies on the curve: the formulas work without. */
function carelessP256(pinned: Buffer): Share {
  const ecdh = createECDH('prime256v1')
  // A multiple of three makes infinity of a point of order three, and with that nobody agrees on anything.
  do ecdh.generateKeys()
  while (ecdh.getPrivateKey().reduce((rest, byte) => (256 * rest + byte) % 3, 0) === 0)
  const agree = (peer: Buffer) => p256ByHand(ecdh.getPrivateKey(), peer)
  return { publicKey: ecdh.getPublicKey(), ss1: agree(pinned), ss2: agree }
}

/** X-Wing whose X25519 half agrees with points of low order on zero. */
function carelessXWing(pinned: Buffer): Share {
  const mlkem = generateKeyPairSync('ml-kem-768')
  const own = newX25519Key()
  const pkM = mlkem.publicKey.export({ format: 'der', type: 'spki' }).subarray(-1184)
  const toServer = xwingEncapsulate(pinned)
  return {
    publicKey: Buffer.concat([toServer?.ciphertext ?? ZEROS, pkM, own.publicKey]),
    ss1: toServer?.sharedSecret ?? null,
    ss2: (ciphertext) => {
      const ctX = ciphertext.subarray(1088)
      const ssM = decapsulate(mlkem.privateKey, ciphertext.subarray(0, 1088))
      const ssX = x25519(own.privateKey, x25519Public(ctX)) ?? ZEROS
      const parts = [ssM, ssX, ctX, own.publicKey, Buffer.from('5c2e2f2f5e5c', 'hex')]
      return createHash('sha3-256').update(Buffer.concat(parts)).digest()
    },
  }
}

const tellsInHeader = (secretOf: (run: Run) => string): Partial<Steps> => ({
  headers: (run) => ({ ...SOUND.headers(run), 'user-agent': `Tool/1.0 (${secretOf(run)})` }),
})

const KNOWN =
  'v suite kid session_id expires_in pub box token server_time max_seq seq salt status code data error'.split(
    ' ',
  )

const depthOf = (value: unknown): number =>
  typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0

/** Believes a verdict that nobody has sealed, if a reply has a word for it. */
const presumes = (outcome: 'allowed' | 'denied', sign: (reply: HttpReply, members: Json) => boolean) => ({
  presume: (reply: HttpReply) => (sign(reply, membersOf(reply)) ? outcome : null),
})

/** Tries the keys of earlier sessions too. */
function remembersKeys(): Partial<Steps> {
  const earlier: [RecordKeys, ReplyContext][] = []
  return {
    openReply: (keys, context, box) => {
      earlier.push([keys, context])
      const tries = earlier.map(([keys, { requestHash }]) =>
        openReply(keys, { ...context, requestHash }, box),
      )
      return tries.find((opened) => opened !== null) ?? null
    },
  }
}

/** Has one key pair for all its life. */
function reusesItsShare(): Partial<Steps> {
  let own: Share | undefined
  return { share: (suite, pinned) => (own ??= share(suite, pinned)) }
}

/** Lets what it stored outweigh what the server says now. */
function prefersItsLease(): Partial<Steps> {
  const leases = new Set<string>()
  return {
    verdictOn: (opened, run) => {
      const outcome = SOUND.verdictOn(opened, run)
      if (outcome === 'allowed') leases.add(run.state)
      return leases.has(run.state) ? 'allowed' : outcome
    },
  }
}

async function legacyOutcome({ serverUrl }: Run): Promise<'allowed' | 'unavailable'> {
  const headers = { 'content-type': 'application/json' }
  const url = `${serverUrl}/api/auth/get-session-key`
  try {
    return membersOf(await post({ url, headers, body: '{}' }, 1000)).status === 'success'
      ? 'allowed'
      : 'unavailable'
  } catch {
    return 'unavailable'
  }
}

const RETRY_ROWS = ['dropped_connection', 'busy_server']

export const ZOO: readonly Animal[] = [
  {
    name: 'believes a success in the clear',
    flaw: () =>
      presumes('allowed', (_, { status, valid }) => status === 'success' || valid === true || status === 200),
    fails: ['legacy_downgrade', 'plain_success'],
  },
  {
    name: 'believes a refusal in the clear',
    flaw: () => presumes('denied', (_, { status }) => status === 'error' || status === 403),
    fails: ['plain_refusal'],
  },
  {
    name: 'takes HTTP 401 for a denial',
    flaw: () => presumes('denied', ({ status }) => status === 401),
    fails: ['plain_refusal', 'stripped_token', 'secrets_in_the_clear'],
  },
  {
    name: 'reads a box that is not sealed',
    flaw: () => ({
      openReply: (keys, context, box) =>
        box.toString('latin1').startsWith('{"') ? box : openReply(keys, context, box),
    }),
    fails: ['plain_success', 'plain_refusal'],
  },
  {
    name: 'allows whenever it cannot tell',
    flaw: () => ({ whenUnavailable: () => 'allowed' }),
    fails: [
      ...['other_static_key', 'recorded_hello', 'hello_without_token', 'recorded_reply', 'swapped_replies'],
      ...[
        'other_session_reply',
        'replayed_denial',
        'misaddressed_reply',
        'legacy_downgrade',
        'plain_success',
      ],
      ...['plain_refusal', 'stripped_token', 'low_order_point', 'flipped_bit', 'truncated_tag'],
      ...['lenient_base64', 'oversized_reply', 'endless_reply', 'slow_reply', 'json_bomb', 'redirect'],
      'secrets_in_the_clear',
    ],
  },
  {
    name: 'falls back to the legacy contract',
    flaw: () => ({ whenUnavailable: legacyOutcome }),
    fails: ['legacy_downgrade'],
  },
  {
    name: 'takes to another suite when its own is refused',
    flaw: () => ({ suites: () => ['S1', 'S2'] }),
    fails: ['legacy_downgrade'],
  },
  {
    name: 'does not look at the tag of a hello box',
    flaw: () => ({
      openHello: (_, key, th, box) => {
        const ciphertext = Buffer.from(box).subarray(0, -16)
        return gcm(key, Buffer.alloc(12), Buffer.concat([lp('dsk1/hello'), th]), ciphertext, Buffer.alloc(0))
      },
    }),
    fails: ['flipped_bit'],
  },
  {
    name: 'does not look at the tag of a reply',
    flaw: () => ({
      openReply: (keys, context, box) => openWithTag(keys, context, box.subarray(0, -16), Buffer.alloc(0)),
    }),
    fails: ['flipped_bit', 'truncated_tag'],
  },
  {
    name: 'takes what is left of a tag for the tag',
    flaw: () => ({
      openReply: (keys, context, box) => {
        const end = box.length - (box.length % 256)
        return openWithTag(keys, context, box.subarray(0, end), box.subarray(end))
      },
    }),
    fails: ['truncated_tag'],
  },
  {
    name: 'decodes base64 leniently',
    flaw: () => ({ decode: (value) => Buffer.from(`${value}`, 'base64') }),
    fails: ['lenient_base64'],
  },
  {
    name: 'does not look whom a reply is addressed to',
    flaw: () => ({ isAddressedTo: () => true }),
    fails: ['misaddressed_reply'],
  },
  {
    name: 'tries the keys of earlier sessions',
    flaw: remembersKeys,
    fails: ['recorded_reply', 'replayed_denial'],
  },
  {
    name: 'has one key pair for all its life',
    flaw: reusesItsShare,
    fails: ['honest_server', 'recorded_hello'],
  },
  {
    name: 'agrees with points of low order (S1)',
    flaw: () => ({
      share: (suite, pinned) => {
        const own = share(suite, pinned)
        return { ...own, ss2: (peer) => own.ss2(peer) ?? ZEROS }
      },
    }),
    fails: ['low_order_point'],
  },
  {
    name: 'agrees with points of low order (S3)',
    suite: 'S3',
    flaw: () => ({ share: (_, pinned) => carelessXWing(pinned) }),
    fails: ['low_order_point'],
  },
  {
    name: 'does not look for the curve (S2)',
    suite: 'S2',
    flaw: () => ({ share: (_, pinned) => carelessP256(pinned) }),
    fails: ['invalid_point'],
  },
  {
    name: 'takes a point in any form (S2)',
    suite: 'S2',
    flaw: () => ({
      share: (_, pinned) => {
        const ecdh = createECDH('prime256v1')
        const publicKey = ecdh.generateKeys()
        return { publicKey, ss1: ecdh.computeSecret(pinned), ss2: (peer) => ecdh.computeSecret(peer) }
      },
    }),
    fails: ['invalid_point'],
  },
  {
    name: 'reads replies of any size',
    flaw: () => ({ post: postPatiently }),
    fails: ['oversized_reply', 'endless_reply', 'slow_reply', 'json_bomb'],
  },
  { name: 'gives every byte its own time-out', flaw: () => ({ post: postBytewise }), fails: ['slow_reply'] },
  {
    name: 'follows redirects',
    flaw: () => ({ post: (request, timeoutMs) => post(request, timeoutMs, 'follow') }),
    fails: ['redirect'],
  },
  { name: 'seals anew for each try', flaw: () => ({ again: (_, reseal) => reseal() }), fails: RETRY_ROWS },
  {
    name: 'tries only once',
    flaw: () => ({
      again: () => {
        throw new Error('one try is enough')
      },
    }),
    fails: RETRY_ROWS,
  },
  {
    name: 'breaks down on nested JSON',
    flaw: () => ({
      ...crashes,
      parse: (text) => {
        const value = JSON.parse(text)
        try {
          depthOf(value)
        } catch {
          throw new Crash('the stack is full')
        }
        return value
      },
    }),
    fails: ['json_bomb'],
  },
  {
    name: 'breaks down without a token',
    flaw: () => ({
      ...crashes,
      tokenIn: ({ token }) => {
        if (typeof token !== 'string') throw new Crash('undefined is not a string')
        return token
      },
    }),
    fails: ['hello_without_token'],
  },
  {
    name: 'refuses members that it does not know',
    flaw: () => ({
      parse: (text) => {
        const value = SOUND.parse(text)
        if (Object.keys(value).some((name) => !KNOWN.includes(name))) throw new Error('what is that?')
        return value
      },
    }),
    fails: ['unknown_member'],
  },
  {
    name: 'believes its own clock',
    flaw: () => ({
      verdictOn: (opened, run) => {
        const offS = Number(opened.server_time) - (Date.now() / 1000 + run.clockOffsetS)
        return Math.abs(offS) > 86_400 ? 'unavailable' : SOUND.verdictOn(opened, run)
      },
    }),
    fails: ['moved_clock'],
  },
  { name: 'prefers its lease to a denial', flaw: prefersItsLease, fails: ['sealed_denial'] },
  {
    name: 'takes every sealed 403 for a denial',
    flaw: () => ({
      verdictOn: (opened, run) => (opened.status === 403 ? 'denied' : SOUND.verdictOn(opened, run)),
    }),
    fails: ['sealed_trouble'],
  },
  {
    name: 'does not ask whether the licence is valid',
    flaw: () => ({
      verdictOn: (opened, run) => (opened.status === 200 ? 'allowed' : SOUND.verdictOn(opened, run)),
    }),
    fails: ['sealed_trouble'],
  },
  {
    name: 'tells the licence key in a header',
    flaw: () => tellsInHeader(({ licence }) => Buffer.from(`key=${licence};`).toString('base64')),
    fails: ['secrets_in_the_clear'],
  },
  {
    name: 'tells a serial number in a header',
    flaw: () => tellsInHeader(({ hardware }) => `${hardware.mac}`.replaceAll(':', '-').toUpperCase()),
    fails: ['secrets_in_the_clear'],
  },
  {
    name: 'tells a digest in a header',
    flaw: () =>
      tellsInHeader(({ tool, hardware }) => toB64u(componentDigest(tool, 'cpu', `${hardware.cpu}`))),
    fails: ['secrets_in_the_clear'],
  },
]
