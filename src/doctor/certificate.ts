import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { isLoopback } from '../loopback.ts'
import { advice, command, type Remedy } from '../remedy.ts'
import { loadTls } from '../tls.ts'
import { type Finding, failed, notChecked, ok, warning } from './finding.ts'
import type { Patient, Room } from './patient.ts'

const DAY_MS = 86_400_000
/** Certbot renews weeks before the end. What is nearer to it than this is not being renewed by anybody. */
const LEFT_MIN_DAYS = 14
const ID = 'tls.certificate'

/** The names of a certificate as `kunci tls init` takes them. */
function nameOptions(pem: Buffer): string {
  try {
    const names = (new X509Certificate(pem).subjectAltName ?? '').split(', ')
    return names
      .map((name) => name.replace(/^DNS:/, ' --host ').replace(/^IP Address:/, ' --ip '))
      .filter((name) => name.startsWith(' --'))
      .join('')
  } catch {
    return ''
  }
}

/** A certificate of our own authority is issued again by us, any other by whoever issued it. */
function renewal(certPath: string, dataDir: string | undefined, pem: Buffer | null): Remedy[] {
  if (dataDir === undefined || certPath !== join(dataDir, 'tls', 'server.pem'))
    return [advice('Renew it where it was issued. With certbot:'), command('certbot renew')]
  return [command(`kunci tls init --force${pem === null ? '' : nameOptions(pem)}`)]
}

function plainFinding({ values: { host, trustProxy } }: Patient): Finding {
  if (trustProxy !== undefined)
    return ok(ID, 'TLS_CERT is not set: the proxy that TRUST_PROXY names is to speak HTTPS.')
  if (host !== undefined && isLoopback(host))
    return ok(ID, `TLS_CERT is not set: Kunci listens on ${host}, for this machine alone.`)
  return warning(
    ID,
    `Kunci listens on ${host ?? 'HOST'} without TLS.`,
    'Anybody on the way can read and change what is sent, session keys among it.',
    [
      advice(
        'Put a proxy with HTTPS in front and name it in TRUST_PROXY, or set TLS_CERT and TLS_KEY. For a certificate of your own:',
      ),
      command('kunci tls init'),
    ],
  )
}

function certificateFinding(patient: Patient): Finding {
  const { values, clock, mistakes } = patient
  const { tlsCert, tlsKey, dataDir } = values
  if (mistakes.some(({ env }) => env.startsWith('TLS_CERT')))
    return notChecked(ID, 'TLS_CERT and TLS_KEY are not both set')
  if (tlsCert === undefined || tlsKey === undefined) return plainFinding(patient)
  const paths = { certPath: tlsCert, keyPath: tlsKey }
  try {
    // Of one that has expired the names are still wanted, hence no time here.
    const { cert } = loadTls(paths, Number.NEGATIVE_INFINITY)
    const leftDays = (new X509Certificate(cert).validToDate.getTime() - clock()) / DAY_MS
    const renew = renewal(tlsCert, dataDir, cert)
    const until = new X509Certificate(cert).validToDate.toISOString()
    if (leftDays <= 0)
      return failed(
        ID,
        `The certificate ${tlsCert} expired on ${until}.`,
        'Clients refuse it, and the server does not start with it.',
        renew,
      )
    if (leftDays >= LEFT_MIN_DAYS) return ok(ID, `The certificate ${tlsCert} holds until ${until}.`)
    return warning(
      ID,
      `The certificate ${tlsCert} holds for ${Math.floor(leftDays)} more days, until ${until}.`,
      'After that clients refuse it. A running server takes up a renewed one by itself.',
      renew,
    )
  } catch (error) {
    return failed(
      ID,
      (error as Error).message,
      'The server does not start with it.',
      renewal(tlsCert, dataDir, null),
    )
  }
}

export const certificateRoom: Room = {
  ids: () => [ID],
  needs: 'nothing',
  look: (patient) => [certificateFinding(patient)],
}
