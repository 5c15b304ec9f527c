import type { App } from '../../app.ts'
import { EVENT_TYPES, type EventType, eventView } from '../../domain/events.ts'
import type { EventRow } from '../../store/events.ts'
import { type Context, command } from '../command.ts'
import { type Filter, followEvents } from '../follow.ts'
import { jsonText, line, table } from '../output.ts'
import { asLimit, asOneOf } from '../values.ts'

const TYPES = Object.keys(EVENT_TYPES) as EventType[]
const COLUMNS = ['at', 'type', 'actor', 'address', 'licence_id', 'support_code', 'count', 'detail'] as const
/** As wide as what commonly stands in those columns, so that lines printed one by one stand below each other. */
const WIDTHS = [24, 22, 8, 15, 20, 11, 1]

function rowOf(event: EventRow) {
  const detail = Object.entries(event.detail)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${value}`)
  return { ...eventView(event), detail: detail.join(' ') }
}

function lineOf(event: EventRow, json: boolean): string {
  if (json) return jsonText(eventView(event), 0)
  const row = rowOf(event)
  return line(
    COLUMNS.map((column) => row[column]),
    WIDTHS,
  )
}

/** Aborts at Ctrl-C, at SIGTERM, and when nobody reads any more. */
function interruption(stdout: NodeJS.WritableStream): { signal: AbortSignal; dispose: () => void } {
  const controller = new AbortController()
  const abort = () => controller.abort()
  process.once('SIGINT', abort).once('SIGTERM', abort)
  stdout.once('error', abort)
  const dispose = () => {
    process.off('SIGINT', abort).off('SIGTERM', abort)
    stdout.off('error', abort)
  }
  return { signal: controller.signal, dispose }
}

async function follow(
  app: App,
  context: Pick<Context, 'json' | 'note' | 'streams'>,
  filter: Filter,
  limit: number,
) {
  const { json, note, streams } = context
  const { signal, dispose } = interruption(streams.stdout)
  try {
    for await (const events of followEvents(app, { filter, limit, signal, note }))
      for (const event of events) streams.stdout.write(`${lineOf(event, json)}\n`)
  } finally {
    dispose()
  }
}

const list = command({
  path: ['events', 'list'],
  summary: 'Lists what was decided and what operators did: the newest events, the oldest of them first.',
  options: {
    type: { value: 'TYPE', doc: 'Only events of this type, see below.', parse: asOneOf(TYPES) },
    'support-code': {
      value: 'CODE',
      doc: 'Only what a customer was told this support code for.',
      parse: (text) => text.trim().toUpperCase(),
    },
    licence: { value: 'ID', doc: 'Only those of this licence.' },
    limit: { value: 'N', fallback: '100', doc: 'How many at most.', parse: asLimit },
    follow: {
      doc: 'Then prints new events as they come, until Ctrl-C. An event that is counted comes again when its count has grown. With --json each is one line.',
    },
  },
  positionals: [],
  example: 'kunci events list --support-code 7Q2M9-KXH4C',
  more: () =>
    `Types:\n${Object.entries(EVENT_TYPES)
      .map(([type, meaning]) => `  ${type}\n      ${meaning}`)
      .join('\n')}`,
  run: ({ args, withApp, ...context }) =>
    withApp(async (app) => {
      const { type, 'support-code': supportCode, licence: licenceId, limit } = args
      const filter: Filter = { type, supportCode, licenceId }
      if (args.follow) {
        await follow(app, context, filter, limit)
        return undefined
      }
      const events = await app.events.list({ ...filter, limit })
      const text = table(events.map(rowOf), COLUMNS)
      return { data: events.map(eventView), text: events.length === 0 ? 'There is no such event.' : text }
    }),
})

export const eventCommands = [list]
