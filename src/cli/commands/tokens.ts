import { AppError } from '../../errors.ts'
import type { OperatorToken } from '../../store/tokens.ts'
import { command } from '../command.ts'
import { facts, isoTime, table } from '../output.ts'
import { asExpiry } from '../values.ts'

function tokenView(token: OperatorToken) {
  return {
    id: token.id,
    name: token.name,
    created_at: isoTime(token.createdAtMs),
    expires_at: isoTime(token.expiresAtMs),
    revoked_at: isoTime(token.revokedAtMs),
  }
}

const create = command({
  path: ['tokens', 'create'],
  summary: "Creates a token for the operators' HTTP addresses and shows it, this once.",
  options: {
    name: { value: 'NAME', required: true, doc: 'Who or what uses it.' },
    expires: {
      value: 'DATE',
      doc: 'When it expires, in ISO 8601: a date means its last second in UTC, a date-time may name its zone. Left out: never.',
      parse: asExpiry,
    },
  },
  positionals: [],
  example: 'kunci tokens create --name monitoring --expires 2030-12-31',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      const { name, expires = null } = args
      if (expires !== null && expires <= app.clock())
        throw new AppError('invalid_argument', { detail: `--expires: ${isoTime(expires)} is past` })
      const { token, ...row } = await app.tokens.create(actor, name, expires)
      const { id, ...rest } = tokenView(row)
      return {
        data: { id, token, ...rest },
        text: `Created. This is the token; it is shown this once and kept nowhere:\n\n${token}\n\n${facts({ id, ...rest })}`,
      }
    }),
})

const list = command({
  path: ['tokens', 'list'],
  summary: 'Lists the tokens of operators; their texts are kept nowhere.',
  options: {},
  positionals: [],
  example: 'kunci tokens list',
  run: ({ withApp }) =>
    withApp(async (app) => {
      const data = (await app.tokens.list()).map(tokenView)
      const text = table(data, ['id', 'name', 'created_at', 'expires_at', 'revoked_at'])
      return { data, text: data.length === 0 ? 'There is no token yet.' : text }
    }),
})

const revoke = command({
  path: ['tokens', 'revoke'],
  summary: 'Revokes a token: from the next request on it opens nothing.',
  options: {},
  positionals: [{ name: 'id', doc: 'Id of the token, such as tok_7Q2M9KXH4C0T8RWB.' }],
  example: 'kunci tokens revoke tok_7Q2M9KXH4C0T8RWB',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      await app.tokens.revoke(actor, args.id)
      return { data: { id: args.id, revoked: true }, text: `Revoked: ${args.id}` }
    }),
})

export const tokenCommands = [create, list, revoke]
