import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { spawnGuarded } from '../../test/support/children.ts'
import { ended } from '../processes.ts'
import type { Driver, Figures, Load } from './load.ts'

const CHILD = fileURLToPath(new URL('autocannon-child.ts', import.meta.url))
const MANIFEST = new URL('../../node_modules/autocannon/package.json', import.meta.url)

/** In a process of its own, so that its CPU time can be told from ours. */
async function run(load: Load): Promise<Figures> {
  const child = spawnGuarded(process.execPath, [CHILD], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin?.on('error', () => {})
  child.stdin?.end(JSON.stringify(load))
  const [output, code] = await Promise.all([child.stdout === null ? '' : text(child.stdout), ended(child)])
  if (code !== 0) throw new Error(`autocannon ended with ${code}`)
  return JSON.parse(output)
}

/** autocannon: on every machine, as npm brings it; but for the same requests it takes more CPU time than wrk. */
export function autocannonDriver(): Driver {
  const { version } = JSON.parse(readFileSync(MANIFEST, 'utf8'))
  return { name: 'autocannon', version, run }
}
