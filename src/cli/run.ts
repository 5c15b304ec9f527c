import { userInfo } from 'node:os'
import { createApp } from '../app.ts'
import { loadConfig } from '../config.ts'
import { createLogger } from '../log.ts'
import { VERSION } from '../version.ts'
import { readArguments } from './arguments.ts'
import { type Command, type Context, type Env, type Streams, UsageError } from './command.ts'
import { cleanupCommands } from './commands/cleanup.ts'
import { configCommands } from './commands/config.ts'
import { deviceCommands } from './commands/devices.ts'
import { doctorCommands } from './commands/doctor.ts'
import { eventCommands } from './commands/events.ts'
import { importCommands } from './commands/import.ts'
import { userImportCommands } from './commands/import-users.ts'
import { keyCommands } from './commands/keys.ts'
import { licenceCommands } from './commands/licences.ts'
import { migrateCommands } from './commands/migrate.ts'
import { productCommands } from './commands/products.ts'
import { serveCommands } from './commands/serve.ts'
import { sessionCommands } from './commands/sessions.ts'
import { tlsCommands } from './commands/tls-command.ts'
import { tokenCommands } from './commands/tokens.ts'
import { userCommands } from './commands/users.ts'
import { EXIT, failureOf, failureText } from './failure.ts'
import { commandHelp, didYouMean, groupHelp } from './help.ts'
import { jsonText } from './output.ts'

/** Every command there is, as the help lists them. */
export const COMMANDS: readonly Command[] = [
  ...serveCommands,
  ...migrateCommands,
  ...configCommands,
  ...doctorCommands,
  ...productCommands,
  ...licenceCommands,
  ...deviceCommands,
  ...eventCommands,
  ...userCommands,
  ...sessionCommands,
  ...tokenCommands,
  ...keyCommands,
  ...importCommands,
  ...userImportCommands,
  ...cleanupCommands,
  ...tlsCommands,
]

const GLOBAL_SWITCHES = new Set(['--json', '--help', '-h'])
const ACTOR_MAX = 64

function actorName(): string {
  try {
    return `cli:${userInfo().username}`.slice(0, ACTOR_MAX)
  } catch {
    // A container may run under a user that no file names.
    return 'cli'
  }
}

/** Switches may stand before the command too. */
function switchesLast(argv: readonly string[]): string[] {
  const count = argv.findIndex((arg) => !GLOBAL_SWITCHES.has(arg))
  return count < 1 ? [...argv] : [...argv.slice(count), ...argv.slice(0, count)]
}

/** The command whose path the arguments begin with; of two, the longer. */
function findCommand(argv: readonly string[]): Command | undefined {
  const [longest] = COMMANDS.filter(({ path }) => path.every((word, i) => argv[i] === word)).sort(
    (a, b) => b.path.length - a.path.length,
  )
  return longest
}

function unknownCommand(argv: readonly string[]): UsageError {
  const end = argv.findIndex((arg) => arg.startsWith('-'))
  const words = end < 0 ? argv : argv.slice(0, end)
  const group = COMMANDS.filter(({ path }) => path[0] === words[0])
  if (words.length === 1 && group.length > 0)
    return new UsageError(
      `"${words[0]}" needs one more word: ${group.map(({ path }) => path[1]).join(', ')}.`,
    )
  const typed = words.slice(0, 2).join(' ')
  const paths = COMMANDS.map(({ path }) => path.join(' '))
  return new UsageError(`There is no command "${typed}".${didYouMean(typed, paths)}`)
}

function contextFor(json: boolean, env: Env, streams: Streams): Omit<Context, 'args'> {
  const note = (text: string) => {
    streams.stderr.write(json ? `${jsonText({ status: 'note', message: text }, 0)}\n` : `${text}\n`)
  }
  const withApp: Context['withApp'] = async (work) => {
    const app = await createApp(loadConfig(env), {
      logger: createLogger('silent', { destination: { write: () => true } }),
    })
    try {
      if (app.createdKeys.length > 0) note(keysNote(app.createdKeys))
      return await work(app)
    } finally {
      await app.close()
    }
  }
  return { env, streams, json, note, withApp, actor: { name: actorName() } }
}

/** What the operator must hear once: nothing else can bring these keys back. */
function keysNote(createdKeys: readonly string[]): string {
  return `New secret keys were made; back them up:\n${createdKeys.map((file) => `  ${file}`).join('\n')}`
}

async function execute(command: Command, argv: readonly string[], env: Env, streams: Streams) {
  const paths = COMMANDS.map(({ path }) => path.join(' '))
  const read = readArguments(command, argv.slice(command.path.length), paths)
  if (read.help) {
    streams.stdout.write(`${commandHelp(command)}\n`)
    return EXIT.ok[0]
  }
  const result = await command.run({ ...contextFor(read.json, env, streams), args: read.args })
  if (result === undefined) return EXIT.ok[0]
  streams.stdout.write(`${read.json ? jsonText(result.data) : result.text}\n`)
  return result.exitCode ?? EXIT.ok[0]
}

/** What needs no command: the version, and the help of all commands or of a group. */
function generalAnswer(argv: readonly string[]): string | undefined {
  const [first] = argv
  if (first === '--version') return VERSION
  const words = argv.filter((arg) => !GLOBAL_SWITCHES.has(arg))
  if (words.length === 0) return groupHelp(COMMANDS, undefined)
  const group = COMMANDS.filter(({ path }) => path[0] === first)
  const asksHelp = argv.includes('--help') || argv.includes('-h')
  return asksHelp && words.length === 1 && group.length > 0 ? groupHelp(group, first) : undefined
}

/** Runs one command line. @returns its exit code; whatever goes wrong is told on stderr. */
export async function run(argv: readonly string[], env: Env, streams: Streams): Promise<number> {
  const words = switchesLast(argv)
  const command = findCommand(words)
  try {
    const answer = command === undefined ? generalAnswer(words) : undefined
    if (answer !== undefined) {
      streams.stdout.write(`${answer}\n`)
      return EXIT.ok[0]
    }
    if (command === undefined) throw unknownCommand(words)
    return await execute(command, words, env, streams)
  } catch (error) {
    const failure = failureOf(error, command)
    const { code, message, detail } = failure
    const text = argv.includes('--json')
      ? jsonText({ status: 'error', code, message, detail }, 0)
      : failureText(failure)
    streams.stderr.write(`${text}\n`)
    return failure.exitCode
  }
}
