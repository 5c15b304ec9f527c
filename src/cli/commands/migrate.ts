import { databaseStatus, migrateDatabase } from '../../app.ts'
import { loadConfig } from '../../config.ts'
import { damageText } from '../../store/engine/migrations.ts'
import { command } from '../command.ts'
import { EXIT } from '../failure.ts'
import { table } from '../output.ts'

const migrate = command({
  path: ['migrate'],
  summary: 'Brings the database up to date: makes its tables, or changes those of an earlier version.',
  options: {},
  positionals: [],
  example: 'kunci migrate',
  more: () => 'See also: kunci migrate status',
  run: async ({ env }) => {
    const { applied, createdKeys, warnings } = await migrateDatabase(loadConfig(env))
    const done =
      applied.length === 0
        ? ['The database is up to date.']
        : ['Applied:', ...applied.map((name) => `  ${name}`)]
    const keys =
      createdKeys.length === 0
        ? []
        : ['New secret keys were made; back them up:', ...createdKeys.map((file) => `  ${file}`)]
    return {
      data: { applied, created_keys: createdKeys, warnings },
      text: [...done, ...keys, ...warnings].join('\n'),
    }
  },
})

const status = command({
  path: ['migrate', 'status'],
  summary:
    'Shows how far the database is, and changes nothing; the exit code is 5 unless everything is in place.',
  options: {},
  positionals: [],
  example: 'kunci migrate status',
  run: async ({ env }) => {
    const { migrations, ...status } = await databaseStatus(loadConfig(env))
    const damage = status.damage.map(damageText)
    const isWhole = damage.length === 0 && migrations.every(({ state }) => state === 'applied')
    const rows = migrations.map(({ name, state }) => ({ migration: name, state }))
    const advice = isWhole ? 'Everything is in place.' : 'To bring it up to date, run: kunci migrate'
    return {
      data: { whole: isWhole, migrations: migrations.map(({ name, state }) => ({ name, state })), damage },
      text: [table(rows, ['migration', 'state']), ...damage, advice].join('\n'),
      exitCode: isWhole ? EXIT.ok[0] : EXIT.set_up[0],
    }
  },
})

export const migrateCommands = [migrate, status]
