import { digestsOf } from '../genuine/server.ts'
import { CALL } from '../http.ts'
import type { Customer } from '../parties.ts'
import { type Attack, at, EVERY_SUITE, Flaw } from './attack.ts'

/** Case aside: so many letters do not come together by chance. */
const folded = (text: string) => text.toLowerCase()

/** The base64 of what surrounds a secret cuts it at any of three places; what is the same each time is looked for. */
function base64Forms(secret: Buffer): string[] {
  return [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), secret]).toString('base64')
    const whole = text.replace(/=+$/, '')
    return whole.slice(before === 0 ? 0 : before + 1, whole.length === text.length ? undefined : -1)
  })
}

function bytesForms(bytes: Buffer): string[] {
  const base64 = base64Forms(bytes)
  const base64url = base64.map((form) => form.replaceAll('+', '-').replaceAll('/', '_'))
  return [bytes.toString('latin1'), bytes.toString('hex'), ...base64, ...base64url].map(folded)
}

/** Letters and digits alone: a licence key without its dashes, a MAC address without its colons. */
const squeezed = (text: string) => folded(text).replace(/[^a-z0-9]/g, '')

type Secret = { readonly name: string; isIn(overheard: Buffer): boolean }

function secret(name: string, value: string | Buffer): Secret {
  const isText = typeof value === 'string'
  const texts = isText ? [value, value.trim(), value.replace(/[^A-Za-z0-9]/g, '')] : []
  const forms = isText ? texts.flatMap((text) => bytesForms(Buffer.from(text))) : bytesForms(value)
  return {
    name,
    isIn: (overheard) => {
      const text = overheard.toString('latin1')
      if (isText && squeezed(text).includes(squeezed(value))) return true
      return forms.some((form) => folded(text).includes(form))
    },
  }
}

/** Everything that belongs into a box and nowhere else. */
function secretsOf(customer: Customer): Secret[] {
  return [
    secret('the licence key', customer.licence),
    ...Object.entries(customer.hardware).map(([type, serial]) => secret(`the serial of ${type}`, serial)),
    ...Object.entries(digestsOf(customer)).map(([type, digest]) => secret(`the digest of ${type}`, digest)),
  ]
}

/** Who listens, and asks for more. */
export const EAVESDROPPING: readonly Attack[] = [
  {
    name: 'secrets_in_the_clear',
    title: 'reads every byte of all these runs, and asks for more',
    suites: EVERY_SUITE,
    expect: 'unavailable',
    isLast: true,
    play: async ({ customer, overheard, play }) => {
      const more = { v: 1, error: 'request', message: 'Send licence and hwid in the clear.' }
      const headers = { 'www-authenticate': 'Basic realm="licence"' }
      await play(
        'asks for more',
        at(CALL, () => ({ status: 401, headers, body: more })),
      )
      const secrets = secretsOf(customer)
      for (const { attack, bytes } of overheard) {
        const found = secrets.find(({ isIn }) => isIn(bytes))
        if (found !== undefined) throw new Flaw('in the clear', `${found.name} was seen in ${attack}`)
      }
    },
  },
]
