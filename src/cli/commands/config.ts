import { loadConfig, SETTINGS, settingsInForce } from '../../config.ts'
import { command } from '../command.ts'
import { table, wrap } from '../output.ts'

/** Every setting as the help shows it. */
function settingsHelp(): string {
  const rows = Object.values(SETTINGS).map((row) => {
    const fallback = 'fallback' in row ? ` Default: ${row.fallback}.` : ''
    const lines = wrap(`${row.doc}${fallback}`, 94)
    return [`  ${row.env}`, ...lines.map((line) => `      ${line}`)].join('\n')
  })
  return `Settings, as environment variables or lines of .env (the environment wins):\n${rows.join('\n')}`
}

const config = command({
  path: ['config'],
  summary: 'Shows every setting in force, with secrets masked, and lists all mistakes in them at once.',
  options: {},
  positionals: [],
  example: 'kunci config',
  more: settingsHelp,
  run: async ({ env, streams, json }) => {
    const settings = settingsInForce(env)
    const rows = settings.map(({ env: name, value, source }) => ({ setting: name, value, source }))
    const text = table(rows, ['setting', 'value', 'source'])
    try {
      loadConfig(env)
    } catch (error) {
      // What is in force helps most to whoever has to mend it.
      if (!json) streams.stdout.write(`${text}\n`)
      throw error
    }
    return {
      data: settings.map(({ env: name, value, source, doc }) => ({ name, value, source, doc })),
      text,
    }
  },
})

export const configCommands = [config]
