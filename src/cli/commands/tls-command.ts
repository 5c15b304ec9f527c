import { join } from 'node:path'
import { systemClock } from '../../clock.ts'
import { loadConfig } from '../../config.ts'
import { AppError, SetupError } from '../../errors.ts'
import { command } from '../command.ts'
import { type InitTlsOptions, initTls } from './tls.ts'

async function initOrExplain(options: InitTlsOptions) {
  try {
    return await initTls(options)
  } catch (cause) {
    const { message } = cause as Error
    throw cause instanceof RangeError
      ? new AppError('invalid_argument', { detail: message, cause })
      : new SetupError(message, { cause })
  }
}

/** A value as `.env` takes it. */
function quoted(path: string): string {
  return /[\s#'"`]/.test(path) ? `'${path}'` : path
}

const init = command({
  path: ['tls', 'init'],
  summary:
    'Makes a local certificate authority and a server certificate in DATA_DIR/tls, for servers that have no public one.',
  options: {
    host: { value: 'NAME', multiple: true, doc: 'Host name that clients use.' },
    ip: { value: 'ADDRESS', multiple: true, doc: 'IP address that clients use.' },
    force: { doc: 'Issue a new server certificate over the one that is there; the authority stays.' },
  },
  positionals: [],
  example: 'kunci tls init --host licences.example --ip 192.0.2.7',
  more: () => 'Without --host and --ip the certificate is for localhost, 127.0.0.1 and ::1.',
  run: async ({ args, env }) => {
    const { certPath, keyPath, caPath, created } = await initOrExplain({
      directory: join(loadConfig(env).dataDir, 'tls'),
      hostNames: args.host,
      ipAddresses: args.ip,
      nowMs: systemClock(),
      force: args.force ?? false,
    })
    const text = [
      created ? 'Made.' : 'There is a certificate already; nothing was changed. --force issues a new one.',
      ...['', 'Put these two lines into .env and start the server again:', ''],
      ...[`TLS_CERT=${quoted(certPath)}`, `TLS_KEY=${quoted(keyPath)}`],
      ...['', `Clients must trust ${caPath}`],
    ]
    return {
      data: { cert_path: certPath, key_path: keyPath, ca_path: caPath, created },
      text: text.join('\n'),
    }
  },
})

export const tlsCommands = [init]
