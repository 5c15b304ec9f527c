import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { sqlitePath } from '../config.ts'
import { advice, command, shellWord } from '../remedy.ts'
import { type Finding, failed, notChecked, ok, warning } from './finding.ts'
import type { Patient, Room } from './patient.ts'

const MIB = 1024 * 1024
/** Less than a database needs to write its log and clean up. */
const FREE_MIN_BYTES = 100 * MIB
/** Some days of a busy server: time to do something. */
const FREE_LOW_BYTES = 1024 * MIB

/** The nearest directory that is there. */
function nearest(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearest(dirname(path))
}

/** Why nothing can be written to a directory, or to a file in it that is there. */
function obstacle(directory: string, file: string | null): string | null {
  const there = nearest(directory)
  if (!statSync(there).isDirectory()) return `${there} is a file, not a directory`
  try {
    accessSync(there, constants.W_OK | constants.X_OK)
    if (file !== null && existsSync(file)) accessSync(file, constants.R_OK | constants.W_OK)
    return null
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException
    return `${path ?? there} cannot be written to (${code})`
  }
}

/** @param freeBytes what a process without privileges may still write. */
export function roomFinding(id: string, path: string, freeBytes: number): Finding {
  const free = `${Math.floor(freeBytes / MIB).toLocaleString('en')} MiB are free for ${path}`
  if (freeBytes >= FREE_LOW_BYTES) return ok(id, `${free}.`)
  const mend = [
    advice('Make room, or move it to a larger disk. What takes most:'),
    command(`du -xh ${shellWord(nearest(path))} | sort -h | tail`),
    command('journalctl --vacuum-size=200M'),
  ]
  if (freeBytes >= FREE_MIN_BYTES)
    return warning(id, `Only ${free}.`, 'Once nothing can be written any more, nobody is let in.', mend)
  return failed(id, `Only ${free}.`, 'When nothing can be written, every check is answered with 503.', mend)
}

function directoryFinding(id: string, path: string, file: string | null): Finding {
  const why = obstacle(path, file)
  if (why !== null)
    return failed(id, `${why}.`, 'Kunci can neither start there nor keep anything.', [
      advice('Name another directory in .env, or give this one to the account that runs Kunci:'),
      command(`chown -R kunci ${shellWord(path)}`),
    ])
  const { bavail, bsize } = statfsSync(nearest(path))
  return roomFinding(id, path, bavail * bsize)
}

export const diskRoom: Room = {
  ids: () => ['disk.data_dir', 'disk.keys_dir'],
  needs: 'nothing',
  look: ({ values: { dataDir, keysDir }, dialect }: Patient) => [
    dataDir === undefined
      ? notChecked('disk.data_dir', 'DATA_DIR cannot be understood')
      : directoryFinding('disk.data_dir', dataDir, dialect === 'sqlite' ? sqlitePath({ dataDir }) : null),
    keysDir === undefined
      ? notChecked('disk.keys_dir', 'KEYS_DIR cannot be understood')
      : directoryFinding('disk.keys_dir', keysDir, null),
  ],
}
