/** A route of Fastify that answers JSON by a compiled schema, without a log: what no server on it can go beyond. */
import fastify from 'fastify'

const text = { type: 'string' } as const
const REPLY = { type: 'object', properties: { status: text, message: text } } as const

const server = fastify()
server.get('/', { schema: { response: { 200: REPLY } } }, async () => ({
  status: 'success',
  message: 'Hello',
}))
process.once('SIGTERM', () => void server.close())
await server.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
