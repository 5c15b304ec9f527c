import type { Device } from '../../store/devices.ts'
import { command } from '../command.ts'
import { isoTime, table } from '../output.ts'
import { asLimit } from '../values.ts'

const COLUMNS = ['id', 'licence_id', 'state', 'created_at', 'last_seen_at', 'released_at'] as const

function deviceView(device: Device) {
  return {
    id: device.id,
    licence_id: device.licenceId,
    state: device.slotNo === null ? 'released' : 'bound',
    slot_no: device.slotNo,
    created_at: isoTime(device.createdAtMs),
    last_seen_at: isoTime(device.lastSeenMs),
    released_at: isoTime(device.releasedAtMs),
  }
}

const list = command({
  path: ['devices', 'list'],
  summary: 'Lists the machines that are or were bound to licences, the newest first.',
  options: {
    licence: { value: 'ID', doc: 'Only those of this licence.' },
    limit: { value: 'N', fallback: '100', doc: 'How many at most.', parse: asLimit },
  },
  positionals: [],
  example: 'kunci devices list --licence lic_7Q2M9KXH4C0T8RWB',
  run: ({ args, withApp, json, note }) =>
    withApp(async (app) => {
      const { licence: licenceId, limit } = args
      if (licenceId !== undefined) await app.licences.find(licenceId)
      const data = (await app.devices.list({ licenceId, limit })).map(deviceView)
      if (!json && data.length === limit) note(`There may be more than these ${limit}: see --limit.`)
      return { data, text: data.length === 0 ? 'There is no such machine.' : table(data, COLUMNS) }
    }),
})

const reset = command({
  path: ['devices', 'reset'],
  summary: 'Releases the machines of a licence, so that the next one that checks with its key is bound.',
  options: { device: { value: 'ID', doc: 'Only this machine, such as dev_7Q2M9KXH4C0T8RWB.' } },
  positionals: [{ name: 'licence-id', doc: 'Id of the licence, such as lic_7Q2M9KXH4C0T8RWB.' }],
  example: 'kunci devices reset lic_7Q2M9KXH4C0T8RWB',
  run: ({ args, actor, withApp }) =>
    withApp(async (app) => {
      const data = (await app.devices.reset(actor, args['licence-id'], args.device)).map(deviceView)
      const text = `Released:\n${table(data, COLUMNS)}`
      return { data, text: data.length === 0 ? 'No machine was bound to this licence.' : text }
    }),
})

export const deviceCommands = [list, reset]
