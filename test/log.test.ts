import t from 'tap'
import { createLogger, REDACTED } from '../src/log.ts'

function capture(level = 'info') {
  const lines: string[] = []
  return {
    lines,
    logger: createLogger(level, { destination: { write: (line: string) => void lines.push(line) } }),
  }
}

t.test('no member of the list is ever logged, however deep it lies or however it is spelt', async (t) => {
  const { lines, logger } = capture()
  for (const name of REDACTED) {
    logger.info({ [name]: 'S3CRET' })
    logger.info({ [name.toUpperCase()]: 'S3CRET' })
    logger.info({ request: { headers: { [name]: 'S3CRET', kept: 'yes' } } })
    logger.info({ a: { b: { c: { d: { e: { f: { [name]: 'S3CRET' } } } } } } })
  }
  t.notMatch(lines.join(''), 'S3CRET')
  t.equal(lines.join('').split('"kept":"yes"').length - 1, REDACTED.size)
})

t.test('an error keeps its message, its cause and its kind in the log', async (t) => {
  const { lines, logger } = capture()
  logger.error({ event: 'x', err: new Error('outer', { cause: new Error('inner') }) })
  t.match(JSON.parse(lines.join('')), {
    event: 'x',
    err: { type: 'Error', message: /outer.*inner/, stack: /outer/ },
  })
})

t.test('the level decides what is written', async (t) => {
  const { lines, logger } = capture('warn')
  logger.info('not this')
  logger.warn('this')
  t.equal(lines.length, 1)
})
